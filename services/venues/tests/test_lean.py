from __future__ import annotations

import ccxt
import ccxt.pro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom_core.config import VenueConfig
from tickloom_venues.exclusion import iter_tickers
from tickloom_venues.lean import lean_parsing
from tickloom_venues.opening import open_venue

TRADE_FIELDS = ("id", "timestamp", "symbol", "side", "price", "amount")
TICKER_FIELDS = (
    *("symbol", "timestamp", "last", "bid", "bidVolume", "ask", "askVolume", "open", "high", "low"),
    *("vwap", "baseVolume", "quoteVolume", "percentage", "info"),
)

BINANCE_TRADE = {
    "e": "trade",
    "E": 1723161605454,
    "s": "BTCUSDT",
    "t": 3735693258,
    "p": "61717.01000000",
    "q": "0.00115000",
    "T": 1723161605453,
    "m": True,
    "M": True,
}
BINANCE_AGG_TRADE = {
    "e": "aggTrade",
    "E": 1723161605454,
    "s": "BTCUSDT",
    "a": 26129,
    "p": "0.01633102",
    "q": "4.70443515",
    "f": 27781,
    "l": 27781,
    "T": 1723161605453,
    "m": False,
}
BINANCE_OLD_TRADE = {**BINANCE_TRADE, "t": 3735693259, "b": 28497, "a": 28498, "m": False}
BINANCE_TICKER = {
    "e": "24hrTicker",
    "E": 1786539510015,
    "s": "BTCUSDT",
    "p": "-94.99",
    "P": "-0.154",
    "w": "61717.14",
    "x": "61800.00",
    "c": "61717.01",
    "Q": "0.1",
    "b": "61717.00",
    "B": "3.2",
    "a": "61717.01",
    "A": "1.1",
    "o": "61812.00",
    "h": "62000.00",
    "l": "61000.00",
    "v": "14724.65",
    "q": "940099726.8",
    "C": 1786539510000,
}
BINANCE_FLAT_TICKER = {**BINANCE_TICKER, "p": "0.00", "P": "0.000", "o": "61717.01", "b": "0.00", "B": "0.00"}
SPOT = {"BTCUSDT": "BTC/USDT"}
FUTURES = {"BTCUSDT": "BTC/USDT:USDT"}

KRAKEN_TRADES = {
    "channel": "trade",
    "type": "snapshot",
    "data": [
        {
            "symbol": "BTC/USD",
            "side": "buy",
            "price": 63297.8,
            "qty": 0.5,
            "ord_type": "limit",
            "trade_id": trade_id,
            "timestamp": f"2026-08-12T19:29:0{trade_id}.066592Z",
        }
        for trade_id in (3, 1, 2)
    ],
}
KRAKEN_TRADE = {
    **KRAKEN_TRADES,
    "type": "update",
    "data": [{**KRAKEN_TRADES["data"][0], "trade_id": 4, "side": "sell"}],
}
COINBASE_TRADES = {
    "channel": "market_trades",
    "timestamp": "2026-08-12T19:29:02.066592Z",
    "events": [
        {
            "type": "update",
            "trades": [
                {
                    "trade_id": str(trade_id),
                    "product_id": "BTC-USD",
                    "price": "63297.71",
                    "size": "0.00123",
                    "side": "BUY",
                    "time": "2026-08-12T19:29:02.066592Z",
                }
                for trade_id in (11, 10)
            ],
        }
    ],
}
COINBASE_TICKER = {
    "channel": "ticker",
    "timestamp": "2026-08-12T19:29:02.066592999Z",
    "events": [
        {
            "type": "update",
            "tickers": [
                {
                    "type": "ticker",
                    "product_id": "BTC-USD",
                    "price": "63297.71",
                    "volume_24_h": "5000.1",
                    "low_24_h": "62000",
                    "high_24_h": "64000",
                    "price_percent_chg_24_h": "-1.5",
                    "best_bid": "63297",
                    "best_bid_quantity": "0.1",
                    "best_ask": "63298",
                    "best_ask_quantity": "0",
                }
            ],
        }
    ],
}
OKX_TRADE = {
    "arg": {"channel": "trades", "instId": "BTC-USDT"},
    "data": [
        {
            "instId": "BTC-USDT",
            "tradeId": "130639474",
            "px": "42219.9",
            "sz": "0.12060306",
            "side": "buy",
            "ts": "1630048897897",
            "count": "3",
        }
    ],
}
BITGET_TRADES = {
    "action": "snapshot",
    "arg": {"instType": "SPOT", "channel": "trade", "instId": "BTCUSDT"},
    "data": [
        {"ts": "1786613190242", "price": "63297.70", "size": "0.1200", "side": "sell", "tradeId": "1"},
        {"ts": "1786613190243", "price": "63297.71", "size": "1e-05", "side": "buy", "tradeId": "2"},
    ],
}
BITFINEX_FRAMES = [
    {"event": "subscribed", "channel": "trades", "chanId": 1, "symbol": "tBTCUSD", "pair": "BTCUSD"},
    [1, [[401597393, 1574694475039, 0.005, 7244.9], [401597392, 1574694475000, -0.25, 7244]]],
    [1, "te", [401597394, 1574694478808, -0.00515, 7245]],
    [1, "tu", [401597394, 1574694478808, -0.00515, 7245]],
    {"event": "subscribed", "channel": "ticker", "chanId": 2, "symbol": "tBTCUSD", "pair": "BTCUSD"},
    [2, [7244.8, 12.5, 7244.9, 3.5, -100.1, -0.0136, 7244.9, 12345.678, 7400, 7200]],
]

