"""What an operator's view costs, and whether it is right: scrapes, p99 by PromQL, a stopped service, drills.

Scrapes: one process with the real families records 1,000 calls a second of eight callers, and writes the text
of /metrics meanwhile, as the HTTP application does. The rest is a real `shotclock serve` over the EMULATED
provider under `shotclock load`, and a real Prometheus.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np

import _extras
from _host_scrapes import measure_host
from _operations_service import COMMAND, SETTLE_S, Watched, watch_service
from _options import make_parser
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import Executed, Provenance
from shotclock.domain.stages import Stage, StageTiming
from shotclock.settings import Settings
from shotclock.telemetry.exposition import Exposition
from shotclock.telemetry.families import DURATION_BUCKETS_S
from shotclock.telemetry.metrics import STAGE_NAMES, Metrics, PrometheusRecorder

RATE = 1_000
CALLERS = tuple(f"spiffe://site/trainer-{number}" for number in range(8))
STAGES = tuple(StageTiming(stage, 0, 5 * NS_PER_MS) for stage in STAGE_NAMES if stage is not Stage.PROPOSE)
OUTCOME = Executed(
    Samples(np.zeros((1, 1), np.uint8), np.ones(1, np.int64)),
    Provenance("benchmark", emulated=True, base_version=0, stages=STAGES),
)
FORMATS = {"text": "", "openmetrics": "application/openmetrics-text; version=1.0.0"}
PAUSE_S = 0.02

LOAD_PER_S = 40.0
LONG_MS, BUDGET_MS = 2_000.0, 200.0
"""Deadlines: one that leaves the p99 below it, and the usual one, which a stop misses."""

STOP_S = 4.0
STOP_AFTER_S = 3.0
QUICK_DRILLS = 2

CALLS = "sum(increase(shotclock_calls_total[{window}s]))"
IN_TIME = "sum(increase(shotclock_calls_in_time_total[{window}s]))"
P99 = "histogram_quantile(0.99, sum by (le) (increase(shotclock_call_duration_seconds_bucket[{window}s])))"


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "30 scrapes, 18 s of load and two drills: two minutes")
    arguments = parser.parse_args()
    scrapes = 30 if arguments.quick else 300
    figures = measure_scrapes(scrapes) | measure_host(scrapes)
    with tempfile.TemporaryDirectory() as folder, watch_service(Path(folder)) as watched:
        figures |= compare_p99(watched, Path(folder), 18.0 if arguments.quick else 60.0)
        figures |= stop_service(watched, Path(folder))
    if arguments.json:
        print(json.dumps(figures | run_drills(quick=arguments.quick)))
    else:  # of drills, docs/soak-drills.md says more
        print("\n".join(markdown(figures)))


def measure_scrapes(scrapes: int) -> dict[str, float]:
    """What a scrape takes while calls are recorded, and what recording one takes."""
    metrics, stop = Metrics((0.2, 30.0)), threading.Event()
    recorder = PrometheusRecorder(metrics, "unnamed", clients=CALLERS)
    exposition, recorded = Exposition(metrics.registry), list[float]()
    thread = threading.Thread(target=_record, args=(recorder, stop, recorded))
    thread.start()
    figures: dict[str, float] = {}
    slowest: dict[str, float] = {}
    try:
        for name, accept in FORMATS.items():
            walls, cpu, text = [], [], b""
            for _ in range(scrapes):
                began, began_cpu = time.perf_counter(), time.thread_time()
                text, _ = exposition.write(accept)
                walls.append(time.perf_counter() - began)
                cpu.append(time.thread_time() - began_cpu)
                time.sleep(PAUSE_S)
            slowest[name] = float(np.percentile(walls, 99)) * 1e3
            figures[f"{name}_scrape_p50_ms"] = float(np.percentile(walls, 50)) * 1e3
            figures[f"{name}_scrape_cpu_p50_ms"] = float(np.percentile(cpu, 50)) * 1e3
            figures[f"{name}_lines"] = text.count(b"\n")
    finally:
        stop.set()
        thread.join()
    return figures | {
        "scrape_p99_ms_at_1000_calls": max(slowest.values()),
        "callers": len(CALLERS),
        "record_p50_us": float(np.percentile(recorded, 50)) * 1e6,
    }


def _record(recorder: PrometheusRecorder, until: threading.Event, durations_s: list[float]) -> None:
    due = time.perf_counter()
    while not until.is_set():
        began = time.perf_counter()
        caller = CALLERS[len(durations_s) % len(CALLERS)]
        recorder.record_outcome(OUTCOME, 40 * NS_PER_MS, 200 * NS_PER_MS, caller)
        durations_s.append(time.perf_counter() - began)
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))


def compare_p99(watched: Watched, folder: Path, duration_s: float) -> dict[str, float]:
    """The p99 of one load, by the load's calls and by PromQL from the service's histogram."""
    began = time.monotonic()
    run = _finish(watched.load(folder / "steady", LOAD_PER_S, duration_s, LONG_MS), folder / "steady")
    window = _window_since(began)
    by_load_ms = run["latency"]["percentiles"]["p99"]["value"]
    if by_load_ms is None:
        sys.exit("error: operations.py: more than 1 % of the calls were missed; is the machine idle?")
    by_load_s = by_load_ms / 1e3
    by_promql_s = watched.query(P99.format(window=window))
    edges = sorted({*DURATION_BUCKETS_S, *Settings().deadlines_s})
    apart = abs(bisect_left(edges, by_load_s) - bisect_left(edges, by_promql_s))
    place = bisect_left(edges, by_promql_s)
    return {
        "p99_by_promql_over_load": by_promql_s / by_load_s,
        "p99_by_load_ms": by_load_s * 1e3,
        "p99_by_promql_ms": by_promql_s * 1e3,
        "p99_bucket_low_ms": edges[place - 1] * 1e3 if place else 0.0,
        "p99_bucket_high_ms": edges[place] * 1e3,
        "p99_buckets_apart": apart,
    }


def stop_service(watched: Watched, folder: Path) -> dict[str, float]:
    """The share of calls not answered in time, by the load and by PromQL, with a stopped service."""
    began, duration_s = time.monotonic(), 15.0
    loading = watched.load(folder / "stopped", LOAD_PER_S, duration_s, BUDGET_MS)
    calls = watched.query("sum(shotclock_calls_total)")
    while watched.query("sum(shotclock_calls_total)") == calls and loading.poll() is None:
        time.sleep(0.2)
    time.sleep(STOP_AFTER_S)
    watched.stop_for(STOP_S)
    run = _finish(loading, folder / "stopped")
    window = _window_since(began)
    counted = watched.query(CALLS.format(window=window))
    return {
        "stop_missed_by_load": 1.0 - run["deadline_hit_ratio"]["value"],
        "stop_missed_by_promql": 1.0 - watched.query(IN_TIME.format(window=window)) / counted,
    }


def _window_since(began: float) -> int:
    """Seconds that hold everything since then, once Prometheus has it."""
    time.sleep(SETTLE_S)
    return round(time.monotonic() - began) + 2


def _finish(loading: subprocess.Popen[str], out: Path) -> dict[str, Any]:
    """The one run of a load that has ended."""
    _, stderr = loading.communicate()
    if not (out / "load.json").exists():
        raise RuntimeError(f"the load failed: {stderr[-1000:]}")
    (run,) = json.loads((out / "load.json").read_text())["runs"]
    return dict(run)


def run_drills(*, quick: bool) -> dict[str, float]:
    """How many drills passed, each as `shotclock drill NAME`; quick: the shortest ones."""
    names = list_drills()[: QUICK_DRILLS if quick else None]
    passed = sum(
        subprocess.run([*COMMAND, "drill", name, "--json"], capture_output=True, check=False).returncode == 0
        for name in names
    )
    return {"drills_passed": passed, "drills_total": len(names)}


def list_drills() -> list[str]:
    """The names of the drills, the shortest first."""
    ended = subprocess.run([*COMMAND, "drill", "list", "--json"], capture_output=True, text=True, check=True)
    drills = json.loads(ended.stdout)["drills"]
    return [drill["name"] for drill in sorted(drills, key=lambda drill: drill["minutes"])]


def markdown(figures: dict[str, float]) -> list[str]:
    """The section of docs/benchmarks.md."""
    shown = {name: f"{value:.4g}" for name, value in figures.items()}
    return [
        "## Operations (EMULATED)",
        "",
        "| what | measured |",
        "|---|---|",
        f"| a scrape at 1,000 calls/s of {shown['callers']} callers, p99 of the slower format | "
        f"{shown['scrape_p99_ms_at_1000_calls']} ms |",
        f"| of it processor time, p50: text, OpenMetrics | {shown['text_scrape_cpu_p50_ms']} ms, "
        f"{shown['openmetrics_scrape_cpu_p50_ms']} ms for {shown['openmetrics_lines']} lines |",
        "| a scrape of a host of eight accelerators while it is read without a pause, p50, p99 | "
        f"{shown['host_scrape_p50_ms']}, {shown['host_scrape_p99_ms']} ms for {shown['host_lines']} lines |",
        "| a reading of that host for a scrape, and around a call, p50 | "
        f"{shown['host_reading_p50_ms']} ms, {shown['call_reading_p50_ms']} ms |",
        f"| recording a call with its stages, p50 | {shown['record_p50_us']} µs |",
        f"| p99 by `shotclock load` | {shown['p99_by_load_ms']} ms |",
        f"| p99 by PromQL from the service's histogram | {shown['p99_by_promql_ms']} ms, in the bucket from "
        f"{shown['p99_bucket_low_ms']} to {shown['p99_bucket_high_ms']} ms; "
        f"{shown['p99_buckets_apart']} buckets apart |",
        "| calls missed with the service stopped for 4 s, by the load and by PromQL | "
        f"{figures['stop_missed_by_load']:.1%}, {figures['stop_missed_by_promql']:.1%} |",
        "",
        "PromQL sees a call from its arrival at the service, `load` from the instant it was due. "
        "The drills have [a page](soak-drills.md).",
    ]


if __name__ == "__main__":
    _extras.run(main)
