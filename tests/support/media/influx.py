"""The InfluxDB sink's medium: a bucket of a server."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.support.influx import ORG, TOKEN, InfluxServer
from tests.support.media.medium import Medium
from tickloom_core.columns import TickerBuffer

_NAMES = ("exchange", "symbol")
_CLOCKS = ("exchange_time_us", "receive_time_ns")
_STORED_AS = {
    "tickers": {"receive_time_ns": "time"},
    "books": {"receive_time_ns": "time", "best_bid": "bid", "best_ask": "ask"},
    "events": {"receive_time_ns": "time", "subject_channel": "channel"},
}
"""Fields that stand under another name."""


class InfluxBucket(Medium):
    """A bucket of its own."""

    package: ClassVar = "tickloom_influx_sink"
    sink: ClassVar = "influx"
    columns: ClassVar = {
        "trades": (*_NAMES, "receive_time_ns", "price", "amount", "side", "trade_id"),
        "tickers": (*_NAMES, *_CLOCKS, *TickerBuffer.numbers),
        "books": (*_NAMES, *_CLOCKS, "sequence", "best_bid", "best_ask", "bid_depth", "ask_depth"),
        "events": (*_NAMES, "receive_time_ns", "kind", "subject_channel", "detail", "count", "range_start_ns"),
    }
    environment: ClassVar = {"INFLUXDB_TOKEN": TOKEN, "INFLUXDB_ORG": ORG}

    def __init__(self, server: InfluxServer, bucket: str) -> None:
        self._server = server
        self._bucket = bucket
        self.server_port = server.port
        server.make_bucket(bucket)

    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the section of the sink."""
        url = f"http://127.0.0.1:{port or self.server_port}"
        return {"influx_sink": {"url": url, "bucket": self._bucket, "timeout_s": 5}}

    def read_columns(self, channel: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Ask for fields and tags by name; at least one must be a field."""
        stored_as = _STORED_AS.get(channel, {})
        columns = [stored_as.get(name, name) for name in names]
        asked = ", ".join(f'"{column}"' for column in columns if column != "time")
        query = f'SELECT {asked} FROM "{channel}"'  # noqa: S608 - names of this module
        rows = self._server.query(query, bucket=self._bucket)
        return [tuple(row.get(column) for column in columns) for row in rows]

    def count_rows(self, channel: str = "trades") -> int:
        """Let the server count the points that have what every row has."""
        field = {"trades": "receive_time_ns", "tickers": "base_volume", "books": "sequence", "events": "count"}[channel]
        return self._server.count_rows(channel, field, bucket=self._bucket)

    def drop_price(self) -> str:
        """Write the trades again as a version without that field did, and return its name."""
        rows = self._server.read_rows("trades", bucket=self._bucket)
        everything = {
            "start": "1970-01-01T00:00:00Z",
            "stop": "2100-01-01T00:00:00Z",
            "predicate": '_measurement="trades"',
        }
        self._server.call("POST", f"/api/v2/delete?org={ORG}&bucket={self._bucket}", everything)
        lines = [
            f'trades,exchange={row["exchange"]},symbol=older trade_id="{row["trade_id"]}",'
            f"receive_time_ns={row['receive_time_ns']}i {row['time']}"
            for row in rows
        ]
        self._server.write("\n".join(lines), bucket=self._bucket)
        return "price"

    def interrupt(self) -> None:
        """Kill the server."""
        self._server.kill()

    def restore(self) -> None:
        """Start it again."""
        self._server.start()
