from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import psutil
import pytest

from tickloom_console.flags import RestartPolicy
from tickloom_console.process import Process, Program

WAIT_FOR_EVER = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


class Report:
    """What a process said."""

    def __init__(self):
        self.lines = []
        self.failures = []


@asynccontextmanager
async def supervise(tmp_path, code, *, grace_s=10.0, base_s=0.01, max_s=0.04):
    report = Report()
    program = Program("thing", (sys.executable, "-c", code), grace_s, serves_metrics=False)
    policy = RestartPolicy(base_s, max_s)
    process = Process(program, policy, tmp_path, say=report.lines.append, on_failure=report.failures.append)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(process.supervise())
        try:
            yield process, report
        finally:
            await process.stop()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


async def test_a_program_that_ends_is_started_again_with_growing_waits(tmp_path):
    """Each wait is twice the one before up to the longest, and each is said with the last line of the log."""
    async with supervise(tmp_path, "print('no luck'); raise SystemExit(1)") as (process, report):
        await until(lambda: process.restarts >= 4)
    assert [line.rsplit("again in ", 1)[1] for line in report.lines[:4]] == ["0.01 s", "0.02 s", "0.04 s", "0.04 s"]
    assert all(line.startswith("thing ended with code 1 (no luck)") for line in report.lines)


async def test_a_wrong_configuration_is_not_tried_again(tmp_path):
    """Exit code 2 ends the supervision, and the last error line is handed on."""
    code = "import sys; print('error: x.yaml:3: bad', file=sys.stderr); print('later'); raise SystemExit(2)"
    async with supervise(tmp_path, code) as (process, report):
        await until(lambda: process.state == "failed")
    assert report.failures == ["thing: x.yaml:3: bad"]
    assert process.restarts == 0


async def test_a_program_that_does_not_end_in_time_is_killed(tmp_path):
    """SIGTERM comes first, SIGKILL when the grace is over."""
    async with supervise(tmp_path, DEAF, grace_s=0.2) as (process, report):
        await until(lambda: process.log_path.exists() and "deaf" in process.log_path.read_text())
        child = psutil.Process(process.pid)
    assert not child.is_running()
    assert report.lines == ["thing did not end within 0.2 s and is killed"]


async def test_output_is_appended_to_one_log_file(tmp_path):
    """Standard output and error of every start are in the file, nothing is overwritten."""
    (tmp_path / "thing.log").write_text("before\n")
    async with supervise(tmp_path, "import sys; print('out'); sys.exit('err')") as (process, _):
        await until(lambda: process.restarts >= 2)
    lines = process.log_path.read_text().splitlines()
    assert lines[0] == "before"
    assert lines.count("out") == lines.count("err") >= 2


async def test_a_stop_during_the_wait_before_a_restart_is_immediate(tmp_path):
    """A process that waits to be started again is not started any more."""
    async with supervise(tmp_path, "raise SystemExit(1)", base_s=600, max_s=600) as (process, _):
        await until(lambda: process.state == "restarting")
    assert process.state == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_die_with_their_parent(wait):
    """A tethered program is told to end when its parent is killed with -9."""
    parent_code = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'tickloom_console.tether', str(os.getpid())]\n"
        f"child = subprocess.Popen([*command, sys.executable, '-c', {WAIT_FOR_EVER!r}])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    wait(lambda: WAIT_FOR_EVER in child.cmdline() and "tether" not in " ".join(child.cmdline()), what="tied")
    parent.kill()
    parent.communicate()
    wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=10, what="child has ended")
