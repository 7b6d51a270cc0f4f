"""What every reader and writer of a bucket needs, without a client: how to reach it, and what its errors mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal
from urllib.parse import urlsplit

from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import ConfigError

S3_SCHEME: Final = "s3://"

_ERROR: Final = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")
"""How pyarrow, by way of the AWS SDK, begins what S3 answered."""
_ABSENT: Final = frozenset({"NO_SUCH_KEY", "RESOURCE_NOT_FOUND"})
_REFUSALS: Final = frozenset(
    {
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_CLIENT_TOKEN_ID",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "SIGNATURE_DOES_NOT_MATCH",
        "UNRECOGNIZED_CLIENT",
    }
)
_REFUSING_STATUSES: Final = frozenset({"401", "403"})


class S3Fault(Enum):
    """What an error of S3 is about."""

    NO_BUCKET = auto()
    REFUSED = auto()
    ABSENT = auto()
    OTHER = auto()
    """Anything else, time-outs and 5xx among them: it may pass."""


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach a server that speaks S3; without keys they are found as the AWS SDK finds them."""

    access_key: str | None
    secret_key: str | None
    region: str
    scheme: Literal["http", "https"]
    host: str | None
    """Host and port; None means AWS."""


def read_s3_access(config: ParquetSinkConfig) -> S3Access:
    """Return how the configuration says that S3 is reached.

    Raises:
        ConfigError: the endpoint cannot be understood, or a secret is missing.
    """
    if (config.s3_access_key is None) != (config.s3_secret_key is None):
        raise ConfigError("s3_access_key and s3_secret_key are given together or not at all", path="parquet_sink")
    scheme, host = _split_endpoint(config.s3_endpoint)
    return S3Access(
        access_key=config.s3_access_key.resolve() if config.s3_access_key else None,
        secret_key=config.s3_secret_key.resolve() if config.s3_secret_key else None,
        region=config.s3_region,
        scheme=scheme,
        host=host,
    )


def read_bucket_path(uri: str) -> str:
    """Return `bucket/prefix` of `s3://bucket/prefix`.

    Raises:
        ConfigError: there is no bucket in it.
    """
    path = uri.removeprefix(S3_SCHEME).strip("/")
    if not path:
        raise ConfigError(f"expected s3://bucket/prefix, found `{uri}`", path="parquet_sink.uri")
    return path


def recognise_s3_fault(text: str) -> S3Fault:
    """Say what the text of an error of pyarrow's S3 file system is about."""
    found = _ERROR.search(text)
    code, status = found.groups() if found else ("", None)
    if code == "NO_SUCH_BUCKET":
        return S3Fault.NO_BUCKET
    if code in _REFUSALS or status in _REFUSING_STATUSES:
        return S3Fault.REFUSED
    return S3Fault.ABSENT if code in _ABSENT else S3Fault.OTHER


def _split_endpoint(endpoint: str | None) -> tuple[Literal["http", "https"], str | None]:
    if endpoint is None:
        return "https", None
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise ConfigError(f"expected http(s)://host:port, found `{endpoint}`", path="parquet_sink.s3_endpoint")
    return "http" if parts.scheme == "http" else "https", parts.netloc
