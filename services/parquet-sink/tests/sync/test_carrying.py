"""What is committed goes to the target, chain by chain, and the target is a valid root all the time."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from tickloom_core.errors import PermanentError, TransientError
from tickloom_parquet_sink.folder import LocalFolder


def list_chain(root, partition=0):
    """Return the first sequences of a partition's chunks."""
    return sorted(m.first_sequence for m in root.read_manifests().values() if m.partition == partition)


async def test_what_is_committed_arrives(source, target, carry):
    """Every record and the files that it names arrive as they are; what no record names stays."""
    for number in range(5):
        source.add_chunk(number, files=3)
        source.add_chunk(number, partition=1, files=number)
    source.add_compaction(3)
    source.folder.write("trades/exchange=v0/dt=2026-11-21/0000-leftover.parquet", b"of a crash")
    await carry()
    assert target.read_named() == source.read_named()
    assert target.read_data() == source.read_data()
    assert target.list_paths() == set(source.read_named())


async def test_a_further_round_sends_what_is_new(source, target, carry):
    """Nothing that is there is sent again, and what has come since is, also in an older day."""
    source.add_chunk(0)
    source.add_chunk(1, day="2026-11-22")
    await carry()
    before = {info.path: info.modified_ns for info in target.folder.list_objects("")}
    source.add_chunk(2, day="2026-11-22", files=2)
    source.add_chunk(0, partition=3, day="2026-11-20")
    await carry()
    after = {info.path: info.modified_ns for info in target.folder.list_objects("")}
    assert before.items() <= after.items()
    assert target.read_named() == source.read_named()


async def test_names_of_both_ages(source, target, carry):
    """Manifests whose names carry the last sequence too belong to the same chains."""
    path = source.add_chunk(0)
    (source.path / path).rename(source.path / path.replace(".json", f"-{10:020d}.json"))
    source.add_chunk(1)
    await carry()
    source.add_chunk(2)
    await carry()
    assert target.read_named() == source.read_named()
    assert list_chain(target) == [1, 11, 21]


class Crash(Exception):  # noqa: N818 - it stands for the end of the process
    """The process ends here."""


@pytest.fixture
def crash_at(monkeypatch):
    """Make the n-th change to any folder the last thing that happens: `crash_at(3)`; None: never."""
    methods = {name: getattr(LocalFolder, name) for name in ("write", "create", "delete", "open_writer")}

    def arm(count):
        remaining = [count]

        def wrap(name):
            def change(folder, *arguments):
                if remaining[0] is not None:
                    if remaining[0] == 0:
                        raise Crash
                    remaining[0] -= 1
                return methods[name](folder, *arguments)

            return change

        for name in methods:
            monkeypatch.setattr(LocalFolder, name, wrap(name))

    return arm


async def test_a_crash_at_every_step(source, target, carry, crash_at):
    """Wherever the process ends, the target has a beginning of each chain with all its files, and the rest follows."""
    for number in range(3):
        source.add_chunk(number, files=2)
        source.add_chunk(number, partition=1)
    source.add_compaction(1)
    complete = source.read_named()
    crashes = 0
    while target.list_paths() != set(complete):
        crash_at(1 if crashes % 2 else 2)
        try:
            await carry()
        except Crash:
            crashes += 1
        assert target.read_named().items() <= complete.items()
        for partition in (0, 1):
            chain = list_chain(target, partition)
            assert chain == [1, 11, 21][: len(chain)]
        crash_at(None)
    assert crashes > 8
    assert target.read_data() == source.read_data()


async def test_what_no_record_names_there_is_replaced(source, target, carry):
    """An object that another process has left there unfinished, or with other bytes, becomes the local file."""
    short, other = source.find_files(source.add_chunk(0, files=2))
    target.folder.write(short.path, b"short")
    target.folder.write(other.path, bytes(other.bytes))
    await carry()
    assert target.read_data() == source.read_data()


async def test_another_manifest_there(source, target, carry):
    """A manifest there with other content ends the sync with a sentence; no chunk is sent, none is removed."""
    for number in range(3):
        source.add_chunk(number)
        target.add_chunk(number, size_bytes=2000)
    before = source.read_named(), target.read_named()
    with pytest.raises(PermanentError, match=r"000021.json is there with other content.*sync.uri of its own"):
        await carry(delete_after_s=0)
    assert (source.read_named(), target.read_named()) == before


def move_end(root, path, last_sequence):
    """Let a chunk end elsewhere."""
    manifest = json.loads((root.path / path).read_bytes())
    (root.path / path).write_text(json.dumps(manifest | {"last_sequence": last_sequence}))


