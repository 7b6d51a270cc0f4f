from __future__ import annotations

import sys

from tickloom_console.flags import read_options
from tickloom_console.service import run_command


def main() -> None:
    """Run the `tickloom` command."""
    sys.exit(run_command(read_options(sys.argv[1:])))


if __name__ == "__main__":
    main()
