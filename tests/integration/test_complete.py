"""Stored equals sent: compared by id, not assumed."""

from __future__ import annotations

import time

import pytest

from tests.support import stored
from tests.support.stack import wait_until

SYNTHETIC = ("--synthetic", "--trades_per_s=2000", "--tickers_per_s=100", "--books_per_s=200")
LOAD_SECONDS = 60
SYMBOLS = 4


def assert_complete(stack) -> None:
    """Assert that every row that was sent is stored, once, on every channel of every venue."""
    comparison = stack.compare()
    assert all(sent for _, _, sent, _, _ in comparison), comparison
    assert [row for row in comparison if row[3] or row[4]] == []


@pytest.mark.timeout(300)
def test_a_minute_of_everything(make_stack):
    """Every venue, every channel, 60 s at 2,000 trades/s: stored = sent, by id."""
    stack = make_stack(*SYNTHETIC)
    stack.wait_for_flow()
    time.sleep(LOAD_SECONDS)  # the length of the load, not a synchronisation
    stack.simulator.pause()
    stack.wait_for_stored()
    assert_complete(stack)
    trades = sum(sent for _, channel, sent, _, _ in stack.compare() if channel == "trades")
    assert trades > 0.8 * 2000 * LOAD_SECONDS


@pytest.mark.parametrize(("venue", "symbol"), [("binance", "BTC/USDT"), ("kraken", "BTC/USD"), ("coinbase", "BTC/USD")])
def test_burst(make_stack, venue, symbol):
    """5,000 trades of one symbol in one batch of frames: 5,000 stored, where ccxt's own watch_trades gives 1,000."""
    stack = make_stack("--synthetic", "--trades_per_s=50")
    stack.wait_for_flow()
    stack.simulator.inject("burst", venue, symbol=symbol, count=5000)
    wait_until(
        lambda: len(stack.simulator.read_keys(venue, "trades")[symbol]) >= 5000, within_s=20, what="the burst is sent"
    )
    stack.simulator.pause()
    stack.wait_for_stored()
    assert_complete(stack)


def test_reconnects(make_stack):
    """Closed sockets, one venue after the other: events say so, and what is sent afterwards is stored."""
    stack = make_stack("--synthetic", "--trades_per_s=300")
    stack.wait_for_flow()
    for venue in stack.simulator.venues:
        stack.simulator.inject("close", venue, mode="clean")
    before = stack.simulator.count_sent()
    wait_until(lambda: stack.simulator.count_sent() > before + 2000, within_s=60, what="data flows again")
    stack.simulator.pause()
    stack.wait_for_stored()
    for venue, channel, _, missing, repeated in stack.compare():
        assert missing == 0, (venue, channel)
        # A venue that begins a subscription with the present state sends what it had sent before, once a symbol.
        assert repeated <= (0 if channel == "trades" else SYMBOLS), (venue, channel)

    def told() -> bool:
        events = stored.read_table(stack.root, "events")
        kinds = (
            set()
            if not events.num_rows
            else {(row["exchange"], row["kind"]) for row in events.select(["exchange", "kind"]).to_pylist()}
        )
        wanted = {(venue, kind) for venue in stack.simulator.venues for kind in ("connect", "disconnect", "reconnect")}
        return wanted <= kinds

    wait_until(told, within_s=20, what="connect, disconnect and reconnect events of each venue are stored")


def test_graceful_stop_drains(make_stack):
    """SIGTERM to the collector under load: everything that the venue had sent it is stored, exit code 0."""
    stack = make_stack("--synthetic", "--trades_per_s=1000")
    stack.wait_for_flow()
    stack.simulator.pause()
    stack.simulator.resume()
    stack.simulator.pause()
    assert stack.stop("collector-0") == 0
    assert stack.stop("planner") == 0
    stack.wait_for_stored()
    assert_complete(stack)
    assert stack.stop("parquet-sink") == 0


@pytest.mark.parametrize("feed", ["auto", "ccxt"])
def test_each_feed_of_binance(make_stack, feed):
    """Binance trades are complete through the native feed, which `auto` takes, and through ccxt."""

    def choose_feed(config):
        config["venues"]["binance"]["feed"] = feed

    stack = make_stack("--synthetic", "--trades_per_s=1000", "--venues=binance", adjust=choose_feed)
    stack.wait_for_flow()
    wait_until(lambda: stack.simulator.count_sent() > 5000, within_s=60, what="5,000 rows sent")
    stack.simulator.pause()
    stack.wait_for_stored()
    assert_complete(stack)
