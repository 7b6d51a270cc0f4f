"""Structured logs: aligned and coloured for people, one JSON object a line for machines, always to stderr."""

from __future__ import annotations

import logging
import sys

import structlog

from tickloom_core.config import LogConfig


def configure_logs(config: LogConfig, *, service: str) -> None:
    """Set up structlog for the whole process; `auto` means console on a terminal and JSON elsewhere."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    wants_console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if wants_console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
        )
    exceptions = [] if wants_console else [structlog.processors.dict_tracebacks]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
