"""The rows of calls that a workload makes through a primitive: the first on its step's row, others below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.domain.iteration import CircuitCall
from shotclock.domain.outcome import CircuitOutcome, Executed, why_no_samples


def add_circuit_calls(rows: dict[int, StepRow], calls: Iterable[CircuitCall]) -> list[StepRow]:
    """The steps in order, each with its first call, then a row for each further call."""
    of_step: dict[int, list[CallRow]] = {}
    for call in calls:
        of_step.setdefault(call.step, []).append(describe_circuits(call))
    result: list[StepRow] = []
    for step, row in rows.items():
        first, *further = of_step.get(step, [None])
        result.append(replace(row, call=first) if first is not None else row)
        result += [make_further(row, each) for each in further if each is not None]
    return result


def make_further(row: StepRow, call: CallRow) -> StepRow:
    """A row that adds a call to its step and nothing else."""
    return replace(
        row, total_iteration_time_ns=0, eval_loss=None, optimizer_steps=0, call=call, further_call=True
    )


def describe_circuits(call: CircuitCall) -> CallRow:
    """The row of a call: as late as its last point, and a miss if one point has no samples."""
    last = _find_last(call.outcomes)
    executed = all(isinstance(outcome, Executed) for outcome in call.outcomes)
    in_time = executed and call.received_ns - call.asked_ns <= call.deadline_ns
    stages = last.provenance.stages
    emulated_ns = sum(stage.emulated_ns for stage in stages)
    jobs = {outcome.provenance.job_id: outcome.provenance for outcome in call.outcomes}
    simulation = last.provenance.simulation
    return CallRow(
        request_id=call.request_id,
        outcome=type(last).__name__.lower(),
        cause=why_no_samples(last, figures=True),
        decision="",
        winner="",
        base_version=0,
        deadline_ns=call.deadline_ns,
        in_time=in_time,
        answered=in_time,
        added_latency_ns=call.blocked_ns,
        added_emulated_ns=min(emulated_ns, call.blocked_ns),
        quantum_latency_ns=last.provenance.samples_at_ns - call.asked_ns if in_time else None,
        quantum_emulated_ns=emulated_ns,
        raw_gain=0.0,
        classical_gain=0.0,
        qpu_s=sum(outcome.provenance.qpu_s for outcome in call.outcomes),
        attempts=sum(provenance.attempts for provenance in jobs.values()),
        emulator_overrun=any(outcome.provenance.emulator_overrun for outcome in call.outcomes),
        cached=False,
        penalised=any(outcome.provenance.penalised for outcome in call.outcomes),
        sharers=last.provenance.sharers,
        stages=stages,
        simulation_method=simulation.method,
        bond_dimension=simulation.bond_dimension,
        truncation_error=simulation.truncation_error,
        phase=call.phase,
    )


def _find_last(outcomes: tuple[CircuitOutcome, ...]) -> CircuitOutcome:
    """The first point without samples, or the one whose samples came last."""
    missing = next((outcome for outcome in outcomes if not isinstance(outcome, Executed)), None)
    return missing or max(outcomes, key=lambda outcome: outcome.provenance.samples_at_ns)
