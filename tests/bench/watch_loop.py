"""What people write today: `await exchange.watch_trades(symbol)` in a loop, unmodified ccxt.pro.

Prints `ready`, then for each line on stdin the number of trades that the loop was given so far and the seconds since
the last one.
"""

from __future__ import annotations

import asyncio
import sys
import time

import ccxt.pro


async def main(endpoint: str) -> None:
    """Count what the loop is given."""
    exchange = ccxt.pro.binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"] = redirect(exchange.urls["api"], endpoint)
    await exchange.load_markets()
    given = 0
    last_s = time.perf_counter()

    async def watch() -> None:
        nonlocal given, last_s
        while True:
            trades = await exchange.watch_trades("BTC/USDT")
            given += len(trades)
            last_s = time.perf_counter()

    task = asyncio.create_task(watch())
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(given, time.perf_counter() - last_s, flush=True)
    task.cancel()


def redirect(urls: object, endpoint: str) -> object:
    """Return the URLs with host and scheme of `endpoint`, paths kept."""
    if isinstance(urls, dict):
        return {key: redirect(value, endpoint) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme, _, rest = urls.partition("://")
    path = "/" + rest.partition("/")[2]
    return f"{'ws' if scheme.startswith('ws') else 'http'}://{endpoint}{path}"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
