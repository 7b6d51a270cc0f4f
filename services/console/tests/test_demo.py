from __future__ import annotations

import json

import pytest


def test_the_demo_stores_every_row_once(tmp_path, run_tickloom):
    """Five seconds of three venues and channels: all sent rows are stored once, and summary.json says so."""
    old = tmp_path / "data/demo/old"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier demo")
    done = run_tickloom("demo", DEMO_SECONDS="5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not old.exists()
    summary = json.loads((tmp_path / "data/demo/summary.json").read_text())
    pairs = [(account["venue"], account["channel"]) for account in summary]
    assert pairs == [(v, c) for v in ("binance", "coinbase", "kraken") for c in ("trades", "tickers", "books")]
    for account in summary:
        assert set(account) == {"venue", "channel", "symbols", "sent", "stored", "missing", "duplicated"}
        assert account["symbols"] == 4
        assert account["sent"] > 0
        assert (account["stored"], account["missing"], account["duplicated"]) == (account["sent"], 0, 0)
    assert "venue     channel  symbols" in done.stdout
    assert {path.stem for path in (tmp_path / "data/demo/logs").iterdir()} == {
        "collector-0",
        "nats",
        "parquet-sink",
        "planner",
        "simulator",
        "sql-sink",
    }
    assert "tickloom.sqlite holds as many rows" in done.stdout
    query = "select count(*) from trades"
    counted = run_tickloom("sql", "--root=data/demo/parquet", query).stdout.splitlines()[1]
    assert int(counted) == sum(account["stored"] for account in summary if account["channel"] == "trades")


@pytest.mark.parametrize("seconds", ["soon", "0", "inf"])
def test_a_wrong_duration_is_refused_before_anything_is_removed(tmp_path, run_tickloom, seconds):
    """`DEMO_SECONDS` that is no positive number is an error of the configuration."""
    kept = tmp_path / "data/demo/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    done = run_tickloom("demo", DEMO_SECONDS=seconds)
    assert done.returncode == 2
    assert "DEMO_SECONDS" in done.stderr
    assert kept.exists()
