"""What the tests of the sync share: roots whose files are any bytes, rounds in this process, the sync as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.support.s3 import S3_KEY
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import Config, ParquetSinkConfig, SyncConfig
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.manifests import (
    Compaction,
    DataFile,
    Manifest,
    Reach,
    decode_compaction,
    decode_manifest,
    hash_stream,
    make_compaction_path,
    make_manifest_path,
    resolve_files,
)
from tickloom_parquet_sink.destination import Destination, open_destination_at
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.sync.service import Sync
from tickloom_parquet_sink.sync.source import Source
from tickloom_parquet_sink.sync.target import open_target

STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
DAY = "2026-11-21"
STEP = 10


class Root:
    """A root as the sink and the compaction write it; each file holds its own random bytes.

    Args:
        folder: its objects.
        path: where it lies, if it is a folder.
    """

    def __init__(self, folder: Destination, path: Path = Path()) -> None:
        self.folder = folder
        self.path = path

    def add_chunk(self, number, *, partition=0, files=1, size_bytes=1000, dt=DAY, day=DAY, stream=STREAM):
        """Commit the chunk of the sequences behind `number * 10`, with a file for each of several venues."""
        first, last = number * STEP + 1, number * STEP + STEP
        entries = []
        for venue in range(files):
            name = f"{partition:04d}-{hash_stream(stream)}-{first:020d}-{last:020d}.parquet"
            path = f"trades/exchange=v{venue}/dt={dt}/{name}"
            self.folder.write(path, os.urandom(size_bytes))
            entries.append(DataFile(path, "trades", f"v{venue}", dt, 1, size_bytes))
        manifest = Manifest(
            stream=stream,
            partition=partition,
            first_sequence=first,
            last_sequence=last,
            stored_ns=0,
            files=tuple(entries),
            rows={"trades": files},
            writer_window="",
            software="test",
        )
        path = make_manifest_path(manifest, day)
        assert self.folder.create(path, msgspec.json.encode(manifest))
        return path

    def add_compaction(self, through, *, generation=1, exchange="v0", dt=DAY, size_bytes=1500, partition=0):
        """Commit a compaction of a day through chunk `through` of a partition."""
        name = f"{generation:06d}-{os.urandom(4).hex()}.parquet"
        path = f"trades/exchange={exchange}/dt={dt}/{name}"
        self.folder.write(path, os.urandom(size_bytes))
        compaction = Compaction(
            channel="trades",
            exchange=exchange,
            dt=dt,
            generation=generation,
            files=(DataFile(path, "trades", exchange, dt, 1, size_bytes),),
            through=(Reach(partition, hash_stream(STREAM), through * STEP + STEP),),
            rows_read=1,
            rows=1,
            repeated=0,
            committed_ns=0,
            software="test",
        )
        path = make_compaction_path(compaction)
        assert self.folder.create(path, msgspec.json.encode(compaction))
        return path

    def read_manifests(self):
        """Return the manifests by path."""
        return self._read("_manifest", decode_manifest)

    def read_compactions(self):
        """Return the compactions by path."""
        return self._read("_compaction", decode_compaction)

    def find_files(self, path):
        """Return the files that a record names."""
        return (self.read_manifests() | self.read_compactions())[path].files

    def read_data(self):
        """Return what readers see: the bytes of every file that is data; fails when one is absent or damaged."""
        data = {}
        for file in resolve_files(self.read_manifests().values(), self.read_compactions().values()):
            data[file.path] = self.folder.read(file.path)
            assert len(data[file.path]) == file.bytes
        return data

    def read_named(self):
        """Return the bytes of every record, and of every file that a record names; fails when one is absent."""
        records = self.read_manifests() | self.read_compactions()
        paths = [*records, *[file.path for record in records.values() for file in record.files]]
        return {path: self.folder.read(path) for path in paths}

    def list_paths(self):
        """Return all objects, but the sync's own notes."""
        return {info.path for info in self.folder.list_objects("") if not info.path.startswith("_sync/")}

    def age(self, seconds):
        """Make everything that is there older."""
        for info in self.folder.list_objects(""):
            then_ns = info.modified_ns - int(seconds * 10**9)
            os.utime(self.path / info.path, ns=(then_ns, then_ns))

    def _read(self, folder, decode):
        infos = self.folder.list_objects(folder)
        return {info.path: decode(self.folder.read(info.path), info.path) for info in infos}


@pytest.fixture
def source(tmp_path):
    """The folder that is synced."""
    path = tmp_path / "source" / "parquet"
    return Root(LocalFolder(path), path)


@pytest.fixture
def target(tmp_path):
    """The folder that it is synced to."""
    path = tmp_path / "target"
    return Root(LocalFolder(path), path)


@pytest.fixture
def s3_settings(s3_server, monkeypatch):
    """How the S3 server is reached, as the section parquet_sink has it."""
    monkeypatch.setenv("S3_ACCESS", S3_KEY[0])
    monkeypatch.setenv("S3_SECRET", S3_KEY[1])
    keys = {"s3_access_key": {"env": "S3_ACCESS"}, "s3_secret_key": {"env": "S3_SECRET"}}
    return {"s3_endpoint": f"http://{s3_server.endpoint}"} | keys


@pytest.fixture
def bucket(s3_settings):
    """A prefix of its own in a bucket, as target."""
    uri = f"s3://market/{uuid4().hex}"
    return Root(open_destination_at(uri, msgspec.convert(s3_settings, ParquetSinkConfig)))


@pytest.fixture
def carry(source, target):
    """Run one round as a process that was just started would: `await carry(delete_after_s=…)`.

    It goes to the folder `target`, or to `uri` with the settings `sink` of the section parquet_sink.
    """

    async def run(uri=str(target.path), sink=None, **settings):
        config = Config(sync=SyncConfig(**settings), parquet_sink=msgspec.convert(sink or {}, ParquetSinkConfig))
        health = Health()
        async with open_target(uri, config, health) as opened, asyncio.timeout(60):
            await Sync(Source(source.path), opened, config.sync.delete_after_s, health).run_round(Stop())

    return run


class SyncProcess:
    """The sync as people start it."""

    def __init__(self, config: Path, *flags: str, environment: dict[str, str]) -> None:
        command = [
            sys.executable,
            "-m",
            "tickloom_parquet_sink.sync",
            f"--config={config}",
            "--log_format=json",
            *flags,
        ]
        self._stderr = config.with_suffix(".log")
        self._stdout = config.with_suffix(".out")
        with self._stderr.open("ab") as log, self._stdout.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=log, env=os.environ | environment)

    def wait(self, timeout_s: float = 30) -> int:
        """Return its exit code when it ends."""
        return self._process.wait(timeout_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and return its exit code."""
        self._process.send_signal(number)
        return self.wait()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it and its predecessors have said."""
        return self._stderr.read_text()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._stdout.read_text()

    def read_events(self, name: str) -> list[dict]:
        """Return what it and its predecessors have logged under a name."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


@pytest.fixture
def start_sync(tmp_path, source) -> Iterator:
    """Start the sync: `start_sync({"uri": …}, "--once")`; it ends with the test."""
    with ExitStack() as ends:

        def start(settings, *flags, environment=None, **sections):
            path = tmp_path / "tickloom.yaml"
            path.write_text(json.dumps({"data_dir": str(source.path.parent), "sync": settings, **sections}))
            process = SyncProcess(path, *flags, environment=environment or {})
            ends.callback(lambda: process.is_running and process.end(signal.SIGKILL))
            return process

        yield start
