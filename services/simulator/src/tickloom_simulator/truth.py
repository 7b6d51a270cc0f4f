"""The truth: what was written to whose sockets, told apart by agent, venue, channel and symbol."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tickloom_simulator.market import AMOUNT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tickloom_simulator.tape import Trade

JsonValue = str | int | float | None


class Series(NamedTuple):
    """One symbol's rows of one channel on one venue; `unit` scales its keys or prices."""

    venue: str
    channel: str
    symbol: str
    unit: int


class Ledger(Protocol):
    """What one agent was sent of one series."""

    def summarise(self) -> dict[str, JsonValue]:
        """Return sent, superseded, first_key, last_key, sum_amount, sum_cost."""

    def list_sent(self) -> list[JsonValue]:
        """Return the keys sent, oldest first."""

    def list_superseded(self) -> list[JsonValue]:
        """Return the keys that a complete client need not have."""


class IntegerSpans:
    """A set of integers kept as disjoint, ordered spans: contiguous ids cost nothing."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # inclusive

    def __iter__(self) -> Iterator[int]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield from range(start, end + 1)

    def __len__(self) -> int:
        return sum(end - start + 1 for start, end in zip(self._starts, self._ends, strict=True))

    @property
    def first(self) -> int | None:
        """The smallest number, None when there is none."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The largest number, None when there is none."""
        return self._ends[-1] if self._ends else None

    def add(self, number: int) -> bool:
        """Add a number; return whether it was new."""
        position = bisect_right(self._starts, number)
        if position and number <= self._ends[position - 1]:
            return False
        joins_left = position > 0 and self._ends[position - 1] == number - 1
        joins_right = position < len(self._starts) and self._starts[position] == number + 1
        if joins_left and joins_right:
            self._ends[position - 1] = self._ends.pop(position)
            del self._starts[position]
        elif joins_left:
            self._ends[position - 1] = number
        elif joins_right:
            self._starts[position] = number
        else:
            self._starts.insert(position, number)
            self._ends.insert(position, number)
        return True


class TradeLedger:
    """The trades an agent was sent. Keys are trade ids as text; sums are exact until they are read.

    Trades that only stood in a snapshot happened before the subscription: a client may keep them or not.
    """

    def __init__(self, ticks_per_unit: int) -> None:
        self._ids = IntegerSpans()
        self._earlier = IntegerSpans()
        self._ticks_per_unit = ticks_per_unit
        self._amount_e8 = 0
        self._cost_scaled = 0

    def add(self, trades: Sequence[Trade]) -> None:
        """Count the trades that were not counted before."""
        add = self._ids.add
        for trade in trades:
            if add(trade.trade_id):
                self._amount_e8 += trade.amount_e8
                self._cost_scaled += trade.amount_e8 * trade.price_ticks

    def note_earlier(self, trades: Sequence[Trade]) -> None:
        """Note the trades of a snapshot."""
        for trade in trades:
            self._earlier.add(trade.trade_id)

    def summarise(self) -> dict[str, JsonValue]:
        """Return the row of `GET /truth`."""
        first, last = self._ids.first, self._ids.last
        return {
            "sent": len(self._ids),
            "superseded": len(self.list_superseded()),
            "first_key": str(first) if first is not None else None,
            "last_key": str(last) if last is not None else None,
            "sum_amount": self._amount_e8 / AMOUNT_SCALE,
            "sum_cost": self._cost_scaled / (AMOUNT_SCALE * self._ticks_per_unit),
        }

    def list_sent(self) -> list[JsonValue]:
        """Return the trade ids as text, ascending."""
        return [str(trade_id) for trade_id in self._ids]

    def list_superseded(self) -> list[JsonValue]:
        """Return the trades that only stood in a snapshot."""
        sent = set(self._ids)
        return [str(trade_id) for trade_id in self._earlier if trade_id not in sent]


