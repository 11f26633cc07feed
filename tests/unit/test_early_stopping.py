"""Early stopping against MLPerf LoadGen itself (mlcommons-loadgen): the same counts, the same verdicts.

LoadGen times its own queries and logs each latency, so both sides judge the very same numbers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen  # type: ignore[import-not-found]
import pytest

from shotclock.bench.stats.statistics import Sample, allowance, percentile

SAMPLES = 16
TARGET_NS = 2_000_000


@dataclass(frozen=True)
class LoadGenRun:
    """What LoadGen measured and what it said of it."""

    latencies_ns: list[int]
    summary: str

    @property
    def is_satisfied(self) -> bool:
        return "Early stopping satisfied: Yes" in self.summary


def judge_run(folder: Path, settings: Any, slow: Callable[[int], bool] = lambda number: False) -> LoadGenRun:
    """A run whose system answers at once, but for its slow queries, which overrun the target."""
    numbers = iter(range(10**9))

    def issue(queries: list[Any]) -> None:
        if slow(next(numbers)):
            time.sleep(2 * TARGET_NS * 1e-9)
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda samples: None, lambda samples: None)
    logs = loadgen.LogSettings()
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = True
    loadgen.StartTestWithLogSettings(system, library, settings, logs)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
    trace = (folder / "mlperf_log_trace.json").read_text(encoding="utf-8")  # which is not always JSON
    latencies = [int(match) for match in re.findall(r'"complete_ns":(\d+)', trace)]
    return LoadGenRun(latencies, (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8"))


def settings_for(scenario: Any, queries: int) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = scenario
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    return settings


@pytest.mark.parametrize("queries", [64, 65, 200, 1_000, 5_000])
def test_as_many_of_the_slowest_are_allowed_as_loadgen_allows(tmp_path: Path, queries: int) -> None:
    loadgen_run = judge_run(tmp_path, settings_for(loadgen.TestScenario.SingleStream, queries))
    (discarded,) = re.findall(r"Would discard (\d+) highest", loadgen_run.summary)
    (estimate,) = re.findall(r"Early stopping 90\.0th percentile estimate: (\d+)", loadgen_run.summary)
    sample = Sample.of(loadgen_run.latencies_ns)
    allowed = allowance(queries, 0.90)
    # LoadGen's estimate of a stream stands one rank above what its rule for `server` lets pass, which is ours
    assert int(discarded) == allowed - 1
    assert int(estimate) == sample.values_ns[queries - allowed]
    bound = percentile(sample, 0.90)
    assert bound is not None
    assert bound.upper_bound == sample.rank_ms(queries - allowed)


def test_the_fewest_calls_of_a_p99_are_loadgens(tmp_path: Path) -> None:
    loadgen_run = judge_run(tmp_path, settings_for(loadgen.TestScenario.SingleStream, 64))
    (needed,) = re.findall(r"least (\d+) total queries", loadgen_run.summary)
    assert allowance(int(needed), 0.99) == 1
    assert allowance(int(needed) - 1, 0.99) < 1
    assert allowance(63, 0.90) < 1 == allowance(64, 0.90)


@pytest.mark.parametrize("every", [10_000, 400, 30])
def test_a_server_run_is_stopped_early_where_ours_passes(tmp_path: Path, every: int) -> None:
    settings = settings_for(loadgen.TestScenario.Server, 1_200)
    settings.server_target_qps = 4_000
    settings.server_target_latency_ns = TARGET_NS
    settings.server_target_latency_percentile = 0.99
    loadgen_run = judge_run(tmp_path, settings, lambda number: number % every == every - 1)
    over = sum(latency > TARGET_NS for latency in loadgen_run.latencies_ns)
    assert len(loadgen_run.latencies_ns) == 1_200
    assert loadgen_run.is_satisfied is (over <= allowance(1_200, 0.99))


@pytest.mark.parametrize(
    ("n", "quantile", "allowed"),
    [
        (2_000, 0.95, 77),
        (10_000, 0.99, 77),
        (100_000, 0.99, 927),
        (130, 0.95, 1),
        (662, 0.99, 1),
        (6_636, 0.999, 1),
    ],
)
def test_the_published_allowances(n: int, quantile: float, allowed: int) -> None:
    assert allowance(n, quantile) == allowed
