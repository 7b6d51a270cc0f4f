"""What answers of InfluxDB, and of what may stand before it, mean: try again, mend something, or blame the lines."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp import web
from msgspec import structs

from tests.support.servers import find_free_port
from tickloom_core.config import InfluxSinkConfig, SecretReference
from tickloom_core.errors import ConfigError, PermanentError, TransientError
from tickloom_influx_sink.client import compress, open_client, read_access
from tickloom_influx_sink.store import InfluxStore

NOON_NS = 1_795_262_400 * 10**9
LINES = compress(f"m a=1 {NOON_NS}\nm a=2 {NOON_NS + 1}\n")


class Front:
    """Stands before an InfluxDB: answers as it was told, then forwards."""

    def __init__(self, target):
        self.port = find_free_port()
        self.faults = []
        self.arrivals_s = []
        self.most_at_once = 0
        self._at_once = 0
        self._target = target

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request):
        self.arrivals_s.append(time.monotonic())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._fail(request) or await self._forward(request)
        finally:
            self._at_once -= 1

    async def _fail(self, request):
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:
                request.transport.abort()
                return web.Response()
            if isinstance(fault, float):
                await asyncio.sleep(fault)
            else:
                status, headers, body = fault
                return web.Response(status=status, headers=headers, text=body)
        return None

    async def _forward(self, request):
        headers = {
            name: value for name, value in request.headers.items() if name in {"Authorization", "Content-Encoding"}
        }
        async with aiohttp.ClientSession() as session:
            data = await request.read()
            async with session.request(
                request.method, self._target + request.path_qs, data=data or None, headers=headers
            ) as answer:
                return web.Response(status=answer.status, body=await answer.read())


@pytest.fixture
async def front(influx):
    """A front before the InfluxDB."""
    front = Front(influx.url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", front.answer)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", front.port).start()
    yield front
    await runner.cleanup()


@pytest.fixture
def open_front(influx, bucket, front):
    """Open a client through the front, with other settings as named."""

    def make(*, timeout_s=5.0, **changes):
        config = structs.replace(influx.config, url=front.url, bucket=bucket, timeout_s=timeout_s)
        return open_client(config, replace(influx.access, url=front.url, bucket=bucket, **changes))

    return make


@pytest.mark.servers
@pytest.mark.parametrize(
    "fault",
    [
        (503, {}, ""),
        (429, {}, '{"code": "too many requests", "message": "slow down"}'),
        (500, {}, '{"code": "internal error", "message": "see the logs"}'),
        (502, {}, "<html>bad gateway</html>"),
        (404, {}, "<html>no such backend</html>"),
        (400, {}, "<html>not InfluxDB's words</html>"),
        None,
        2.0,
    ],
    ids=["503", "429", "500", "502", "404 of a proxy", "400 of a proxy", "cut off", "no answer in time"],
)
async def test_a_passing_fault(fault, influx, bucket, front, open_front):
    """What can pass is tried again, and the lines are stored."""
    front.faults += [fault, fault]
    async with open_front(timeout_s=1.0 if fault == 2.0 else 10.0) as client:
        assert await client.write(LINES) is None
        assert len(front.arrivals_s) >= 3
        front.faults += [fault]
        assert [row["a"] for row in await client.query("SELECT a FROM m")] == [1, 2]


@pytest.mark.servers
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_asked_to_wait(form, influx, bucket, front, open_front):
    """A Retry-After of some seconds is obeyed, whether it is a number or a date."""
    wait = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    front.faults += [(503, {"Retry-After": wait}, "")]
    async with open_front() as client:
        assert await client.write(LINES) is None
    first_s, second_s = front.arrivals_s
    assert second_s - first_s >= 0.95
    assert [row["a"] for row in influx.read_rows("m", bucket=bucket)] == [1, 2]


@pytest.mark.servers
async def test_asked_to_wait_long(front, open_front):
    """A long Retry-After is handed to the sink's loop at once, which can be stopped while it waits."""
    front.faults += [(429, {"Retry-After": "3600"}, "")]
    async with open_front() as client:
        with pytest.raises(TransientError, match="429") as caught:
            await client.write(LINES)
    assert caught.value.retry_after_s == 3600
    assert len(front.arrivals_s) == 1


@pytest.mark.servers
async def test_a_fault_that_stays(front, open_front):
    """After some attempts the fault is handed to the sink's loop, with what the server says."""
    front.faults += [(503, {}, "overloaded")] * 99
    async with open_front() as client:
        with pytest.raises(TransientError, match=r"fails at the moment \(503: overloaded\)"):
            await client.write(LINES)
    assert len(front.arrivals_s) == 4


