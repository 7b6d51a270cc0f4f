"""What a place where rows are stored must let a test do: open it, read it, take it away and give it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, ClassVar
from unittest.mock import AsyncMock, patch

import yaml

from tests.support.ticks import KEY_FIELDS, Row
from tickloom_core.config import Config
from tickloom_core.config_file import parse_config
from tickloom_core.flags import CommonOptions
from tickloom_core.lifecycle import Stop
from tickloom_core.rejections import SetAside
from tickloom_core.sink import Store
from tickloom_core.sink_service import Sink, SinkOptions


class Medium(ABC):
    """A place where one sink stores rows.

    Attributes:
        package: the sink's package; running it is the sink.
        sink: the sink's name in bus.sinks.
        columns: by channel, the fields of `tests.support.ticks.describe_rows` that the place keeps.
        environment: what the sink's process finds in its environment.
        server_port: where its server listens; None for files.
    """

    package: ClassVar[str]
    sink: ClassVar[str]
    columns: ClassVar[dict[str, tuple[str, ...]]]
    environment: ClassVar[dict[str, str]] = {}
    server_port: int | None = None

    @abstractmethod
    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the sections of the configuration with which the sink finds it; `port` is a relay's."""

    @abstractmethod
    def read_columns(self, channel: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return some fields of all rows of a channel, as its users would read them; None where nothing is known."""

    @abstractmethod
    def interrupt(self) -> None:
        """Take it away: whoever writes to it fails for now."""

    @abstractmethod
    def restore(self) -> None:
        """Give it back with all that was in it."""

    def find_litter(self) -> list[str]:
        """Return what lies about that is no data, or is said to be and is missing: a sentence each."""
        return []

    def keep(self, channel: str, row: Row) -> Row:
        """Return what the place keeps of a row of `describe_rows`."""
        return {name: row[name] for name in self.columns[channel]}

    def read_rows(self, channel: str) -> list[Row]:
        """Return all rows of a channel."""
        names = self.columns[channel]
        return [dict(zip(names, values, strict=True)) for values in self.read_columns(channel, names)]

    def read_keys(self, channel: str = "trades") -> Counter[str]:
        """Return how often each key is stored; what services say of themselves is left out."""
        keys: Counter[str] = Counter()
        for exchange, key in self.read_columns(channel, ("exchange", KEY_FIELDS[channel])):
            if exchange != "tickloom":
                keys[str(int(key)) if isinstance(key, float) else str(key)] += 1
        return keys

    def count_rows(self, channel: str = "trades") -> int:
        """Return how many rows of a channel are stored."""
        return len(self.read_columns(channel, ("exchange",)))

    @asynccontextmanager
    async def open_store(self, set_aside: SetAside, *, port: int | None = None) -> AsyncIterator[Store]:
        """Open the store as the sink's process does; `port` is a relay's."""
        settings = yaml.safe_dump(self.make_settings(port=port))
        with patch.dict("os.environ", self.environment):
            sink = await self._find_sink(parse_config(settings, name="settings"))
            async with sink.open_store(set_aside) as store:
                yield store

    async def _find_sink(self, config: Config) -> Sink:
        """Return what the service would carry the stream into."""
        service = import_module(f"{self.package}.service")
        options = SinkOptions(CommonOptions("", self.sink, "", -1, None, None), None)
        with patch.object(service, "serve_sink", AsyncMock()) as serve_sink:
            await service.serve(options, config, Stop())
        (call,) = serve_sink.await_args_list
        sink: Sink = call.args[-1]
        return sink