SYNTHETIC = {
    "binance": ("binance", SPOT, [BINANCE_TRADE, BINANCE_AGG_TRADE, BINANCE_OLD_TRADE]),
    "binance combined": ("binance", SPOT, [{"stream": "btcusdt@trade", "data": BINANCE_TRADE}]),
    "binance tickers": ("binance", SPOT, [BINANCE_TICKER, BINANCE_FLAT_TICKER, [BINANCE_TICKER]]),
    "binanceusdm": ("binanceusdm", FUTURES, [{**BINANCE_TRADE, "X": "MARKET"}, BINANCE_AGG_TRADE]),
    "binanceus": ("binanceus", SPOT, [BINANCE_TRADE, BINANCE_TICKER]),
    "kraken": ("kraken", {"XXBTZUSD": "BTC/USD"}, [KRAKEN_TRADES, KRAKEN_TRADE]),
    "coinbase": ("coinbase", {"BTC-USD": "BTC/USD"}, [COINBASE_TRADES, COINBASE_TICKER]),
    "okx": ("okx", {"BTC-USDT": "BTC/USDT"}, [OKX_TRADE]),
    "bitget": ("bitget", SPOT, [BITGET_TRADES]),
    "bitfinex": ("bitfinex", {"tBTCUSD": "BTC/USD"}, BITFINEX_FRAMES),
}

BITFINEX_IDS = ("BFTUSD", "IOTETH", "DOGUSD", "MNABTC", "ODEUSD", "SNGUSD")
OKX_SYMBOLS = {"BTC-USDT": "BTC/USDT", "UNI-USD-SWAP": "UNI/USD:UNI", "BTC-USD-220527": "BTC/USD:BTC-220527"}
RECORDED = {
    "binance_btcusdt_2024": ("binance", SPOT),
    "binanceusdm_btcusdt_2024": ("binanceusdm", FUTURES),
    "binance_2021_22": (
        "binance",
        {"NKNUSDT": "NKN/USDT", "BLZETH": "BLZ/ETH", "LRCBTC": "LRC/BTC", "RUNEEUR": "RUNE/EUR"},
    ),
    "okx_2021_22": ("okx", OKX_SYMBOLS),
    "bitfinex_2021_22": ("bitfinex", {f"t{name}": f"{name[:3]}/{name[3:]}" for name in BITFINEX_IDS}),
    "binance_ws": ("binance", SPOT),
    "bitget_ws_v2": ("bitget", SPOT),
    "cryptocom_ws_v1": ("cryptocom", {"BTC_USD": "BTC/USD"}),
    "kraken_ws_v2": ("kraken", {"XXBTZUSD": "BTC/USD"}),
}


