"""Markets: what a venue lists, and how finely it writes prices and amounts.

Prices are integers of ticks and amounts integers of 1e-8 everywhere in the simulator: sums are exact,
and the text a client reads is the number the truth remembers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

AMOUNT_SCALE = 100_000_000

# What is listed first, with a price of the right order of magnitude; invented coins follow.
_COINS: tuple[tuple[str, float], ...] = (
    ("BTC", 64_117.9),
    ("ETH", 3_212.4),
    ("SOL", 148.31),
    ("XRP", 0.5512),
    ("DOGE", 0.1294),
    ("ADA", 0.4471),
    ("AVAX", 27.83),
    ("LINK", 14.62),
    ("DOT", 6.214),
    ("LTC", 71.55),
    ("BCH", 389.4),
    ("ATOM", 7.912),
    ("UNI", 8.331),
    ("NEAR", 5.127),
    ("APT", 8.774),
    ("FIL", 4.583),
    ("ETC", 23.41),
    ("ICP", 9.226),
    ("ALGO", 0.1617),
    ("AAVE", 96.38),
)


@dataclass(frozen=True, slots=True)
class Precision:
    """How finely a venue writes numbers of a market at a given price.

    Attributes:
        price_decimals: digits after the point in a price; a tick is 10^-price_decimals.
        amount_decimals: digits after the point in an amount, at most 8.
    """

    price_decimals: int
    amount_decimals: int


@dataclass(frozen=True, slots=True)
class Market:
    """One spot market of one venue.

    Attributes:
        symbol: the unified symbol, "BTC/USDT".
        market_id: what the venue calls it in requests and messages ("BTCUSDT", "XXBTZUSD", "BTC-USD").
        start_price: the price around which everything moves, in the quote currency.
    """

    venue: str
    symbol: str
    market_id: str
    base: str
    quote: str
    precision: Precision
    start_price: float

    @property
    def ticks_per_unit(self) -> int:
        """How many ticks make one unit of the quote currency."""
        return int(10**self.precision.price_decimals)

    @property
    def amount_step_e8(self) -> int:
        """The smallest change of an amount, in 1e-8."""
        return int(10 ** (8 - self.precision.amount_decimals))


def list_coins(count: int, seed: int) -> list[tuple[str, float]]:
    """Name `count` base currencies with their start prices: the real ones first, then invented ones."""
    coins = list(_COINS[:count])
    rng = random.Random(f"{seed}/coins")  # noqa: S311  # reproducible, not secret
    coins.extend((f"SIM{number:04d}", round(10 ** rng.uniform(-0.5, 2.0), 3)) for number in range(len(coins), count))
    return coins


def choose_precision(price: float, *, amount_decimals: int | None = None) -> Precision:
    """Choose decimals as venues do: the dearer the coin, the fewer for its price and the more for its amount."""
    tiers = ((10_000, 2, 5), (100, 2, 4), (1, 4, 2), (0, 5, 1))
    price_decimals, usual = next((price_d, amount_d) for floor, price_d, amount_d in tiers if price >= floor)
    return Precision(price_decimals, usual if amount_decimals is None else amount_decimals)
