"""Becomes another program that dies with its parent: `python -m tickloom_console.tether PID PROGRAM …`.

A child of `tickloom up` must not outlive it, even when that is killed with -9. On Linux the kernel sends the child
SIGTERM then, so it drains as if it was asked to end; other systems have no such promise.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Tie this process to its parent, then run the program in its place."""
    parent, *command = sys.argv[1:]
    # A group of its own: Ctrl-C on the terminal is for the supervisor, which stops things in order.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(1)  # the parent has died before the tie was made
    os.execvp(command[0], command)  # noqa: S606 (the command comes from our own parent)


if __name__ == "__main__":
    main()
