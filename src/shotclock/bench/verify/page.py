"""report.html and the charts: one file without a network, marked EMULATED where the run was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from shotclock.bench.verify.contradictions import Contradiction
from shotclock.domain import files

FETCHING = frozenset(("src", "href", "xlink:href", "action", "data", "poster", "srcset", "background"))
ACTIVE = frozenset(("script", "iframe", "object", "embed", "base", "link"))
PNG_BEGINS, PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
EMULATED = "EMULATED"
MOST_BYTES = 8 * files.MIB


class _Page(HTMLParser):
    """Collects a page's fetched resources, active elements, and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.active: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ACTIVE:
            self.active.append(tag)
        for name, value in attrs:
            inside = (value or "").startswith(("#", "data:image/"))
            if name in FETCHING and not inside:
                self.fetched.append(f"<{tag} {name}={value!r}>")
            elif name.startswith("on"):
                self.active.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def check_page(path: Path, run_id: str, *, emulated: bool) -> Iterator[Contradiction]:
    """The page's faults; a missing page is reported elsewhere."""
    if not path.is_file():
        return
    try:
        text = files.read_regular(path, MOST_BYTES).decode()
    except OSError as error:
        yield Contradiction(path.name, str(error.strerror))
        return
    except UnicodeDecodeError as error:
        yield Contradiction(path.name, f"is not UTF-8 text: {error.reason} at byte {error.start:,}")
        return
    if not text.rstrip().endswith("</html>"):
        yield Contradiction(path.name, "is not a complete page")
    elif run_id not in text:
        yield Contradiction(path.name, f"is not the page of run {run_id}; `shotclock report` writes it again")
    page = _Page(text)
    for resource in page.fetched:
        yield Contradiction(path.name, f"fetches something: {resource}")
    for element in page.active:
        yield Contradiction(path.name, f"has an active element: {element}")
    for reference in re.findall(r"@import[^;]{0,200}|url\(\s{0,9}[\"']?(?![#\s]|data:)[^)]{0,200}", text):
        yield Contradiction(path.name, f"fetches something: {reference}")
    if emulated and EMULATED not in "".join(page.words):
        yield Contradiction(path.name, f"the run was emulated and the page does not say {EMULATED}")


def check_charts(folder: Path, *, emulated: bool) -> Iterator[Contradiction]:
    """Every chart as SVG and as PNG, whole, and marked."""
    names = {path.stem for suffix in ("svg", "png") for path in folder.glob(f"*.{suffix}")}
    if not names:
        yield Contradiction("charts", "does not hold a chart")
    for name in sorted(names):
        svg, png = folder / f"{name}.svg", folder / f"{name}.png"
        if not svg.is_file():
            yield Contradiction(f"charts/{svg.name}", "is missing")
        else:
            text = files.read_regular(svg, MOST_BYTES).decode(errors="replace")
            if not text.lstrip().startswith("<svg") or "</svg>" not in text:
                yield Contradiction(f"charts/{svg.name}", "is not a complete SVG")
            elif emulated and EMULATED not in text:
                yield Contradiction(
                    f"charts/{svg.name}", f"the run was emulated and the chart does not say {EMULATED}"
                )
        if not png.is_file():
            yield Contradiction(f"charts/{png.name}", "is missing")
        elif not _whole_png(files.read_regular(png, MOST_BYTES)):
            yield Contradiction(f"charts/{png.name}", "is not a complete PNG")


def _whole_png(content: bytes) -> bool:
    return content.startswith(PNG_BEGINS) and content.endswith(PNG_ENDS)
