"""How fast days are compacted, how small they become, and how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench.report import Row, at_most
from tests.support import stored
from tests.support.history import ChunkWriter, Market, cut, make_day, receive_again

ROWS = 10_000_000
SYMBOLS = 200
DAYS = ("2026-11-16", "2026-11-17", "2026-11-18")
CHUNK_ROWS = 25_000
REPEATED_SHARE = 0.01


# Started from here the program would begin with this process's own size as its peak.
_TELL_PEAK = """
import resource, subprocess, sys
subprocess.check_call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True)
class Run:
    """One compaction as a process: how long it took, and how much memory at most."""

    seconds: float
    rss_bytes: int


def write_days(root: Path) -> None:
    """Write the days as chunks; one trade of a hundred is received twice."""
    writer = ChunkWriter(root)
    for seed, day in enumerate(DAYS, start=1):
        trades = receive_again(make_day(Market(SYMBOLS, ROWS // len(DAYS)), day, seed), REPEATED_SHARE, seed)
        for chunk in cut(trades, CHUNK_ROWS):
            writer.write(chunk, stored_ns=chunk["receive_time_ns"][0].as_py())


def compact(root: Path, folder: Path, **settings: object) -> Run:
    """Run the program over a root; `folder` is for what it needs besides."""
    path = folder / "tickloom.yaml"
    document = {"data_dir": str(folder), "parquet_sink": {"uri": str(root)}, "compaction": settings}
    path.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "tickloom_parquet_sink.compaction", f"--config={path}", "--log_level=error"]
    start_s = time.monotonic()
    told = subprocess.check_output([sys.executable, "-c", _TELL_PEAK, *command], text=True)
    return Run(time.monotonic() - start_s, int(told) * 1024)


def measure_bytes_per_row(root: Path) -> float:
    """Return bytes on disk a trade that is data."""
    files = stored.read_files(root)
    return sum(file.bytes for file in files) / sum(file.rows for file in files)


def measure() -> list[Row]:
    """Return the rows of this part: ten million trades of 200 symbols and three days."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "parquet"
        write_days(root)
        before_bytes = measure_bytes_per_row(root)
        run = compact(root, Path(folder))
        return [
            Row("compaction, chunks to sorted days", ROWS / run.seconds, "rows/s"),
            Row("Parquet bytes a trade, synthetic, as chunks", before_bytes, "B"),
            at_most("Parquet bytes a trade, synthetic, compacted", measure_bytes_per_row(root), "B", 13),
            at_most("memory, compaction of 3.3 million trades a day", run.rss_bytes / 1e6, "MB", 1500),
        ]
