"""The truth counts each key once, whatever the order, and knows what a snapshot made obsolete."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom_simulator.tape import Trade
from tickloom_simulator.truth import IntegerSpans, KeyLedger, Series, TradeLedger, Truth


@given(st.lists(st.integers(min_value=0, max_value=60)))
def test_spans_are_a_set(numbers):
    """Spans hold what a set holds, ascending, and tell what is new."""
    spans, expected = IntegerSpans(), set()
    for number in numbers:
        assert spans.add(number) is (number not in expected)
        expected.add(number)
    assert list(spans) == sorted(expected)
    assert len(spans) == len(expected)


def test_trades_count_once():
    """Trades that overlap with earlier ones add only what is new to counts and sums."""
    ledger = TradeLedger(ticks_per_unit=100)
    trades = [Trade(number, 250, 40_000_000, 0, is_sell=False) for number in range(10)]
    ledger.add(trades[:6])
    ledger.add(trades[3:])
    assert ledger.summarise() == {
        "sent": 10,
        "superseded": 0,
        "first_key": "0",
        "last_key": "9",
        "sum_amount": 4.0,
        "sum_cost": 10.0,
    }


def test_a_snapshot_settles():
    """Provisional keys count as sent until a snapshot supersedes those up to its id."""
    ledger = KeyLedger(unit=1)
    for key, update_id in ((10, 1), (11, 2), (12, 3)):
        ledger.add_provisional(key, update_id)
    assert ledger.list_sent() == [10, 11, 12]
    ledger.settle(2)
    assert (ledger.list_sent(), ledger.list_superseded()) == ([12], [10, 11])


def test_a_good_connection_outweighs():
    """A key that another connection of the agent got in step is sent, though one of them must drop it."""
    ledger = KeyLedger(unit=1)
    ledger.add_provisional(10, 1)
    ledger.add(10)
    ledger.settle(5)
    assert (ledger.list_sent(), ledger.list_superseded()) == ([10], [])


def test_agents_are_apart():
    """Each agent has its own rows; without an agent all are listed with their names."""
    truth = Truth()
    series = Series("binance", "trades", "BTC/USDT", 100)
    truth.of("a").trade_ledger(series).add([Trade(1, 1, 1, 0, is_sell=True)])
    truth.of("b").trade_ledger(series).add([Trade(2, 1, 1, 0, is_sell=True)])
    assert [row["last_key"] for row in truth.summarise("a")] == ["1"]
    assert [row["agent"] for row in truth.summarise(None)] == ["a", "b"]
    assert truth.list_keys("b", "binance", "trades", None) == {"BTC/USDT": {"sent": ["2"], "superseded": []}}
    truth.forget()
    assert truth.summarise(None) == []
