"""A real InfluxDB for tests, and what is stored in it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.servers import find_free_port
from tickloom_core.config import InfluxSinkConfig
from tickloom_influx_sink.client import Access

ORG = "tickloom"
BUCKET = "market_data"
TOKEN = "tickloom-token"  # noqa: S105 - of a server that lives as long as a test
_BUILDER = Path(__file__).parents[3] / "shared" / "servers" / "influxd" / "get.sh"
_START_DEADLINE_S = 30.0
_BUILD_DEADLINE_S = 3600.0


def find_influxd() -> str | None:
    """Return the path of influxd: named by TICKLOOM_INFLUXD, on PATH, or built where the means are at hand."""
    found = os.environ.get("TICKLOOM_INFLUXD") or shutil.which("influxd")
    if found is None and _BUILDER.is_file():
        command = ["/usr/bin/env", "bash", str(_BUILDER)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_DEADLINE_S)
        found = built.stdout.strip() if built.returncode == 0 else None
    return found


class InfluxServer:
    """An influxd that can be killed and started again on the same port and data."""

    def __init__(self, folder: Path, program: str) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "influxd.log"
        self._is_set_up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            program,
            f"--bolt-path={folder / 'influxd.bolt'}",
            f"--sqlite-path={folder / 'influxd.sqlite'}",
            f"--engine-path={folder / 'engine'}",
            f"--http-bind-address=127.0.0.1:{self.port}",
            "--reporting-disabled",
            "--ui-disabled",
            "--log-level=warn",
        ]

    @property
    def access(self) -> Access:
        """How the sink reaches the bucket."""
        return Access(self.url, ORG, BUCKET, TOKEN)

    @property
    def config(self) -> InfluxSinkConfig:
        """The sink's settings; the token comes by the environment."""
        return InfluxSinkConfig(url=self.url, bucket=BUCKET, org=ORG)

    def start(self) -> None:
        """Start it and wait until it answers; the first time organisation, bucket and token are made."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end_s = time.monotonic() + _START_DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None, f"influxd ended: {self._log.read_text()[-500:]}"
            assert time.monotonic() < end_s, "influxd does not answer"
            time.sleep(0.05)
        if not self._is_set_up:
            setup = {"username": "tickloom", "password": "tickloom-password", "org": ORG, "bucket": BUCKET}
            self.call("POST", "/api/v2/setup", setup | {"token": TOKEN})
            self._is_set_up = True

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with a signal and wait for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
        self._process = None

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self.stop(signal.SIGKILL)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask its HTTP API and return the answer.

        Raises:
            urllib.error.HTTPError: it answers with an error.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - our own server
        request.add_header("Authorization", f"Token {TOKEN}")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found

    def make_bucket(self, name: str, *, retention_s: int = 0) -> str:
        """Make a bucket that keeps points for so long, 0: for ever; return its id."""
        rules = [{"type": "expire", "everySeconds": retention_s}]
        body = {"orgID": self._find_org(), "name": name, "retentionRules": rules}
        return str(self.call("POST", "/api/v2/buckets", body)["id"])

    def make_token(self, *actions: str, bucket: str = BUCKET) -> str:
        """Make a token that may do this much with a bucket: "read", "write"."""
        org = self._find_org()
        (found,) = self.call("GET", f"/api/v2/buckets?name={bucket}")["buckets"]
        resource = {"type": "buckets", "id": found["id"], "orgID": org}
        permissions = [{"action": action, "resource": resource} for action in actions]
        return str(self.call("POST", "/api/v2/authorizations", {"orgID": org, "permissions": permissions})["token"])

    def query(self, text: str, *, bucket: str = BUCKET) -> list[dict[str, Any]]:
        """Return the rows of an InfluxQL query, times in ns."""
        parameters = urllib.parse.urlencode({"db": bucket, "epoch": "ns", "q": text})
        (result,) = self.call("GET", f"/query?{parameters}")["results"]
        assert "error" not in result, result["error"]
        return [
            dict(zip(series["columns"], row, strict=True)) | series.get("tags", {})
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def read_rows(self, measurement: str = "trades", *, bucket: str = BUCKET) -> list[dict[str, Any]]:
        """Return all points of a measurement, without what is not known of each."""
        rows = self.query(f'SELECT * FROM "{measurement}"', bucket=bucket)  # noqa: S608 - a measurement of the sink's
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    def read_trade_ids(self, *, bucket: str = BUCKET) -> list[str]:
        """Return the id of each trade that is stored."""
        return [row["trade_id"] for row in self.query('SELECT trade_id FROM "trades"', bucket=bucket)]

    def count_rows(self, measurement: str = "trades", field: str = "receive_time_ns", *, bucket: str = BUCKET) -> int:
        """Return how many points of a measurement have a field."""
        rows = self.query(f'SELECT COUNT("{field}") FROM "{measurement}"', bucket=bucket)  # noqa: S608 - likewise
        return int(rows[0]["count"]) if rows else 0

    def write(self, lines: str, *, bucket: str = BUCKET) -> None:
        """Write lines as another program would."""
        parameters = urllib.parse.urlencode({"org": ORG, "bucket": bucket, "precision": "ns"})
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/api/v2/write?{parameters}", data=gzip.compress(lines.encode()), method="POST"
        )
        request.add_header("Authorization", f"Token {TOKEN}")
        request.add_header("Content-Encoding", "gzip")
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - likewise

    def _find_org(self) -> str:
        (found,) = self.call("GET", f"/api/v2/orgs?org={ORG}")["orgs"]
        return str(found["id"])

    def _answers(self) -> bool:
        try:
            return bool(self.call("GET", "/health")["status"] == "pass")
        except OSError:
            return False
