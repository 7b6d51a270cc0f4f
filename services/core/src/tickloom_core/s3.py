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

_CODE: Final = re.compile(r"AWS Error (\w+)|<Code>(\w+)</Code>")
"""What S3 calls an error: pyarrow, by way of the AWS SDK, says NO_SUCH_KEY where obstore shows S3's own NoSuchKey."""
_STATUS: Final = re.compile(r"HTTP status (\d+)|status code: (\d+)")
_METADATA: Final = ("/latest/api/token", "/latest/meta-data", "//169.254.170.2")
"""Where AWS gives a machine or a container its credentials."""

_ABSENT: Final = frozenset({"nosuchkey", "resourcenotfound"})
_REFUSALS: Final = frozenset(
    {
        "accessdenied",
        "invalidaccesskeyid",
        "invalidclienttokenid",
        "invalidsignature",
        "missingauthenticationtoken",
        "signaturedoesnotmatch",
        "unrecognizedclient",
    }
)
_REFUSING_STATUSES: Final = frozenset({"401", "403"})
_ABSENT_STATUS: Final = "404"


class S3Fault(Enum):
    """What an error of S3 is about."""

    NO_BUCKET = auto()
    NO_CREDENTIALS = auto()
    """None are configured, and nobody gives this machine any."""
    REFUSED = auto()
    ABSENT = auto()
    OTHER = auto()
    """Anything else, time-outs and 5xx among them: it may pass."""


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach a server that speaks S3; without keys the client looks for some by itself."""

    access_key: str | None
    secret_key: str | None
    region: str
    scheme: Literal["http", "https"]
    host: str | None
    """Host and port; None means AWS."""

    @property
    def endpoint(self) -> str | None:
        """URL of the server; None means AWS."""
        return None if self.host is None else f"{self.scheme}://{self.host}"


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


def read_bucket_path(uri: str, setting: str = "parquet_sink.uri") -> str:
    """Return `bucket/prefix` of `s3://bucket/prefix`; `setting` names the URI in errors.

    Raises:
        ConfigError: there is no bucket in it.
    """
    path = uri.removeprefix(S3_SCHEME).strip("/")
    if not path:
        raise ConfigError(f"expected s3://bucket/prefix, found `{uri}`", path=setting)
    return path


def recognise_s3_fault(text: str) -> S3Fault:
    """Say what the text of an error of pyarrow's S3 file system, or of obstore, is about."""
    if any(place in text for place in _METADATA):
        return S3Fault.NO_CREDENTIALS
    code = _find(_CODE, text).replace("_", "").lower()
    status = _find(_STATUS, text)
    if code == "nosuchbucket":
        return S3Fault.NO_BUCKET
    if code in _REFUSALS or status in _REFUSING_STATUSES:
        return S3Fault.REFUSED
    return S3Fault.ABSENT if code in _ABSENT or status == _ABSENT_STATUS else S3Fault.OTHER


def _find(pattern: re.Pattern[str], text: str) -> str:
    """Return the group that matched, or nothing."""
    found = pattern.search(text)
    return found[found.lastindex or 0] if found else ""


def _split_endpoint(endpoint: str | None) -> tuple[Literal["http", "https"], str | None]:
    if endpoint is None:
        return "https", None
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise ConfigError(f"expected http(s)://host:port, found `{endpoint}`", path="parquet_sink.s3_endpoint")
    return "http" if parts.scheme == "http" else "https", parts.netloc
