"""What every destination promises, held by a folder and by a bucket of a real S3 server."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickloom_core.config import ParquetSinkConfig, SecretReference
from tickloom_core.errors import ConfigError, PermanentError, TransientError
from tickloom_parquet_sink.destination import ObjectAbsentError, open_destination_at
from tickloom_parquet_sink.folder import LocalFolder

PLACES = ["folder", pytest.param("bucket", marks=pytest.mark.servers)]
ACCESS = SecretReference(env="S3_ACCESS")
SECRET = SecretReference(env="S3_SECRET")
PARTS_BYTES = 20 * 1024**2
"""More than two parts of an upload."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    """Set the credentials that the configuration refers to, beside some of others that must not be mixed with them."""
    monkeypatch.setenv("S3_ACCESS", "tickloom")
    monkeypatch.setenv("S3_SECRET", "tickloom-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody else's")


@pytest.fixture(params=PLACES)
def open_again(request, tmp_path):
    """Open the same place once more, as another process would."""
    if request.param == "folder":
        return lambda: open_destination_at(str(tmp_path), ParquetSinkConfig())
    server = request.getfixturevalue("s3_server")
    config = ParquetSinkConfig(s3_endpoint=f"http://{server.endpoint}", s3_access_key=ACCESS, s3_secret_key=SECRET)
    uri = f"s3://market/{uuid4().hex}"
    return lambda: open_destination_at(uri, config)


@pytest.fixture
def destination(open_again):
    """An empty destination."""
    return open_again()


def list_paths(destination, folder=""):
    return sorted(info.path for info in destination.list_objects(folder))


def test_write_and_read(destination):
    """What is written is read, whatever held it before; Arrow's buffers are as good as bytes."""
    for data in (b"first", pa.py_buffer(b"second")):
        destination.write("a/b=BTC%2FUSDT/c", data)
        assert destination.read("a/b=BTC%2FUSDT/c") == bytes(data)
    assert list_paths(destination) == ["a/b=BTC%2FUSDT/c"]


def test_probe_leaves_nothing(destination):
    """A probe proves that objects can be written, created once and deleted, and leaves none."""
    destination.probe()
    assert list_paths(destination) == []


def test_created_once(destination, open_again):
    """Of eight that create one name at once exactly one is told so, and its bytes are there."""
    others = [open_again() for _ in range(8)]

    def create(number):
        return others[number].create("m/1.json", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(create, range(8)))
    assert sum(outcomes) == 1
    assert destination.read("m/1.json") == b"%d" % outcomes.index(True)
    assert not destination.create("m/1.json", b"again")
    assert list_paths(destination) == ["m/1.json"]


