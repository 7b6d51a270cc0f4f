"""What the sync counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

LOOP: Final = "sync"
"""Name of the loop on the health page."""

FILES: Final = Counter("tickloom_sync_files", "Files sent and verified, manifests and compactions among them")
BYTES: Final = Counter("tickloom_sync_bytes", "Bytes sent")
DELETED_FILES: Final = Counter("tickloom_sync_deleted_files", "Local files removed after they were confirmed")
BEHIND_FILES: Final = Gauge("tickloom_sync_behind_files", "Manifests and compactions that are not in the target yet")
FAILURES: Final = Counter("tickloom_sync_failures", "Rounds that failed")


def read_value(metric: Counter | Gauge) -> int:
    """Return what a metric without labels stands at."""
    (family,) = metric.collect()
    return int(family.samples[0].value)
