"""JetStream to Parquet on S3 or disk, exactly once."""

import os

# Read once, when pyarrow is loaded. Its own choice, mimalloc, keeps some 25 MB more for the threads that encode and
# write; jemalloc does not start on kernels with large pages, such as that of a Raspberry Pi 5.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
