"""Ends the calls of a job with its samples."""

from __future__ import annotations

from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import ProviderFault
from shotclock.domain.ports import Execution, Job
from shotclock.domain.stages import Stage, StageTiming
from shotclock.orchestrator.call import Call, Sampled
from shotclock.orchestrator.job_plan import BoundJob


def deliver(job: Job, execution: Execution, bound: BoundJob, timings: list[StageTiming]) -> None:
    """Ends each call with its samples, or with a fault if their number or width is wrong."""
    results: dict[Call, list[Samples]] = {call: [] for call in bound.calls}
    faults: dict[Call, str] = {}
    for call, circuit, samples in zip(bound.call_of_circuits, job.circuits, execution.samples, strict=True):
        results[call].append(samples)
        if fault := find_misfit(samples, job.shots, circuit.parameters.n):
            faults[call] = fault
    for call, samples_of_call in results.items():
        progress = call.progress
        progress.with_provider_since_ns = None
        for timing in timings:
            progress.record_stage(timing)
        progress.qpu_s += execution.qpu_s * len(samples_of_call) / len(job.circuits)
        progress.emulator_overrun |= execution.emulator_overrun
        end = Sampled(tuple(samples_of_call), execution.collected_at_ns)
        call.end(ProviderFault(faults[call]) if call in faults else end)


def find_misfit(samples: Samples, shots: int, n: int) -> str:
    """Why samples are not what was requested; "" if they are."""
    if samples.shots != shots:
        return f"returned {samples.shots} shots, requested {shots}"
    if samples.pool.shape[1] != n:
        return f"returned samples of {samples.pool.shape[1]} bits, requested {n}"
    return ""


def split_stages(submitted_ns: int, execution: Execution) -> list[StageTiming]:
    """Queue, execution and collection, end to end from the submit's return.

    A planned instant may precede a timer that fired late, so each stage starts no earlier than the previous
    one ended, and no stage's emulated time exceeds its duration.
    """
    timings = []
    start = submitted_ns
    for stage, end, emulated in (
        (Stage.QPU_QUEUE_WAIT, execution.running_at_ns, execution.queue_emulated_ns),
        (Stage.QPU_EXEC_TIME, execution.finished_at_ns, execution.execution_emulated_ns),
        (Stage.COLLECT, execution.collected_at_ns, execution.collect_emulated_ns),
    ):
        duration = max(0, end - start)
        timings.append(StageTiming(stage, start, duration, min(emulated, duration)))
        start += duration
    return timings