async def test_a_server_that_is_away():
    """A server that does not answer can come back."""
    url = f"http://127.0.0.1:{find_free_port()}"
    config = InfluxSinkConfig(url=url, org="o", token=SecretReference(env="PATH"))
    async with open_client(config, read_access(config)) as client:
        with pytest.raises(TransientError, match=f"{url}: InfluxDB cannot be reached at the moment"):
            await client.write(LINES)


@pytest.mark.servers
async def test_a_damaged_body(influx, bucket, open_front):
    """A body that came to harm on the way (influxd 2.7 answers 500) is tried again."""
    async with open_front() as client:
        with pytest.raises(TransientError, match="500"):
            await client.write(b"\x1f\x8bharmed")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": "wrong"}, "the token is refused; correct influx_sink.token or INFLUXDB_TOKEN"),
        ({"bucket": "absent"}, "no such bucket or organisation.*influx_sink.bucket"),
        ({"org": "absent"}, "no such bucket or organisation.*INFLUXDB_ORG"),
    ],
    ids=["wrong token", "no bucket", "no organisation"],
)
async def test_what_stays_wrong(changes, words, influx, bucket):
    """A refused token, a missing bucket and a missing organisation are permanent, with the place and what to mend."""
    access = replace(influx.access, **{"bucket": bucket} | changes)
    async with open_client(influx.config, access) as client:
        with pytest.raises(PermanentError, match=words) as caught:
            await client.write(LINES)
        assert influx.url in str(caught.value)


@pytest.mark.servers
@pytest.mark.parametrize(("action", "words"), [("read", "the token may not write"), ("write", "bucket cannot be read")])
async def test_half_a_token(action, words, influx, bucket):
    """A token that may only read or only write is found by the probe."""
    token = influx.make_token(action, bucket=bucket)
    async with open_client(influx.config, replace(influx.access, bucket=bucket, token=token)) as client:
        with pytest.raises(PermanentError, match=words):
            await InfluxStore(client, None, request_lines=1, requests_in_flight=1).probe()


@pytest.mark.servers
async def test_a_refusal(influx, bucket, open_front):
    """What is wrong with the lines is no error but InfluxDB's answer."""
    async with open_front() as client:
        refusal = await client.write(compress("m a= 1\n"))
        assert refusal is not None
        assert "unable to parse" in refusal.reason
        assert await client.write(compress(f"m a=1 {NOON_NS}\n")) is None
        refusal = await client.write(compress(f'm a="x" {NOON_NS}\nm a=2 {NOON_NS + 1}\nm a="y" {NOON_NS + 2}\n'))
        assert refusal is not None
        assert "field type conflict" in refusal.reason
        assert refusal.dropped == 2


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "body", "dropped"),
    [
        (400, '{"code": "invalid", "message": "partial write: type conflict dropped=3"}', 3),
        (413, "<html>too large</html>", 0),
    ],
    ids=["a newer release", "a proxy's limit"],
)
async def test_other_refusals(status, body, dropped, front, open_front):
    """Partial writes of newer releases (400) and requests that are too large (413) are refusals as well."""
    front.faults += [(status, {}, body)]
    async with open_front() as client:
        refusal = await client.write(LINES)
    assert refusal is not None
    assert refusal.dropped == dropped


@pytest.mark.servers
async def test_requests_in_flight(front, open_front):
    """Writes go out side by side, and never more of them than requests_in_flight says."""
    front.faults += [0.1] * 20
    async with open_front() as client:
        await asyncio.gather(*[client.write(LINES) for _ in range(12)])
    assert front.most_at_once == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "127.0.0.1:8086"}, r"influx_sink.url: expected http\(s\)://host:port"),
        ({"url": "http://h:8086/?org=x"}, r"influx_sink.url: expected http\(s\)://host:port"),
        ({"org": None}, "INFLUXDB_ORG: this environment variable is empty or not set"),
        ({"token": None}, "INFLUXDB_TOKEN: this environment variable is empty or not set"),
    ],
)
def test_settings_that_cannot_work(changes, words, monkeypatch):
    """What is missing or cannot be understood is named with its setting or variable."""
    for name in ("INFLUXDB_ORG", "INFLUXDB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    settings = {"org": "o", "token": SecretReference(env="PATH")}
    with pytest.raises(ConfigError, match=words):
        read_access(InfluxSinkConfig(**settings | changes))


def test_organisation_and_token_of_the_environment(monkeypatch):
    """Without settings of their own organisation and token come from the environment."""
    monkeypatch.setenv("INFLUXDB_ORG", "of the environment")
    monkeypatch.setenv("INFLUXDB_TOKEN", "secret")
    access = read_access(InfluxSinkConfig(url="https://influx.example/base/"))
    assert (access.url, access.org, access.token) == ("https://influx.example/base", "of the environment", "secret")
    assert "secret" not in repr(access)
