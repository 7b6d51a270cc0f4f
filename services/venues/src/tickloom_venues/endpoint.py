"""Sending a venue's whole traffic to one host and port, paths kept: to a simulator, a recorder or a proxy.

Three things together leave no way around:

- every URL in `exchange.urls`, however deep, is rewritten, `{hostname}` templates included, so that ccxt's own look-ups
  by URL agree with each other;
- the two doors through which ccxt leaves the process, `fetch` (REST) and `client` (websockets), rewrite what reaches
  them, for the URLs that are in no table: literals in the code of a venue (Coinbase International with Deribit keys)
  and addresses that the venue itself answers with (KuCoin's and others' websocket tokens);
- `exchange.hostname`, which some venues build URLs and signatures from, becomes the endpoint's host and port.

Not covered: venues whose spot and derivative streams differ by host alone (aster, bingx's inverse, binance's
coin-margined and gate's futures) can be redirected for one market type at a time, since the streams then share one
URL. The chains that some decentralised venues write *orders* to are reached through libraries of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tickloom_venues.errors import InvalidEndpointError

if TYPE_CHECKING:
    from tickloom_venues.opening import Exchange

_ORIGIN: Final = re.compile(r"^(https?|wss?)://[^/?#]*")


class Endpoint:
    """Where a venue's traffic goes.

    Attributes:
        netloc: host and port.
    """

    __slots__ = ("_origins", "netloc")

    def __init__(self, url: str, *, venue: str) -> None:
        """Read `http://host:port` or `https://host:port`; the scheme says whether TLS is spoken there.

        Raises:
            InvalidEndpointError: it is anything else.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise InvalidEndpointError(
                f"{venue}: endpoint {url!r} is not of the form http://host:port or https://host:port", venue=venue
            )
        secure = "s" if parts.scheme == "https" else ""
        self.netloc = parts.netloc
        self._origins = {
            scheme: f"{kind}{secure}://{parts.netloc}"
            for scheme, kind in (("http", "http"), ("https", "http"), ("ws", "ws"), ("wss", "ws"))
        }

    def rewrite(self, url: str) -> str:
        """Return the URL with the endpoint's scheme, host and port; a string that is no URL is returned as it is."""
        return _ORIGIN.sub(lambda found: self._origins[found[1]], url)


def redirect(exchange: Exchange, url: str) -> None:
    """Send everything that this exchange asks for to the endpoint.

    Raises:
        InvalidEndpointError: the URL is not scheme://host:port.
    """
    endpoint = Endpoint(url, venue=exchange.id)
    exchange.urls = _rewrite_all(exchange.urls, endpoint)
    if exchange.hostname is not None:
        exchange.hostname = endpoint.netloc
    if "hostnames" in exchange.urls:  # HTX keeps bare host names, one a market type
        exchange.urls["hostnames"] = dict.fromkeys(exchange.urls["hostnames"], endpoint.netloc)
    if hasattr(exchange, "is_spot_url"):  # Binance's family looks for `//stream.` in the host
        exchange.is_spot_url = _has_spot_path

    fetch, client = exchange.fetch, exchange.client

    async def fetch_there(url: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (whatever ccxt passes on)
        return await fetch(endpoint.rewrite(url), *args, **kwargs)

    def client_there(url: str) -> Any:  # noqa: ANN401 (ccxt's Client)
        return client(endpoint.rewrite(url))

    exchange.fetch = fetch_there
    exchange.client = client_there


def _has_spot_path(client: Any) -> bool:  # noqa: ANN401 (ccxt's Client)
    path: str = urlsplit(client.url).path
    return path.startswith(("/ws", "/stream"))


def _rewrite_all(value: Any, endpoint: Endpoint) -> Any:  # noqa: ANN401 (nested dicts and lists of ccxt)
    if isinstance(value, dict):
        return {key: _rewrite_all(inner, endpoint) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rewrite_all(inner, endpoint) for inner in value]
    if isinstance(value, str):
        return endpoint.rewrite(value)
    return value
