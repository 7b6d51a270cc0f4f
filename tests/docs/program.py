"""Reads from the code what the documentation must say: flags, settings, metrics, kinds of events."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from argparse import _SubParsersAction
from collections.abc import Iterator
from enum import Enum
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from absl import flags as absl_flags

from tests.docs.pages import ROOT
from tickloom_console.flags import _make_parser
from tickloom_core import events
from tickloom_core.config import Config, SecretReference
from tickloom_simulator.flags import parse_options

LIBRARIES = ("core", "venues")
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir() and path.name not in LIBRARIES)
COMMANDS = {"compaction": "tickloom_parquet_sink.compaction", "sync": "tickloom_parquet_sink.sync"}
"""Further commands of a service's image, with a page of their own."""
PAGES = [*SERVICES, *COMMANDS]

_LIST_METRICS = """
import json, sys, importlib
importlib.import_module(sys.argv[1])
from prometheus_client import REGISTRY
families = [family for family in REGISTRY.collect() if family.name.startswith("tickloom_")]
labels = {
    name: list(getattr(collector, "_labelnames", ())) for name, collector in REGISTRY._names_to_collectors.items()
}
print(json.dumps([
    (family.name, family.type, labels[family.name] or list(getattr(family, "_labelnames", ()))) for family in families
]))
"""


class _Placeholder(Enum):
    VENUE = "<venue>"
    CHANNEL = "<channel>"


class _CapturedError(Exception):
    pass


def read_flags(service: str) -> dict[str, str]:
    """Return the flags of a service with their defaults as the documentation writes them."""
    if service == "console":
        return _read_console_flags()
    module = importlib.import_module(f"{_find_package(service)}.flags")
    read = parse_options if service == "simulator" else module.read_options
    values = _capture_values(module, read)
    return {f"--{name}": spell(values[name].default) for name in values}


def read_settings() -> dict[str, str]:
    """Return every setting of the configuration file with its default as the documentation writes it."""
    secret = {f"<secret>.{name}": "none" for name in SecretReference.__struct_fields__}
    return secret | dict(_walk(Config, ""))


def read_metrics(service: str) -> dict[str, tuple[str, list[str]]]:
    """Return the metrics that a service serves: type and labels by the name that /metrics shows."""
    module = f"{_find_package(service)}.__main__"
    command = [sys.executable, "-c", _LIST_METRICS, module]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {
        f"{name}_total" if kind == "counter" else name: (kind, labels)
        for name, kind, labels in json.loads(answer.stdout)
    }


def _find_package(page: str) -> str:
    return COMMANDS.get(page, f"tickloom_{page.replace('-', '_')}")


def read_event_kinds() -> set[str]:
    """Return the kinds of events that collectors write."""
    names = [name for name in vars(events) if name.isupper() and name != "INSTALLATION"]
    return {getattr(events, name) for name in names}


def spell(value: object) -> str:
    """Return a default as the documentation writes it."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _capture_values(module: ModuleType, read: Any) -> absl_flags.FlagValues:
    """Stop a service's reading of its command line where its flags are defined, and return them."""
    original, captured = module.parse_flags, []

    def capture(values: absl_flags.FlagValues, arguments: object) -> None:
        captured.append(values)
        raise _CapturedError

    module.parse_flags = capture
    try:
        read(["program"])
    except _CapturedError:
        return captured[0]
    finally:
        module.parse_flags = original
    raise AssertionError(f"{module.__name__} reads its flags without parse_flags")


def _read_console_flags() -> dict[str, str]:
    commands = next(action for action in _make_parser()._actions if isinstance(action, _SubParsersAction))
    return {
        option: spell(action.default)
        for command in commands.choices.values()
        for action in command._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }


def _walk(kind: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        path, hint = prefix + field.name, hints[field.name]
        inner = next((found for found in (hint, *get_args(hint)) if _is_struct(found)), None)
        if inner is SecretReference:
            yield path, "none"
        elif inner is not None and get_origin(hint) is dict:
            place = _Placeholder.VENUE if field.name == "venues" else _Placeholder.CHANNEL
            yield from _walk(inner, f"{path}.{place.value}.")
        elif inner is not None:
            yield from _walk(inner, f"{path}.")
        elif get_origin(hint) is dict and get_origin(get_args(hint)[0]) is Literal:
            yield f"{path}.{_Placeholder.CHANNEL.value}", "none"
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            yield path, spell(default)


def _is_struct(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)
