"""The sync as a process, from a folder to a folder: flags, exit codes, signals."""

from __future__ import annotations

import asyncio
import random
import signal
import urllib.request

import pytest

from tests.support.bus import eventually
from tests.support.servers import find_free_port


def read_page(url):
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the sync's own address
        return answer.read().decode()


async def test_rounds_until_it_is_asked_to_end(source, target, start_sync):
    """Data that comes later is carried in a later round; health and metrics say so; SIGTERM ends it with 0."""
    port = find_free_port()
    source.add_chunk(0, files=2)
    sync = start_sync({"uri": str(target.path), "interval_s": 0.2}, f"--http_port={port}")
    await eventually(lambda: len(target.read_manifests()) == 1, what="the first chunk")
    source.add_chunk(1)
    await eventually(lambda: len(target.read_manifests()) == 2, what="the second chunk")
    url = f"http://127.0.0.1:{port}"
    await eventually(lambda: "tickloom_sync_files_total 5.0" in read_page(f"{url}/metrics"), what="the count")
    assert "stuck" in read_page(f"{url}/healthz")
    assert "unmet" in read_page(f"{url}/readyz")
    assert sync.end() == 0
    assert target.read_named() == source.read_named()
    assert sync.read_events("sync.round")[0].items() >= {"sent_files": 3, "deleted_files": 0, "behind_files": 0}.items()


def test_once(source, target, start_sync):
    """--once ends with 0 when everything is there."""
    source.add_chunk(0)
    source.add_chunk(1)
    sync = start_sync({"uri": str(target.path), "delete_after_s": 0}, "--once")
    assert sync.wait() == 0
    assert len(target.read_manifests()) == 2
    assert len(source.read_manifests()) == 1


def test_dry_run(source, target, start_sync):
    """--dry_run says what would be sent and removed, and changes nothing anywhere."""
    for number in range(3):
        source.add_chunk(number, files=2)
    source.add_chunk(0, partition=1)
    source.add_compaction(-1, size_bytes=3000)
    before = source.list_paths()
    sync = start_sync({"uri": str(target.path), "delete_after_s": 0}, "--dry_run")
    assert sync.wait() == 0
    rows = [line.split() for line in sync.output.splitlines()]
    assert rows == [
        ["from", "records", "files", "megabytes"],
        ["partition", "0", "3", "6", "0.006"],
        ["partition", "1", "1", "1", "0.001"],
        ["compactions", "1", "1", "0.003"],
        ["to", "be", "removed", "here", "3", "5", "0.007"],
    ]
    assert source.list_paths() == before
    assert target.list_paths() == set()


async def test_killed_many_times(source, target, start_sync):
    """After kill -9 at random moments, while data comes and leaves, every record is there once with equal files."""
    settings = {"uri": str(target.path), "interval_s": 0.05, "delete_after_s": 0.3, "bandwidth_bytes_per_s": 4_000_000}
    complete = {}
    numbers = iter(range(1000))
    for _ in range(8):
        sync = start_sync(settings)
        await eventually(lambda sync=sync: "sync.started" in sync.log, what="the start")
        for _ in range(6):
            number = next(numbers)
            paths = [source.add_chunk(number, partition=p, files=2, size_bytes=50_000) for p in (0, 1)]
            files = [file.path for path in paths for file in source.find_files(path)]
            complete |= {path: source.folder.read(path) for path in [*paths, *files]}
            await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - a moment, not a secret
        assert sync.end(signal.SIGKILL) == -signal.SIGKILL
        assert target.read_named().items() <= complete.items()
        source.read_named()
    start_sync(settings, "--once").wait()
    assert target.read_named() == complete
    source.read_named()


async def test_end_in_the_middle_of_a_file(source, target, start_sync):
    """SIGTERM ends the sync with 0 within its grace although a file would take longer; that file is not there."""
    source.add_chunk(0, size_bytes=10**6)
    sync = start_sync({"uri": str(target.path), "bandwidth_bytes_per_s": 20_000})
    await eventually(lambda: any(target.path.glob("_active/*/0")), what="an upload that has begun")
    assert await asyncio.to_thread(sync.end) == 0
    assert sync.read_events("sync.dropped")
    assert target.list_paths() == set()


def assert_one_clear_line(sync, *words, code=2):
    assert sync.wait() == code
    assert "Traceback" not in sync.log
    (line,) = [line for line in sync.log.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("settings", "sections", "words"),
    [
        ({}, {}, "sync.uri: name where files are moved to"),
        ({"uri": "gs://b"}, {}, "sync.uri: expected a folder or s3://bucket/prefix, found `gs://b`"),
        ({"uri": "s3://"}, {}, "sync.uri: expected s3://bucket/prefix"),
        ({"uri": "/x"}, {"parquet_sink": {"uri": "s3://b/p"}}, "parquet_sink.uri: files are moved from a local folder"),
        ({"uri": "/x/y"}, {"parquet_sink": {"uri": "/x"}}, "sync.uri: /x/y and /x lie in each other"),
        ({"uri": "/x", "interval_s": 0}, {}, "sync.interval_s"),
    ],
)
def test_settings_that_cannot_work(settings, sections, words, start_sync):
    """A setting with which nothing could be moved ends the start with one line."""
    assert_one_clear_line(start_sync(settings, **sections), words)


def test_a_wrong_flag(target, start_sync):
    """A wrong flag ends the start with one line."""
    assert_one_clear_line(start_sync({"uri": str(target.path)}, "--twice"), "twice")


def test_a_target_that_cannot_be_written(source, tmp_path, start_sync):
    """A folder that cannot be made ends the sync with one line that names it."""
    source.add_chunk(0)
    (tmp_path / "blocker").write_text("a file where a folder should be")
    sync = start_sync({"uri": str(tmp_path / "blocker" / "target")})
    assert_one_clear_line(sync, "blocker/target", "cannot be", "sync.uri")


def test_damage_is_left_for_somebody(source, target, start_sync):
    """A contradiction ends the sync with one line, once the other partitions have been carried."""
    (file,) = source.find_files(source.add_chunk(0))
    source.add_chunk(0, partition=1)
    (source.path / file.path).write_bytes(b"cut")
    assert_one_clear_line(start_sync({"uri": str(target.path)}), "it is damaged", file.path)
    assert [m.partition for m in target.read_manifests().values()] == [1]
