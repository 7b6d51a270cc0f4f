"""A database as the store sees it: transactions whose errors say what can be done, and what dialects differ in.

Everything here blocks, and runs in the store's threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.exc import DBAPIError

from tickloom_core.errors import PermanentError, TickloomError, TransientError
from tickloom_sql_sink.rows import Rows


class RefusedRowsError(PermanentError):
    """The database will never take at least one of these rows."""


class NoPartitionError(TransientError):
    """No partition covers the time of at least one of these rows."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What retention has removed in one step.

    Attributes:
        row_count: exact in SQLite, the planner's estimate in PostgreSQL, None when there is none.
        first: the time of the first row, or where the first partition begins.
        last: the time of the last row, or where the last partition ends.
    """

    row_count: int | None
    first: datetime
    last: datetime


class Database(ABC):
    """One database; the subclasses know what is particular to a dialect.

    Args:
        engine: SQLAlchemy's, with a pool of as many connections as there are `threads`.

    Attributes:
        place: the URL without its password.
        threads: how many transactions may run at once.
        driver_error: the root of the errors that the driver raises by itself.
    """

    threads: ClassVar[int]
    driver_error: ClassVar[type[Exception]]

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._busy: set[Any] = set()
        event.listen(engine, "checkout", lambda connection, *_: self._busy.add(connection))
        event.listen(engine, "checkin", lambda connection, *_: self._busy.discard(connection))
        self.place = engine.url.set(drivername=engine.url.get_backend_name()).render_as_string(hide_password=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction; it is committed when the block ends, rolled back when it raises.

        Raises:
            RefusedRowsError: rows of the block can never be stored.
            NoPartitionError: partitions must be made first.
            TransientError: nothing is committed, or it is not known what is; try again.
            PermanentError: the database cannot be used; the message says what to mend.
        """
        with self.translate_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def begin_trial(self) -> Iterator[Connection]:
        """Open a transaction that is rolled back at the end of the block, whatever happens."""
        with self.translate_errors(), self._engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn the errors of SQLAlchemy and of the driver into Tickloom's."""
        try:
            yield
        except DBAPIError as error:
            raise self.classify(error.orig or error) from error
        except self.driver_error as error:
            raise self.classify(error) from error

    def interrupt(self) -> None:
        """Make the transactions fail that run at this moment; called from any thread."""
        for connection in list(self._busy):
            self.cancel(connection)

    def close(self) -> None:
        """Close the connections; none may be in use."""
        self._engine.dispose()

    @abstractmethod
    def classify(self, error: BaseException) -> TickloomError:
        """Say in Tickloom's terms what an error of the driver means."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Keep others from changing the tables until the transaction ends."""

    @abstractmethod
    def settle(self) -> None:
        """Find out how the tables were made; called once they are."""

    @abstractmethod
    def cancel(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        """Make the statement fail that runs on a connection of the driver."""

    @abstractmethod
    def load(self, connection: Connection, table: Table, parts: Iterable[Rows]) -> int:
        """Insert rows, leave out those whose key is there already, and return how many were inserted.

        `parts` are read one by one, so that only one of them is held as rows; they may be read twice.
        """

    @abstractmethod
    def make_room(self, table: Table, days: Iterable[int]) -> None:
        """Make sure that rows of these days, counted from 1970-01-01, have a place."""

    @abstractmethod
    def remove_oldest(self, table: Table, cutoff: datetime) -> Removed | None:
        """Remove a piece of what is older than `cutoff`, in its own transaction; None when there is nothing left."""