@pytest.mark.parametrize(("ours", "theirs"), [(6, 7), (0, 7), (7, 6)], ids=["into it", "far into it", "out of it"])
async def test_a_forked_chain(ours, theirs, source, target, carry):
    """Chunks that overlap with those of another sink are not taken for sent, whichever begins earlier."""
    move_end(source, source.add_chunk(ours), 75)
    move_end(target, target.add_chunk(theirs), 76)
    before = target.read_named()
    with pytest.raises(PermanentError, match="overlaps with what another sink has brought"):
        await carry()
    assert target.read_named() == before


async def test_a_damaged_local_file(source, target, carry):
    """A local file of another size than its manifest says is not sent, and its chain waits; other chains go on."""
    (file,) = source.find_files(source.add_chunk(0))
    source.add_chunk(1)
    source.add_chunk(0, partition=1)
    (source.path / file.path).write_bytes(b"cut")
    with pytest.raises(PermanentError, match=r"has 3 bytes, but .* says 1000: it is damaged"):
        await carry()
    assert (list_chain(target), list_chain(target, 1)) == ([], [1])


async def test_a_lost_local_file(source, target, carry):
    """A manifest whose file is gone is named, and its chain waits."""
    (file,) = source.find_files(source.add_chunk(0))
    (source.path / file.path).unlink()
    with pytest.raises(PermanentError, match=r"is not there, but _manifest/.* names it; restore it"):
        await carry()
    assert list_chain(target) == []


async def test_a_chunk_that_is_retired_under_way(source, target, carry, monkeypatch):
    """A chunk that a compaction retires while it is read is left out; the compaction brings its rows."""
    path = source.add_chunk(0)
    source.add_chunk(1)
    (file,) = source.find_files(path)
    look = LocalFolder.look

    def retire(folder, asked):
        if asked == file.path and (source.path / path).exists():
            source.add_compaction(0)
            (source.path / path).unlink()
            (source.path / file.path).unlink()
        return look(folder, asked)

    monkeypatch.setattr(LocalFolder, "look", retire)
    await carry()
    assert list_chain(target) == [11]
    await carry()
    assert target.read_data() == source.read_data()


async def test_a_name_that_is_no_manifests(source, carry):
    """A record that readers would take for data, but that has no place in a chain, is refused by name."""
    source.folder.write("_manifest/0000/2026-11-21/copy.json", b"{}")
    with pytest.raises(PermanentError, match=r"copy\.json has not the name of a manifest"):
        await carry()


async def test_an_absent_folder(source, target, carry):
    """A sink that has not written yet is no error."""
    await carry()
    assert target.list_paths() == set()


async def test_only_the_newest_generation(source, target, carry):
    """A compaction that a later one has replaced is not sent any more."""
    source.add_chunk(0)
    source.add_compaction(0, generation=1)
    newest = source.add_compaction(0, generation=2)
    await carry()
    assert target.read_compactions().keys() == {newest}
    assert target.read_data() == source.read_data()


async def test_chunks_that_the_target_has_compacted(source, target, carry):
    """What a compaction in the target has retired is not sent again, and what comes behind it is."""
    for number in range(4):
        source.add_chunk(number)
    await carry()
    target.add_compaction(2)
    for path, manifest in list(target.read_manifests().items()):
        if manifest.first_sequence < 30:
            target.folder.delete(path)
            target.folder.delete(manifest.files[0].path)
    before = target.list_paths()
    source.add_chunk(4)
    await carry()
    assert list_chain(target) == [31, 41]
    assert len(target.list_paths()) == len(before) + 2


async def test_a_day_compacted_in_both(source, target, carry):
    """A compaction that would hide rows that only the target's own has read is left, with a warning."""
    for number in range(3):
        source.add_chunk(number)
    await carry()
    target.add_compaction(2)
    local = source.add_compaction(1, generation=2)
    before = target.read_data()
    with capture_logs() as logs:
        await carry()
    assert target.read_data() == before
    assert local not in target.read_compactions()
    (warning,) = [line for line in logs if line["event"] == "sync.compaction_left"]
    assert local in warning["path"]
    assert "compact in one of the two only" in warning["reason"]
    (stats,) = [line for line in logs if line["event"] == "sync.round"]
    assert stats["behind_files"] == 1


async def test_a_write_that_does_not_arrive(source, target, carry, monkeypatch):
    """What is there after the upload is compared with what was sent: a target that loses bytes is found out."""
    source.add_chunk(0)
    open_writer = LocalFolder.open_writer

    def lose(folder, path):
        writer = open_writer(folder, path)
        enter = writer.__enter__

        class Loser:
            def __enter__(self):
                self.file = enter()
                return self

            def write(self, data):
                return self.file.write(data[:-1] + b"?")

            def __exit__(self, *error):
                return writer.__exit__(*error)

        return Loser()

    monkeypatch.setattr(LocalFolder, "open_writer", lose)
    with pytest.raises(TransientError, match="is not there with the content that was sent"):
        await carry()
    assert list_chain(target) == []
