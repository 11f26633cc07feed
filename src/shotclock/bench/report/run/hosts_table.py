"""The page's tables of replicates over hosts: where they ran, what was lost, how much hosts differ."""

from __future__ import annotations

from shotclock.bench.numbers import NOTHING, number
from shotclock.bench.replication import LostExecution, RepeatedSeeds, Replication, Spread
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.schema import Summary
from shotclock.domain.plural import count

MOST_DIFFERENCES = 6
"""Differences of a machine that are shown; `replicates/` has them all."""


def introduce(summary: Summary) -> str:
    """How many replicates ran where."""
    replication = _of(summary)
    replicates = sum(len(host.replicates) for host in replication.hosts.values())
    validations = sum(len(host.validations) for host in replication.hosts.values())
    repeated = f"; {validations:,} of them repeated on a second host" if validations else ""
    each = "each a seed of all arms in a process of its host"
    hosts = count(len(replication.hosts), "host")
    return f"{count(replicates, 'replicate')}, {each}, by {replication.engine} on {hosts}{repeated}."


def summarise_hosts(summary: Summary) -> str:
    """In one sentence; "" of a run in one process."""
    if summary.replication is None:
        return ""
    lost, missing = len(summary.replication.lost), len(summary.replication.missing)
    others = sum(len(other.hosts) for other in summary.replication.others)
    parts = [introduce(summary).removesuffix(".")]
    parts += [f"{count(lost, 'execution')} lost, see the report"] if lost else []
    parts += [f"{count(missing, 'entry')} missing, see the report"] if missing else []
    parts += [f"{count(others, 'host')} with another machine, apart"] if others else []
    return f"{'; '.join(parts)}."


def list_losses(summary: Summary) -> list[str]:
    """A sentence for each lost execution and for each that is missing."""
    replication = _of(summary)
    lost = [_describe_loss(loss, replication) for loss in replication.lost]
    return lost + [f"Not run: {reason}" for reason in replication.missing]


def _describe_loss(loss: LostExecution, replication: Replication) -> str:
    which = f"{'the validation of ' if loss.validation else ''}seed {loss.seed}"
    where = f" on {loss.host}" if loss.host else ""
    again = next(
        (
            name
            for name, host in replication.hosts.items()
            if loss.seed in (host.validations if loss.validation else host.replicates)
        ),
        None,
    )
    after = f"; it ran again on {again}" if again else "; it did not run again"
    return f"Lost: {which}{where} ({loss.because}){after}"


def list_hosts(summary: Summary) -> Grid:
    """A host a row."""
    replication = _of(summary)
    lost: dict[str, int] = {}
    for loss in replication.lost:
        lost[loss.host] = lost.get(loss.host, 0) + 1
    names = [*replication.hosts, *(name for name in lost if name and name not in replication.hosts)]
    rows = []
    for name in names:
        host = replication.hosts.get(name)
        apart = "another machine" if host and host.kind else ""
        qpus = f"QPU {', '.join(host.qpus)}" if host and host.qpus else ""
        note = ", ".join(part for part in (apart, qpus) if part)
        finished = (_list_seeds(host.replicates), _list_seeds(host.validations)) if host else ("", "")
        seeds = [text or NOTHING for text in finished]
        rows.append((Cell(name, note), seeds[0], seeds[1], f"{lost.get(name, 0):,}"))
    return plain("Hosts", ("host", "replicates (seeds)", "repeated seeds", "lost"), rows, words=3)


def _list_seeds(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))


def list_spread(summary: Summary) -> Grid:
    """A figure a row, those of one arm together."""
    replication = _of(summary)
    rows = [
        (Cell(figure), *_show_spread(spread), *_show_repeated(replication.repeated.get(figure)))
        for figure, spread in replication.spread.items()
        if spread.n > 1
    ]
    head = ("figure", "executions", "within", "between", "repeated", "mean difference")
    return plain("Variance between and within hosts", head, rows, mixed=True)


def _show_spread(spread: Spread) -> tuple[Cell, ...]:
    return (
        Cell(f"{spread.n:,}", f"on {count(spread.hosts, 'host')}"),
        Cell(number(spread.within)),
        Cell(number(spread.between)),
    )


def _show_repeated(repeated: RepeatedSeeds | None) -> tuple[Cell, Cell]:
    if repeated is None:
        return Cell(NOTHING), Cell(NOTHING)
    known = repeated.low is not None and repeated.high is not None
    interval = f"{number(repeated.low)} to {number(repeated.high)}" if known else ""
    return Cell(f"{repeated.n:,}", f"{repeated.equal:,} equal"), Cell(number(repeated.mean), interval)


def list_others(summary: Summary) -> Grid:
    """A figure of other machines a row, below the machine's differences."""
    rows = []
    for other in _of(summary).others:
        shown = "; ".join(other.differences[:MOST_DIFFERENCES])
        title = Cell(", ".join(other.hosts), shown)
        rows += [
            (title if place == 0 else Cell(""), Cell(figure), _list_seeds(other.seeds), number(mean))
            for place, (figure, mean) in enumerate(other.means.items())
        ]
    return plain("Other machines", ("hosts", "figure", "seeds", "mean"), rows, words=3, mixed=True)


def _of(summary: Summary) -> Replication:
    if summary.replication is None:
        raise ValueError("the run had no engine")
    return summary.replication
