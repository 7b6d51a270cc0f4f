"""Closed days as one sorted file a venue and channel."""
