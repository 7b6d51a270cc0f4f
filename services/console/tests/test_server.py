from __future__ import annotations

import pytest

from tests.support.servers import find_free_port
from tickloom_console.server import choose_bus
from tickloom_core.config import NatsConfig
from tickloom_core.errors import ConfigError


async def test_nothing_at_the_configured_address_means_a_server_of_our_own(tmp_path):
    """On this machine, where nothing listens, NATS is brought along at the configured port."""
    port = find_free_port()
    choice = await choose_bus(NatsConfig(url=f"nats://localhost:{port}"), None, tmp_path)
    assert choice.program is not None
    assert f"-p {port}" in " ".join(choice.program.command)
    assert str(tmp_path / "nats") in choice.program.command


async def test_a_server_that_runs_is_used(nats_url, tmp_path):
    """What answers at the configured address is used as it is."""
    choice = await choose_bus(NatsConfig(url=nats_url), None, tmp_path)
    assert (choice.url, choice.program) == (nats_url, None)


async def test_embedded_never_uses_a_server_that_runs(nats_url, tmp_path):
    """`--nats=embedded` takes another port when the configured one is taken."""
    choice = await choose_bus(NatsConfig(url=nats_url), "embedded", tmp_path)
    assert choice.program is not None
    assert choice.url != nats_url


@pytest.mark.parametrize("wanted", [None, "nats://nats.example:4222"])
async def test_another_machine_is_never_replaced(wanted, tmp_path):
    """An address elsewhere is used whether it answers or not: bringing our own would split the data."""
    choice = await choose_bus(NatsConfig(url=wanted or "nats://nats.example:4222"), wanted, tmp_path)
    assert choice.program is None


async def test_an_address_that_is_none_is_refused(tmp_path):
    """A port that is no number is an error of the configuration."""
    with pytest.raises(ConfigError, match=r"nats\.url"):
        await choose_bus(NatsConfig(url="nats://localhost:none"), None, tmp_path)
