"""Reads the documentation as data: pages, their tables, code blocks and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_CODE = re.compile(r"`+([^`]*)`+")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        """The targets of its links."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The names that GitHub gives its headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(self.prose)}

    def find_blocks(self, language: str) -> list[str]:
        """Return its fenced blocks of one language; "" for those that name none."""
        return [code for found, code in _FENCE.findall(self.text) if found == language]

    def find_rows(self, first_column: str) -> dict[str, list[str]]:
        """Return the rows of all tables whose first column is called so, by the code in their first cell."""
        rows: dict[str, list[str]] = {}
        is_wanted = False
        for line in self.text.splitlines():
            if not line.startswith("|"):
                is_wanted = False
                continue
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if cells[0].strip() == first_column:
                is_wanted = True
            elif is_wanted and not cells[0].startswith("---"):
                rows[read_code(cells[0])] = cells
        return rows


def read_code(cell: str) -> str:
    """Return the first code span of a cell, or the cell."""
    found = _CODE.search(cell)
    return found[1].strip() if found else cell


def find_pages() -> list[Page]:
    """Return everything that users read."""
    return [Page(path) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))]


def find_page(service: str) -> Page:
    """Return the page of a service."""
    return Page(DOCS / f"{service}.md")
