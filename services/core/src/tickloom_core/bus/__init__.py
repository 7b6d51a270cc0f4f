"""The bus: how Tickloom uses NATS JetStream."""
