"""A way to a server that makes its answers late."""

from __future__ import annotations

import asyncio
from typing import Self

from tests.support.servers import find_free_port

_BLOCK_BYTES = 65536


class Relay:
    """Passes bytes between whoever connects to `port` and a server of this machine, as long as the block runs.

    Args:
        server_port: where the server listens.
        delay_s: how long each piece of an answer is held back.
    """

    def __init__(self, server_port: int, delay_s: float) -> None:
        self._server_port = server_port
        self._delay_s = delay_s
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = find_free_port()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        async with asyncio.timeout(5):
            await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer, delay_s=0))
                group.create_task(_copy(far_reader, writer, delay_s=self._delay_s))
        except* ConnectionError:
            pass  # one of the two has gone
        finally:
            self._writers -= {writer, far_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delay_s: float) -> None:
    while data := await reader.read(_BLOCK_BYTES):
        await asyncio.sleep(delay_s)
        writer.write(data)
        await writer.drain()
    writer.close()
