"""Where objects go: a folder of this machine, or a prefix in a bucket."""

from __future__ import annotations

from pathlib import Path

from tickloom_core.config import Config, ParquetSinkConfig
from tickloom_core.errors import ConfigError
from tickloom_core.s3 import S3_SCHEME, read_bucket_path, read_s3_access
from tickloom_parquet_sink.bucket import Bucket
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.objects import Destination, ObjectAbsentError, ObjectInfo

__all__ = ["Destination", "ObjectAbsentError", "ObjectInfo", "open_destination", "open_destination_at"]


def open_destination(config: Config) -> Destination:
    """Return the destination that the configuration names.

    Raises:
        ConfigError: the URI or the endpoint cannot be understood, or a secret is missing.
    """
    return open_destination_at(config.parquet_uri, config.parquet_sink)


def open_destination_at(uri: str, config: ParquetSinkConfig, *, setting: str = "parquet_sink.uri") -> Destination:
    """Return the destination at `uri`, with the configuration's way to S3; `setting` names the URI in errors.

    Raises:
        ConfigError: the URI or the endpoint cannot be understood, or a secret is missing.
    """
    if uri.startswith(S3_SCHEME):
        bucket, _, prefix = read_bucket_path(uri, setting).partition("/")
        return Bucket(bucket, prefix, read_s3_access(config), setting)
    if "://" in uri:
        raise ConfigError(f"expected a folder or s3://bucket/prefix, found `{uri}`", path=setting)
    return LocalFolder(Path(uri).absolute(), setting)
