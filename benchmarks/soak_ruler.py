"""The gate on real runs: equal runs must pass and injected delays must fail, with pairs added until they do.

Every figure comes from processes on the real clock. Calls wait for a scripted provider, EMULATED, and not
for a QPU; the delay is planted in its waits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import _extras
from _machine import machine
from _ruler_provider import MEDIAN_S, SIGMA, Planted
from _ruler_soak import FULL, P50, P99, QUICK, Arm, Held, Soak
from shotclock.bench.compare.decide import LOOK_AT
from shotclock.bench.schema import Result

MOST = 40
"""Pairs; 10 take a quarter of an hour."""
WIDEST = 1.0
"""An interval whose upper end is more than twice as slow is not printed."""


def main() -> None:
    """Prints JSON or markdown on stdout; ends with 1 where equals fail or a planted delay passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 pairs, inconclusive: only to try the script")
    parser.add_argument("--json", action="store_true", help="one object, metric → number")
    parser.add_argument("--most", type=int, choices=LOOK_AT, default=MOST, help="pairs at most")
    parser.add_argument("--keep", type=Path, help="leave the runs in this new folder")
    parser.add_argument("--page", type=Path, help="where the markdown goes; stdout without it")
    words = parser.parse_args()
    size = QUICK if words.quick else replace(FULL, looks=[look for look in LOOK_AT if look <= words.most])
    began_s = time.monotonic()
    with ExitStack() as cleanup:
        folder = words.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder, size)
        soak.calibrate()
        arms = plant_arms(soak)
        soak.settle(arms)
    minutes = (time.monotonic() - began_s) / 60
    text = "\n".join(markdown(soak, arms, minutes))
    if words.json:
        text = json.dumps(figures(soak, arms, minutes), indent=2)
    if words.page is None:
        print(text)
    else:
        words.page.write_text(f"{text}\n", encoding="utf-8")
    if wrong(arms):
        sys.exit(1)


def plant_arms(soak: Soak) -> tuple[Arm, Arm, Arm]:
    """The series: equals, 10 % of the baseline's p50 on every job, 25 % of its p99 on the tail."""
    return (
        Arm("same", Planted(), (P50, P99)),
        Arm("slower", Planted(added_s=0.10 * soak.p50_ms / 1e3), (P50,)),
        Arm("longer-tail", Planted(tail_s=0.25 * soak.p99_ms / 1e3), (P99,)),
    )


def wrong(arms: tuple[Arm, Arm, Arm]) -> bool:
    """Whether the gate was wrong; an inconclusive result does not count as wrong."""
    same, *changed = arms
    failed = any(arm_held.result is Result.FAIL for arm_held in same.results.values())
    return failed or any(arm.results[arm.speaks[0]].result is Result.PASS for arm in changed)


def figures(soak: Soak, arms: tuple[Arm, Arm, Arm], minutes: float) -> dict[str, float | None]:
    """Metric → number; a result that came is 1, one that did not is 0."""
    same, slower, tail = arms
    numbers: dict[str, float | None] = {
        "aa_failed": float(any(arm_held.result is Result.FAIL for arm_held in same.results.values())),
        "planted_p50_caught": float(slower.results[P50].result is Result.FAIL),
        "planted_p99_caught": float(tail.results[P99].result is Result.FAIL),
        "baseline_p50_ms": soak.p50_ms,
        "baseline_p99_ms": soak.p99_ms,
        "runs": soak.runs,
        "runs_spoilt": soak.spoilt,
        "minutes": minutes,
    }
    for arm in arms:
        for quantile, metric in (("p50", P50), ("p99", P99)):
            arm_held, name = arm.results[metric], f"{arm.name.replace('-', '_')}_{quantile}"
            numbers[f"{name}_pairs"] = arm_held.pairs
            numbers[f"{name}_settled"] = float(arm_held.result is not Result.INCONCLUSIVE)
            for key, value in (("change", arm_held.change), ("low", arm_held.low), ("high", arm_held.high)):
                numbers[f"{name}_{key}"] = value
    return numbers


def markdown(soak: Soak, arms: tuple[Arm, Arm, Arm], minutes: float) -> list[str]:
    """The page."""
    same, slower, tail = arms
    size = soak.size
    return [
        "# The gate on real runs (EMULATED QPU)",
        "",
        f"Written by `make soak-ruler` on {machine()}.",
        "",
        f"`shotclock load` at {size.rate_per_s:g} calls a second for {size.duration_s:g} s a run, each with "
        f"an orchestrator and a generator in separate processes, over gRPC, on the real clock; calls "
        f"wait for a scripted provider (log-normal, median {1e3 * MEDIAN_S:g} ms, σ {SIGMA:g}). The "
        f"baseline: p50 {soak.p50_ms:.1f} ms, p99 {soak.p99_ms:.1f} ms. Runs in turns (A B B A), judged by "
        f"`shotclock compare` after {', '.join(map(str, size.looks))} pairs until conclusive; {soak.runs} "
        f"runs in {minutes:.0f} minutes, {soak.spoilt} of them invalid (late) and repeated.",
        "",
        "| injected in B | metric | result | B slower by | pairs |",
        "|---|---|---|---|---|",
        _row("nothing", "p50", same.results[P50]),
        _row("nothing", "p99", same.results[P99]),
        _row(f"{1e3 * slower.planted.added_s:.2f} ms on every job", "p50", slower.results[P50]),
        _row(f"{1e3 * tail.planted.tail_s:.1f} ms at the waits' p99", "p99", tail.results[P99]),
        _row("the same", "p50", tail.results[P50]),
    ]


def _row(planted_: str, metric: str, arm_held: Held) -> str:
    change = "no figure"
    if arm_held.change is not None and arm_held.low is not None and arm_held.high is not None:
        interval = (
            f"{100 * arm_held.low:+.1f} to {100 * arm_held.high:+.1f}"
            if arm_held.high < WIDEST
            else "too few pairs"
        )
        change = f"{100 * arm_held.change:+.1f} % ({interval})"
    open_ = f"; about {arm_held.needed} needed" if arm_held.result is Result.INCONCLUSIVE else ""
    return f"| {planted_} | {metric} | {arm_held.result} | {change} | {arm_held.pairs}{open_} |"


if __name__ == "__main__":
    _extras.run(main)
