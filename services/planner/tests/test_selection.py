from __future__ import annotations

import pytest

from tickloom_core.config import ChannelConfig, VenueConfig
from tickloom_core.errors import ConfigError
from tickloom_planner.selection import Selection, select_venues

VENUE = VenueConfig(channels={"trades": ChannelConfig()})


def select(*names: str, exchanges: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Selection:
    venues = dict.fromkeys(names, VENUE)
    return select_venues(venues, exchanges=exchanges, exchanges_exclude=exclude, place="t.yaml")


def test_configured_venues_are_planned_by_name():
    """Without flags every configured venue is planned, retired ids included."""
    assert select("kraken", "binance", "huobi") == Selection(("binance", "huobi", "kraken"), ())


def test_exchanges_restricts_to_those_named():
    """`--exchanges` leaves the others out and says so."""
    selection = select("kraken", "binance", exchanges=("kraken",))
    assert selection.wanted == ("kraken",)
    assert [(venue.exchange, venue.score, venue.reason) for venue in selection.excluded] == [
        ("binance", 0.0, "not named in --exchanges")
    ]


def test_a_default_exclusion_is_lifted_by_naming_the_venue():
    """A venue that is excluded by default is planned when `--exchanges` names it."""
    assert "excluded by default" in select("bequant", "kraken").excluded[0].reason
    assert select("bequant", "kraken", exchanges=("bequant",)).wanted == ("bequant",)


def test_exchanges_exclude_always_wins():
    """A venue named in both flags is left out."""
    selection = select("kraken", "binance", exchanges=("kraken", "binance"), exclude=("kraken",))
    assert selection.wanted == ("binance",)
    assert selection.excluded[0].reason == "named in --exchanges_exclude"


@pytest.mark.parametrize(
    ("venues", "flags", "message"),
    [
        ({"krakken": VENUE}, {}, r"t\.yaml: venues\.krakken: .*did you mean kraken"),
        ({}, {}, "no venue is configured"),
        ({"kraken": VenueConfig()}, {}, r"venues\.kraken\.channels: no channel is configured"),
        ({"kraken": VENUE}, {"exchanges": ("binance",)}, "--exchanges: binance is not configured"),
        ({"kraken": VENUE}, {"exchanges_exclude": ("binanse",)}, "--exchanges_exclude: .*did you mean binance"),
    ],
)
def test_mistakes_are_errors_of_the_configuration(venues, flags, message):
    """A venue that does not exist is never an exclusion but an error that names the place."""
    given = {"exchanges": (), "exchanges_exclude": ()} | flags
    with pytest.raises(ConfigError, match=message):
        select_venues(venues, place="t.yaml", **given)
