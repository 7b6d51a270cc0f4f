from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Header(_message.Message):
    __slots__ = ("exchange", "channel", "shard", "epoch", "writer", "writer_sequence", "schema_version", "partition")
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    WRITER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    exchange: str
    channel: str
    shard: str
    epoch: int
    writer: str
    writer_sequence: int
    schema_version: int
    partition: int
    def __init__(self, exchange: _Optional[str] = ..., channel: _Optional[str] = ..., shard: _Optional[str] = ..., epoch: _Optional[int] = ..., writer: _Optional[str] = ..., writer_sequence: _Optional[int] = ..., schema_version: _Optional[int] = ..., partition: _Optional[int] = ...) -> None: ...
