"""The only door to ccxt: opening venues, their capabilities, markets and symbols, exclusions, errors."""
