"""A prefix in a bucket as a destination, by way of obstore: an object is there when its request has ended.

The client tries nothing again by itself: whoever asked does, and can be stopped while waiting.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.s3 import S3_SCHEME, S3Access, S3Fault, recognise_s3_fault
from tickloom_parquet_sink.objects import Destination, ObjectAbsentError, ObjectInfo

if TYPE_CHECKING:
    # These are types only, not to be had at run time.
    from _typeshed import ReadableBuffer, WriteableBuffer
    from obstore import ObjectMeta, ReadableFile, WritableFile
    from obstore.store import ClientConfig, S3Config, S3Credential, S3CredentialProvider

_CONNECT_TIMEOUT: Final = timedelta(seconds=3)
_STALL_TIMEOUT: Final = timedelta(seconds=10)
_READ_TIMEOUT: Final = timedelta(minutes=10)
"""Bound of one answer, however steadily it comes."""
_SLOWEST_BYTES_PER_S: Final = 256 * 1024
"""A line of this speed still brings an object into the bucket."""
_SMALL_BITS: Final = 20
"""Requests that carry less than 2**20 bytes share one deadline."""

_PART_BYTES: Final = 8 * 1024**2
_PARTS_IN_FLIGHT: Final = 2
_READ_AHEAD_BYTES: Final = 1024**2
_PAGE_OBJECTS: Final = 1000

_ANSWER: Final = re.compile(r"<Code>(\w+)</Code>\s*<Message>([^<]*)</Message>")
"""What S3 says in the body of an error."""


class Bucket(Destination):
    """A prefix in a bucket of S3, or of a server that speaks its language and knows conditional writes.

    Args:
        bucket: its name.
        prefix: what all keys begin with, without slashes around it; may be empty.
        access: how it is reached.
        setting: the setting that names it, for messages.
    """

    def __init__(self, bucket: str, prefix: str, access: S3Access, setting: str = "parquet_sink.uri") -> None:
        super().__init__(f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/"))
        self._bucket = bucket
        self._prefix = prefix
        self._access = access
        self._setting = setting
        self._store = self._open_store({"timeout": _READ_TIMEOUT, "read_timeout": _STALL_TIMEOUT})
        self._writing_stores: dict[int, S3Store] = {}
        self._opening = Lock()

    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Put it in one request."""
        with self._translate_errors(path):
            obstore.put(self._choose_store(len(data)), path, _view(data), use_multipart=False)

    def create(self, path: str, data: pa.Buffer | bytes) -> bool:
        """Put it in one request with `If-None-Match: *`."""
        with self._translate_errors(path):
            try:
                obstore.put(self._choose_store(len(data)), path, _view(data), mode="create")
            except AlreadyExistsError:
                return False
        return True

    @contextmanager
    def open_writer(self, path: str) -> Iterator[BinaryIO]:
        """Upload it in parts, which a block that ends with an error takes back."""
        store = self._choose_store(_PART_BYTES)
        with (
            self._translate_errors(path),
            obstore.open_writer(store, path, buffer_size=_PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT) as upload,
        ):
            yield cast("BinaryIO", _Upload(upload))

    @contextmanager
    def open_reader(self, path: str) -> Iterator[BinaryIO]:
        """Read it by ranges."""
        with self._translate_errors(path):
            source = obstore.open_reader(self._store, path, buffer_size=_READ_AHEAD_BYTES)
            with io.BufferedReader(_Download(source), _READ_AHEAD_BYTES) as file:
                yield file

    def read(self, path: str) -> bytes:
        """Get it in one request."""
        with self._translate_errors(path):
            return bytes(obstore.get(self._store, path).bytes())

    def look(self, path: str) -> ObjectInfo | None:
        """Ask for its head."""
        with self._translate_errors(path):
            try:
                return _describe(obstore.head(self._store, path))
            except FileNotFoundError:
                return None

    def list_names(self, folder: str) -> list[str]:
        """List one level of keys."""
        with self._translate_errors(folder):
            found = obstore.list_with_delimiter(self._store, folder)
        paths = [*found["common_prefixes"], *[entry["path"] for entry in found["objects"]]]
        return [path.rpartition("/")[2] for path in paths]

    def list_objects(self, folder: str) -> Iterator[ObjectInfo]:
        """List the keys, a page at a time."""
        with self._translate_errors(folder):
            for page in obstore.list(self._store, folder, chunk_size=_PAGE_OBJECTS):
                yield from map(_describe, page)

    def delete(self, path: str) -> None:
        """Delete the key."""
        with self._translate_errors(path):
            obstore.delete(self._store, path)

    def clear_unfinished(self) -> None:
        """Do nothing: parts of an unfinished upload are no object; the bucket's lifecycle rule removes them."""

    def _choose_store(self, size_bytes: int) -> S3Store:
        """Return a client whose requests may last as long as a slow line needs for so many bytes."""
        bits = max(_SMALL_BITS, size_bytes.bit_length())
        with self._opening:
            if bits not in self._writing_stores:
                deadline = _STALL_TIMEOUT + timedelta(seconds=2**bits / _SLOWEST_BYTES_PER_S)
                self._writing_stores[bits] = self._open_store({"timeout": deadline})
            return self._writing_stores[bits]

    def _open_store(self, timeouts: ClientConfig) -> S3Store:
        settings: S3Config = {"region": self._access.region, "conditional_put": "etag"}
        if self._access.endpoint is not None:
            settings["endpoint"] = self._access.endpoint
        return S3Store(
            self._bucket,
            prefix=self._prefix,
            config=settings,
            client_options={
                "allow_http": self._access.scheme == "http",
                "connect_timeout": _CONNECT_TIMEOUT,
                **timeouts,
            },
            retry_config={"max_retries": 0},
            credential_provider=_make_provider(self._access),
        )

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return OSError, BaseError

    def _explain(self, error: Exception, where: str) -> TransientError | PermanentError:
        text = str(error)
        reason = _shorten(text)
        match recognise_s3_fault(text):
            case S3Fault.NO_BUCKET:
                return PermanentError(
                    f"{where}: there is no such bucket; create it, or correct {self._setting} ({reason})"
                )
            case S3Fault.REFUSED:
                return PermanentError(
                    f"{where}: the credentials are refused; check parquet_sink.s3_access_key, s3_secret_key and the "
                    f"bucket's policy ({reason})"
                )
            case S3Fault.NO_CREDENTIALS:
                return TransientError(
                    f"{where}: no credentials are found; set parquet_sink.s3_access_key and s3_secret_key, or "
                    f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role ({reason})"
                )
            case S3Fault.ABSENT:
                return ObjectAbsentError(f"{where} is not there, or not any more")
            case S3Fault.OTHER:
                return TransientError(f"{where}: S3 fails at the moment ({reason})")


