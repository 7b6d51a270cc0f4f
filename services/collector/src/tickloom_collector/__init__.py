"""Feeds to columns to JetStream."""
