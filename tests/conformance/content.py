"""What comes back of what was sent, and what becomes of that which cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from nats.js.api import RawStreamMsg

from tests.conformance.base import StoreFixtures
from tests.conformance.nasty import make_nasty_batches
from tests.conformance.stand import Stand
from tests.support.ticks import CHANNELS, Row, Tape, describe_rows
from tickloom_core.bus.spool import Outgoing
from tickloom_core.wire import SCHEMA_VERSION, decode

_by_receipt = itemgetter("receive_time_ns")


def describe_all(messages: Iterable[Outgoing], channel: str) -> list[Row]:
    """Return the rows of one channel in the order of receipt."""
    rows = [row for message in messages if message.channel == channel for row in describe_rows(message.payload)]
    return sorted(rows, key=_by_receipt)


def assert_stored(stand: Stand, channel: str, wanted: list[Row]) -> None:
    """Assert that these rows are stored and no others, field by field."""
    stored = sorted(stand.medium.read_rows(channel), key=_by_receipt)
    assert stored == [stand.medium.keep(channel, row) for row in wanted]


def read_reason(rejected: RawStreamMsg) -> str:
    """Return why a message was set aside."""
    assert rejected.headers is not None, "a message was set aside without headers"
    return str(rejected.headers["Tickloom-Reason"])


class ContentConformance(StoreFixtures):
    """A store keeps what it is given, or says why not."""

    async def test_every_channel_comes_back(self, stand: Stand) -> None:
        """Rows of every channel are read as they were sent, what is not known of them as null."""
        sent = [
            stand.tape.make(channel, exchange=exchange, partition=partition)
            for channel in CHANNELS
            for partition, exchange in enumerate(("binance", "kraken"))
        ]
        await stand.publish(*sent)
        async with stand.carrying():
            for channel in CHANNELS:
                await stand.has_rows(20, channel)
        for channel in CHANNELS:
            assert_stored(stand, channel, describe_all(sent, channel))

    async def test_rows_of_an_older_schema(self, stand: Stand) -> None:
        """What an older version stored is read together with what this one stores, null where it had no column."""
        await stand.publish(stand.tape.make())
        async with stand.carrying():
            await stand.has_stored()
        added = self.make_older(stand.medium)
        await stand.publish(stand.tape.make())
        async with stand.carrying():
            await stand.has_stored()
        rows = sorted(stand.medium.read_rows("trades"), key=_by_receipt)
        assert [row[added] is None for row in rows] == [True] * 10 + [False] * 10

    async def test_fields_that_nobody_knows(self, stand: Stand) -> None:
        """A batch with fields that this program does not know, in each of its messages, is stored."""
        message = stand.tape.make()
        stranger = b"\xc2\x3e\x03new"  # field 1000, three bytes
        header, trades = (bytes([field << 3 | 2, len(stranger)]) + stranger for field in (1, 2))
        await stand.put(message.subject, message.payload + stranger + header + trades, message.message_id)
        async with stand.carrying():
            await stand.has_stored()
        assert_stored(stand, "trades", describe_rows(message.payload))

    async def test_a_message_that_nobody_can_read(self, stand: Stand) -> None:
        """Bytes that are no batch, or of a newer schema, are set aside as they are, with the reason."""
        newer = decode(Tape("newer").make().payload).header
        newer.schema_version = SCHEMA_VERSION + 1
        head = newer.SerializeToString()
        strange = [b"\xff\xffjunk", bytes([1 << 3 | 2, len(head)]) + head]
        await stand.publish(stand.tape.make())
        for number, data in enumerate(strange):
            await stand.put("md.0.trades.binance", data, f"strange-{number}")
        await stand.publish(stand.tape.make())
        async with stand.carrying():
            await stand.has_stored()
        rejected = await stand.read_rejected()
        assert [message.data for message in rejected] == strange
        assert {message.subject for message in rejected} == {f"md_rejected.{stand.medium.sink}.md.0.trades.binance"}
        reasons = [read_reason(message) for message in rejected]
        assert "no tickloom.marketdata.v1.Batch" in reasons[0]
        assert f"schema version {SCHEMA_VERSION + 1}" in reasons[1]

    async def test_nasty_rows(self, stand: Stand) -> None:
        """A row that cannot be stored is set aside with the reason, as it was; every other one is stored, as it was."""
        nasty = make_nasty_batches(stand.tape)
        sent = [stand.tape.make(), *nasty.values(), stand.tape.make()]
        await stand.publish(*sent)
        refused = [describe_rows(nasty[name].payload)[1] for name in self.refused]
        wanted = {
            channel: [row for row in describe_all(sent, channel) if row not in refused]
            for channel in ("trades", "tickers")
        }
        async with stand.carrying():
            for channel, rows in wanted.items():
                await stand.has_rows(len(rows), channel)
        for channel, rows in wanted.items():
            assert_stored(stand, channel, rows)
        rejected = await stand.read_rejected()
        assert all(map(read_reason, rejected))
        found = [row for message in rejected for row in describe_rows(message.data or b"")]
        assert sorted(found, key=_by_receipt) == sorted(refused, key=_by_receipt)
