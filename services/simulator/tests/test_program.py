"""The program: its command line, its first line of output, its end, and its control API."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest
from absl import flags

from tickloom_core.errors import ConfigError
from tickloom_simulator.flags import parse_options


def test_defaults():
    """Without flags it makes up four symbols on each of three venues, on any port."""
    options = parse_options(["simulator"])
    assert (options.venues, options.symbols_per_venue) == (("binance", "kraken", "coinbase"), 4)
    assert (options.port, options.venue_ports, options.replay, options.replay_autostart) == (0, {}, None, None)


@pytest.mark.parametrize(
    "argument",
    [
        "--venues=nowhere",
        "--venue_ports=binance",
        "--venue_ports=nowhere=1",
        "--book_levels=1",
        "--no_such_flag",
        "--speed=-1",
        "--synthetic --replay=file",
        "something",
    ],
)
def test_bad_flags(argument):
    """A flag that cannot be what it says is an error at the command line."""
    with pytest.raises(ConfigError):
        parse_options(["simulator", *argument.split()])


def test_flags_are_its_own():
    """Parsing leaves absl's global flags alone, twice in a row."""
    assert parse_options(["simulator", "--seed=5"]).seed == 5
    assert parse_options(["simulator"]).seed == 1
    assert "symbols_per_venue" not in flags.FLAGS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it(start_simulator, number):
    """SIGTERM and SIGINT close the sockets of clients and end it with exit code 0."""
    async with start_simulator("--venues=binance") as simulator:
        async with simulator.connect("binance", "/ws/btcusdt@trade") as probe:
            await probe.read()
            simulator.process.send_signal(number)
            await probe.read_to_end()
        async with asyncio.timeout(10):
            assert await simulator.process.wait() == 0


async def test_a_taken_port(simulator):
    """A port that is taken ends it with exit code 1 and one line that names the port."""
    port = simulator.control.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_simulator", f"--port={port}", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert port in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_unreadable_recording(tmp_path):
    """A file that is no recording ends it with exit code 1 and one line that names the file."""
    path = tmp_path / "broken.jsonl.gz"
    path.write_text("not gzip")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_simulator", f"--replay={path}", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert str(path) in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_recording_of_another_venue(corpus):
    """A recording of a venue without named streams is refused with the venues that can be replayed."""
    path = corpus / "recordings" / "okx_2021_22.jsonl.gz"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_simulator", f"--replay={path}", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert "'okx'" in errors.decode()


async def test_status_and_rates(simulator):
    """Status tells who is subscribed to what; rates change at once and only by their names."""
    async with simulator.connect("kraken", "/v2", agent="someone") as probe:
        await probe.send({"method": "subscribe", "params": {"channel": "ticker", "symbol": ["ETH/USD"]}, "req_id": 3})
        await probe.read_until(lambda messages: any(message.get("req_id") == 3 for message in messages))
        status = await simulator.call("GET", "/status")
        assert status["subscriptions"] == {"someone": {"kraken": {"tickers": ["ETH/USD"]}}}
        assert [(row["venue"], row["agent"]) for row in status["connections"]] == [("kraken", "someone")]
        assert status["generating"] is True
        await simulator.call("POST", "/rates", {"tickers_per_s": 0})
        before = len(await probe.read_rest())
        tickers = [message for message in (await probe.read_rest())[before:] if message.get("channel") == "ticker"]
    assert tickers == []
    assert "speed_of_light" in (await simulator.call("POST", "/rates", {"speed_of_light": 1}, status=400))["error"]


async def test_forget_the_truth(simulator):
    """DELETE /truth forgets what was counted, and counting goes on."""
    async with simulator.connect("binance", "/ws/btcusdt@trade") as probe:
        await probe.read_until(lambda messages: len(messages) >= 10)
        await simulator.call("DELETE", "/truth")
        had = len(probe.messages)
        await probe.read_until(lambda messages: len(messages) >= had + 10)
        sent, _ = await simulator.read_keys("binance", "trades", "BTC/USDT", agent="probe")
        await probe.read_until(lambda messages: str(messages[-1]["t"]) == sent[-1])
    assert 0 < len(sent) < len(probe.messages)


async def test_replay_without_recording(simulator):
    """There is nothing to start when nothing was recorded."""
    assert "--replay" in (await simulator.call("POST", "/replay/start", status=400))["error"]
