"""A comparison in words: a table A → B (change) for people, Markdown for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from shotclock.bench.compare.decide import FEWEST_PAIRS, MetricDecision, describe_pairs, format_change
from shotclock.bench.compare.gate import Comparison
from shotclock.bench.numbers import NOTHING, ms, percent
from shotclock.bench.report.kit.wording import STYLES, SYMBOLS
from shotclock.bench.schema import Result
from shotclock.domain.plural import count, verb

PAIRS = "`shotclock pairs A.toml B.toml -n 10`"
_WIDTHS = (34, 11, 11, 10)
_HEAD = ("A", "B", "change")


def level(one: MetricDecision, value: float | None) -> str:
    """A latency in ms or a share; a dash where it is not known."""
    if value is None:
        return NOTHING
    return f"{ms(value)} ms" if one.rule.scale == "ratio" else percent(value)


def change(one: MetricDecision) -> str:
    """B against A, as a change of the figure itself: a share that falls has a minus."""
    moved = one.levels.change(one.rule.scale)
    if moved is None:
        return NOTHING
    if moved > 1 and one.rule.scale == "ratio":
        return f"{moved + 1:,.3g} times"
    return format_change(one.rule.scale, moved).replace("points", "pt").replace("-", "−")


def verdict(found: Comparison) -> str:
    """How it came out, in one sentence; where pairs are missing, how many and what makes them."""
    if found.missing:
        made = (
            "A and B were not made in turns, so the machine's drift may look like a change"
            if found.caveat
            else f"{count(found.pairs, 'pair')} of the {FEWEST_PAIRS} that a verdict needs"
        )
        judge = "; --sequential compares the runs anyway" if found.caveat else ""
        missing = f"{count(found.missing, 'pair')} {verb(found.missing, 'is', 'are')} missing"
        return f"{Result.INCONCLUSIVE}: {made}: {missing}, and {PAIRS} makes them{judge}"
    if failed := found.of(Result.FAIL):
        return f"{Result.FAIL}: {', '.join(one.rule.metric for one in failed)}"
    if opened := found.of(Result.INCONCLUSIVE):
        more = f"; {describe_pairs(found.pairs_needed)} in all would decide it" if found.pairs_needed else ""
        few = [one for one in opened if one.has_few_calls]
        calls = f"; {count(len(few), 'metric')} {verb(len(few), 'needs', 'need')} runs with more calls"
        of = f"{len(opened)} of {count(len(found.decisions), 'metric')} after {count(found.pairs, 'pair')}"
        return f"{Result.INCONCLUSIVE}: {of}{more}{calls if few else ''}"
    return f"{Result.PASS}: {count(len(found.decisions), 'metric')} over {count(found.pairs, 'pair')}"


def describe_unpaired(found: Comparison) -> str:
    """The number of runs without a partner, in words; "" without any."""
    if not found.unpaired:
        return ""
    return f"omitted for lack of a partner: {count(found.unpaired, 'run')} of the longer side"


def _unknown(found: Comparison) -> str:
    """The meaning of a dash; "" without one."""
    few = any(None in (one.levels.a, one.levels.b) for one in found.decisions)
    return f"{NOTHING}: too few calls for the figure, or calls missed at it" if few else ""


def show_comparison(found: Comparison, console: Console) -> None:
    """Prints the table by arm, why each metric came out so, and the verdict."""
    console.print(Text(f"A {found.a}\nB {found.b}", style="dim"), highlight=False)
    console.print(Text(_columns(("", *_HEAD)), style="dim"), highlight=False)
    arms: dict[str, list[MetricDecision]] = {}
    for one in found.decisions:
        arms.setdefault(one.rule.metric.partition(".")[0], []).append(one)
    for arm, decisions in arms.items():
        console.print(Text(arm, style="bold"), highlight=False)
        for one in decisions:
            _show(one, console, judged=not found.missing)
    for line in filter(None, (_unknown(found), describe_unpaired(found))):
        console.print(Text(line, style="dim"), highlight=False)
    console.print(
        Text(f"{SYMBOLS[found.result]} {verdict(found)}", style=STYLES[found.result]), highlight=False
    )


def _show(one: MetricDecision, console: Console, *, judged: bool) -> None:
    name = one.rule.metric.partition(".")[2]
    cells = (f" {name}", level(one, one.levels.a), level(one, one.levels.b), change(one))
    line = Text(_columns(cells))
    if judged:
        line.append(f" {SYMBOLS[one.result]} {one.result}", style=STYLES[one.result])
    console.print(line, highlight=False, soft_wrap=True)
    if judged:
        console.print(Padding(Text(one.why, style="dim"), (0, 0, 0, 3)), highlight=False)


def _columns(cells: tuple[str, ...]) -> str:
    first, *others = cells
    numbers = (f"{cell:>{width}}" for cell, width in zip(others, _WIDTHS[1:], strict=True))
    return f"{first:<{_WIDTHS[0]}}{''.join(numbers)}".rstrip()


def to_markdown(found: Comparison) -> str:
    """A heading, a table with a row a metric, and the verdict, for the summary of a CI job."""
    return "\n".join(_markdown_lines(found)) + "\n"


def _markdown_lines(found: Comparison) -> Iterator[str]:
    yield f"### {SYMBOLS[found.result]} shotclock compare: {found.result}"
    yield ""
    yield f"A `{found.a}`, B `{found.b}`"
    yield ""
    judged = not found.missing
    yield f"| metric | A | B | change |{' result | why |' if judged else ''}"
    yield f"|---|--:|--:|--:|{'---|---|' if judged else ''}"
    for one in found.decisions:
        cells = [f"`{one.rule.metric}`", level(one, one.levels.a), level(one, one.levels.b), change(one)]
        cells += [f"{SYMBOLS[one.result]} {one.result}", one.why] if judged else []
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""
    yield from filter(None, (_unknown(found), describe_unpaired(found), verdict(found)))
