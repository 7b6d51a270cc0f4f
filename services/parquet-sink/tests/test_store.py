"""Files, then the manifest: what is committed, what is in sight, and what comes again after a crash."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pytest

from tests.support.bus import eventually
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import PermanentError, SupersededError, TransientError
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.store import ParquetStore

NOON_NS = 1_795_262_400 * 10**9
DAY_NS = 24 * 3600 * 10**9
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
REBORN = StreamIdentity("MARKETDATA", "2026-11-21T09:00:00.000000001Z")


class DyingFolder(LocalFolder):
    """A folder whose process dies instead of creating a manifest."""

    def create(self, path, data):
        raise KeyboardInterrupt


class FullFolder(LocalFolder):
    """A folder whose disk is full at the first write."""

    def __init__(self, root):
        super().__init__(root)
        self._full = [root / "full"]
        self._full[0].symlink_to("/dev/full")

    @contextmanager
    def _stage(self):
        with super()._stage() as active:
            yield self._full.pop() if self._full else active


@pytest.fixture
def open_store():
    """Open stores on a local root; their threads end with the test."""
    stores = []

    def make(root, folder=LocalFolder, **config):
        stores.append(ParquetStore(folder(root), ParquetSinkConfig(**config)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


async def commit(store, *chunks):
    for chunk in chunks:
        await store.open_partition(chunk.partition, chunk.stream)
        await store.write(chunk)


async def test_manifest_names_everything(open_store, make_trades, make_chunk, stored, tmp_path):
    """A manifest names stream, partition, sequences and each file with its rows and bytes."""
    messages = [make_trades(1), make_trades(2, exchange="kraken"), make_trades(3)]
    await commit(open_store(tmp_path), make_chunk(messages, first=7, partition=2))
    (manifest,) = stored(tmp_path).read_manifests()
    name = "0002-826b8201-00000000000000000007-00000000000000000009"
    for file in manifest["files"]:
        data = (tmp_path / file["path"]).read_bytes()
        assert file.pop("bytes") == len(data)
        assert Path(file["path"]).name == f"{name}-{blake2b(data, digest_size=8).hexdigest()}.parquet"
        file["path"] = str(Path(file["path"]).parent)
    assert manifest.pop("software").startswith("tickloom-parquet-sink ")
    assert manifest.pop("writer_window")
    assert manifest == {
        "format": 1,
        "stream": {"name": STREAM.name, "created": STREAM.created},
        "partition": 2,
        "first_sequence": 7,
        "last_sequence": 9,
        "stored_ns": NOON_NS,
        "rows": {"trades": 9},
        "files": [
            {
                "path": f"trades/exchange={exchange}/dt=2026-11-21",
                "channel": "trades",
                "exchange": exchange,
                "dt": "2026-11-21",
                "rows": rows,
            }
            for exchange, rows in (("binance", 6), ("kraken", 3))
        ],
    }
    path = "_manifest/0002/2026-11-21/826b8201-00000000000000000007.json"
    assert (tmp_path / path).is_file()


async def test_nothing_committed(open_store, tmp_path):
    """A partition without a manifest begins at 0 with an empty window."""
    committed = await open_store(tmp_path).open_partition(0, STREAM)
    assert (committed.last_sequence, committed.writers.to_ranges()) == (0, {})


async def test_the_last_manifest_counts(open_store, make_trades, make_chunk, tmp_path):
    """A new owner goes on behind the newest chunk, over the change of day, with the writers that it had seen."""
    chunks = [
        make_chunk([make_trades(n, writer=f"w{n}")], first=n, stored_ns=NOON_NS + n * DAY_NS // 2) for n in range(1, 12)
    ]
    chunks[-1].writers.note("scattered", 2**63)
    chunks[-1].writers.note("scattered", 5)
    await commit(open_store(tmp_path), *chunks)
    committed = await open_store(tmp_path).open_partition(0, STREAM)
    assert committed.last_sequence == 11
    assert committed.writers.to_ranges() == {"w11": [[11, 11]], "scattered": [[2**63, 2**63], [5, 5]]}


async def test_a_clock_that_steps_back(open_store, make_trades, make_chunk, tmp_path):
    """A chunk stored on an earlier day than the one before it, by the server's clock, is still found as the last."""
    chunks = [make_chunk([make_trades(n)], first=n, stored_ns=NOON_NS + day * DAY_NS) for n, day in ((1, 1), (2, 0))]
    await commit(open_store(tmp_path), *chunks)
    assert (await open_store(tmp_path).open_partition(0, STREAM)).last_sequence == 2


