"""The HTTP side of InfluxDB 2: writes line protocol, asks InfluxQL, and says what an answer means.

What influxd answers differs from its documentation and between releases (docs/influx-sink.md lists it): what counts
here is whether trying again can help, whether the lines are to blame, or whether somebody must mend something.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from prometheus_client import Counter, Histogram
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from tickloom_core.config import InfluxSinkConfig, SecretReference
from tickloom_core.errors import ConfigError, PermanentError, TickloomError, TransientError

ORG_VARIABLE: Final = "INFLUXDB_ORG"
TOKEN_VARIABLE: Final = "INFLUXDB_TOKEN"  # noqa: S105 - the name of a variable

_ATTEMPTS: Final = 4
_RETRY_BASE_S: Final = 0.25
_RETRY_MAX_S: Final = 5.0
"""Whoever asks for a longer wait is obeyed by the sink's loop, which can be stopped while it waits."""
_GZIP_LEVEL: Final = 1
_OK: Final = 200
_NO_CONTENT: Final = 204
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_UNPROCESSABLE: Final = 422
_NO_DATABASE: Final = "database not found"
_REASON_CHARS: Final = 200
_BACKOFF: Final = wait_exponential_jitter(multiplier=_RETRY_BASE_S, max=_RETRY_MAX_S, jitter=_RETRY_BASE_S)
_DROPPED: Final = re.compile(r"\bdropped=(\d+)")

_REQUESTS = Counter("tickloom_influx_sink_requests", "Write requests by what came back", ["status"])
_REQUEST_SECONDS = Histogram("tickloom_influx_sink_request_seconds", "One write request")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the bucket is and how it is opened."""

    url: str
    org: str
    bucket: str
    token: str = field(repr=False)

    @property
    def place(self) -> str:
        """The bucket as a person would name it."""
        return f"{self.url}, organisation {self.org}, bucket {self.bucket}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """InfluxDB will not take a request because of what is in it.

    Attributes:
        reason: in its own words.
        dropped: how many lines it says that it left out; 0 when it does not say.
    """

    reason: str
    dropped: int


class _Complaint(msgspec.Struct):
    """The body of an answer that is an error."""

    code: str
    message: str = ""


class _Series(msgspec.Struct):
    columns: list[str]
    values: list[list[Any]]


class _Result(msgspec.Struct):
    series: list[_Series] = []
    error: str = ""


class _Results(msgspec.Struct):
    results: list[_Result]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def complaint(self) -> _Complaint | None:
        """InfluxDB's own words; None when something else on the way has answered."""
        try:
            return msgspec.json.decode(self.body, type=_Complaint)
        except msgspec.DecodeError:
            return None

    @property
    def reason(self) -> str:
        """What it says, on one short line: InfluxDB quotes the whole line that it cannot read before it says why."""
        text = self.complaint.message if self.complaint else self.body.decode(errors="replace")
        words = " ".join(text.split()) or "no reason given"
        return words if len(words) <= 2 * _REASON_CHARS else f"{words[:_REASON_CHARS]} … {words[-_REASON_CHARS:]}"


def read_access(config: InfluxSinkConfig) -> Access:
    """Return where the configuration and the environment say that the bucket is.

    Raises:
        ConfigError: the URL cannot be understood, or organisation or token are given nowhere.
    """
    parts = urlsplit(config.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"expected http(s)://host:port, found `{config.url}`", path="influx_sink.url")
    org = config.org or SecretReference(env=ORG_VARIABLE).resolve()
    token = (config.token or SecretReference(env=TOKEN_VARIABLE)).resolve()
    return Access(config.url.rstrip("/"), org, config.bucket, token)


