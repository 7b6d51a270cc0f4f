"""The documentation says what the code does: names, defaults and types are compared, snippets are run.

Tables are read by the name of their first column: `flag`, `setting`, `name` (metrics), `kind` (events), `column`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.docs.pages import DOCS, ROOT, Page, find_page, find_pages, read_code
from tests.docs.program import PAGES, SERVICES, read_event_kinds, read_flags, read_metrics, read_settings
from tests.support.bus import make_batch
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import ConfigError
from tickloom_core.config_file import parse_config
from tickloom_core.manifests import DataFile, Manifest
from tickloom_core.sink import Chunk
from tickloom_core.wire import decode
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.encoding import EncodedFile, encode_chunk
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.footer import FOOTER_PREFIX
from tickloom_parquet_sink.manifest import describe_chunk, write_manifest
from tickloom_parquet_sink.schemas import SCHEMAS

STORED_NS = 1_795_262_400 * 10**9
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
ARROW_TYPES = {
    "dictionary of string": pa.dictionary(pa.int32(), pa.string()),
    "double": pa.float64(),
    "int64": pa.int64(),
    "list of double": pa.list_(pa.field("element", pa.float64())),
    "string": pa.string(),
    "timestamp[us, UTC]": pa.timestamp("us", tz="UTC"),
    "uint64": pa.uint64(),
}


def store(root: Path, sequences: range) -> list[EncodedFile]:
    """Write one chunk of trades below `root` as the Parquet sink does, and return its files."""
    batches = [decode(make_batch(sequence, rows=3).payload) for sequence in sequences]
    first, last = sequences[0], sequences[-1]
    chunk = Chunk(0, STREAM, first, WriterWindow(), last, STORED_NS, batches)
    destination, files = LocalFolder(root.absolute()), list(encode_chunk(chunk))
    for file in files:
        destination.write(file.entry.path, file.data)
    write_manifest(destination, describe_chunk(chunk, [file.entry for file in files]), "2026-11-21")
    return files


def test_pages_exist():
    """Every deployable and every further command has a page, and the index names it."""
    linked = Page(DOCS / "README.md").links
    for service in PAGES:
        assert find_page(service).path.is_file(), service
        assert f"{service}.md" in linked


@pytest.mark.parametrize("service", PAGES)
def test_flags(service):
    """A page names exactly the service's flags, with their defaults."""
    rows = find_page(service).find_rows("flag")
    assert {flag: read_code(cells[1]) for flag, cells in rows.items()} == read_flags(service)


@pytest.mark.parametrize("page", find_pages(), ids=lambda page: str(page.path.relative_to(ROOT)))
def test_flags_in_passing(page):
    """No page writes a flag, in a sentence or a command, that no service has."""
    known = {flag for service in PAGES for flag in read_flags(service)} | {"--help"}
    text = "\n".join([*re.findall(r"`[^`\n]*`", page.prose), *page.find_blocks("")])
    assert set(re.findall(r"(?<![\w-])--[a-z]\w*", text)) <= known


def test_settings():
    """configuration.md has exactly the settings of the configuration, with their defaults."""
    rows = find_page("configuration").find_rows("setting")
    assert {setting: read_code(cells[2]) for setting, cells in rows.items()} == read_settings()


@pytest.mark.parametrize("service", PAGES)
def test_settings_of_services(service):
    """A service's page repeats types and defaults of its settings as configuration.md has them."""
    rows = find_page("configuration").find_rows("setting")
    for setting, cells in find_page(service).find_rows("setting").items():
        assert setting in rows
        assert [cells[1], read_code(cells[2])] == [rows[setting][1], read_code(rows[setting][2])], setting


def test_own_sections():
    """A page has every setting of the section that bears its name."""
    for service in PAGES:
        section = f"{service.replace('-', '_')}."
        own = {setting for setting in read_settings() if setting.startswith(section)}
        assert own <= find_page(service).find_rows("setting").keys()


@pytest.mark.parametrize("service", PAGES)
def test_metrics(service):
    """A page has exactly the metrics that the service serves, with type and labels."""
    rows = find_page(service).find_rows("name")
    found = {
        name: (cells[1], [label for label in cells[2].split(", ") if label != "none"]) for name, cells in rows.items()
    }
    assert found == read_metrics(service)


