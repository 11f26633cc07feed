"""Links of the pages lead to files and headings that exist, as do the decision notes that code names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
NOTE = re.compile(r"\bdocs/decisions/[\w-]+\.md\b")


def list_anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for place, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / place if place else page
        assert target.exists(), place
        if anchor:
            assert anchor in list_anchors(target), f"{place}#{anchor}"


def test_decision_notes_that_code_names_exist() -> None:
    named = 0
    for folder in ("src", "tests", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            for place in NOTE.findall(file.read_text(encoding="utf-8")):
                named += 1
                assert (ROOT / place).exists(), f"{file}: {place}"
    assert named
