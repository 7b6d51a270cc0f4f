"""Where objects go: a folder or a bucket. An object is there as a whole or not at all, on both.

A folder gets an object under `_active/`, synced to the disk and then renamed; a bucket shows what was put when the
request has ended. Errors say whether trying again can help: a full disk, a timeout and a server's 5xx can pass;
refused credentials, a missing bucket and an unwritable folder cannot.
"""

from __future__ import annotations

import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from tickloom_core.config import Config, ParquetSinkConfig
from tickloom_core.errors import ConfigError, PermanentError, TransientError
from tickloom_core.s3 import S3_SCHEME, S3Fault, read_bucket_path, read_s3_access, recognise_s3_fault

_ACTIVE: Final = "_active"
_PROBE: Final = "_manifest/.probe-"
_S3_CONNECT_TIMEOUT_S: Final = 3.0
_S3_STALL_TIMEOUT_S: Final = 5.0
_S3_ATTEMPTS: Final = 1
"""The sink's loop tries again by itself, and it alone can be stopped while it waits."""

_LASTING_ERRNOS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
)


class Destination(ABC):
    """A root below which objects are written, read and listed by relative path.

    Args:
        filesystem: pyarrow's.
        root: path of the root in that file system.
        place: the root as a person would name it.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str, place: str) -> None:
        self._filesystem = filesystem
        self._root = root
        self.place = place

    @abstractmethod
    def write(self, partition: int, path: str, data: pa.Buffer) -> None:
        """Write one object, durably and as a whole; an object of that name is replaced.

        Raises:
            TransientError: nothing is in sight of readers, try again.
            PermanentError: the destination cannot be used; the message says what to mend.
        """

    @abstractmethod
    def clear_unfinished(self, partition: int) -> None:
        """Remove what a crash left half-written; only the owner of the partition may ask for it."""

    def probe(self) -> None:
        """Write a small object and delete it again.

        Raises:
            TransientError: the destination does not answer.
            PermanentError: it cannot be written to.
        """
        path = f"{_PROBE}{uuid4().hex}"
        self.write(0, path, pa.py_buffer(b"tickloom"))
        with self._translate_errors(path):
            self._filesystem.delete_file(self._locate(path))

    def list_names(self, folder: str) -> list[str]:
        """Return the names in `folder`, without the folder; none when it does not exist."""
        with self._translate_errors(folder):
            infos = self._filesystem.get_file_info(fs.FileSelector(self._locate(folder), allow_not_found=True))
        return [info.base_name for info in infos]

    def read(self, path: str) -> bytes:
        """Return the bytes of one object."""
        with self._translate_errors(path), self._filesystem.open_input_stream(self._locate(path)) as stream:
            return bytes(stream.read())

    def _locate(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._classify(error, f"{self.place}/{path}") from error

    @abstractmethod
    def _classify(self, error: OSError, where: str) -> TransientError | PermanentError:
        """Say in Tickloom's terms what went wrong."""


class LocalFolder(Destination):
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(fs.LocalFileSystem(), str(root), str(root))
        self._path = root

    def write(self, partition: int, path: str, data: pa.Buffer) -> None:
        """Write under `_active/`, sync, rename."""
        ready = self._path / path
        active = self._active_folder(partition) / path
        with self._translate_errors(path):
            _make_folder(active.parent)
            _make_folder(ready.parent)
            try:
                _write_synced(active, data)
                active.replace(ready)
            except OSError:
                with suppress(OSError):
                    active.unlink()
                raise
            _sync_folder(ready.parent)

    def clear_unfinished(self, partition: int) -> None:
        """Remove the partition's folder under `_active/`."""
        with self._translate_errors(_ACTIVE), suppress(FileNotFoundError):
            shutil.rmtree(self._active_folder(partition))

    def _active_folder(self, partition: int) -> Path:
        return self._path / _ACTIVE / f"{partition:04d}"

    def _classify(self, error: OSError, where: str) -> TransientError | PermanentError:
        reason = error.strerror or str(error)
        if error.errno in _LASTING_ERRNOS:
            return PermanentError(
                f"{where} cannot be written: {reason}; give this user write permission there, "
                "or name another place in parquet_sink.uri"
            )
        hint = "; free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        return TransientError(f"{where} cannot be written at the moment: {reason}{hint}")


class Bucket(Destination):
    """A prefix in a bucket of S3 or of a server that speaks its language."""

    def __init__(self, filesystem: fs.S3FileSystem, root: str) -> None:
        super().__init__(filesystem, root, f"s3://{root}")

    def write(self, partition: int, path: str, data: pa.Buffer) -> None:  # noqa: ARG002 - a put needs no staging place
        """Put one object; readers see it when the request has ended."""
        with self._translate_errors(path), self._filesystem.open_output_stream(self._locate(path)) as stream:
            stream.write(data)

    def clear_unfinished(self, partition: int) -> None:
        """Do nothing: parts of an unfinished upload are no object; the bucket's lifecycle rule removes them."""

    def _classify(self, error: OSError, where: str) -> TransientError | PermanentError:
        reason = " ".join(str(error).split())
        fault = recognise_s3_fault(reason)
        if fault is S3Fault.NO_BUCKET:
            return PermanentError(
                f"{where}: there is no such bucket; create it, or correct parquet_sink.uri ({reason})"
            )
        if fault is S3Fault.REFUSED:
            return PermanentError(
                f"{where}: the credentials are refused; check parquet_sink.s3_access_key, s3_secret_key and the "
                f"bucket's policy ({reason})"
            )
        return TransientError(f"{where}: S3 fails at the moment ({reason})")


def open_destination(config: Config) -> Destination:
    """Return the destination that the configuration names.

    Raises:
        ConfigError: the URI or the endpoint cannot be understood, or a secret is missing.
    """
    uri = config.parquet_uri
    if uri.startswith(S3_SCHEME):
        return _open_bucket(uri, config.parquet_sink)
    if "://" in uri:
        raise ConfigError(f"expected a folder or s3://bucket/prefix, found `{uri}`", path="parquet_sink.uri")
    return LocalFolder(Path(uri).absolute())


def _open_bucket(uri: str, config: ParquetSinkConfig) -> Bucket:
    access = read_s3_access(config)
    filesystem = fs.S3FileSystem(  # type: ignore[call-arg]  # the stubs do not know allow_delayed_open yet
        access_key=access.access_key,
        secret_key=access.secret_key,
        region=access.region,
        scheme=access.scheme,
        endpoint_override=access.host,
        connect_timeout=_S3_CONNECT_TIMEOUT_S,
        request_timeout=_S3_STALL_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
        allow_delayed_open=True,
    )
    return Bucket(filesystem, read_bucket_path(uri))


def _write_synced(path: Path, data: pa.Buffer) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(path: Path) -> None:
    """Make a folder with its parents, so that a power cut does not take the new names away."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