class IsTradeOrTicker:
    """Leaves order books, candles and everything private out: they need REST snapshots or are not ours."""

    def __init__(self):
        self._book_channels = set()

    def __call__(self, frame):
        if isinstance(frame, list):
            return frame[0] not in self._book_channels
        if frame.get("event") == "subscribed" and frame.get("channel") == "book":
            self._book_channels.add(frame["chanId"])
            return False
        text = str(frame)
        return not any(
            word in text for word in ("depth", "kline", "book", "ohlc", "candle", "success", "status", "heartbeat")
        )


def read_all(exchange, client, frames):
    for frame in frames:
        exchange.handle_message(client, frame)
    trades = [trade for cached in exchange.trades.values() for trade in cached]
    tickers = [ticker for _, result in client.resolved if isinstance(result, dict) for ticker in iter_tickers(result)]
    return (
        [{field: trade.get(field) for field in TRADE_FIELDS} for trade in trades],
        [{field: ticker.get(field) for field in TICKER_FIELDS} for ticker in tickers],
    )


@pytest.fixture
def read_both(offline_exchange, recording_client):
    """Reads frames with ccxt as it is and with the lean one; returns two pairs (trades, tickers)."""

    def read(venue, symbols, frames):
        results = []
        for prepare in (lambda _: None, lean_parsing):
            exchange = offline_exchange(venue, symbols)
            prepare(exchange)
            client = recording_client("wss://stream.binance.com:9443/ws/0" if venue == "binance" else "wss://test/ws")
            results.append(read_all(exchange, client, frames))
        return results

    return read


@pytest.mark.parametrize("case", SYNTHETIC)
def test_synthetic_frames_read_the_same(read_both, case):
    """On today's frames of each venue the lean exchange reads the same trades and tickers as ccxt's own."""
    venue, symbols, frames = SYNTHETIC[case]

    plain, lean = read_both(venue, symbols, frames)

    assert plain[0] or plain[1]
    assert repr(lean) == repr(plain)


@pytest.mark.parametrize("recording", RECORDED)
def test_recorded_frames_read_the_same(read_both, recorded_frames, recording):
    """On recorded traffic the lean exchange reads the same trades and tickers as ccxt's own, in the same order."""
    venue, symbols = RECORDED[recording]
    frames = recorded_frames(recording, IsTradeOrTicker())

    plain, lean = read_both(venue, symbols, frames)

    assert plain[0] or plain[1]
    assert repr(lean) == repr(plain)


NUMBERS = st.one_of(
    st.none(),
    st.just(""),
    st.sampled_from(["0", "0.000", "-0.5", "1e-05"]),
    st.decimals(min_value=0, max_value=10**6, allow_nan=False, allow_infinity=False, places=8).map(str),
    st.floats(min_value=0, max_value=10**9, allow_nan=False),
    st.integers(min_value=-10, max_value=10**9),
)
TICKERS = st.fixed_dictionaries(
    {"symbol": st.just("BTC/USDT"), "timestamp": st.just(1)},
    optional=dict.fromkeys(
        (
            *("open", "close", "last", "high", "low", "bid", "bidVolume", "ask", "askVolume", "vwap"),
            *("baseVolume", "quoteVolume", "change", "percentage", "average"),
        ),
        NUMBERS,
    ),
)
PLAIN = ccxt.pro.kraken()
LEAN = ccxt.pro.kraken()
lean_parsing(LEAN)


