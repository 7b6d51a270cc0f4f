from __future__ import annotations

import sys

from tickloom_collector.flags import read_options
from tickloom_collector.service import serve
from tickloom_core.errors import TickloomError
from tickloom_core.flags import load_configured
from tickloom_core.lifecycle import report, run
from tickloom_core.logs import configure_logs


def main() -> None:
    """Run the collector until it is asked to end."""
    try:
        options = read_options(sys.argv)
        config = load_configured(options)
    except TickloomError as error:
        sys.exit(report(error))
    configure_logs(config.log, service=options.name)
    sys.exit(run(lambda stop: serve(options, config, stop)))


if __name__ == "__main__":
    main()
