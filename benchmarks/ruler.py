"""The measuring instrument, measured: what it must detect, what it must not, and its error rates.

A stall planted in a queue, then comparisons of synthetic runs whose right answer is known. All of it is
deterministic: no figure here depends on the machine.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import _extras
import _ruler_series as series
import _ruler_stall as stall
from _options import make_parser
from shotclock.bench.compare.decide import LOOK_AT

AA = 200


@dataclass(frozen=True, slots=True)
class Ruler:
    """Everything measured."""

    opened: stall.Stall
    closed: stall.Stall
    same: series.Caught
    limit: series.Caught
    p50: series.Caught
    p99: series.Caught


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under a minute")
    arguments = parser.parse_args()
    ruler_row = measure(AA, 100 if arguments.quick else 1_000)
    print(json.dumps(metrics(ruler_row), indent=2) if arguments.json else "\n".join(markdown(ruler_row)))


def measure(same: int, planted: int) -> Ruler:
    """So many comparisons of equals, and of each planted change."""
    print(f"a planted stall; {same} comparisons of equals, {planted} of each change", file=sys.stderr)
    return Ruler(
        stall.measure(stall.OPEN),
        stall.measure(stall.CLOSED),
        series.compare(series.repeat, same, seed=1),
        series.compare(series.at_the_limit(), planted, seed=4),
        series.compare(series.slower(1.10), planted, seed=2, speak=(0.50,)),
        series.compare(series.longer_tail(1.25), planted, seed=3, speak=(0.99,)),
    )


def metrics(ruler: Ruler) -> dict[str, float]:
    """The figures others read; what was seen or hidden is 1, what was not is 0."""
    return {
        "planted_stall_visible": float(ruler.opened.visible),
        "closed_loop_hides_stall": float(not ruler.closed.visible),
        "aa_failures_of_200": ruler.same.failed_any * AA / ruler.same.comparisons,
        "planted_p50_caught_ratio": ruler.p50.failed[0.50] / ruler.p50.comparisons,
        "planted_p99_caught_ratio": ruler.p99.failed[0.99] / ruler.p99.comparisons,
        "aa_inconclusive_p50_ratio": ruler.same.inconclusive[0.50] / ruler.same.comparisons,
        "aa_inconclusive_p99_ratio": ruler.same.inconclusive[0.99] / ruler.same.comparisons,
        "open_loop_stalled_p99_ms": ruler.opened.stalled_ms,
        "closed_loop_stalled_p99_ms": ruler.closed.stalled_ms,
        "at_limit_p50_failed_ratio": ruler.limit.failed[0.50] / ruler.limit.comparisons,
        "at_limit_p99_failed_ratio": ruler.limit.failed[0.99] / ruler.limit.comparisons,
        "aa_median_pairs": ruler.same.pairs[0],
        "planted_p50_median_pairs": ruler.p50.pairs[0],
        "planted_p99_median_pairs": ruler.p99.pairs[0],
    }


def markdown(ruler: Ruler) -> list[str]:
    """The section of the page."""
    rows = [
        ("nothing", ruler.same, "p50 or p99 FAIL", ruler.same.failed_any, _open(ruler.same, *series.RULES)),
        (
            "p50 +5 %, p99 +10 %: the limits",
            ruler.limit,
            "p50 FAIL",
            ruler.limit.failed[0.50],
            _open(ruler.limit, 0.50),
        ),
        ("", ruler.limit, "p99 FAIL", ruler.limit.failed[0.99], _open(ruler.limit, 0.99)),
        ("+10 % on all of B", ruler.p50, "p50 FAIL", ruler.p50.failed[0.50], _open(ruler.p50, 0.50)),
        ("+25 % on B's p99", ruler.p99, "p99 FAIL", ruler.p99.failed[0.99], _open(ruler.p99, 0.99)),
    ]
    return [
        "## The ruler",
        "",
        f"One stall of {stall.STALL_S:g} s among calls of {1e3 * stall.SERVICE_S:g} ms, on virtual time, by "
        f"the production load generator: the open load's p99 goes from {ruler.opened.quiet_ms:.1f} to "
        f"{ruler.opened.stalled_ms:.0f} ms, a closed loop's from {ruler.closed.quiet_ms:.1f} to "
        f"{ruler.closed.stalled_ms:.1f} ms.",
        "",
        f"Comparisons of synthetic runs ({series.CALLS:,} calls of a queue with autocorrelated service each, "
        f"pairs that drift), pairs added at {', '.join(map(str, LOOK_AT))} until the counted rule is "
        "conclusive. For changes exactly at the limits, 5 % on p50 and 10 % on p99, a gate of 1 % fails at "
        "most once in a hundred times, and stays inconclusive otherwise:",
        "",
        "| injected | comparisons | counted | how often | inconclusive | pairs: half of them, 95 % of them |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {caught.comparisons:,} | {what} | {count:,} | {inconclusive} | "
            f"{caught.pairs[0]}, {caught.pairs[1]} |"
            for name, caught, what, count, inconclusive in rows
        ),
    ]


def _open(caught: series.Caught, *quantiles: float) -> str:
    return " and ".join(str(caught.inconclusive[quantile]) for quantile in quantiles)


if __name__ == "__main__":
    _extras.run(main)
