"""JetStream to Parquet on S3 or disk, exactly once."""