class InfluxClient:
    """Speaks to one bucket.

    Args:
        session: sends the requests; its timeout is the deadline of each.
        access: where the bucket is.
        requests_in_flight: most writes at once.
    """

    def __init__(self, session: aiohttp.ClientSession, access: Access, *, requests_in_flight: int) -> None:
        self._session = session
        self._access = access
        self._in_flight = asyncio.Semaphore(requests_in_flight)
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            retry=retry_if_exception(_is_soon_over),
            wait=_choose_wait_s,
            reraise=True,
        )

    async def write(self, body: bytes) -> Refusal | None:
        """Write gzipped lines; return None when InfluxDB has all of them on its disk.

        Raises:
            TransientError: InfluxDB does not take them at the moment, also after some attempts.
            PermanentError: the bucket cannot be written to; the message says what to mend.
        """
        return await self._retrying(self._write_once, body)

    async def query(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of the first series of an InfluxQL query; times are ns since 1970.

        Raises:
            TransientError: InfluxDB does not answer at the moment, also after some attempts.
            PermanentError: the bucket cannot be read; the message says what to mend.
        """
        return await self._retrying(self._query_once, text)

    async def _write_once(self, body: bytes) -> Refusal | None:
        parameters = {"org": self._access.org, "bucket": self._access.bucket, "precision": "ns"}
        async with self._in_flight:
            with _REQUEST_SECONDS.time():
                answer = await self._send("POST", "/api/v2/write", parameters, body)
        if answer.status in {_OK, _NO_CONTENT}:
            return None
        if answer.complaint is not None and answer.status in {_BAD_REQUEST, _UNPROCESSABLE}:
            dropped = _DROPPED.search(answer.complaint.message)
            return Refusal(answer.reason, int(dropped[1]) if dropped else 0)
        if answer.status == _TOO_LARGE:
            return Refusal(answer.reason, 0)
        raise self._classify(answer)

    async def _query_once(self, text: str) -> list[dict[str, Any]]:
        parameters = {"db": self._access.bucket, "epoch": "ns", "q": text}
        answer = await self._send("GET", "/query", parameters)
        if answer.status != _OK:
            raise self._classify(answer)
        try:
            (result,) = msgspec.json.decode(answer.body, type=_Results).results
        except (msgspec.DecodeError, ValueError) as error:
            raise TransientError(f"{self._access.place}: an answer that is not InfluxDB's: {answer.reason}") from error
        if _NO_DATABASE in result.error:
            # Reading needs a permission of its own: without it the bucket is not in sight.
            raise PermanentError(
                f"{self._access.place}: the bucket cannot be read ({result.error}); create it, or give the token "
                "permission to read it as well as to write"
            )
        if result.error:
            raise TransientError(f"{self._access.place}: a query failed: {result.error}")
        return [dict(zip(series.columns, row, strict=True)) for series in result.series for row in series.values]

    async def _send(self, method: str, path: str, parameters: Mapping[str, str], body: bytes | None = None) -> _Answer:
        url = f"{self._access.url}{path}"
        headers = {"Authorization": f"Token {self._access.token}"}
        if body is not None:
            headers |= {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        try:
            async with self._session.request(method, url, params=parameters, headers=headers, data=body) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _REQUESTS.labels("none").inc()
            reason = str(error) or "no answer in time"
            raise TransientError(f"{self._access.url}: InfluxDB cannot be reached at the moment ({reason})") from error
        _REQUESTS.labels(str(answer.status)).inc()
        return _Answer(answer.status, content, _read_retry_after_s(answer.headers))

    def _classify(self, answer: _Answer) -> TickloomError:
        """Say in Tickloom's terms what an answer means that is neither success nor a matter of the lines."""
        place, reason = self._access.place, answer.reason
        if answer.status == _UNAUTHORIZED:
            return PermanentError(
                f"{place}: the token is refused; correct influx_sink.token or {TOKEN_VARIABLE} ({reason})"
            )
        if answer.status == _FORBIDDEN:
            return PermanentError(f"{place}: the token may not write there; give it that permission ({reason})")
        if answer.status == _NOT_FOUND and answer.complaint is not None:
            return PermanentError(
                f"{place}: there is no such bucket or organisation; create it, or correct influx_sink.bucket and "
                f"influx_sink.org or {ORG_VARIABLE} ({reason})"
            )
        return TransientError(
            f"{place}: InfluxDB fails at the moment ({answer.status}: {reason})", retry_after_s=answer.retry_after_s
        )


@asynccontextmanager
async def open_client(config: InfluxSinkConfig, access: Access) -> AsyncIterator[InfluxClient]:
    """Provide a client whose connections are closed with the block."""
    timeout = aiohttp.ClientTimeout(total=config.timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield InfluxClient(session, access, requests_in_flight=config.requests_in_flight)


def compress(lines: str) -> bytes:
    """Return the body of a write request."""
    return gzip.compress(lines.encode(), _GZIP_LEVEL, mtime=0)


def _is_soon_over(error: BaseException) -> bool:
    return isinstance(error, TransientError) and (error.retry_after_s or 0) <= _RETRY_MAX_S


def _choose_wait_s(state: RetryCallState) -> float:
    """Return a growing, scattered wait, no shorter than what InfluxDB asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, TransientError) else None
    return max(_BACKOFF(state), asked_s or 0)


def _read_retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long to wait; RFC 9110 allows seconds or a date."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
