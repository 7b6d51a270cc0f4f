"""The sync beside a compaction of the target: whatever either of them removes, every row is there once."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.stored import read_table
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import Config
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.store import ParquetStore

STREAM = StreamIdentity("MARKETDATA", "2026-11-19T05:15:13.334000223Z")
CLOSED_DAY_NS = 1_795_089_600 * 10**9
"""2026-11-19T12:00:00Z."""


async def test_every_row_is_there_once(make_trades, make_chunk, source, target, carry, tmp_path):
    """Chunks that are compacted and retired in the target leave here, late ones are seen there, none is seen twice."""
    configuration = tmp_path / "tickloom.yaml"
    rules = {"grace_s": 0, "closed_after_s": 0}
    configuration.write_text(json.dumps({"parquet_sink": {"uri": str(target.path)}, "compaction": rules}))
    store = ParquetStore(open_destination(Config(data_dir=str(source.path.parent))))
    await store.open_partition(0, STREAM)
    for generation in (1, 2):
        numbers = range(generation * 10, generation * 10 + 3)
        for number in numbers:
            message = make_trades(number, receive_time_ns=CLOSED_DAY_NS)
            await store.write(make_chunk([message], first=number, stored_ns=CLOSED_DAY_NS, stream=STREAM))
        await carry(delete_after_s=None if generation == 1 else 0)
        command = [sys.executable, "-m", "tickloom_parquet_sink.compaction", f"--config={configuration}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: ASYNC221 - nothing else runs here
        await carry(delete_after_s=0)
        sent = [f"{m * 10 + n}-{row}" for m in range(1, generation + 1) for n in range(3) for row in range(3)]
        assert sorted(read_table(target.path, "trades")["trade_id"].to_pylist()) == sorted(sent)
        assert len(target.read_manifests()) == 1
        assert len(source.read_manifests()) == 1
    store.close()
