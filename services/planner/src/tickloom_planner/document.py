"""The plan as a JSON document for people and scripts: every score, every total, every exclusion with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tickloom_core.errors import PermanentError
from tickloom_core.plan import Plan, VenueProfile


def encode_plan(plan: Plan) -> str:
    """Return the plan as indented JSON, each profile with the rates that follow from it (REQUIREMENTS S7)."""
    document: dict[str, Any] = msgspec.to_builtins(plan)
    document["profiles"] = [_describe_profile(profile) for profile in plan.profiles]
    document["excluded"] = [_describe_profile(profile) for profile in plan.excluded]
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def write_plan(plan: Plan, path: Path) -> None:
    """Write the document to a file, replacing it at once.

    Raises:
        PermanentError: the file cannot be written.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(encode_plan(plan) + "\n")
        unfinished.replace(path)
    except OSError as error:
        raise PermanentError(
            f"the plan cannot be written to {path}: {error.strerror}; make the folder writable or set data_dir"
        ) from error


def _describe_profile(profile: VenueProfile) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(profile)
    rates = {name: getattr(profile, name) for name in ("ticks_per_sec", "bytes_per_sec", "reconnects_per_min")}
    return document | rates