async def test_a_stream_made_again(open_store, make_trades, make_chunk, stored, tmp_path):
    """A stream that counts from 1 again overwrites nothing and does not continue the old one."""
    store = open_store(tmp_path)
    await commit(store, make_chunk([make_trades(1), make_trades(2)]))
    assert (await store.open_partition(0, REBORN)).last_sequence == 0
    await commit(store, make_chunk([make_trades(3), make_trades(4)], stream=REBORN))
    assert sorted(stored(tmp_path).read_ids()) == [f"{n}-{row}" for n in range(1, 5) for row in range(3)]
    assert (await store.open_partition(0, STREAM)).last_sequence == 2


async def test_a_chunk_without_rows(open_store, make_chunk, stored, tmp_path):
    """A chunk of which nothing was readable still moves the committed position."""
    await commit(open_store(tmp_path), make_chunk([], first=4))
    (manifest,) = stored(tmp_path).read_manifests()
    assert (manifest["files"], manifest["rows"], manifest["last_sequence"]) == ([], {}, 4)
    assert (await open_store(tmp_path).open_partition(0, STREAM)).last_sequence == 4


async def test_death_between_files_and_manifest(open_store, make_trades, make_chunk, stored, tmp_path):
    """Files without a manifest are no data; the chunk comes again, under the same names, byte for byte."""
    messages = [make_trades(1), make_trades(2)]
    with pytest.raises(KeyboardInterrupt):
        await commit(open_store(tmp_path, DyingFolder), make_chunk(messages))
    left = stored(tmp_path).read_objects()
    assert len(left) == 1
    assert stored(tmp_path).count_rows() == 0
    store = open_store(tmp_path)
    assert (await store.open_partition(0, STREAM)).last_sequence == 0
    await store.write(make_chunk(messages))
    written = stored(tmp_path).read_objects()
    assert written.items() >= left.items()
    assert stored(tmp_path).read_ids() == [f"{n}-{row}" for n in (1, 2) for row in range(3)]


async def test_unfinished_files_are_out_of_sight(open_store, stored, tmp_path):
    """What a crash left under _active is removed by whoever opens a partition next."""
    left = tmp_path / "_active/0001/trades/x.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    await open_store(tmp_path).open_partition(1, STREAM)
    assert not left.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to stand for a full disk")
async def test_a_full_disk_is_waited_for(open_store, make_trades, make_chunk, stored, tmp_path):
    """A write that finds no space fails for now, leaves nothing behind, and succeeds when there is space."""
    store, chunk = open_store(tmp_path, FullFolder), make_chunk([make_trades(1)])
    await store.open_partition(0, STREAM)
    with pytest.raises(TransientError, match="No space left on device; free some space"):
        await store.write(chunk)
    assert stored(tmp_path).read_manifests() == []
    await store.write(chunk)
    assert stored(tmp_path).count_rows() == 3


async def test_an_older_name_of_a_manifest(open_store, make_trades, make_chunk, stored, tmp_path):
    """A chain whose manifests have the names of an earlier version is carried on behind its last chunk."""
    await commit(open_store(tmp_path), make_chunk([make_trades(1)]), make_chunk([make_trades(2)], first=2))
    folder = tmp_path / "_manifest/0000/2026-11-21"
    for first in (1, 2):
        name = f"826b8201-{first:020d}"
        (folder / f"{name}.json").rename(folder / f"{name}-{first:020d}.json")
    store = open_store(tmp_path)
    assert (await store.open_partition(0, STREAM)).last_sequence == 2
    await store.write(make_chunk([make_trades(3)], first=3))
    assert (await open_store(tmp_path).open_partition(0, STREAM)).last_sequence == 3
    assert stored(tmp_path).count_rows() == 9


