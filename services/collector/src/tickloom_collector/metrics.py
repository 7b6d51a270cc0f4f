"""What the collector counts, beside the publisher's own metrics in core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

ROWS: Final = Counter("tickloom_collected_rows", "Rows put into batches", ["exchange", "channel"])
BATCHES: Final = Counter("tickloom_collected_batches", "Batches given to the publisher", ["exchange", "channel"])
RECONNECTS: Final = Counter("tickloom_reconnects", "Connections made again after they were lost", ["exchange", "feed"])
REFUSED_ROWS: Final = Counter(
    "tickloom_refused_rows", "Rows that were not stored, by reason", ["exchange", "channel", "reason"]
)
SHARDS: Final = Gauge("tickloom_carried_shards", "Shards by state", ["state"])


@dataclass(slots=True)
class Traffic:
    """What one feed of one venue received; plain numbers, since a counter with its lock would cost 1,000 ns a frame."""

    frames: int = 0
    size_bytes: int = 0


class _TrafficCollector(Collector):
    def __init__(self) -> None:
        self._traffic: dict[tuple[str, str], Traffic] = {}

    def find(self, exchange: str, feed: str) -> Traffic:
        return self._traffic.setdefault((exchange, feed), Traffic())

    def collect(self) -> Iterator[CounterMetricFamily]:
        labels = ["exchange", "feed"]
        frames = CounterMetricFamily("tickloom_received_frames", "Websocket frames received", labels=labels)
        size = CounterMetricFamily("tickloom_received_bytes", "Bytes of payload in those frames", labels=labels)
        for key, traffic in self._traffic.items():
            frames.add_metric(key, traffic.frames)
            size.add_metric(key, traffic.size_bytes)
        yield frames
        yield size


_COLLECTOR: Final = _TrafficCollector()
REGISTRY.register(_COLLECTOR)


def find_traffic(exchange: str, feed: str) -> Traffic:
    """Return the numbers of one feed of one venue, shown as `tickloom_received_frames` and `…_bytes`."""
    return _COLLECTOR.find(exchange, feed)
