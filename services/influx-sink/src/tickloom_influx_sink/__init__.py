"""JetStream to InfluxDB 2, exactly once."""
