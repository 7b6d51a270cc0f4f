from __future__ import annotations

import re
from urllib.parse import urlsplit

import ccxt.pro
import pytest
from aiohttp import web

from tickloom_core.config import SecretReference, VenueConfig
from tickloom_core.errors import PermanentError
from tickloom_venues.errors import InvalidEndpointError, UnknownVenueError
from tickloom_venues.opening import canonical_venue_id, close_venue, open_venue
from tickloom_venues.quirks import QUIRKS, RETIRED_VENUE_IDS

AGENT = "tickloom-test/0"
TEMPLATE = re.compile(r"\{\w*hostname\w*\}")


def strings_in(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("venue", ccxt.pro.exchanges)
@pytest.mark.parametrize(
    ("endpoint", "schemes"), [("http://127.0.0.1:18081", {"http", "ws"}), ("https://sim:1", {"https", "wss"})]
)
def test_every_venue_opens_and_asks_the_endpoint_only(venue, endpoint, schemes):
    """Any ccxt.pro venue opens by its id, and no URL of it names a host other than the endpoint's."""
    exchange = open_venue(venue, VenueConfig(endpoint=endpoint), agent=AGENT)

    urls = [urlsplit(text) for text in strings_in(exchange.urls) if "://" in text]
    assert exchange.id == venue
    assert {url.netloc for url in urls} == {urlsplit(endpoint).netloc}
    assert {url.scheme for url in urls} <= schemes
    assert not any(TEMPLATE.search(text) for text in strings_in(exchange.urls))


@pytest.mark.parametrize("venue", ["binance", "bybit", "kraken", "okx"])
def test_redirected_urls_keep_their_paths(venue):
    """An endpoint changes scheme, host and port of a URL, and nothing behind them."""
    plain = open_venue(venue, VenueConfig(), agent=AGENT)
    redirected = open_venue(venue, VenueConfig(endpoint="http://127.0.0.1:18081"), agent=AGENT)

    def paths(exchange):
        return [urlsplit(text)[2:] for text in strings_in(exchange.urls) if "://" in text]

    assert paths(redirected) == paths(plain)


async def test_urls_outside_the_table_go_to_the_endpoint_too():
    """A websocket address that the venue answers with, such as KuCoin's, is redirected when it is opened."""
    exchange = open_venue("kucoin", VenueConfig(endpoint="http://127.0.0.1:18081"), agent=AGENT)
    try:
        client = exchange.client("wss://ws-api-spot.kucoin.com/endpoint?token=a&connectId=public")

        assert client.url == "ws://127.0.0.1:18081/endpoint?token=a&connectId=public"
        assert list(exchange.clients) == [client.url]
    finally:
        await close_venue(exchange)


@pytest.mark.parametrize(("venue", "expected"), [("binance", True), ("binanceusdm", False)])
async def test_binance_tells_spot_from_futures_behind_an_endpoint(venue, expected):
    """Binance's streams are told apart by path where ccxt would look at the host."""
    exchange = open_venue(venue, VenueConfig(endpoint="http://127.0.0.1:18081"), agent=AGENT)
    try:
        kind = "spot" if expected else "linear"
        url = exchange.get_ws_url(kind, "public") + "/0"

        assert exchange.is_spot_url(exchange.client(url)) is expected
    finally:
        await close_venue(exchange)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:18081", "ws://127.0.0.1:1", "http://", "http://host/path"])
def test_an_endpoint_of_another_form_is_refused(endpoint):
    """An endpoint that is not scheme://host:port is an error that repeats it."""
    with pytest.raises(InvalidEndpointError, match=re.escape(repr(endpoint))) as refused:
        open_venue("binance", VenueConfig(endpoint=endpoint), agent=AGENT)

    assert refused.value.venue == "binance"
    assert isinstance(refused.value, PermanentError)


@pytest.mark.parametrize("retired", RETIRED_VENUE_IDS)
def test_retired_ids_still_open(retired):
    """Ids from old configurations open the venue of today."""
    assert open_venue(retired, VenueConfig(), agent=AGENT).id == RETIRED_VENUE_IDS[retired]


def test_ids_are_read_in_any_case():
    """Ids are recognised in capitals and with spaces around them."""
    assert canonical_venue_id(" Binance ") == "binance"


def test_an_unknown_venue_is_refused_with_the_nearest_ids():
    """A misspelt id is an error that names what was probably meant."""
    with pytest.raises(UnknownVenueError, match="did you mean binance") as refused:
        open_venue("binanze", VenueConfig(), agent=AGENT)

    assert refused.value.venue == "binanze"


def test_a_venue_without_websockets_is_refused_as_such():
    """A venue that ccxt knows over REST only is told apart from a misspelling."""
    with pytest.raises(UnknownVenueError, match="REST only"):
        canonical_venue_id("bitbank")


def test_options_are_merged_over_quirks_over_defaults():
    """The user's options win over ours, ours over ccxt's, and what none of them names stays."""
    exchange = open_venue("binance", VenueConfig(options={"fetchMarkets": {"types": ["linear"]}}), agent=AGENT)

    assert exchange.options["fetchMarkets"] == {"types": ["linear"], "loadAllOptions": False}
    assert exchange.options["watchTickers"] == {"name": "ticker"}
    assert exchange.options["defaultType"] == "spot"


def test_spot_options_apply_to_spot_only():
    """With derivatives wanted as well, ccxt's own choice of market types stays."""
    exchange = open_venue("okx", VenueConfig(spot_only=False), agent=AGENT)

    assert exchange.options["fetchMarkets"]["types"] == ["spot", "future", "swap", "option"]


@pytest.mark.parametrize("venue", QUIRKS)
def test_every_quirk_sets_an_option_that_ccxt_has(venue):
    """A quirk changes a value that stands in ccxt's own options: a renamed option must not pass unnoticed."""
    defaults = getattr(ccxt.pro, venue)().options

    for options in (QUIRKS[venue].options, QUIRKS[venue].spot_options):
        assert {name for name in options if name != "defaultType"} <= set(defaults)


def test_keys_are_resolved(monkeypatch):
    """A referred key reaches ccxt as the secret itself."""
    monkeypatch.setenv("VENUE_KEY", "k")
    config = VenueConfig(api_key=SecretReference(env="VENUE_KEY"))

    exchange = open_venue("kraken", config, agent=AGENT)

    assert (exchange.apiKey, exchange.secret) == ("k", None)


async def test_the_agent_is_named_in_requests_and_handshakes(aiohttp_endpoint):
    """REST requests and websocket handshakes both say who asks."""
    seen = {}

    async def answer(request):
        seen[request.path] = request.headers["User-Agent"]
        if request.headers.get("Upgrade") != "websocket":
            return web.json_response({"serverTime": 1})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    endpoint = await aiohttp_endpoint(answer)
    exchange = open_venue("binance", VenueConfig(endpoint=endpoint), agent=AGENT)
    try:
        await exchange.fetch_time()
        await exchange.client(exchange.urls["api"]["ws"]["spot"]).connect(exchange.session)
    finally:
        await close_venue(exchange)

    assert seen == {"/api/v3/time": AGENT, "/ws": AGENT}


def test_a_venue_that_poses_as_a_browser_keeps_its_agent():
    """Where ccxt names a browser, since the venue's gateway wants one, we do not change it."""
    exchange = open_venue("extended", VenueConfig(), agent=AGENT)

    assert exchange.options["ws"]["options"]["headers"]["User-Agent"].startswith("Mozilla/")
