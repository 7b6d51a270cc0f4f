from __future__ import annotations

import sys

from tickloom_core import lifecycle
from tickloom_core.errors import TickloomError
from tickloom_core.logs import configure_logs
from tickloom_planner.flags import load_planner_config, read_options
from tickloom_planner.service import serve


def main() -> None:
    """Run the planner from the command line."""
    try:
        options = read_options(sys.argv)
        config = load_planner_config(options)
    except TickloomError as error:
        sys.exit(lifecycle.report(error))
    configure_logs(config.log, service=options.common.name)
    sys.exit(lifecycle.run(lambda stop: serve(options, config, stop)))


if __name__ == "__main__":
    main()
