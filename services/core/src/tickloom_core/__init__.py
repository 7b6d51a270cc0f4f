"""What every Tickloom service shares: configuration, bus, sink loop, lifecycle, logs, metrics."""
