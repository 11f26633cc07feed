"""A topology as one SVG: a band for each host, with its accelerators and fabrics, and lines to QPU endpoints.

The layout is by hand, in columns: a general one would draw 72 accelerators as a ball of lines. What is cut
off to fit is whole in the element's `<title>`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from shotclock.app.topology_document import percentiles
from shotclock.app.topology_text import GIB, describe_rtt
from shotclock.domain.plural import count
from shotclock.placement.accelerators.record import Device
from shotclock.placement.graph import Edge, ReportedHost, Root, Topology
from shotclock.placement.topology import Fabric
from shotclock.placement.values import Absent, or_else

WIDTH, EDGE, GAP = 1280, 24, 14
LEFT, RIGHT = 52, 990
"""Of a band."""
HOST_X, DEVICES_X, FABRICS_X, ENDPOINTS_X = 66, 306, 664, 1074
DEVICES_WIDTH, FABRICS_WIDTH, ENDPOINTS_WIDTH = 344, 312, 190
ROW, LINE = 26, 16
CHARACTER = 7.3
"""The width of a letter at 12 px in a wide font, so that no text leaves its column."""
SHORT, LONG, MOST_LINES = 36, 46, 3
"""Letters beside the kind of a fabric; in a line below it; such lines."""
MOST_PROBLEMS = 20

STYLE = """
:root { --back: #ffffff; --ink: #1b1f24; --dim: #57606a; --line: #8c959f; --band: #f6f8fa; --box: #ffffff;
  --good: #0a6b3b; --bad: #a8071a; --mark: #0550ae; --bar: #54aeff; --rail: #d0d7de; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --ink: #e6edf3; --dim: #9ea7b3;
  --line: #6e7681; --band: #161b22; --box: #21262d; --good: #56d364; --bad: #ff7b72; --mark: #79c0ff;
  --bar: #1f6feb;  --rail: #30363d; } }
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
.back { fill: var(--back); } .band { fill: var(--band); stroke: var(--line); }
.chosen { stroke: var(--mark); stroke-width: 3; } .silent { stroke: var(--bad); stroke-dasharray: 6 4; }
.box { fill: var(--box); stroke: var(--line); } .name { font-weight: 600; } .head { font-size: 15px; }
.dim { fill: var(--dim); } .good { fill: var(--good); } .bad { fill: var(--bad); }
.mark { fill: var(--mark); }
.bar { fill: var(--bar); } .rail { fill: var(--rail); } .way { fill: none; stroke: var(--line); }
.over { paint-order: stroke; stroke: var(--back); stroke-width: 4px; }
.root { fill: none; stroke: var(--mark); stroke-width: 3; }
"""


@dataclass(frozen=True, slots=True)
class _Band:
    """A host's place.

    each: the host
    y: of its upper edge
    height: of the band
    lines: what is written below its name, with the class of the text
    """

    each: ReportedHost
    y: int
    height: int
    lines: tuple[tuple[str, str], ...]


def draw(topology: Topology) -> str:
    """The document."""
    bands = list(_place(topology))
    y = bands[-1].y + bands[-1].height + GAP if bands else 64
    body: list[str] = []
    for band in bands:
        body += _draw_band(band, is_chosen=band.each.host.name == topology.choice.host)
    for root in topology.roots:
        body += _draw_root(root, bands)
    for each in topology.unreachable:
        body += [
            _rectangle(LEFT, y, RIGHT - LEFT, 40, "band silent"),
            _write(HOST_X, y + 25, each.host, 30, "name"),
        ]
        body.append(_write(DEVICES_X, y + 25, each.because, 100, "bad"))
        y += 40 + GAP
    body += _draw_endpoints(topology, bands)
    body += _draw_notes(topology, y + 10)
    height = y + 10 + LINE * (3 + min(len(topology.problems), MOST_PROBLEMS + 1)) + EDGE
    return "\n".join([*_begin(topology, height), *body, "</svg>", ""])


def _begin(topology: Topology, height: int) -> Iterator[str]:
    devices = sum(len(each.host.devices) for each in topology.hosts)
    title = f"{count(len(topology.hosts), 'host')}, {count(devices, 'accelerator')}"
    choice, problems = topology.choice, count(len(topology.problems), "problem")
    words = f"Quantum-bound work goes to {choice.host or 'no host'}: {choice.because}. {problems}."
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">'
    )
    yield f'<title id="title">{escape(title)}</title>'
    yield f'<desc id="desc">{escape(words)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield _rectangle(0, 0, WIDTH, height, "back", 0)
    heads = (
        (HOST_X, "host"),
        (DEVICES_X, "accelerators"),
        (FABRICS_X, "fabrics"),
        (ENDPOINTS_X, "QPU endpoints"),
    )
    yield from (_write(x, 34, words, 40, "dim") for x, words in heads)


def _place(topology: Topology) -> Iterator[_Band]:
    """Bands from above, hosts of one root next to each other."""
    order = {name: number for number, root in enumerate(topology.roots) for name in root.hosts}
    callers = {edge.endpoint: edge for edge in topology.edges}
    y = 48
    for each in sorted(topology.hosts, key=lambda each: order.get(each.host.name, len(order))):
        lines = tuple(_list_lines(each, callers.get(each.source)))
        available = [fabric for fabric in each.host.fabrics if fabric.available]
        content = max(
            LINE * (len(lines) + 1),
            ROW * max(1, len(each.host.devices)),
            sum(map(_height_of, available)) + (LINE if len(available) < len(each.host.fabrics) else 0),
        )
        yield _Band(each, y, content + 26, lines)
        y += content + 26 + GAP


def _list_lines(each: ReportedHost, way: Edge | None) -> Iterator[tuple[str, str]]:
    host = each.host
    yield f"Linux {or_else(host.kernel, 'of unknown release')}", "dim"
    yield f"rack {'unknown' if isinstance(host.rack, Absent) else host.rack.name}", "dim"
    if each.source != "this machine":
        yield each.source, "dim"
    if not isinstance(each.age_s, Absent) and each.source != "this machine":
        yield (
            f"read {each.age_s:.0f} s ago{', stale' if each.is_stale else ''}",
            "bad" if each.is_stale else "dim",
        )
    if way is not None:
        yield f"{way.transport}: {_shorten_rtt(way)}", "mark"
    if each.problems:
        yield count(len(each.problems), "problem"), "bad"


def _draw_band(band: _Band, *, is_chosen: bool) -> Iterator[str]:
    each, top = band.each, band.y
    yield _rectangle(LEFT, top, RIGHT - LEFT, band.height, f"band{' chosen' if is_chosen else ''}")
    yield _write(HOST_X, top + 26, each.host.name, 24, "name head")
    for number, (words, kind) in enumerate(band.lines, 1):
        yield _write(HOST_X, top + 28 + LINE * number, words, 32, kind)
    if is_chosen:
        yield _write(RIGHT - 58, top - 3, "chosen", 8, "mark name")
    if not each.host.devices:
        yield _write(DEVICES_X, top + 26, "no accelerator", 40, "dim")
    for number, device in enumerate(each.host.devices):
        partitions = sum(other.device.address == device.address for other in each.host.accelerators)
        yield from _draw_device(device, partitions, top + 13 + ROW * number)
    yield from _draw_fabrics(each.host.fabrics, top + 13)


def _draw_device(device: Device, partitions: int, y: int) -> Iterator[str]:
    """A row: address, product, partitions as squares, and a bar of the memory in use."""
    total, used = device.memory_total_bytes, device.memory_used_bytes
    name = or_else(device.name, f"{device.vendor} device").removeprefix("AMD Instinct ")
    yield _rectangle(DEVICES_X, y, DEVICES_WIDTH, ROW - 4, "box", 3)
    yield _write(DEVICES_X + 8, y + 15, device.address.removeprefix("0000:"), 9, "name")
    yield _write(DEVICES_X + 76, y + 15, name, 12)
    if partitions > 1:
        squares = min(partitions, 8)
        yield from (_rectangle(DEVICES_X + 162 + 8 * each, y + 7, 6, 8, "bar", 1) for each in range(squares))
    x, width = DEVICES_X + 234, 48
    if isinstance(total, Absent):
        yield _write(x, y + 15, "size unknown", 14, "dim")
        return
    yield _rectangle(x, y + 7, width, 8, "rail", 2)
    if isinstance(used, int) and total:
        yield _rectangle(x, y + 7, max(1, min(width, round(width * used / total))), 8, "bar", 2)
    size = f"{total / GIB:,.0f} GiB"
    yield f'<text text-anchor="end" x="{DEVICES_X + DEVICES_WIDTH - 8}" y="{y + 15}">{size}</text>'


def _draw_fabrics(fabrics: Sequence[Fabric], y: int) -> Iterator[str]:
    """A box for each that is available; the others are named in one line."""
    for fabric in (each for each in fabrics if each.available):
        height, lines = _height_of(fabric), _fold(fabric.because)
        yield _rectangle(FABRICS_X, y, FABRICS_WIDTH, height - 4, "box", 3)
        yield _write(FABRICS_X + 8, y + 15, fabric.kind, 10, "name good")
        if not lines:
            yield _write(FABRICS_X + 58, y + 15, fabric.because, SHORT, "dim")
        for number, words in enumerate(lines, 1):
            whole = fabric.because if number == len(lines) == MOST_LINES else words
            yield _write(FABRICS_X + 8, y + 15 + (LINE - 1) * number, words, LONG, "dim", whole)
        y += height
    missing = [each for each in fabrics if not each.available]
    if missing:
        reasons = "; ".join(f"{each.kind}: {each.because}" for each in missing)
        yield _write(
            FABRICS_X, y + 12, f"without {', '.join(each.kind for each in missing)}", 40, "dim", reasons
        )


def _height_of(fabric: Fabric) -> int:
    return ROW + (LINE - 1) * len(_fold(fabric.because))


def _fold(words: str) -> list[str]:
    """The lines below the kind of a fabric; none where it fits beside it."""
    if len(words) <= SHORT:
        return []
    return textwrap.wrap(words, LONG, max_lines=MOST_LINES, placeholder="…")


def _draw_root(root: Root, bands: Sequence[_Band]) -> Iterator[str]:
    """A bracket at the left of the bands that a fabric joins."""
    own = [band for band in bands if band.each.host.name in root.hosts]
    if not own or not root.fabrics:
        return
    top, bottom, x = own[0].y, own[-1].y + own[-1].height, LEFT - 10
    words = ", ".join(root.fabrics)
    yield f'<path class="root" d="M {x + 6} {top} H {x} V {bottom} H {x + 6}"/>'
    fits = max(8, int((bottom - top) / CHARACTER))
    place = f'transform="rotate(-90)" text-anchor="middle" x="{-(top + bottom) // 2}" y="{x - 8}"'
    yield f'<text class="mark" {place}><title>{escape(words)}</title>{escape(_cut(words, fits))}</text>'


def _draw_endpoints(topology: Topology, bands: Sequence[_Band]) -> Iterator[str]:
    """Each beside the middle of its hosts, with a line from each of them."""
    middles = {band.each.host.name: band.y + band.height // 2 for band in bands}
    lowest = 48
    for endpoint in topology.endpoints:
        edges = [each for each in topology.edges if each.endpoint == endpoint.name and each.host in middles]
        places = [middles[each.host] for each in edges]
        y = max(lowest, sum(places) // len(places) - 24 if places else lowest)
        lowest = y + 48 + GAP
        for edge, start in zip(edges, places, strict=True):
            words = f"{edge.host} to {edge.endpoint}: {edge.transport}, {describe_rtt(edge.rtt)}"
            middle, end = (RIGHT + ENDPOINTS_X) // 2, f"{ENDPOINTS_X} {y + 24}"
            course = f"M {RIGHT} {start} C {middle} {start} {middle} {y + 24} {end}"
            yield f'<path class="way" d="{course}"><title>{escape(words)}</title></path>'
        for edge, start in zip(edges, places, strict=True):
            yield _write(RIGHT + 6, start - 6, _shorten_rtt(edge), 14, "mark over")
        yield _rectangle(ENDPOINTS_X, y, ENDPOINTS_WIDTH, 48, "box")
        yield _write(ENDPOINTS_X + 10, y + 20, endpoint.name, 23, "name")
        nature = {True: "EMULATED", False: "a QPU", None: "of unknown nature"}[endpoint.emulated]
        yield _write(ENDPOINTS_X + 10, y + 37, nature, 24, "dim")


def _draw_notes(topology: Topology, y: int) -> Iterator[str]:
    choice = topology.choice
    yield _write(LEFT, y + LINE, f"Choice: {choice.host or 'no host'}, because {choice.because}", 180, "name")
    heading = count(len(topology.problems), "problem") if topology.problems else "No problems"
    yield _write(LEFT, y + 2 * LINE, heading, 80, "bad name" if topology.problems else "good name")
    shown = list(topology.problems[:MOST_PROBLEMS])
    if len(topology.problems) > MOST_PROBLEMS:
        shown.append(f"and {len(topology.problems) - MOST_PROBLEMS} more")
    yield from (_write(LEFT, y + LINE * (3 + number), words, 185) for number, words in enumerate(shown))


def _shorten_rtt(edge: Edge) -> str:
    rtt = edge.rtt
    if isinstance(rtt, Absent):
        return "" if edge.transport == "in process" else "RTT unknown"
    known = {name: value for name, value in percentiles(rtt).items() if not isinstance(value, Absent)}
    words = [f"{name} {value:.3g} ms" for name, value in known.items()]
    return words[-1] if words else f"{count(rtt.n, 'round trip')}: too few"


def _rectangle(x: int, y: int, width: int, height: int, kind: str, corner: int = 6) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{corner}"/>'


def _write(x: int, y: int, words: str, fits: int, kind: str = "", whole: str = "") -> str:
    """Text of at most `fits` letters; whole: what it stands for."""
    shown, whole = _cut(words, fits), whole or words
    title = f"<title>{escape(whole)}</title>" if shown != whole else ""
    return f'<text class={quoteattr(kind)} x="{x}" y="{y}">{title}{escape(shown)}</text>'


def _cut(words: str, fits: int) -> str:
    return words if len(words) <= fits else f"{words[: max(1, fits - 1)]}…"
