"""Where the Parquet is: a folder of this machine, or a prefix in a bucket of S3."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import fs

from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import ConfigError, PermanentError, TickloomError, TransientError
from tickloom_core.s3 import S3_SCHEME, S3Fault, read_bucket_path, read_s3_access, recognise_s3_fault

_FILE: Final = "file://"
_S3_CONNECT_TIMEOUT_S: Final = 3.0
_S3_STALL_TIMEOUT_S: Final = 10.0
_S3_ATTEMPTS: Final = 3


class AbsentError(PermanentError):
    """A file is not there; it may have been replaced since it was listed."""


class Root(ABC):
    """The place below which the Parquet sink writes; paths are relative to it.

    Args:
        filesystem: pyarrow's.
        path: path of the root in that file system.
        place: the root as a person would name it.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str, place: str) -> None:
        self.filesystem = filesystem
        self.place = place
        self._path = path

    def locate(self, path: str) -> str:
        """Return the path in the file system."""
        return f"{self._path}/{path}"

    def list_folder(self, folder: str) -> list[fs.FileInfo]:
        """Return what lies in a folder, sorted by name; nothing when it does not exist.

        Raises:
            TransientError: the root does not answer.
            PermanentError: it cannot be read.
        """
        return self._list(folder, recursive=False)

    def list_files(self, folder: str, suffix: str) -> list[str]:
        """Return the paths of the files below a folder whose names end so, sorted.

        Raises:
            TransientError: the root does not answer.
            PermanentError: it cannot be read.
        """
        prefix = self.locate("")
        paths = [info.path.removeprefix(prefix) for info in self._list(folder, recursive=True) if info.is_file]
        return [path for path in paths if path.endswith(suffix)]

    def read(self, path: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            TransientError: the root does not answer.
            AbsentError: the file is not there.
            PermanentError: it cannot be read.
        """
        with self.translate_errors(path), self.filesystem.open_input_stream(self.locate(path)) as stream:
            return bytes(stream.read())

    @contextmanager
    def translate_errors(self, path: str) -> Iterator[None]:
        """Turn what pyarrow raises about a file into an error of Tickloom's that names it."""
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise self._explain(error, f"{self.place}/{path}") from error

    def _list(self, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.locate(folder), recursive=recursive)
        with self.translate_errors(folder):
            try:
                infos = self.filesystem.get_file_info(selector)
            except FileNotFoundError:  # allow_not_found would also take a bucket that does not exist for an empty one
                return []
        return sorted(infos, key=lambda info: info.path)

    @abstractmethod
    def _explain(self, error: Exception, where: str) -> TickloomError:
        """Say in Tickloom's terms what went wrong."""


class LocalRoot(Root):
    """A folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(fs.LocalFileSystem(), str(folder.absolute()), str(folder))

    def _explain(self, error: Exception, where: str) -> TickloomError:
        if isinstance(error, FileNotFoundError):
            return _make_absent_error(where, "no such file")
        return PermanentError(f"{where} cannot be read: {error}")


class BucketRoot(Root):
    """A prefix in a bucket."""

    def __init__(self, filesystem: fs.S3FileSystem, path: str) -> None:
        super().__init__(filesystem, path, f"{S3_SCHEME}{path}")

    def _explain(self, error: Exception, where: str) -> TickloomError:
        reason = " ".join(str(error).split())
        if isinstance(error, FileNotFoundError):
            return _make_absent_error(where, reason)
        if "AWS Error" not in reason:
            return PermanentError(f"{where} cannot be read: {reason}")
        # The place before it is named by the console itself.
        reason = reason[reason.index("AWS Error") :]
        fault = recognise_s3_fault(reason)
        if fault is S3Fault.NO_BUCKET:
            return PermanentError(f"{where}: there is no such bucket; correct parquet_sink.uri or --root ({reason})")
        if fault is S3Fault.REFUSED:
            return PermanentError(
                f"{where}: the credentials are refused; check parquet_sink.s3_access_key, s3_secret_key and the "
                f"bucket's policy ({reason})"
            )
        if fault is S3Fault.ABSENT:
            return _make_absent_error(where, reason)
        return TransientError(f"{where}: S3 fails at the moment; check parquet_sink.s3_endpoint ({reason})")


def _make_absent_error(where: str, reason: str) -> AbsentError:
    return AbsentError(f"{where} is not there, although it was listed; restore it from a backup ({reason})")


def is_bucket(uri: str) -> bool:
    """Whether a URI names a bucket, so that opening it takes an endpoint and credentials."""
    return uri.startswith(S3_SCHEME)


def open_root(uri: str, config: ParquetSinkConfig) -> Root:
    """Return the root that a URI names; for a bucket, endpoint and credentials come from the configuration.

    Without keys the credentials are found as the AWS SDK finds them: environment, profile, instance.

    Raises:
        ConfigError: the URI or the endpoint cannot be understood, or a secret is missing.
    """
    if is_bucket(uri):
        return _open_bucket(uri, config)
    folder = uri.removeprefix(_FILE)
    if "://" in folder:
        raise ConfigError(f"expected a folder or s3://bucket/prefix, found `{uri}`; correct parquet_sink.uri or --root")
    return LocalRoot(Path(folder))


def _open_bucket(uri: str, config: ParquetSinkConfig) -> BucketRoot:
    access = read_s3_access(config)
    filesystem = fs.S3FileSystem(
        access_key=access.access_key,
        secret_key=access.secret_key,
        region=access.region,
        scheme=access.scheme,
        endpoint_override=access.host,
        connect_timeout=_S3_CONNECT_TIMEOUT_S,
        request_timeout=_S3_STALL_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
    )
    return BucketRoot(filesystem, read_bucket_path(uri))
