"""From a local folder to a bucket: what is committed, verified, and only then removed here."""
