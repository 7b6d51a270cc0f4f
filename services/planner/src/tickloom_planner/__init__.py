"""Profile venues, score and pack their shards, publish the plan."""
