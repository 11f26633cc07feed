"""How each arm serves an inference workload: requests a second, p99, share within the budget."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.analysis import Estimate, Serving
from shotclock.bench.judge.pre_evaluation import UNKNOWN, word_estimate
from shotclock.bench.numbers import limit_ms, ms, number
from shotclock.bench.schema import Sentence, Summary
from shotclock.bench.stats.distributions import exact_interval
from shotclock.bench.stats.statistics import CONFIDENCE, NS_PER_MS, QUANTILES, Sample, fewest, percentile
from shotclock.domain.plural import count


def find_serving(summary: Summary, table: pa.Table) -> dict[str, Serving]:
    """Of every arm with a request; empty for a workload that trains. A step is a request, one at a time."""
    if summary.request_budget_ms is None:
        return {}
    served = {}
    for name in summary.arms:
        rows = table.filter(pc.equal(table["arm"], name))
        if len(rows) and not _holds_several(rows):
            served[name] = _measure(rows["total_iteration_time_ns"].to_pylist(), summary.request_budget_ms)
    return served


def _holds_several(rows: pa.Table) -> bool:
    """Whether a row holds several steps, as those of `classical-longer` do: no request has its time."""
    return "optimizer_steps" in rows.column_names and (pc.max(rows["optimizer_steps"]).as_py() or 1) > 1


def _measure(times_ns: list[int], budget_ms: float) -> Serving:
    sample, n = Sample.of(times_ns), len(times_ns)
    p99 = percentile(sample, QUANTILES["p99"])
    return Serving(
        requests=n,
        requests_per_s=n / (sum(times_ns) / 1e9) if sum(times_ns) else None,
        p99_ms=p99.value if p99 else None,
        p99_upper_bound_ms=p99.upper_bound if p99 else None,
        in_time=_share(sum(time_ns <= budget_ms * NS_PER_MS for time_ns in times_ns), n),
    )


def _share(successes: int, n: int) -> Estimate:
    if not n:
        return UNKNOWN
    low, high = exact_interval(successes, n, CONFIDENCE)
    return Estimate(n=n, value=successes / n, lower_bound=low, upper_bound=high)


def describe_serving(summary: Summary) -> list[Sentence]:
    """A sentence for each arm; "too few" where a p99 needs more requests."""
    budget = limit_ms(summary.request_budget_ms or 0.0)
    return [
        Sentence(
            text=f"{name} serves {number(served.requests_per_s)} requests/s, one at a time, p99 "
            f"{word_p99(served)}, {word_estimate(served.in_time)} of {count(served.requests, 'request')} "
            f"within {budget}; mean loss {number(summary.arms[name].loss.mean)}.",
            figures=(f"{name}.total_iteration_time", f"{name}.loss"),
        )
        for name, served in summary.serving.items()
    ]


def word_p99(served: Serving) -> str:
    """The p99 with its upper bound, or how many requests it needs."""
    if served.p99_ms is None:
        return f"too few requests ({fewest(QUANTILES['p99'])} needed)"
    bound = f" (at most {ms(served.p99_upper_bound_ms)})" if served.p99_upper_bound_ms is not None else ""
    return f"{ms(served.p99_ms)} ms{bound}"