class KeyLedger:
    """The tickers or book states an agent was sent, by key.

    A Binance depth frame that came before the REST snapshot of its subscription stands here as provisional,
    with its update id, until the snapshot says whether a correct client keeps it.
    """

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._firm: dict[int, None] = {}
        self._provisional: dict[int, int] = {}
        self._superseded: dict[int, None] = {}

    def add(self, key: int) -> None:
        """Count a key."""
        self._firm[key] = None

    def add_provisional(self, key: int, update_id: int) -> None:
        """Count a key until a snapshot decides on its update id."""
        self._provisional[key] = update_id

    def add_superseded(self, key: int) -> None:
        """Note a key that a correct client drops."""
        self._superseded[key] = None

    def settle(self, last_update_id: int) -> None:
        """Decide on the provisional keys: those up to the snapshot's id are superseded, the others sent."""
        for key, update_id in self._provisional.items():
            (self._superseded if update_id <= last_update_id else self._firm)[key] = None
        self._provisional.clear()

    def summarise(self) -> dict[str, JsonValue]:
        """Return the row of `GET /truth`."""
        sent = self.list_sent()
        return {
            "sent": len(sent),
            "superseded": len(self.list_superseded()),
            "first_key": sent[0] if sent else None,
            "last_key": sent[-1] if sent else None,
            "sum_amount": None,
            "sum_cost": None,
        }

    def list_sent(self) -> list[JsonValue]:
        """Return the keys sent, oldest first."""
        return [self._write(key) for key in self._firm | dict.fromkeys(self._provisional)]

    def list_superseded(self) -> list[JsonValue]:
        """Return the keys that a correct client must drop."""
        kept = self._firm.keys() | self._provisional.keys()
        return [self._write(key) for key in self._superseded if key not in kept]

    def _write(self, key: int) -> JsonValue:
        return key if self._unit == 1 else key / self._unit


@dataclass(slots=True)
class AgentTruth:
    """What one agent was sent."""

    trades: dict[Series, TradeLedger] = field(default_factory=dict)
    keyed: dict[Series, KeyLedger] = field(default_factory=dict)

    def trade_ledger(self, series: Series) -> TradeLedger:
        """Return the ledger of a series of trades, made when it is first asked for."""
        ledger = self.trades.get(series)
        if ledger is None:
            ledger = self.trades[series] = TradeLedger(series.unit)
        return ledger

    def key_ledger(self, series: Series) -> KeyLedger:
        """Return the ledger of a series of tickers or book states, made when it is first asked for."""
        ledger = self.keyed.get(series)
        if ledger is None:
            ledger = self.keyed[series] = KeyLedger(series.unit)
        return ledger

    def ledgers(self) -> dict[Series, Ledger]:
        """Return all ledgers."""
        return {**self.trades, **self.keyed}


class Truth:
    """What every agent was sent."""

    def __init__(self) -> None:
        self._agents: defaultdict[str, AgentTruth] = defaultdict(AgentTruth)

    def of(self, agent: str) -> AgentTruth:
        """Return an agent's part."""
        return self._agents[agent]

    def forget(self) -> None:
        """Forget everything."""
        self._agents.clear()

    def summarise(self, agent: str | None) -> list[dict[str, JsonValue]]:
        """Return one row a series; all agents' rows carry the agent's name when `agent` is None."""
        rows: list[dict[str, JsonValue]] = []
        for name, part in sorted(self._agents.items()):
            if agent not in {None, name}:
                continue
            for series, ledger in sorted(part.ledgers().items()):
                owner: dict[str, JsonValue] = {"agent": name} if agent is None else {}
                place: dict[str, JsonValue] = {
                    "venue": series.venue,
                    "channel": series.channel,
                    "symbol": series.symbol,
                }
                rows.append({**owner, **place, **ledger.summarise()})
        return rows

    def list_keys(self, agent: str, venue: str, channel: str, symbol: str | None) -> dict[str, dict[str, object]]:
        """Return the keys of a channel by symbol."""
        part = self._agents.get(agent, AgentTruth())
        return {
            series.symbol: {"sent": ledger.list_sent(), "superseded": ledger.list_superseded()}
            for series, ledger in sorted(part.ledgers().items())
            if series.venue == venue and series.channel == channel and symbol in {None, series.symbol}
        }
