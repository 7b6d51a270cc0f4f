import asyncio
import logging
import sys

from tickloom_core.errors import ConfigError, TickloomError
from tickloom_simulator.flags import parse_options
from tickloom_simulator.service import run


def main() -> int:
    """Run the simulator; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run(parse_options(sys.argv)))
    except (TickloomError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
