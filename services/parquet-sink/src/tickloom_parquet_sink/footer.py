"""What every Parquet file tells of itself, as key-value metadata of its footer."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from tickloom_parquet_sink.schemas import ChannelSchema

SOFTWARE: Final = f"tickloom-parquet-sink {version('tickloom-parquet-sink')}"
FOOTER_PREFIX: Final = "tickloom."


def make_facts(channel: ChannelSchema, **facts: object) -> dict[str, str]:
    """Return the facts under the names that they have in the footer, with the schema's version and the software."""
    told = {"schema": f"{channel.channel}/{channel.version}", **facts, "software": SOFTWARE}
    return {f"{FOOTER_PREFIX}{name}": str(value) for name, value in told.items()}
