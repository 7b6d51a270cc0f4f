"""The configuration file: typed, and every mistake named with file, line, key and the way out."""

from __future__ import annotations

import pytest

from tickloom_core.config import Config, SecretReference
from tickloom_core.config_file import load_config, parse_config
from tickloom_core.errors import ConfigError

GOOD = """
data_dir: out/x
venues:
  binance:
    feed: native
    api_key: {env: BINANCE_KEY}
    channels:
      trades: {symbols: [BTC/USDT, ETH/USDT]}
      books: {depth: 5}
  kraken:
    channels:
      tickers:
"""


def test_a_good_file_is_typed():
    """Settings arrive as records, with defaults for what is not said."""
    config = parse_config(GOOD, name="c.yaml")
    assert config.venues["binance"].channels["trades"].symbols == ("BTC/USDT", "ETH/USDT")
    assert config.venues["binance"].channels["books"].depth == 5
    assert config.venues["kraken"].channels["tickers"].symbols == "all"
    assert config.parquet_uri == "out/x/parquet"


def test_nothing_is_a_configuration_too():
    """An empty file means the defaults."""
    assert parse_config("", name="c.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bus:\n  partition: 3", "c.yaml:2: bus.partition: unknown setting `partition`; did you mean `partitions`?"),
        ("colector: {}", "c.yaml:1: colector: unknown setting `colector`; did you mean `collector`?"),
        ("bus:\n  partitions: many", "c.yaml:2: bus.partitions: expected `int`, got `str`; found `many` (str)"),
        ("bus: {partitions: 0}", "c.yaml:1: bus.partitions: expected `int` >= 1; found `0` (int)"),
        (
            "venues:\n  binance:\n    feed: fast",
            "c.yaml:3: venues.binance.feed: expected one of auto, native, ccxt; found `fast` (str)",
        ),
        (
            "venues:\n  x:\n    channels:\n      trade: {}",
            "c.yaml:4: venues.x.channels.trade: unknown name `trade`; did you mean `trades`?",
        ),
        ("venues: [binance]", "c.yaml:1: venues: expected a mapping of names, found `['binance']` (list)"),
        (
            "venues: {x: {api_key: abc}}",
            "c.yaml:1: venues.x.api_key: expected a mapping of settings, found `abc` (str)",
        ),
        ("- a", "c.yaml: expected a mapping of settings, found `['a']` (list)"),
        ("a: [", "c.yaml:1: this is no YAML: expected the node content, but found '<stream end>'"),
        ("venues: {x: {}}\nvenues: {y: {}}", "c.yaml:2: venues: given twice; keep one"),
    ],
)
def test_mistakes_are_named(text, message):
    """A mistake gives one line with its place and what would be right."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, name="c.yaml")
    assert str(caught.value) == message


def test_missing_file(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(ConfigError, match=r"none\.yaml: the configuration cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")


def test_secrets_are_referred_to(tmp_path, monkeypatch):
    """A secret comes from the environment or a file; what is missing is named."""
    monkeypatch.setenv("SOME_KEY", "k")
    path = tmp_path / "key"
    path.write_text("f\n")
    assert SecretReference(env="SOME_KEY").resolve() == "k"
    assert SecretReference(file=str(path)).resolve() == "f"
    with pytest.raises(ConfigError, match=r"OTHER_KEY: this environment variable is empty or not set"):
        SecretReference(env="OTHER_KEY").resolve()
    with pytest.raises(ConfigError, match=r"the secret cannot be read"):
        SecretReference(file=str(tmp_path / "none")).resolve()
    with pytest.raises(ConfigError, match=r"exactly one of"):
        SecretReference().resolve()
