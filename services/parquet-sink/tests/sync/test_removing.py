"""What leaves the local folder has just been compared with the target, and no reader ever sees half of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.errors import PermanentError, TransientError
from tickloom_parquet_sink.sync.removal import Removal
from tickloom_parquet_sink.sync.source import Source

OTHER_STREAM = StreamIdentity("MARKETDATA", "2026-11-22T05:15:13.334000223Z")


def find_warnings(logs, event):
    return [line for line in logs if line["event"] == event]


async def test_what_is_confirmed_and_old_leaves(source, target, carry):
    """Chunks older than the age go with their files; the younger ones stay, and the newest of each chain."""
    for number in range(4):
        source.add_chunk(number, files=2)
    source.add_chunk(0, partition=1)
    source.age(3600)
    source.add_chunk(4)
    complete = source.read_named()
    await carry(delete_after_s=1800)
    assert target.read_named() == complete
    left = {(m.partition, m.first_sequence) for m in source.read_manifests().values()}
    assert left == {(0, 41), (1, 1)}
    assert source.list_paths() == set(source.read_named())


async def test_nothing_leaves_by_default(source, carry):
    """Without an age everything stays."""
    for number in range(3):
        source.add_chunk(number)
    source.age(10**6)
    before = source.read_named()
    await carry()
    assert source.read_named() == before


async def test_the_newest_of_each_stream_stays(source, carry):
    """A sink begins behind the newest chunk of its stream, so that stays whatever its age, with its files."""
    for number in range(3):
        source.add_chunk(number)
    for number in range(2):
        source.add_chunk(number, stream=OTHER_STREAM, day="2026-11-22")
    source.age(10**6)
    await carry(delete_after_s=0)
    assert sorted(m.first_sequence for m in source.read_manifests().values()) == [11, 21]
    assert len(source.read_data()) == 2


async def test_empty_folders_go(source, carry):
    """Days of which everything has left leave no folder."""
    source.add_chunk(0, dt="2026-11-19", day="2026-11-19")
    source.add_chunk(1, dt="2026-11-20", day="2026-11-20")
    await carry(delete_after_s=0)
    assert not (source.path / "_manifest/0000/2026-11-19").exists()
    assert not (source.path / "trades/exchange=v0/dt=2026-11-19").exists()
    assert (source.path / "_manifest/0000/2026-11-20").exists()


@pytest.mark.parametrize("damage", ["cut short", "gone"])
async def test_a_file_that_the_target_has_lost(damage, source, target, carry):
    """A file cut short or deleted in the target is found before the local one goes, and sent again."""
    for number in range(3):
        source.add_chunk(number)
    complete = source.read_named()
    await carry()
    (file,) = target.find_files(min(target.read_manifests()))
    victim = target.path / file.path
    victim.write_bytes(victim.read_bytes()[:-1]) if damage == "cut short" else victim.unlink()
    with capture_logs() as logs:
        await carry(delete_after_s=0)
    assert target.read_named() == complete
    assert len(find_warnings(logs, "sync.mended")) == 1


async def test_a_compacted_file_that_the_target_has_lost(source, target, carry):
    """Likewise the file of a compaction."""
    (file,) = source.find_files(source.add_compaction(0))
    complete = source.read_data()
    await carry()
    target.folder.write(file.path, b"cut")
    await carry(delete_after_s=0)
    assert source.list_paths() == set()
    assert target.read_data() == complete


async def test_a_manifest_that_the_target_has_lost(source, target, carry):
    """A chunk whose manifest somebody has deleted in the target is sent again before the local one goes."""
    for number in range(3):
        source.add_chunk(number)
    complete = source.read_named()
    await carry()
    target.folder.delete(min(target.read_manifests()))
    with capture_logs() as logs:
        await carry(delete_after_s=0)
    assert target.read_named() == complete
    assert "manifest was gone" in find_warnings(logs, "sync.mended")[0]["reason"]


async def test_two_copies_that_differ(source, target, carry):
    """When a copy has other bytes of the same number nobody knows which is right: both stay, with a sentence."""
    for number in range(3):
        source.add_chunk(number)
    await carry()
    path = min(source.read_manifests())
    (file,) = source.find_files(path)
    (target.path / file.path).write_bytes(bytes(file.bytes))
    before = source.read_named()
    with pytest.raises(PermanentError, match="has the size of the local file and other content"):
        await carry(delete_after_s=0)
    assert source.read_named() == before
    assert target.folder.read(file.path) == bytes(file.bytes)


async def test_a_manifest_there_that_is_another(source, target, carry):
    """A manifest there that is not the local one keeps everything here."""
    for number in range(3):
        source.add_chunk(number)
    await carry()
    path = target.path / min(target.read_manifests())
    path.write_bytes(path.read_bytes().replace(b'"software":"test"', b'"software":"else"'))
    before = source.read_named()
    with pytest.raises(PermanentError, match="is there with other content"):
        await carry(delete_after_s=0)
    assert source.read_named() == before


async def test_a_chunk_that_the_target_has_compacted(source, target, carry):
    """A chunk whose rows a compaction in the target has taken over leaves; not while that compaction lacks its file."""
    for number in range(3):
        source.add_chunk(number)
    await carry()
    (compacted,) = target.find_files(target.add_compaction(1))
    for path, manifest in list(target.read_manifests().items()):
        if manifest.first_sequence < 20:
            target.folder.delete(path)
            target.folder.delete(manifest.files[0].path)
    data = target.folder.read(compacted.path)
    target.folder.write(compacted.path, data[:-1])
    with pytest.raises(TransientError, match="is not there or cut short, but a compaction there names it"):
        await carry(delete_after_s=0)
    assert len(source.read_data()) == 3
    target.folder.write(compacted.path, data)
    before = target.list_paths()
    await carry(delete_after_s=0)
    assert len(source.read_manifests()) == 1
    assert target.list_paths() == before


async def test_a_compaction_leaves_last(source, target, carry):
    """A compaction stays while a chunk that it replaces is here; then it goes with its file."""
    source.add_chunk(0)
    source.add_compaction(0)
    before = source.read_data()
    await carry(delete_after_s=0)
    assert source.read_data() == before
    source.add_chunk(1)
    await carry(delete_after_s=0)
    assert source.read_compactions() == {}
    assert [m.first_sequence for m in source.read_manifests().values()] == [11]
    assert before.items() <= target.read_data().items()
    assert source.list_paths() == set(source.read_named())


async def test_a_chunk_behind_the_compaction_there(source, target, carry):
    """A chunk whose manifest is gone, and which the compaction in the target does not cover, is sent again."""
    for number in range(3):
        source.add_chunk(number)
    await carry()
    target.add_compaction(0)
    (lost,) = [path for path, manifest in target.read_manifests().items() if manifest.first_sequence == 11]
    target.folder.delete(lost)
    await carry(delete_after_s=0)
    assert lost in target.read_manifests()
    assert len(source.read_manifests()) == 1


async def test_the_generations_of_a_day(source, target, carry, monkeypatch):
    """They leave together, the lowest first, also one that was replaced before it was sent."""
    source.add_compaction(0, generation=1)
    newest = source.add_compaction(0, generation=2)
    unlink = Path.unlink

    def look(path, missing_ok=False):  # noqa: FBT002 - as pathlib has it
        unlink(path, missing_ok=missing_ok)
        assert len(source.read_data()) <= 1
        assert set(source.read_data()) <= current

    current = set(source.read_data())
    monkeypatch.setattr(Path, "unlink", look)
    await carry(delete_after_s=0)
    assert source.list_paths() == set()
    assert target.read_compactions().keys() == {newest}


async def test_a_day_of_which_something_has_left(source, target, carry):
    """A compaction that is made here afterwards has not read the whole day: it is not sent."""
    for number in range(3):
        source.add_chunk(number)
    await carry(delete_after_s=0)
    source.add_chunk(3)
    source.add_compaction(3)
    with capture_logs() as logs:
        await carry()
    assert len(target.read_data()) == 4
    assert target.read_compactions() == {}
    assert "a part of its day had been moved away" in find_warnings(logs, "sync.compaction_left")[0]["reason"]
    await carry(delete_after_s=0)
    assert len(source.read_compactions()) == 1


async def test_a_crash_at_every_step(source, target, carry, monkeypatch):
    """Wherever removing ends, no record here names a file that is gone, and the next start removes the rest."""
    for number in range(4):
        source.add_chunk(number, files=2)
    await carry()
    unlink = Path.unlink

    class Crash(Exception):  # noqa: N818 - it stands for the end of the process
        pass

    for count in range(12):
        remaining = iter(range(count % 5))

        def crash(path, missing_ok=False, remaining=remaining):  # noqa: FBT002 - as pathlib has it
            # The folder's own staging goes on as the system does it.
            if "_active" not in path.parts and next(remaining, None) is None:
                raise Crash
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", crash)
        try:
            await carry(delete_after_s=0)
        except Crash:
            source.read_named()
        monkeypatch.setattr(Path, "unlink", unlink)
    await carry(delete_after_s=0)
    assert len(source.read_manifests()) == 1
    assert source.list_paths() == set(source.read_named())
    assert not list(source.path.glob("_sync/leaving/*"))
    assert len(target.read_manifests()) == 4


def test_an_unreadable_list(source):
    """A list of what is to go that cannot be read is named, and nothing is removed."""
    source.add_chunk(0)
    source.folder.write("_sync/leaving/x.json", b"{")
    with pytest.raises(PermanentError, match=r"_sync/leaving/x.json cannot be read: .*; remove it"):
        Removal(Source(source.path)).finish()
    assert len(source.read_named()) == 2
