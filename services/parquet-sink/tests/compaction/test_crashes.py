"""The compaction may die at any moment: readers see every row once all the while, and the next run tidies up."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import yaml

from tests.support import stored
from tests.support.compaction import (
    DAY_NS,
    MONDAY,
    MONDAY_NS,
    TUESDAY,
    check_records,
    check_tidy,
    count_stored,
    draw_trades,
    list_files,
    list_identities,
    make_trades,
    run_job,
    write_history,
)
from tickloom_parquet_sink.folder import LocalFolder


class Death(BaseException):
    """The process is gone."""


class MortalFolder(LocalFolder):
    """A folder whose process dies before one of its steps, and does nothing any more, whichever thread asks."""

    def __init__(self, root, dies_at=10**9):
        super().__init__(root)
        self.steps = []
        self._dies_at = dies_at

    def _step(self, *step):
        self.steps.append(step)
        if len(self.steps) >= self._dies_at:
            raise Death

    def create(self, path, data):
        self._step("create", path)
        return super().create(path, data)

    @contextmanager
    def open_writer(self, path):
        self._step("begin", path)
        with super().open_writer(path) as file:
            yield file
            self._step("written", path)
        self._step("ended", path)

    def read(self, path):
        self._step("read", path)
        return super().read(path)

    def delete(self, path):
        self._step("delete", path)
        super().delete(path)

    def look(self, path):
        self._step("look", path)
        return super().look(path)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A root in which everything is to be done (compact, compact again, remove, sweep), and its rows."""
    root = tmp_path_factory.mktemp("history") / "parquet"
    rows = draw_trades(1, 400, symbols=4, days=2, repeats=0)
    late, chunks = rows[100:120], rows[:100] + rows[120:]
    (writer,) = write_history(root, chunks, partitions=1, chunk_rows=100)
    run_job(root, days=[MONDAY], grace_s=10**6)
    writer.write(make_trades(late), stored_ns=rows[-1]["receive_time_ns"])
    (root / f"trades/exchange=binance/dt={TUESDAY}/000007-0a0b0c0d.parquet").write_bytes(b"left behind")
    return root, Counter(list_identities(rows))


def test_death_at_every_step(history, tmp_path):
    """Whatever step is the last, readers see each row once, no record names a missing file, and one run mends all."""
    original, expected = history
    shutil.copytree(original, tmp_path / "whole")
    whole = MortalFolder(tmp_path / "whole")
    run_job(whole)
    assert count_stored(tmp_path / "whole") == expected
    assert {step for step, _ in whole.steps} == {"create", "begin", "written", "ended", "read", "delete", "look"}
    for number, step in enumerate(whole.steps, start=1):
        root = tmp_path / str(number) / "parquet"
        shutil.copytree(original, root)
        with pytest.raises(Death):
            run_job(MortalFolder(root, number))
        check_records(root)
        assert count_stored(root) == expected, step
        run_job(root)
        check_records(root)
        assert count_stored(root) == expected, step
        check_tidy(root)


def test_death_while_days_expire(tmp_path):
    """A day that is removed because of its age is there as a whole or not at all, and stays gone."""
    original = tmp_path / "original"
    row = {"exchange": "kraken", "symbol": "C000/USDT", "exchange_time": None, "price": 1.0}
    times_ns = (MONDAY_NS - 1000 * DAY_NS, time.time_ns() - DAY_NS)
    rows = [row | {"receive_time_ns": time_ns, "trade_id": str(n)} for time_ns in times_ns for n in range(3)]
    write_history(original, rows, partitions=1, chunk_rows=2)
    rules = {"retention_days": {"trades": 100}, "closed_after_s": 10.0**6}
    shutil.copytree(original, tmp_path / "whole")
    whole = MortalFolder(tmp_path / "whole")
    run_job(whole, **rules)
    for number in range(1, len(whole.steps) + 1):
        root = tmp_path / str(number) / "parquet"
        shutil.copytree(original, root)
        with pytest.raises(Death):
            run_job(MortalFolder(root, number), **rules)
        check_records(root)
        assert stored.read_table(root, "trades").num_rows in {3, 6}
        run_job(root, **rules)
        assert stored.read_table(root, "trades").num_rows == 3
        check_records(root)


def test_kill_9(tmp_path):
    """Killed ten times at random moments, the program finishes the eleventh time, and every row is there once."""
    root = tmp_path / "parquet"
    rows = draw_trades(3, 40_000, symbols=20, days=3, repeats=0)
    write_history(root, rows)
    expected = Counter(list_identities(rows))
    config = tmp_path / "tickloom.yaml"
    settings = {"grace_s": 0, "memory_bytes": 2**20}
    config.write_text(
        yaml.safe_dump({"data_dir": str(tmp_path), "parquet_sink": {"uri": str(root)}, "compaction": settings})
    )
    command = [sys.executable, "-m", "tickloom_parquet_sink.compaction", f"--config={config}", "--log_level=error"]
    chance = random.Random(3)  # noqa: S311 - repeatable moments, no secret
    for _ in range(10):
        process = subprocess.Popen(command)
        try:
            process.wait(timeout=chance.uniform(0.6, 2.2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
        check_records(root)
        assert count_stored(root) == expected
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert count_stored(root) == expected
    check_tidy(root)
    assert not list_files(tmp_path, "tickloom-compaction") - {".lock"}
