"""Recordings: Binance traffic that somebody recorded, one JSON object a line, gzipped.

Lines: `meta` (venue), `http` (path with query, body), `ws` (ns, data: a combined-stream frame); others are passed over.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tickloom_simulator.errors import ReplayError
from tickloom_simulator.subscription import BOOKS, TRADES
from tickloom_simulator.tape import Trade

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VENUES = ("binance", "binanceusdm")
PRICE_UNIT = 100_000_000
_STREAM_START = '{"stream":"'
_DATA_START = '"data":'
_ID_FIELDS = {"trade": "t", "aggTrade": "a"}


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One recorded frame.

    Attributes:
        time_ns: when the recorder received it.
        text: the frame as recorded, a combined-stream message.
        data_start: where in `text` the raw message begins; it ends one character before the end.
        trade: the trade it carries, if it carries one.
        update_id: the final update id of a depth frame, else 0.
    """

    time_ns: int
    stream: str
    text: str
    data_start: int
    symbol: str
    channel: str
    trade: Trade | None
    update_id: int

    @property
    def raw_text(self) -> str:
        """The message as it looks on a raw stream."""
        return self.text[self.data_start : -1]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What a REST request with this query returned."""

    query: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that was recorded."""

    venue: str
    symbols_by_id: Mapping[str, str]  # by market id in lower case
    answers: Mapping[str, list[RecordedAnswer]]  # by path
    frames: list[RecordedFrame]


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        ReplayError: the file cannot be read, or is of a venue whose streams have no names.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ReplayError(f"{path} is not a recording (gzipped JSON lines): {error}") from error
    meta = next((record for record in records if record["type"] == "meta"), {})
    venue = meta.get("venue", "")
    if venue not in VENUES:
        raise ReplayError(f"{path} was recorded at {venue!r}; only {' and '.join(VENUES)} can be replayed")
    answers: defaultdict[str, list[RecordedAnswer]] = defaultdict(list)
    for record in records:
        if record["type"] == "http":
            url = urlsplit(record["path"])
            answers[url.path].append(RecordedAnswer(dict(parse_qsl(url.query)), record["body"]))
    symbols_by_id = _read_symbols(meta, answers)
    frames = (_read_frame(record, symbols_by_id) for record in records if record["type"] == "ws")
    return Recording(venue, symbols_by_id, answers, [frame for frame in frames if frame is not None])


def _read_symbols(meta: Mapping[str, Any], answers: Mapping[str, list[RecordedAnswer]]) -> dict[str, str]:
    """Map market ids to unified symbols: from exchangeInfo where it was recorded, else from the meta line."""
    symbols = {
        symbol.partition(":")[0].replace("/", "").lower(): symbol for symbol in meta.get("symbols", ()) if "/" in symbol
    }
    for path in ("/api/v3/exchangeInfo", "/fapi/v1/exchangeInfo"):
        for answer in answers.get(path, ()):
            for market in json.loads(answer.body)["symbols"]:
                settle = f":{market['marginAsset']}" if "marginAsset" in market else ""
                symbols[market["symbol"].lower()] = f"{market['baseAsset']}/{market['quoteAsset']}{settle}"
    return symbols


def _read_frame(record: Mapping[str, Any], symbols_by_id: Mapping[str, str]) -> RecordedFrame | None:
    text = record.get("data", "")
    if not text.startswith(_STREAM_START):
        return None
    stream = text[len(_STREAM_START) : text.index('"', len(_STREAM_START))]
    data_start = text.index(_DATA_START) + len(_DATA_START)
    market_id, _, suffix = stream.partition("@")
    kind = suffix.partition("@")[0]
    symbol = symbols_by_id.get(market_id)
    if symbol is None or kind not in {*_ID_FIELDS, "depth", "bookTicker"}:
        return None
    trade, update_id = None, 0
    if kind in _ID_FIELDS:
        data = json.loads(text[data_start:-1])
        trade = Trade(
            trade_id=data[_ID_FIELDS[kind]],
            price_ticks=int(Decimal(data["p"]) * PRICE_UNIT),
            amount_e8=int(Decimal(data["q"]) * PRICE_UNIT),
            time_ns=record["ns"],
            is_sell=data["m"],
        )
    elif kind == "depth":
        update_id = json.loads(text[data_start:-1])["u"]
    channel = TRADES if trade is not None else BOOKS
    return RecordedFrame(record["ns"], stream, text, data_start, symbol, channel, trade, update_id)
