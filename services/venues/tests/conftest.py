"""What the tests of the venues share: ccxt exchanges that never leave the process, and recorded frames."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from aiohttp import web

from tickloom_core.config import VenueConfig
from tickloom_venues.opening import open_venue

PROJECT = Path(__file__).resolve().parents[3]


class RecordingClient:
    """Stands where ccxt has its websocket client, and keeps what the frames resolve to."""

    def __init__(self, url):
        self.url = url
        self.subscriptions = {}
        self.futures = {}
        self.resolved = []

    def resolve(self, result, message_hash):
        self.resolved.append((message_hash, result))

    def reject(self, error, message_hash=None):
        raise AssertionError(f"{message_hash} was rejected: {error}")


@pytest.fixture
def recording_client():
    """Makes clients that record."""
    return RecordingClient


@pytest.fixture
def offline_exchange():
    """Opens a venue and gives it markets, {id: symbol}, without asking anybody."""

    def make(venue_id, symbols_by_id):
        exchange = open_venue(venue_id, VenueConfig(), agent="tickloom-test/0")
        exchange.set_markets([market_of(exchange, market_id, symbol) for market_id, symbol in symbols_by_id.items()])
        exchange.options["tradesLimit"] = 1_000_000
        return exchange

    return make


def market_of(exchange, market_id, symbol):
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    return exchange.safe_market_structure(
        {
            "id": market_id,
            "symbol": symbol,
            "base": base,
            "quote": quote,
            "baseId": base,
            "quoteId": quote,
            "settle": settle or None,
            "type": "swap" if settle else "spot",
            "spot": not settle,
            "swap": bool(settle),
            "contract": bool(settle),
            "linear": True if settle else None,
            "inverse": False if settle else None,
            "contractSize": 1.0 if settle else None,
            "active": True,
            "precision": {"price": 0.01, "amount": 0.00001},
            "taker": 0.001,
            "maker": 0.001,
        }
    )


@pytest.fixture(scope="session")
def corpus():
    """The folder with recorded traffic."""
    folder = Path(os.environ.get("TICKLOOM_CORPUS", PROJECT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip("no recorded traffic: set TICKLOOM_CORPUS to a folder with recordings/ and frames/")
    return folder


@pytest.fixture(scope="session")
def recorded_frames(corpus):
    """Reads the decoded frames of one recording or one list of frames, at most `limit`."""

    def read(name, keep=lambda _: True, limit=5000):
        recording = corpus / "recordings" / f"{name}.jsonl.gz"
        if recording.exists():
            with gzip.open(recording, "rt") as lines:
                records = (json.loads(line) for line in lines)
                texts = [record["data"] for record in records if record["type"] == "ws" and "data" in record]
        else:
            texts = (corpus / "frames" / f"{name}.jsonl").read_text().splitlines()
        return [frame for frame in map(json.loads, texts) if keep(frame)][:limit]

    return read


@pytest.fixture
async def aiohttp_endpoint():
    """Starts HTTP servers on 127.0.0.1, one handler for every path."""
    runners = []

    async def start(handler):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()
