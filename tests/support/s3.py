"""A real S3 server for tests: SeaweedFS from its wheel."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from pyarrow import fs

from tests.support.servers import find_free_port

S3_KEY = ("tickloom", "tickloom-secret")
S3_READER_KEY = ("reader", "reader-secret")


class S3Server:
    """SeaweedFS as an S3 server with one bucket, `market`."""

    def __init__(self, folder: Path, program: str) -> None:
        names = ("master.port", "volume.port", "filer.port", "s3.port")
        ports = {name: find_free_port() for name in (*names, *[f"{name}.grpc" for name in names])}
        self.port = ports["s3.port"]
        self.endpoint = f"127.0.0.1:{self.port}"
        identities = [
            {"name": "writer", "credentials": [_credentials(S3_KEY)], "actions": ["Admin", "Read", "Write", "List"]},
            {"name": "reader", "credentials": [_credentials(S3_READER_KEY)], "actions": ["Read", "List"]},
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        self._command = [
            program,
            "server",
            "-s3",
            "-filer",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.config={folder / 's3.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
            "-volume.max=20",
            *[f"-{name}={port}" for name, port in ports.items()],
        ]
        self._log = folder / "weed.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, for the first time or again on the same ports and data, and wait until the bucket is there."""
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end_s = time.monotonic() + 60
        while True:
            try:
                self.open_filesystem(allow_bucket_creation=True).create_dir("market")
            except OSError:
                assert process.poll() is None, f"weed ended: {self._log.read_text()[-500:]}"
                assert time.monotonic() < end_s, "weed does not answer"
                time.sleep(0.1)
            else:
                return process

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=20)
        self._process = None

    def open_filesystem(self, *, allow_bucket_creation: bool = False) -> fs.S3FileSystem:
        """Return pyarrow's view of it."""
        return fs.S3FileSystem(
            access_key=S3_KEY[0],
            secret_key=S3_KEY[1],
            region="us-east-1",
            scheme="http",
            endpoint_override=self.endpoint,
            connect_timeout=3,
            request_timeout=10,
            allow_bucket_creation=allow_bucket_creation,
        )


def _credentials(key: tuple[str, str]) -> dict[str, str]:
    return {"accessKey": key[0], "secretKey": key[1]}
