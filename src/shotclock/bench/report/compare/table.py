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


def level(decision: MetricDecision, value: float | None) -> str:
    """A latency in ms or a share; a dash where it is not known."""
    if value is None:
        return NOTHING
    return f"{ms(value)} ms" if decision.rule.scale == "ratio" else percent(value)


def change(decision: MetricDecision) -> str:
    """B against A, as a change of the figure itself: a share that falls has a minus."""
    moved = decision.levels.change(decision.rule.scale)
    if moved is None:
        return NOTHING
    # beyond a doubling, per cent are hard to read
    if moved > 1 and decision.rule.scale == "ratio":
        return f"{moved + 1:,.3g} times"
    return format_change(decision.rule.scale, moved).replace("points", "pt").replace("-", "−")


def verdict(comparison: Comparison) -> str:
    """How it came out, in one sentence; where pairs are missing, how many and what makes them."""
    if comparison.missing:
        reason = (
            "A and B were not made in turns, so the machine's drift may look like a change"
            if comparison.caveat
            else f"{count(comparison.pairs, 'pair')} of the {FEWEST_PAIRS} that a verdict needs"
        )
        override = "; --sequential compares the runs anyway" if comparison.caveat else ""
        missing = f"{count(comparison.missing, 'pair')} {verb(comparison.missing, 'is', 'are')} missing"
        return f"{Result.INCONCLUSIVE}: {reason}: {missing}, and {PAIRS} makes them{override}"
    if failed := comparison.of(Result.FAIL):
        return f"{Result.FAIL}: {', '.join(decision.rule.metric for decision in failed)}"
    if opened := comparison.of(Result.INCONCLUSIVE):
        more = (
            f"; {describe_pairs(comparison.pairs_needed)} in all would decide it"
            if comparison.pairs_needed
            else ""
        )
        few = [decision for decision in opened if decision.has_few_calls]
        calls = f"; {count(len(few), 'metric')} {verb(len(few), 'needs', 'need')} runs with more calls"
        metrics = count(len(comparison.decisions), "metric")
        of = f"{len(opened)} of {metrics} after {count(comparison.pairs, 'pair')}"
        return f"{Result.INCONCLUSIVE}: {of}{more}{calls if few else ''}"
    return (
        f"{Result.PASS}: {count(len(comparison.decisions), 'metric')} over {count(comparison.pairs, 'pair')}"
    )


def describe_unpaired(comparison: Comparison) -> str:
    """The number of runs without a partner, in words; "" without any."""
    if not comparison.unpaired:
        return ""
    return f"omitted for lack of a partner: {count(comparison.unpaired, 'run')} of the longer side"


def _unknown(comparison: Comparison) -> str:
    """The meaning of a dash; "" without one."""
    few = any(None in (decision.levels.a, decision.levels.b) for decision in comparison.decisions)
    return f"{NOTHING}: too few calls for the figure, or calls missed at it" if few else ""


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the table by arm, why each metric came out so, and the verdict."""
    console.print(Text(f"A {comparison.a}\nB {comparison.b}", style="dim"), highlight=False)
    console.print(Text(_columns(("", *_HEAD)), style="dim"), highlight=False)
    arms: dict[str, list[MetricDecision]] = {}
    for decision in comparison.decisions:
        arms.setdefault(decision.rule.metric.partition(".")[0], []).append(decision)
    for arm, decisions in arms.items():
        console.print(Text(arm, style="bold"), highlight=False)
        for decision in decisions:
            _show(decision, console, judged=not comparison.missing)
    for line in filter(None, (_unknown(comparison), describe_unpaired(comparison))):
        console.print(Text(line, style="dim"), highlight=False)
    console.print(
        Text(f"{SYMBOLS[comparison.result]} {verdict(comparison)}", style=STYLES[comparison.result]),
        highlight=False,
    )


def _show(decision: MetricDecision, console: Console, *, judged: bool) -> None:
    name = decision.rule.metric.partition(".")[2]
    cells = (
        f" {name}",
        level(decision, decision.levels.a),
        level(decision, decision.levels.b),
        change(decision),
    )
    line = Text(_columns(cells))
    if judged:
        line.append(f" {SYMBOLS[decision.result]} {decision.result}", style=STYLES[decision.result])
    console.print(line, highlight=False, soft_wrap=True)
    if judged:
        console.print(Padding(Text(decision.why, style="dim"), (0, 0, 0, 3)), highlight=False)


def _columns(cells: tuple[str, ...]) -> str:
    first, *others = cells
    numbers = (f"{cell:>{width}}" for cell, width in zip(others, _WIDTHS[1:], strict=True))
    return f"{first:<{_WIDTHS[0]}}{''.join(numbers)}".rstrip()


def to_markdown(comparison: Comparison) -> str:
    """A heading, a table with a row a metric, and the verdict, for the summary of a CI job."""
    return "\n".join(_markdown_lines(comparison)) + "\n"


def _markdown_lines(comparison: Comparison) -> Iterator[str]:
    yield f"### {SYMBOLS[comparison.result]} shotclock compare: {comparison.result}"
    yield ""
    yield f"A `{comparison.a}`, B `{comparison.b}`"
    yield ""
    judged = not comparison.missing
    yield f"| metric | A | B | change |{' result | why |' if judged else ''}"
    yield f"|---|--:|--:|--:|{'---|---|' if judged else ''}"
    for decision in comparison.decisions:
        cells = [
            f"`{decision.rule.metric}`",
            level(decision, decision.levels.a),
            level(decision, decision.levels.b),
            change(decision),
        ]
        cells += [f"{SYMBOLS[decision.result]} {decision.result}", decision.why] if judged else []
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""
    yield from filter(None, (_unknown(comparison), describe_unpaired(comparison), verdict(comparison)))