class _Upload(io.RawIOBase):
    """An upload as the files look to which pyarrow writes."""

    def __init__(self, upload: WritableFile) -> None:
        self._upload = upload

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all of `data`."""
        return self._upload.write(_view(data))


class _Download(io.RawIOBase):
    """An object as the files look from which pyarrow reads."""

    def __init__(self, source: ReadableFile) -> None:
        self._source = source

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can seek."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Change the place."""
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._source.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what comes next into a buffer."""
        place = memoryview(buffer).cast("B")
        found = self._source.read(len(place))
        place[: len(found)] = memoryview(found)
        return len(found)


def _view(data: pa.Buffer | ReadableBuffer) -> memoryview:
    """Return the bytes as obstore takes them; pyarrow's are signed."""
    return memoryview(data).cast("B")


def _describe(meta: ObjectMeta) -> ObjectInfo:
    e_tag = meta["e_tag"]
    modified_ns = int(meta["last_modified"].timestamp() * 1000) * 1_000_000
    return ObjectInfo(meta["path"], meta["size"], modified_ns, e_tag.strip('"') if e_tag else None)


def _make_provider(access: S3Access) -> S3CredentialProvider | None:
    """Return the given keys as obstore asks for them; None lets it look for some."""
    if access.access_key is None or access.secret_key is None:
        return None
    # As plain settings they would be sent together with an AWS_SESSION_TOKEN of the environment, which is of others.
    keys: S3Credential = {
        "access_key_id": access.access_key,
        "secret_access_key": access.secret_key,
        "token": None,
        "expires_at": None,
    }
    return lambda: keys


def _shorten(text: str) -> str:
    """Return what S3 says, or the first lines of what the client says: the rest is its own state."""
    if answer := _ANSWER.search(text):
        return f"{answer[1]}: {answer[2]}"
    return " ".join(text.partition("Debug source:")[0].split())
