"""Result documents: the worker's encoded results with the time stamps added."""

from __future__ import annotations

import json

from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.jobs import EndpointJob
from shotclock.emulator.rest.metering import UsageInterval
from shotclock.emulator.rest.prepared import Fragments, ItemFacts


def results_text(job: EndpointJob, time: EmulatedTime) -> str:
    """The body of GET /jobs/{id}/results of a completed job."""
    fragments = job.results[0]
    end_s = job.locked[-1].end_s
    # The sub-jobs are loaded first; the rest of the time takes shots.
    shooting = UsageInterval(end_s - job.plan.shooting_s, end_s)
    if job.ask.program_id == "executor":
        return _executor(fragments.results, fragments.echo, job.prepared.items, shooting, time)
    if job.ask.program_id == "noise-learner":
        return fragments.results
    if job.ask.program_id == "estimator":
        return _primitive(fragments.results, fragments.echo)
    return _sampler(fragments, job.prepared.items, shooting, time)


def _sampler(
    fragments: Fragments, items: tuple[ItemFacts, ...], shooting: UsageInterval, time: EmulatedTime
) -> str:
    echo = json.loads(fragments.echo)
    pub_shots = echo.get("pub_shots")  # only in twirled programs
    slices = [[[*item.shape, item.shots], 0, item.executions, 0, item.shots] for item in items]
    if pub_shots:
        slices = [
            [head, True, *middle, shots] for (head, *middle), shots in zip(slices, pub_shots, strict=True)
        ]
    numbers = echo.get("numbers") or range(len(items))
    span = {
        "start": {"__type__": "datetime", "__value__": time.stamp(shooting.start_s)},
        "stop": {"__type__": "datetime", "__value__": time.stamp(shooting.end_s)},
        "data_slices": {str(number): part for number, part in zip(numbers, slices, strict=True)},
    }
    kind = "TwirledSliceSpanV2" if pub_shots else "DoubleSliceSpan"
    spans = {
        "__type__": "ExecutionSpans",
        "__value__": {"spans": [{"__type__": kind, "__value__": span}]},
    }
    metadata = json.dumps({"execution": {"execution_spans": spans}, "version": 2})
    return _primitive(fragments.results, metadata)


def _primitive(results: str, metadata: str) -> str:
    value = f'{{"pub_results": {results}, "metadata": {metadata}}}'
    return f'{{"__type__": "PrimitiveResult", "__value__": {value}}}'


def _executor(
    results: str, echo: str, items: tuple[ItemFacts, ...], shooting: UsageInterval, time: EmulatedTime
) -> str:
    chunk = {
        "start": time.stamp(shooting.start_s),
        "stop": time.stamp(shooting.end_s),
        "parts": [
            {
                "idx_item": number,
                "size": item.executions,
                "permutation": list(range(len(item.shape))),
                "element_range": [0, item.executions, 1],
            }
            for number, item in enumerate(items)
        ],
    }
    metadata = json.dumps({"chunk_timing": [chunk]})
    echoed = echo.removeprefix("{").removesuffix("}")
    return f'{{"schema_version": "v2.0", "data": {results}, "metadata": {metadata}, {echoed}}}'