def outcome(function, *arguments):
    """What a call returns or raises: ccxt's decimal steps stumble over some tickers, and so must ours."""
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@given(TICKERS)
def test_a_ticker_with_any_fields_missing_derives_the_same(ticker):
    """Whatever a venue leaves out of a ticker, our fields come out as ccxt derives them."""
    plain = outcome(PLAIN.safe_ticker, dict(ticker))
    lean = outcome(LEAN.safe_ticker, dict(ticker))

    assert isinstance(plain, dict) == isinstance(lean, dict)
    if isinstance(plain, dict):
        assert {field: repr(lean.get(field)) for field in TICKER_FIELDS} == {
            field: repr(plain.get(field)) for field in TICKER_FIELDS
        }


VALUES = st.one_of(NUMBERS, st.booleans(), st.just([]), st.just({}), st.lists(st.integers(), max_size=2))
CONTAINERS = st.one_of(
    st.none(), st.text(max_size=2), st.lists(VALUES, max_size=3), st.dictionaries(st.sampled_from("ab"), VALUES)
)
KEYS = st.one_of(st.sampled_from(["a", "b", "c", None, 0, 1, -1, 7]))


@pytest.mark.parametrize("accessor", ["safe_value", "safe_string", "safe_dict", "safe_list"])
@given(container=CONTAINERS, key=KEYS, default=st.sampled_from([None, "default", 1]))
def test_an_accessor_returns_what_ccxt_returns(accessor, container, key, default):
    """The lean accessors never differ from ccxt's, whatever they are asked."""
    assert getattr(LEAN, accessor)(container, key, default) == getattr(PLAIN, accessor)(container, key, default)


@given(container=CONTAINERS, key=KEYS, other=KEYS)
def test_the_accessor_of_two_keys_returns_what_ccxt_returns(container, key, other):
    """safe_string_2 prefers the first key exactly when ccxt does."""
    assert LEAN.safe_string_2(container, key, other, "x") == PLAIN.safe_string_2(container, key, other, "x")


@given(
    st.one_of(
        st.none(),
        st.text(max_size=30),
        st.just("2026-11-21T04:45:00,123Z"),
        st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "123Z"),
        st.datetimes().map(lambda moment: moment.isoformat(" ", timespec="milliseconds")),
        st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds") + "+02:00"),
    )
)
def test_a_date_means_the_same_millisecond(text):
    """Dates with and without fractions, of any precision and form, are read as ccxt reads them."""
    assert LEAN.parse8601(text) == PLAIN.parse8601(text)


@pytest.mark.parametrize("venue", ccxt.pro.exchanges)
def test_dates_for_signing_are_left_alone(venue):
    """Outside of a frame a lean exchange of any venue writes dates as before: requests are signed with them."""
    exchange = open_venue(venue, VenueConfig(), agent="tickloom-test/0")
    lean_parsing(exchange)

    assert exchange.iso8601(0) == "1970-01-01T00:00:00.000Z"


def test_dates_come_back_after_a_frame_that_cannot_be_read(offline_exchange, recording_client):
    """An error out of a frame passes through, and signing still works afterwards."""
    exchange = offline_exchange("coinbase", {"BTC-USD": "BTC/USD"})
    lean_parsing(exchange)

    with pytest.raises(ccxt.ExchangeError, match="too many"):
        exchange.handle_message(recording_client("wss://test"), {"type": "error", "message": "too many"})

    assert exchange.iso8601(0) == "1970-01-01T00:00:00.000Z"


def test_numbers_that_are_not_floats_are_left_to_ccxt():
    """An exchange set to keep numbers as text keeps every step of ccxt's."""
    exchange = ccxt.pro.binance({"number": str})
    lean_parsing(exchange)

    assert exchange.safe_trade({"price": "1.10", "amount": "2"})["price"] == "1.10"


def test_a_step_that_a_venue_overrides_is_kept(monkeypatch):
    """A venue with a safe_trade of its own goes on using it."""
    monkeypatch.setattr(ccxt.pro.kraken, "safe_trade", lambda *_: "the venue's own", raising=False)
    exchange = ccxt.pro.kraken()
    lean_parsing(exchange)

    assert exchange.safe_trade({}) == "the venue's own"