def test_piece_by_piece(destination):
    """An object that is written piece by piece appears when the block ends, and is read by ranges."""
    piece = os.urandom(PARTS_BYTES // 4)
    with destination.open_writer("big") as file:
        for _ in range(4):
            file.write(piece)
        assert destination.look("big") is None
    assert destination.look("big").size_bytes == PARTS_BYTES
    with destination.open_reader("big") as file:
        file.seek(-len(piece), os.SEEK_END)
        assert file.read() == piece
        file.seek(0)
        assert b"".join(iter(lambda: file.read(1_000_000), b"")) == piece * 4


def write_and_fail(destination, path, size_bytes):
    with destination.open_writer(path) as file:
        file.write(bytes(size_bytes))
        _ = 1 / 0


@pytest.mark.parametrize("size_bytes", [10, PARTS_BYTES])
def test_an_error_while_writing(destination, size_bytes):
    """An object whose block ends with an error never appears, and what had the name before stays."""
    destination.write("kept", b"old")
    for path in ("kept", "new"):
        with pytest.raises(ZeroDivisionError):
            write_and_fail(destination, path, size_bytes)
    assert destination.read("kept") == b"old"
    assert list_paths(destination) == ["kept"]


def test_parquet_both_ways(destination):
    """Pyarrow writes into a writer and reads from a reader."""
    table = pa.table({"n": range(1000)})
    with destination.open_writer("t.parquet") as file:
        pq.write_table(table, file)
    with destination.open_reader("t.parquet") as file:
        assert pq.ParquetFile(file).read() == table


def test_listing(destination):
    """A level is listed by names, a tree by objects with their sizes; what does not exist is empty."""
    for path in ("a/1", "a/b/2", "a/b/c/3", "a/bb/4", "z"):
        destination.write(path, path.encode())
    assert sorted(destination.list_names("a")) == ["1", "b", "bb"]
    assert list_paths(destination, "a/b") == ["a/b/2", "a/b/c/3"]
    assert list_paths(destination) == ["a/1", "a/b/2", "a/b/c/3", "a/bb/4", "z"]
    assert {info.path: info.size_bytes for info in destination.list_objects("a")}["a/b/c/3"] == 7
    assert (destination.list_names("none"), list_paths(destination, "none")) == ([], [])


def test_a_look_at_an_object(destination):
    """A look says size and time, in a bucket also the MD5; of what is not there it says nothing."""
    assert destination.look("a/x") is None
    destination.write("a/x", b"12345")
    info = destination.look("a/x")
    (listed,) = destination.list_objects("a")
    assert (info.path, info.size_bytes) == ("a/x", 5)
    assert (listed.path, listed.size_bytes, listed.e_tag) == (info.path, info.size_bytes, info.e_tag)
    assert info.e_tag in {None, md5(b"12345").hexdigest()}  # noqa: S324 - S3's checksum, not a secret
    assert abs(info.modified_ns - Path("/proc/self").stat().st_mtime_ns) < 3600 * 10**9


def test_absent(destination):
    """Reading what is not there fails for now, with its name; deleting it is fine."""
    with pytest.raises(ObjectAbsentError, match="a/none is not there"):
        destination.read("a/none")
    with pytest.raises(ObjectAbsentError, match="a/none is not there"), destination.open_reader("a/none") as file:
        file.read()
    destination.delete("a/none")


def test_delete(destination):
    """What is deleted is gone, and nothing else is."""
    for path in ("a/b/1", "a/b/2", "a/c/3"):
        destination.write(path, b"")
    destination.delete("a/b/1")
    assert list_paths(destination) == ["a/b/2", "a/c/3"]


def test_empty_folders_go(tmp_path):
    """A folder that a deletion leaves empty goes, its parents too, but not the root."""
    folder = LocalFolder(tmp_path / "root")
    for path in ("a/b/1", "a/c/2"):
        folder.write(path, b"")
    folder.delete("a/b/1")
    assert folder.list_names("a") == ["c"]
    folder.delete("a/c/2")
    assert folder.list_names("") == ["_active"]


def test_unfinished_files_of_the_living(tmp_path):
    """Whoever clears removes what a killed process left, and nothing of a process that still writes."""
    program = (
        "import sys, time; from pathlib import Path; from tickloom_parquet_sink.folder import LocalFolder\n"
        "with LocalFolder(Path(sys.argv[1])).open_writer('x') as file:\n"
        "    file.write(b'half'); file.flush(); print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"ready\n"
        folder = LocalFolder(tmp_path)
        with folder.open_writer("y") as file:
            file.write(b"mine")
            folder.clear_unfinished()
        assert [path.read_bytes() for path in tmp_path.glob("_active/*/0")] == [b"half"]
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    folder.clear_unfinished()
    assert list(tmp_path.glob("_active/*/0")) == []
    assert (folder.read("y"), folder.look("x")) == (b"mine", None)


def test_leftovers_of_an_older_layout(tmp_path):
    """What an earlier version left unfinished, without a lock, goes too."""
    old = tmp_path / "_active/0001/trades/x.parquet"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"half")
    LocalFolder(tmp_path).clear_unfinished()
    assert not list(tmp_path.glob("_active/*"))


def test_a_workspace_taken_away(tmp_path):
    """Somebody who removes _active by hand costs no write."""
    folder = LocalFolder(tmp_path)
    folder.write("x", b"1")
    (workspace,) = tmp_path.glob("_active/*")
    (workspace / ".lock").unlink()
    workspace.rmdir()
    folder.write("y", b"2")
    assert list_paths(folder) == ["x", "y"]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EACCES, PermanentError, "give this user write permission"),
        (errno.EROFS, PermanentError, "name another place in sync.uri"),
        (errno.EIO, TransientError, "at the moment"),
        (errno.ENOSPC, TransientError, "free some space"),
    ],
)
def test_fate_of_local_errors(number, kind, words, tmp_path, monkeypatch):
    """An error of the disk that can pass is tried again; one that stays ends the process with what to mend."""

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    folder = LocalFolder(tmp_path, "sync.uri")
    with pytest.raises(kind, match=words) as raised:
        folder.write("x", b"1")
    assert str(tmp_path / "x") in str(raised.value)
    assert list_paths(folder) == []


def test_a_file_system_without_links(tmp_path, monkeypatch):
    """Where nothing can be created exclusively the probe says so, and where to go instead."""

    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermanentError, match=r"without hard links .* let parquet_sink\.uri name a folder on another"):
        LocalFolder(tmp_path).probe()


class ForgetfulFolder(LocalFolder):
    """A destination that creates what is there already, like a server that ignores If-None-Match."""

    def create(self, path, data):
        self.write(path, data)
        return True


def test_a_server_that_creates_twice(tmp_path):
    """A destination that lets a name be created twice is refused before anything is written to it."""
    folder = ForgetfulFolder(tmp_path)
    with pytest.raises(PermanentError, match="If-None-Match"):
        folder.probe()
    assert list_paths(folder) == []


@pytest.mark.parametrize("uri", ["s3://", "gs://bucket"])
def test_the_setting_is_named(uri):
    """A URI that cannot be understood is refused with the setting that it came from."""
    with pytest.raises(ConfigError, match=r"sync\.uri: expected .*s3://bucket/prefix"):
        open_destination_at(uri, ParquetSinkConfig(), setting="sync.uri")
