"""Some sinks on one stream under load, each part a process that can be killed: what the kill tests let die."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.support.media.medium import Medium
from tests.support.servers import NatsServer
from tests.support.sink_process import SinkProcess
from tests.support.stack import wait_until
from tests.support.ticks import describe_difference
from tickloom_core.lifecycle import EXIT_UNAVAILABLE

PARTITIONS = 2
CHUNK_WINDOW_S = 1
LOAD_END_S = 150
FLOW_S = 120
STORING_S = 300.0
"""How long sinks may be behind when the load has ended: they share few cores with everything else."""
PAUSE_S = (0.2, 3.0)
AWAY_S = 1.0

Victim = Callable[[float], None]
"""Kills, waits so many seconds, and starts again."""


class Installation:
    """A nats-server, a load and one sink for each medium.

    Args:
        folder: for files.
        nats: running; it is one of the victims.
        media: where the sinks store, one of each kind.
    """

    def __init__(self, folder: Path, nats: NatsServer, media: Sequence[Medium], ticks_per_s: int) -> None:
        self._folder = folder
        self._nats = nats
        self._media = media
        bus = {"partitions": PARTITIONS, "sinks": [medium.sink for medium in media]}
        config: dict[str, Any] = {"nats": {"url": nats.url}, "bus": bus}
        self._sinks = {
            medium.sink: SinkProcess(
                folder,
                medium,
                config | {section: {"chunk_window_s": CHUNK_WINDOW_S} for section in medium.make_settings()},
                name=medium.sink,
            )
            for medium in media
        }
        self._truth = folder / "truth.json"
        config_path = folder / "load.yaml"
        config_path.write_text(yaml.safe_dump({"data_dir": str(folder / "data")} | config))
        command = [sys.executable, "-m", "tests.support.load", f"--config={config_path}", f"--truth={self._truth}"]
        self._load_command = [*command, f"--ticks_per_s={ticks_per_s}"]
        self._load: subprocess.Popen[bytes] | None = None

    @property
    def victims(self) -> dict[str, Victim]:
        """What can be killed, by name."""
        victims = {f"sink {name}": self._make_victim(sink.kill, sink.start) for name, sink in self._sinks.items()}
        victims["nats-server"] = self._make_victim(self._nats.kill, self._nats.start)
        for medium in self._media:
            if medium.server_port is not None:
                victims[f"server of {medium.sink}"] = self._make_victim(medium.interrupt, medium.restore)
        return victims

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything, and end what still runs with the block."""
        try:
            for sink in self._sinks.values():
                sink.start()
            with (self._folder / "load.log").open("ab") as log:
                self._load = subprocess.Popen(self._load_command, stdout=log, stderr=log)
            yield
        finally:
            for sink in self._sinks.values():
                sink.kill()
            if self._load is not None and self._load.poll() is None:
                self._load.kill()
                self._load.wait(timeout=10)

    def wait_for_flow(self) -> None:
        """Wait until every sink has stored rows."""
        for medium in self._media:
            wait_until(partial(self._has_all, medium, "trades", 1), within_s=FLOW_S, what=f"rows in {medium.sink}")

    def kill(self, kills: int, seed: int) -> Counter[str]:
        """Kill so many times, each victim in its turn, at random moments; return how often each died."""
        chance = random.Random(seed)  # noqa: S311 - a repeatable test, not a secret
        victims = self.victims
        order = [name for _ in range(kills // len(victims) + 1) for name in chance.sample(list(victims), len(victims))]
        for number, name in enumerate(order[:kills], start=1):
            time.sleep(chance.uniform(*PAUSE_S))  # a random moment, not a synchronisation
            self.supervise()
            away_s = chance.choice((0.0, chance.uniform(0, AWAY_S)))
            print(f"{time.strftime('%X')} kill {number} of {kills}: {name}, away for {away_s:.1f} s", flush=True)  # noqa: T201 - read when it fails, or with -s
            victims[name](away_s)
        return Counter(order[:kills])

    def end_load(self) -> dict[str, Counter[str]]:
        """End the load when all that it made is acknowledged, and return the keys by channel."""
        assert self._load is not None, "the load does not run"
        self._load.send_signal(signal.SIGTERM)
        code = self._load.wait(timeout=LOAD_END_S)
        assert code == 0, (self._folder / "load.log").read_text()[-2000:]
        truth = json.loads(self._truth.read_text())
        return {
            channel: Counter(str(key) for first, last in spans for key in range(first, last + 1))
            for channel, spans in truth.items()
        }

    def assert_stored_once(self, sent: dict[str, Counter[str]]) -> None:
        """Assert that every store comes to hold the rows that were sent, by key, each once."""
        for medium in self._media:
            for channel, keys in sent.items():
                what = f"{channel} in {medium.sink}"
                wait_until(partial(self._has_all, medium, channel, keys.total()), within_s=STORING_S, what=what)
                stored = medium.read_keys(channel)
                assert stored == keys, f"{what}: {describe_difference(stored, keys)}"
                print(f"{time.strftime('%X')} {keys.total():,} {what}, each once", flush=True)  # noqa: T201 - likewise

    def assert_nothing_lies_about(self) -> None:
        """Assert that sinks end with 0 when asked, and that objects and manifests name each other."""
        for name, sink in self._sinks.items():
            assert sink.stop() == 0, f"{name}: {sink.log[-2000:]}"
        for medium in self._media:
            assert medium.find_litter() == []

    def supervise(self) -> None:
        """Start sinks again that found bus or store away at their start, as Kubernetes does; no other end is fine."""
        for name, sink in self._sinks.items():
            if sink.exit_code == EXIT_UNAVAILABLE:
                sink.start()
            assert sink.exit_code is None, f"{name} has ended with {sink.exit_code}: {sink.log[-3000:]}"

    def _has_all(self, medium: Medium, channel: str, count: int) -> bool:
        self.supervise()
        # Among the events are those of the services themselves: they are told apart when there could be enough.
        return medium.count_rows(channel) >= count and (
            channel != "events" or medium.read_keys(channel).total() >= count
        )

    @staticmethod
    def _make_victim(kill: Callable[[], None], start: Callable[[], None]) -> Victim:
        def die(away_s: float) -> None:
            kill()
            time.sleep(away_s)  # how long it is away
            start()

        return die
