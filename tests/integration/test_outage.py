"""nats-server away under load: what the bounds allow is kept, what they do not is an event with count and range."""

from __future__ import annotations

import time

import pytest

from tests.support import stored
from tests.support.stack import wait_until

AWAY_SECONDS = 20


@pytest.mark.timeout(300)
def test_away_for_twenty_seconds(make_stack):
    """Within the bounds nothing is lost."""
    stack = make_stack("--synthetic", "--trades_per_s=1000", "--tickers_per_s=50", "--books_per_s=50")
    stack.wait_for_flow()
    stack.nats.kill()
    time.sleep(AWAY_SECONDS)  # the length of the outage
    stack.nats.start()
    before = stack.simulator.count_sent()
    wait_until(lambda: stack.simulator.count_sent() > before + 1000, within_s=60, what="data flows after the outage")
    stack.simulator.pause()
    stack.wait_for_stored()
    assert [row for row in stack.compare() if row[3] or row[4]] == []


@pytest.mark.timeout(300)
def test_what_does_not_fit_is_said(make_stack):
    """Beyond the bounds every missing row lies in a `dropped` event of its channel: same count, inside its range."""

    def tighten(config):
        config["collector"].update(buffer_bytes=50_000, spool_max_bytes=100_000)
        config["venues"] = {"binance": config["venues"]["binance"]}

    flags = ("--synthetic", "--venues=binance", "--trades_per_s=1000", "--tickers_per_s=50", "--books_per_s=50")
    stack = make_stack(*flags, adjust=tighten)
    stack.wait_for_flow()
    stack.nats.kill()
    time.sleep(AWAY_SECONDS)  # the length of the outage
    stack.nats.start()
    before = stack.simulator.count_sent()
    wait_until(lambda: stack.simulator.count_sent() > before + 1000, within_s=60, what="data flows after the outage")
    stack.simulator.pause()

    def read_dropped() -> dict[str, tuple[int, int, int]]:
        dropped: dict[str, tuple[int, int, int]] = {}
        for row in stored.read_table(stack.root, "events").to_pylist():
            if row["kind"] == "dropped":
                count, start, end = dropped.get(row["subject_channel"], (0, row["range_start_ns"], 0))
                dropped[row["subject_channel"]] = (
                    count + row["count"],
                    min(start, row["range_start_ns"]),
                    max(end, row["range_end_ns"]),
                )
        return dropped

    def accounted() -> bool:
        stack.assert_running()
        dropped = sum(count for count, _, _ in read_dropped().values())
        return stored.count_rows(stack.root) + dropped >= stack.simulator.count_sent()

    wait_until(accounted, within_s=60, what="stored rows plus dropped rows reach sent rows")
    dropped = read_dropped()
    for _, channel, _, missing, repeated in stack.compare():
        assert repeated == 0
        assert missing == dropped.get(channel, (0, 0, 0))[0], channel
    assert dropped["trades"][0] > 0
    first_ns, last_ns = dropped["trades"][1:]
    assert AWAY_SECONDS * 0.3 < (last_ns - first_ns) / 1e9 < AWAY_SECONDS + 20
