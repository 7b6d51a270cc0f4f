"""Feeds: one protocol, an implementation for every venue of ccxt.pro, and native ones for the busiest."""
