"""JetStream to PostgreSQL, TimescaleDB or SQLite, exactly once."""
