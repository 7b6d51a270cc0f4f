"""Buckets of the control plane, with typed values."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue

from tickloom_core.bus.connection import Connection
from tickloom_core.errors import BusUnavailableError, PermanentError

_R = TypeVar("_R", bound=msgspec.Struct)


class Bucket:
    """One KV bucket; every wait has nats-py's deadline of five seconds.

    Args:
        store: the bucket.
        name: its name, for messages.
    """

    def __init__(self, store: KeyValue, name: str) -> None:
        self._store = store
        self._name = name

    async def read(self, key: str, kind: type[_R]) -> _R | None:
        """Return the value under `key`, or None when there is none.

        Raises:
            BusUnavailableError: JetStream does not answer.
            PermanentError: the value is no `kind`.
        """
        entry = await self._find(key)
        return None if entry is None else self._decode(key, entry.value, kind)

    async def write(self, key: str, value: msgspec.Struct) -> int:
        """Write a value and return its revision.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        try:
            return await self._store.put(key, msgspec.json.encode(value))
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def read_revision(self, key: str, kind: type[_R]) -> tuple[_R, int] | None:
        """Return the value under `key` with its revision, or None when there is none.

        Raises:
            BusUnavailableError: JetStream does not answer.
            PermanentError: the value is no `kind`.
        """
        entry = await self._find(key)
        return None if entry is None else (self._decode(key, entry.value, kind), int(entry.revision or 0))

    async def replace(self, key: str, value: msgspec.Struct, revision: int) -> int | None:
        """Write a value when the key still stands at `revision` (0: has none), and return the new one; else None.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        data = msgspec.json.encode(value)
        try:
            return await (self._store.update(key, data, last=revision) if revision else self._store.create(key, data))
        except nats.js.errors.KeyWrongLastSequenceError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def delete(self, key: str) -> None:
        """Remove a key.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        try:
            await self._store.delete(key)
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def list_keys(self) -> list[str]:
        """Return the keys that have a value.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        try:
            return sorted(await self._store.keys())
        except nats.js.errors.NoKeysError:
            return []
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def _find(self, key: str) -> KeyValue.Entry | None:
        try:
            return await self._store.get(key)
        except (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyDeletedError):
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    def _decode(self, key: str, data: bytes | None, kind: type[_R]) -> _R:
        try:
            return msgspec.json.decode(data or b"", type=kind)
        except msgspec.DecodeError as error:
            raise PermanentError(f"{self._name}/{key} holds no {kind.__name__}: {error}; delete the key") from error

    def _unavailable(self, error: Exception) -> BusUnavailableError:
        return BusUnavailableError(f"the bucket {self._name} does not answer: {error or type(error).__name__}")


async def open_bucket(connection: Connection, name: str) -> Bucket:
    """Return the bucket `name`, which `ensure_topology` has made.

    Raises:
        BusUnavailableError: JetStream does not answer.
    """
    try:
        store = await connection.client.jetstream().key_value(name)
    except (nats.errors.Error, TimeoutError) as error:
        raise BusUnavailableError(f"the bucket {name} cannot be opened: {error or type(error).__name__}") from error
    return Bucket(store, name)
