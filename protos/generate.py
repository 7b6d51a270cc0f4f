"""Generate the Python code of the wire contract, and the twin whose packed columns are declared `bytes`.

Run as `python protos/generate.py`; `--check` writes nothing and fails when what is committed differs.

The twin exists because protobuf hands a `repeated double` to Python as a list of objects, and a `bytes` field as one
buffer. Both have wire type 2, so the same message can be read either way
(https://protobuf.dev/programming-guides/encoding/#packed).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("tickloom/marketdata/v1")
HEADER = PACKAGE / "header.proto"
SOURCE = PACKAGE / "batch.proto"
TWIN = PACKAGE / "batch_columns.proto"
GENERATED = (
    TWIN,
    *(PACKAGE / f"{stem}_pb2{end}" for stem in ("header", "batch", "batch_columns") for end in (".py", ".pyi")),
)
_PACKED = re.compile(r"\brepeated (?:double|fixed32|sfixed64|bool) ")
_TWIN_HEAD = """\
// Generated from batch.proto by protos/generate.py; do not edit.
//
// The same bytes as batch.proto, read another way: every packed column is one `bytes`, a little-endian array.
"""


def derive_twin(source: str) -> str:
    """Return the twin of the contract's text: packed columns as bytes, messages renamed, no comments."""
    body = re.sub(r"^\s*//.*\n", "", source, flags=re.MULTILINE)
    body = _PACKED.sub("bytes ", body)
    body = re.sub(r"\b(Batch|Trades|Tickers|Books|Events) (?=[a-z{])", r"\1Columns ", body)
    return _TWIN_HEAD + body.replace("\nmessage", "\n\nmessage")


def generate(folder: Path) -> None:
    """Write the generated files of the contract in `ROOT` below `folder`."""
    (folder / PACKAGE).mkdir(parents=True, exist_ok=True)
    if folder != ROOT:
        for proto in (HEADER, SOURCE):
            shutil.copy(ROOT / proto, folder / proto)
    (folder / TWIN).write_text(derive_twin((ROOT / SOURCE).read_text()))
    arguments = ["protoc", f"-I{folder}", f"--python_out={folder}", f"--pyi_out={folder}"]
    if protoc.main([*arguments, *(str(proto) for proto in (HEADER, SOURCE, TWIN))]) != 0:
        raise SystemExit("protoc failed; its message stands above")


def check() -> int:
    """Return 1 and name each generated file that differs from what is committed, else 0."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        stale = [
            name
            for name in GENERATED
            if not (ROOT / name).exists() or (ROOT / name).read_bytes() != (Path(scratch) / name).read_bytes()
        ]
    for name in stale:
        print(f"protos/{name} is not what batch.proto generates: run `make protos` and commit the result")  # noqa: T201
    return 1 if stale else 0


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(check())
    generate(ROOT)
