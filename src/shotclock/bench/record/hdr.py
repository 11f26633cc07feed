"""latency.hlog: an HdrHistogram interval log with V2 payloads, one tag an arm and metric.

Nanoseconds with three significant digits; any HdrHistogram tool can read and merge it. Exact latencies
are in steps.parquet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.domain import files

HIGHEST_NS = 3_600_000_000_000
"""An hour: longer than any deadline; what is above is recorded there."""
DIGITS = 3


def histogram() -> HdrHistogram:
    """An empty histogram of the log's range, also what a reader needs as its reference."""
    return HdrHistogram(1, HIGHEST_NS, DIGITS)


def write_hdr(steps: Iterable[StepRow], path: Path) -> None:
    """Tags `<arm>.added_latency` and `<arm>.quantum_latency`; an arm without calls has none.

    A call that went for samples and brought none is recorded at its deadline, where it was censored,
    so that it stays in the count; a comment before the histogram holds their number.
    """
    calls: dict[str, list[CallRow]] = {}
    lasted: dict[str, int] = {}
    for step in steps:
        # Seeds and arms run on separate time lines: the longest is the interval.
        lasted[step.arm] = max(lasted.get(step.arm, 0), step.start_ns + step.total_iteration_time_ns)
        if step.call:
            calls.setdefault(step.arm, []).append(step.call)
    with files.replace(path) as file, io.TextIOWrapper(file, encoding="utf-8") as stream:
        log = HistogramLogWriter(stream)
        log.output_comment("[Logged by shotclock bench; values in nanoseconds, Interval_Max in milliseconds]")
        log.output_log_format_version()
        log.output_legend()
        for arm, arm_calls in calls.items():
            added = [call.added_latency_ns for call in arm_calls]
            _interval(log, f"{arm}.added_latency", added, 0, lasted[arm])
            quantum_calls = [call for call in arm_calls if _is_quantum_call(call)]
            if quantum_calls:
                values = [_or_deadline(call) for call in quantum_calls]
                missed = sum(call.quantum_latency_ns is None for call in quantum_calls)
                _interval(log, f"{arm}.quantum_latency", values, missed, lasted[arm])


def _is_quantum_call(call: CallRow) -> bool:
    """Whether a call was meant for a QPU: one that was shed before any attempt has a cause instead."""
    return call.quantum_latency_ns is not None or call.attempts > 0 or bool(call.cause)


def _or_deadline(call: CallRow) -> int:
    return call.deadline_ns if call.quantum_latency_ns is None else call.quantum_latency_ns


def _interval(log: HistogramLogWriter, name: str, values: list[int], missed: int, lasted_ns: int) -> None:
    tag = re.sub(r"[^\w.:-]", "_", name)
    interval = histogram()
    for value in values:
        interval.record_value(min(max(value, 1), HIGHEST_NS))
    interval.set_start_time_stamp(0)
    interval.set_end_time_stamp(lasted_ns / 1e6)
    log.output_comment(f"[{tag}: n={len(values)}, of which missed and recorded at the deadline: {missed}]")
    # The writer has no word for tags, which stand before the line it writes.
    log.log.write(f"Tag={tag},")
    log.output_interval_histogram(interval)