async def test_another_sink_was_faster(open_store, make_trades, make_chunk, stored, tmp_path):
    """A chunk in whose place another process has committed another is refused, and its rows are not data."""
    slow, fast = open_store(tmp_path), open_store(tmp_path)
    for store in (slow, fast):
        await store.open_partition(0, STREAM)
    await fast.write(make_chunk([make_trades(1), make_trades(2)]))
    with pytest.raises(SupersededError, match="another sink has carried partition 0 on from 0"):
        await slow.write(make_chunk([make_trades(1)]))
    assert (await slow.open_partition(0, STREAM)).last_sequence == 2
    assert stored(tmp_path).read_ids() == [f"{n}-{row}" for n in (1, 2) for row in range(3)]


async def test_the_same_chunk_twice(open_store, make_trades, make_chunk, stored, tmp_path):
    """Two processes that commit the same chunk agree, also when the answer to one of them was lost."""
    stores = [open_store(tmp_path), open_store(tmp_path)]
    for store in stores:
        await store.open_partition(0, STREAM)
    for store in stores:
        await store.write(make_chunk([make_trades(1)]))
    assert stored(tmp_path).count_rows() == 3


async def test_messages_that_another_sink_has_taken(open_store, make_trades, make_chunk, stored, tmp_path):
    """A sink that sees only what another left of the same sequences overwrites nothing that is committed."""
    slow, fast = open_store(tmp_path), open_store(tmp_path)
    for store in (slow, fast):
        await store.open_partition(0, STREAM)
    await fast.write(make_chunk([make_trades(1), make_trades(2)]))
    left = make_chunk([make_trades(2)])
    left.last_sequence = 2
    left.stored_ns += DAY_NS
    with pytest.raises(SupersededError):
        await slow.write(left)
    assert stored(tmp_path).read_ids() == [f"{n}-{row}" for n in (1, 2) for row in range(3)]


async def test_a_manifest_that_cannot_be_read(open_store, make_trades, make_chunk, tmp_path):
    """A damaged manifest stops the sink with its path: guessing the position would store rows twice."""
    await commit(open_store(tmp_path), make_chunk([make_trades(1)]))
    (path,) = tmp_path.glob("_manifest/*/*/*.json")
    path.write_text(path.read_text()[:40])
    with pytest.raises(PermanentError, match=f"{path} is no manifest"):
        await open_store(tmp_path).open_partition(0, STREAM)


async def test_a_manifest_of_a_newer_program(open_store, make_trades, make_chunk, tmp_path):
    """A manifest format that is not known stops the sink."""
    await commit(open_store(tmp_path), make_chunk([make_trades(1)]))
    (path,) = tmp_path.glob("_manifest/*/*/*.json")
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(PermanentError, match="format 2, this program reads up to 1"):
        await open_store(tmp_path).open_partition(0, STREAM)


async def test_a_window_stays_small(open_store, make_chunk, stored, tmp_path):
    """A full window of a writer whose batches are spread over partitions costs a manifest a few kilobytes."""
    chunk = make_chunk([])
    window = WriterWindow()
    for n in range(5000):
        window.note("collector-0.01JD3X", n * 4 + n % 3)
    chunk.writers = window
    await commit(open_store(tmp_path), chunk)
    (manifest,) = stored(tmp_path).read_manifests()
    assert len(manifest["writer_window"]) < 6_000
    committed = await open_store(tmp_path).open_partition(0, STREAM)
    assert committed.writers.to_ranges() == window.to_ranges()


class CountingFolder(LocalFolder):
    """A folder that counts how many objects are written at once, and refuses those of one symbol."""

    refused = "none"

    def __init__(self, root):
        super().__init__(root)
        self._counting = Lock()
        self.open = self.most_open = self.written = 0

    def write(self, path, data):
        if f"symbol={self.refused}%2F" in path:
            raise TransientError("the disk says no")
        with self._counting:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        super().write(path, data)
        with self._counting:
            self.open -= 1
            self.written += 1


