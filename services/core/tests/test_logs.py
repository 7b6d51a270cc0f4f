"""Logs: one JSON object a line for machines."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import structlog
from tickloom_core.config import LogConfig
from tickloom_core.logs import configure_logs
configure_logs(LogConfig(format={format!r}, level="info"), service="collector-0")
log = structlog.get_logger("x")
log.debug("hidden")
log.warning("bus.disconnected", url="nats://h:1")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("bug")
"""


def _run(log_format: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(format=log_format)], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_json_for_machines():
    """Piped logs are JSON with time, level, service and the exception's frames."""
    first, second = (json.loads(line) for line in _run("auto"))
    assert (first["event"], first["level"], first["service"], first["url"]) == (
        "bus.disconnected",
        "warning",
        "collector-0",
        "nats://h:1",
    )
    assert second["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_text_for_people():
    """Console logs are readable lines without colour codes when piped."""
    lines = _run("console")
    assert "bus.disconnected" in lines[0]
    assert "\x1b[" not in "".join(lines)
