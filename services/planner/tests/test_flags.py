from __future__ import annotations

import pytest

from tickloom_core.errors import ConfigError
from tickloom_planner.flags import load_planner_config, read_options


def load(path, *arguments):
    return load_planner_config(read_options(["planner", f"--config={path}", *arguments])).planner


def test_a_flag_wins_over_the_configuration(write_config):
    """Flags override the settings of the same name; those not given stay."""
    planner = load(write_config(), "--workers=5", "--profile_seconds=7.5")
    assert (planner.workers, planner.profile_seconds, planner.profile_request_timeout_s) == (5, 7.5, 4.0)


def test_workers_can_be_auto(write_config):
    """`--workers=auto` is taken as the word."""
    assert load(write_config(), "--workers=auto").workers == "auto"


@pytest.mark.parametrize("argument", ["--workers=0", "--workers=many", "--profile_seconds=0", "--no_such_flag=1"])
def test_a_wrong_flag_is_an_error_that_names_it(write_config, argument):
    """A value that the setting does not take is refused with the flag's name."""
    with pytest.raises(ConfigError, match=argument[2:].split("=")[0]):
        load(write_config(), argument)


def test_exchange_lists_follow_retired_ids():
    """Lists take commas and spaces, any case and ids that ccxt has retired."""
    options = read_options(["planner", "--exchanges=Binance, huobi", "--exchanges_exclude=kraken"])
    assert (options.exchanges, options.exchanges_exclude) == (("binance", "htx"), ("kraken",))
