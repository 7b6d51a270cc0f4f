"""The contract of a destination: objects below a root, each there as a whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final
from uuid import uuid4

import pyarrow as pa

from tickloom_core.errors import PermanentError, TickloomError, TransientError

_PROBE: Final = ".probe-"


class ObjectAbsentError(TransientError):
    """There is no object of this name; it may have been replaced since it was listed: list again."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing says of one object.

    Attributes:
        path: relative to the root.
        modified_ns: when it was written, ns since 1970, by the clock of the folder's machine or the bucket's server.
        e_tag: as a bucket says it, without quotes: the MD5 of an object put in one request; None in a folder.
    """

    path: str
    size_bytes: int
    modified_ns: int
    e_tag: str | None


class Destination(ABC):
    """A root below which objects are written, read, listed and deleted by relative path; safe to use from threads.

    Every method raises TransientError when trying again can help (a full disk, a timeout, a server's 5xx), and
    PermanentError when somebody must mend something (an unwritable folder, refused credentials, no such bucket). Both
    name the place.

    Args:
        place: the root as a person would name it.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    @abstractmethod
    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Write one object, durably and as a whole; an object of that name is replaced."""

    @abstractmethod
    def create(self, path: str, data: pa.Buffer | bytes) -> bool:
        """Write one object if there is none of that name, durably and as a whole; return whether it was written.

        Of several processes that create one name exactly one is told True. An error leaves open whether the object is
        there: who tries again and is told False looks whether it is its own.
        """

    @abstractmethod
    def open_writer(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Write one object piece by piece, in bounded memory.

        It appears, durably and as a whole, when the block ends without an error, and never when it ends with one; an
        object of that name is replaced.
        """

    @abstractmethod
    def open_reader(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Read one object piece by piece; the stream can seek.

        Raises:
            ObjectAbsentError: there is none.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the bytes of one object.

        Raises:
            ObjectAbsentError: there is none.
        """

    @abstractmethod
    def look(self, path: str) -> ObjectInfo | None:
        """Return what there is of that name; None when there is nothing."""

    @abstractmethod
    def list_names(self, folder: str) -> list[str]:
        """Return the names of objects and folders in `folder`, without the folder; none when it does not exist."""

    @abstractmethod
    def list_objects(self, folder: str) -> Iterator[ObjectInfo]:
        """Yield all objects below `folder`, at any depth, in no order; "" is the root."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete one object, durably; fine when there is none. A folder that is left empty may go."""

    @abstractmethod
    def clear_unfinished(self) -> None:
        """Remove what crashed processes left half-written; what living ones are writing stays."""

    def probe(self) -> None:
        """Create a small object, see that it cannot be created again, and delete it.

        Raises:
            TransientError: the destination does not answer.
            PermanentError: it cannot be written to, or lets one name be created twice.
        """
        path = f"{_PROBE}{uuid4().hex}"
        is_exclusive = self.create(path, b"tickloom") and not self.create(path, b"tickloom")
        self.delete(path)
        if not is_exclusive:
            raise PermanentError(
                f"{self.place}: this server lets one object be created twice (it ignores If-None-Match), so two sinks "
                "could write one partition; use one that knows conditional writes"
            )

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        """Turn what the system or the client raises about an object into an error of Tickloom's that names it."""
        try:
            yield
        except TickloomError:
            raise
        except self._errors as error:
            raise self._explain(error, f"{self.place}/{path}") from error

    @property
    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]:
        """What the system or the client raises."""

    @abstractmethod
    def _explain(self, error: Exception, where: str) -> TransientError | PermanentError:
        """Say in Tickloom's terms what went wrong."""