async def test_a_thousand_symbols(open_store, make_trades, make_chunk, stored, tmp_path):
    """A chunk of a thousand symbols becomes a file for each, of which never more than the limit are open at once."""
    chunk = make_chunk([make_trades(n, symbol=f"COIN{n % 1000}/USDT") for n in range(1, 2001)])
    folder = CountingFolder(tmp_path)
    await commit(open_store(tmp_path, lambda _: folder, partition_by=("symbol",), max_open_partitions=3), chunk)
    (manifest,) = stored(tmp_path).read_manifests()
    assert [file["rows"] for file in manifest["files"]] == [6] * 1000
    assert len(set(stored(tmp_path).read_ids())) == 6000
    assert 0 < folder.most_open <= 3


async def test_one_file_of_many_fails(open_store, make_trades, make_chunk, stored, tmp_path):
    """When one file cannot be written the others are given up, nothing is committed, and the next try has all."""
    chunk = make_chunk([make_trades(n, symbol=f"COIN{n}/USDT") for n in range(500)])
    folder = CountingFolder(tmp_path)
    folder.refused = "COIN0"
    store = open_store(tmp_path, lambda _: folder, partition_by=("symbol",), max_open_partitions=2)
    await store.open_partition(0, STREAM)
    with pytest.raises(TransientError, match="the disk says no"):
        await store.write(chunk)
    assert folder.written < 50
    assert stored(tmp_path).read_manifests() == []
    folder.refused = "none"
    await store.write(chunk)
    assert stored(tmp_path).count_rows() == 1500


async def test_a_chunk_that_is_given_up(open_store, make_trades, make_chunk, tmp_path):
    """A write that is cancelled begins no further files."""
    chunk = make_chunk([make_trades(n, symbol=f"COIN{n}/USDT") for n in range(1000)])
    folder = CountingFolder(tmp_path)
    store = open_store(tmp_path, lambda _: folder, partition_by=("symbol",), max_open_partitions=2)
    await store.open_partition(0, STREAM)
    writing = asyncio.create_task(store.write(chunk))
    await eventually(lambda: folder.written > 0, what="the first file")
    writing.cancel()
    await asyncio.wait([writing])
    # Whoever opens the partition next waits for a thread behind the ones that still write.
    await store.probe()
    assert folder.written < 1000


async def test_lines_of_json(open_store, make_trades, make_chunk, stored, tmp_path):
    """With another format the files hold the same rows, and the manifest names them all the same."""
    await commit(open_store(tmp_path, format="ndjson"), make_chunk([make_trades(1), make_trades(2)]))
    (manifest,) = stored(tmp_path).read_manifests()
    (file,) = manifest["files"]
    with pa.CompressedInputStream(str(tmp_path / file["path"]), "zstd") as lines:
        rows = [json.loads(line) for line in lines.read().splitlines()]
    assert [row["trade_id"] for row in rows] == [f"{n}-{row}" for n in (1, 2) for row in range(3)]
    assert file["rows"] == 6


async def test_a_sink_that_was_held_up_for_long(open_store, make_trades, make_chunk, stored, tmp_path, monkeypatch):
    """A sink that wakes up after the manifest it would collide with was compacted away commits nothing."""
    sleeper, other = open_store(tmp_path), open_store(tmp_path)
    await sleeper.open_partition(0, STREAM)
    await commit(other, make_chunk([make_trades(1), make_trades(2)]), make_chunk([make_trades(3)], first=3))
    first, _ = sorted(tmp_path.glob("_manifest/*/*/*.json"))
    first.unlink()
    now_s = time.time()
    monkeypatch.setattr("tickloom_parquet_sink.store.time.time", lambda: now_s + 3600)
    with pytest.raises(SupersededError, match="carried partition 0 on to 3 while this one was held up at 0"):
        await sleeper.write(make_chunk([make_trades(1)]))
    assert stored(tmp_path).read_ids() == [f"3-{row}" for row in range(3)]
    assert (await sleeper.open_partition(0, STREAM)).last_sequence == 3
    await sleeper.write(make_chunk([make_trades(4)], first=4))
