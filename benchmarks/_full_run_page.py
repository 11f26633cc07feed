"""docs/full-run.md, written from the run folders of `soak_bench.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from _machine import machine
from shotclock.bench.analysis import Share
from shotclock.bench.numbers import NOTHING, money, ms, number, percent, percent_range
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.report.kit.grid import Grid
from shotclock.bench.report.run.conclusion_tables import sanity
from shotclock.bench.report.run.ladder_table import compare_rungs
from shotclock.bench.schema import ArmSummary, Latency, Percentile, Summary

CHARTS = {
    "loss_and_throughput": "Held-out loss and training speed by arm",
    "fabrics_side_by_side": "Percentiles with their bounds and the stages of a call on each fabric, one axis",
    "tail_latency": "Tail latency by arm, with bounds",
    "quantum_latency_ecdf": "Share of calls with samples, by time",
    "stage_waterfall": "Mean time of a call by stage",
    "amdahl_ceiling": "How much faster training could get if the calls took no time",
    "held_out_loss": "Held-out loss by arm, against wall time and step",
    "paired_seeds": "Held-out loss of each seed against classical-only's, with the mean and its interval",
    "loss_against_money": "Held-out loss against money spent",
    "break_even": "Price of a QPU second against the round trip: where a call costs what a solver costs",
}
"""A chart of the report, and what it shows."""

LATENCY_CHARTS = tuple(CHARTS)[1:6]
WORTH_CHARTS = tuple(CHARTS)[6:]
LOAD_CHART = "load_against_latency"
TERMINAL = "terminal.txt"
"""What the command printed, kept in the folder of its run."""
CONTROL, HYBRID = "classical-control", "hybrid-colocated"


class Cell(NamedTuple):
    """A run of one workload on one device."""

    workload: str
    device: str
    folder: Path


class FullRun(NamedTuple):
    """Folders of runs, and the date of the page."""

    full: Path
    cells: tuple[Cell, ...]
    load: Path
    date: str


def has_load_chart(run: FullRun) -> bool:
    """Whether the load was swept: a single rate has no curve."""
    return (run.load / "charts" / f"{LOAD_CHART}.svg").exists()


def write_page(run: FullRun, page: Path) -> None:
    """Writes the page; its charts are in the folder of its name."""
    page.write_text("\n".join(_page(run, page.stem)) + "\n", encoding="utf-8")


def _page(run: FullRun, charts: str) -> Iterator[str]:
    summary = RunFolder(run.full).read_summary()
    calls = max(arm.calls for arm in summary.arms.values())
    seeds = max(len(arm.seeds) for arm in summary.arms.values())
    yield from (
        "# The last full run",
        "",
        f"Written by `make soak` on {run.date}: {machine()}.",
        "",
        f"`shotclock bench --clock virtual`: {len(summary.arms)} arms, {seeds} seeds, {summary.common_steps} "
        f"steps each, {calls:,} calls an arm, n = {summary.n}, {summary.workload} with {summary.kernel}. "
        "Everything is EMULATED, on the virtual clock.",
        "",
        f"**{summary.verdict.headline}**",
        "",
        *(f"- {sentence.text}" for sentence in summary.verdict.sentences),
        "",
        *_images(charts, tuple(CHARTS)[:1]),
        "## Latency",
        "",
        *_images(charts, LATENCY_CHARTS),
        "## Against the reference figures",
        "",
        'The specification\'s figures are a sanity check ("your environment will vary"): met, or explained',
        "by the components of the profile. `shotclock profile show NAME` lists each number with its source.",
        "",
        *_markdown(sanity(summary), "arm"),
        "",
        "## Where the QPU stands among classical controls",
        "",
        "Shares of calls with their 99 % intervals; `docs/researcher.md` describes the controls.",
        "",
        *_markdown(compare_rungs(summary), "arm"),
        "",
        "## Does a QPU pay?",
        "",
        *_images(charts, WORTH_CHARTS),
        "## Three workloads on three devices",
        "",
        f"`{HYBRID}` beside `{CONTROL}`, 85 steps a seed, 17 calls, EMULATED. *Gain*: held-out loss below",
        "classical-only's, with its 95 % interval over the seeds; shares with their 99 % interval.",
        "[benchmarks.md](benchmarks.md) has n = 32 to 127, beyond enumeration.",
        "",
        *_matrix(run.cells),
        "",
        "## How much load it takes",
        "",
        "`shotclock load --clock virtual --sweep --rate 4 --duration 250 --deadline-ms 1000`: open load",
        "against one orchestrator over the co-located profile, calls packed side by side on the chip.",
        "",
        *(_images(charts, (LOAD_CHART,)) if has_load_chart(run) else ()),
        *_terminal(run.load),
        "## The terminal's summary",
        "",
        *_terminal(run.full),
    )


def _images(charts: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"![{CHARTS.get(name, 'Offered load against latency, to the knee')}]({charts}/{name}.svg)"
        yield ""


def _terminal(folder: Path) -> Iterator[str]:
    """What the command printed, without the report's path."""
    printed = (folder / TERMINAL).read_text(encoding="utf-8").rstrip().splitlines()
    lines = [line.rstrip() for line in printed if str(folder) not in line and not line.startswith("Report:")]
    yield from ("```text", *"\n".join(lines).rstrip().splitlines(), "```", "")


def _markdown(grid: Grid, first: str) -> Iterator[str]:
    """The report's table; a group's title is the first entry of its first row."""
    head = (first, *grid.head)
    yield _row(head)
    yield _row("---" for _ in head)
    for group in grid.groups:
        for number_, cells in enumerate(group.rows):
            title = group.title if number_ == 0 else ""
            yield _row([title, *(f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in cells)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _matrix(cells: Iterable[Cell]) -> Iterator[str]:
    head = (
        "workload",
        "device",
        "n",
        "control's gain",
        "QPU arm's gain",
        "added latency p50 / p95, ms",
        "matches the optimum",
        "beats greedy",
        "beats annealing",
        "money per unit of loss",
        "samples by",
    )
    yield _row(head)
    yield _row("---" for _ in head)
    for cell in cells:
        summary = RunFolder(cell.folder).read_summary()
        arm, shares = summary.arms[HYBRID], summary.ladder.get(HYBRID)
        yield _row(
            (
                cell.workload,
                cell.device,
                str(summary.n),
                _gain(summary.arms[CONTROL]),
                _gain(arm),
                _latency(summary),
                _share(shares.matches_optimum if shares else None),
                _share(shares.beats_greedy if shares else None),
                _share(shares.beats_annealing if shares else None),
                money(arm.cost.money_per_loss, arm.cost.currency) if arm.cost.money_per_loss else "none",
                arm.simulation or NOTHING,
            )
        )


def _gain(arm: ArmSummary) -> str:
    if arm.loss.improvement is None:
        return NOTHING
    interval = arm.loss.interval
    bounds = f" ({number(interval[0])} to {number(interval[1])})" if interval else ""
    return f"{number(arm.loss.improvement)}{bounds}"


def _latency(summary: Summary) -> str:
    metric = summary.metrics[f"{HYBRID}.added_latency"]
    if not isinstance(metric, Latency):
        raise TypeError(f"{HYBRID}.added_latency is not a latency")
    values = (metric.percentiles.get(name) for name in ("p50", "p95"))
    return " / ".join(ms(each.value) if isinstance(each, Percentile) else "too few" for each in values)


def _share(share: Share | None) -> str:
    return NOTHING if share is None else f"{percent(share.ratio)} ({percent_range(share.low, share.high)})"
