"""The house: who may import whom, how large a room may be, and lists that must be equal."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ROOT / "services"
SHARED = {"core", "venues"}
MEMBERS = sorted(path.name for path in SERVICES.iterdir() if (path / "pyproject.toml").exists())
DEPLOYABLES = [name for name in MEMBERS if name not in SHARED]
MAX_LINES = 400
MAX_MAIN_LINES = 40
HEAVY = {
    "alembic": {"sql-sink"},
    "ccxt": {"venues", "planner", "collector"},
    "duckdb": {"console"},
    "obstore": {"parquet-sink"},
    "psycopg": {"sql-sink"},
    "pyarrow": {"console", "parquet-sink"},
    "sqlalchemy": {"sql-sink"},
    "tenacity": {"influx-sink"},
}


def package_of(member: str) -> str:
    """Return the import name of a member."""
    return "tickloom_" + member.replace("-", "_")


def list_modules(member: str) -> list[Path]:
    """Return the modules of a member, tests left out."""
    return sorted((SERVICES / member / "src").rglob("*.py"))


def read_imports(path: Path) -> Iterator[str]:
    """Yield the top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("member", MEMBERS)
def test_arrows_point_one_way(member):
    """Deployable → venues → core → protos: a deployable never imports another, core imports none of them."""
    allowed = {package_of(member)} | ({"tickloom_core"} if member != "core" else set())
    if member in DEPLOYABLES:
        allowed.add("tickloom_venues")
    for path in list_modules(member):
        ours = {name for name in read_imports(path) if name.startswith("tickloom_")}
        assert ours <= allowed, f"{path.relative_to(ROOT)} imports {sorted(ours - allowed)}"


@pytest.mark.parametrize("member", MEMBERS)
def test_closures_stay_small(member):
    """Only the members that need them import ccxt, pyarrow, DuckDB and clients of stores."""
    for path in list_modules(member):
        for name in set(read_imports(path)) & set(HEAVY):
            assert member in HEAVY[name], f"{path.relative_to(ROOT)} imports {name}"


def test_rooms_are_small():
    """No module is longer than 400 lines, no __main__ longer than 40."""
    for member in MEMBERS:
        for path in list_modules(member):
            lines = len(path.read_text().splitlines())
            limit = MAX_MAIN_LINES if path.name == "__main__.py" else MAX_LINES
            assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize("member", DEPLOYABLES)
def test_every_deployable_has_the_same_rooms(member):
    """Every deployable has __main__.py, flags.py, service.py and tests, and a page in docs."""
    package = SERVICES / member / "src" / package_of(member)
    for room in ("__main__.py", "flags.py", "service.py"):
        assert (package / room).exists(), f"{member} has no {room}"
    assert list((SERVICES / member / "tests").glob("test_*.py")), f"{member} has no tests"
    assert (ROOT / "docs" / f"{member}.md").exists(), f"docs/{member}.md is missing"


def test_the_workspace_names_every_member():
    """The root depends on every member, so that one `uv sync` installs all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {f"tickloom-{member}" for member in MEMBERS} | {"tickloom-protos"}
    assert set(project["project"]["dependencies"]) == names
    assert set(project["tool"]["uv"]["sources"]) == names
    assert set(project["tool"]["mypy"]["mypy_path"]) == {"protos"} | {f"services/{member}/src" for member in MEMBERS}


def test_nothing_is_left_undone():
    """No note to do something later stands in the code."""
    words = "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "Not" + "ImplementedError"])
    command = ["git", "grep", "-nwE", words, "--", "*.py", "*.proto", "Makefile"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""