@pytest.mark.parametrize("page", find_pages(), ids=lambda page: str(page.path.relative_to(ROOT)))
def test_metrics_in_passing(page):
    """No page names a metric that no service serves."""
    known = {metric for service in PAGES for metric in find_page(service).find_rows("name")}
    buckets = {f"tickloom_{name}" for name in ("leader", "members", "owners", "plan", "presence", "profiles")}
    measurements = {"tickloom_positions"}
    members = {f"tickloom_{name.replace('-', '_')}" for name in (*SERVICES, "core", "venues")}
    named = set(re.findall(r"\btickloom_[a-z_]+", page.text))
    assert named <= known | buckets | measurements | members


def test_events():
    """operations.md explains exactly the kinds of events that collectors write."""
    assert find_page("operations").find_rows("kind").keys() == read_event_kinds()


@pytest.mark.parametrize("page", find_pages(), ids=lambda page: str(page.path.relative_to(ROOT)))
def test_links(page):
    """Every link inside the project leads to a file, and to a heading where it names one."""
    for link in page.links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link


def test_make_targets():
    """Every make target that a page names exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in find_pages():
        text = "\n".join([*re.findall(r"`[^`\n]*`", page.prose), *page.find_blocks("")])
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets, page.path


def test_configurations():
    """Every configuration that a page shows is accepted, and refers to its secrets."""
    blocks = [(page, block) for page in find_pages() for block in page.find_blocks("yaml")]
    assert blocks
    for page, block in blocks:
        try:
            assert parse_config(block, name=page.path.name).venues
        except ConfigError as error:
            pytest.fail(f"{page.path}: {error}")


def test_columns():
    """data-format.md has each channel's columns, with type, nullability and encoding."""
    page = find_page("data-format")
    common, *sections = re.split(r"^### (?=trades|tickers|books|events)", page.text, flags=re.MULTILINE)
    for section in sections:
        channel, _, rest = section.partition("\n")
        rows = {**_read_columns(common), **_read_columns(rest.partition("\n## ")[0].partition("\n### ")[0])}
        described = SCHEMAS[channel]
        assert rows.keys() == set(described.schema.names)
        for column in described.schema:
            _, kind, null, encoding = rows[column.name][:4]
            assert ARROW_TYPES[kind] == column.type, (channel, column.name)
            nullable = "yes" in null or null == f"{channel} only"
            assert nullable == column.nullable, (channel, column.name)
            assert encoding == described.encodings.get(column.name, ""), (channel, column.name)
    assert {section.partition("\n")[0] for section in sections} == SCHEMAS.keys()


def _read_columns(text: str) -> dict[str, list[str]]:
    rows = [re.split(r"\s*\|\s*", line.strip().strip("|").strip()) for line in text.splitlines() if "| `" in line[:3]]
    return {read_code(row[0]): [row[0].strip("`"), *row[1:4]] for row in rows if row[1] in ARROW_TYPES}


def test_footer(tmp_path):
    """data-format.md has exactly the keys of a file's footer."""
    (file,) = store(tmp_path, range(1, 3))
    metadata = pq.read_metadata(tmp_path / file.entry.path).metadata
    written = {key.decode() for key in metadata if key.startswith(FOOTER_PREFIX.encode())}
    assert find_page("data-format").find_rows("key").keys() == written


def test_manifest():
    """data-format.md has exactly the fields of a manifest, and those of the files in it."""
    rows = find_page("data-format").find_rows("field")
    assert list(rows) == list(Manifest.__struct_fields__)
    assert re.findall(r'"(\w+)"', rows["files"][1]) == list(DataFile.__struct_fields__)


def test_reading(tmp_path, monkeypatch):
    """The snippets of data-format.md read what the Parquet sink writes, and nothing that no manifest names."""
    root = tmp_path / "data" / "parquet"
    store(root, range(1, 4))
    (file,) = store(root, range(4, 6))
    (root / file.entry.path).with_name("0000-leftover.parquet").write_bytes(file.data)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in find_page("data-format").find_blocks("python"):
        exec(snippet, names)  # noqa: S102 - running what the documentation shows is the test
    trades = names["trades"]
    assert isinstance(trades, pa.Table)
    assert trades["trade_id"].to_pylist() == [f"{batch}-{row}" for batch in range(1, 6) for row in range(3)]
    assert names["trades_by_symbol"] == [("binance", "BTC/USDT", 15)]
