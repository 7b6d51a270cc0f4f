from __future__ import annotations

import sys
from collections.abc import Sequence

from tickloom_core import lifecycle
from tickloom_core.errors import TickloomError
from tickloom_core.flags import load_configured
from tickloom_core.logs import configure_logs
from tickloom_influx_sink.flags import read_options
from tickloom_influx_sink.service import serve


def main() -> None:
    """Run the sink as a process."""
    sys.exit(run_service(sys.argv))


def run_service(arguments: Sequence[str]) -> int:
    """Run the sink with the given command line and return the exit code."""
    try:
        options = read_options(arguments)
        config = load_configured(options.common)
    except TickloomError as error:
        return lifecycle.report(error)
    configure_logs(config.log, service=options.common.name)
    return lifecycle.run(lambda stop: serve(options, config, stop))


if __name__ == "__main__":
    main()
