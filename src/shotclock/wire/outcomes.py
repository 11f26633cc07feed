"""Outcomes between the domain and the wire.

Decoding raises MalformedMessageError or PayloadCorruptedError, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shotclock.domain.circuit import NOT_SIMULATED, Samples, Simulation
from shotclock.domain.outcome import (
    Answer,
    Cause,
    CircuitOutcome,
    DeadlinePassed,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    PreEvaluation,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
    SubmitDecision,
    Winner,
)
from shotclock.domain.stages import Stage, StageTiming
from shotclock.wire.codec import decode_rejection, encode_rejection, reverse, word_of
from shotclock.wire.payload import MalformedMessageError, decode_samples, encode_samples, unpack_bits
from shotclock.wire.v1 import shotclock_pb2 as pb

WINNERS: Mapping[Winner, Any] = {winner: pb.Winner.Value(f"WINNER_{winner.name}") for winner in Winner}
_WINNER = reverse(WINNERS)
_STAGE = {str(stage): stage for stage in Stage}


def until_arrival_ns(provenance: Provenance) -> int:
    """The shift that makes instants count from 1 ns before the first: what travels, since clocks differ."""
    return 1 - provenance.began_ns


def onto_clock_ns(provenance: pb.Provenance, asked_ns: int, answered_ns: int) -> int:
    """The shift from that clock to the caller's, assuming that both directions take the same time."""
    ends_ns = [timing.start_ns + timing.duration_ns for timing in provenance.stages]
    ended_ns: int = max(0, provenance.samples_at_ns, *ends_ns)
    return asked_ns + max(0, answered_ns - asked_ns - ended_ns) // 2 - 1


def encode_outcome(
    outcome: Outcome, shift_ns: int = 0, message: pb.Outcome | None = None, *, checked: bool = True
) -> pb.Outcome:
    """The one case that happened, with its provenance; shift_ns is added to every instant in it.

    message: a part of another message, to be filled.
    checked: whether the samples get their own checksum.
    """
    message = pb.Outcome() if message is None else message
    _encode_provenance(outcome.provenance, shift_ns, message.provenance)
    match outcome:
        case Done(answer, samples, classical):
            done_message = message.done
            _encode_answer(answer, done_message.answer)
            encode_samples(samples, done_message.samples, checked=checked)
            if classical is not None:
                _encode_answer(classical, done_message.classical)
        case Degraded(answer, cause):
            _encode_answer(answer, message.degraded.answer)
            _encode_cause(cause, message.degraded)
        case Shed(rejection):
            message.shed.rejection.CopyFrom(encode_rejection(rejection))
        case Late(cause):
            message.late.cause.budget_ns = cause.budget_ns
        case Failed(cause):
            message.failed.cause.message = cause.message
    return message


def decode_outcome(message: pb.Outcome, n: int, shift_ns: int = 0) -> Outcome:
    """n: the number of variables that were asked about; an answer of another length is malformed."""
    provenance = _decode_provenance(message.provenance, shift_ns)
    match message.WhichOneof("outcome"):
        case "done":
            done_message = message.done
            return Done(
                _decode_answer(done_message.answer, n),
                _check_size(decode_samples(done_message.samples), n),
                _decode_answer(done_message.classical, n) if done_message.HasField("classical") else None,
                provenance,
            )
        case "degraded":
            cause = _decode_cause(message.degraded)
            return Degraded(_decode_answer(message.degraded.answer, n), cause, provenance)
        case case:
            return _decode_without_answer(case, message, provenance)


def encode_circuit_outcome(outcome: CircuitOutcome, shift_ns: int = 0) -> pb.CircuitOutcome:
    """See `encode_outcome`."""
    message = pb.CircuitOutcome()
    _encode_provenance(outcome.provenance, shift_ns, message.provenance)
    match outcome:
        case Executed(samples):
            encode_samples(samples, message.executed.samples)
        case Shed(rejection):
            message.shed.rejection.CopyFrom(encode_rejection(rejection))
        case Late(cause):
            message.late.cause.budget_ns = cause.budget_ns
        case Failed(cause):
            message.failed.cause.message = cause.message
    return message


def decode_circuit_outcome(message: pb.CircuitOutcome, shift_ns: int = 0) -> CircuitOutcome:
    """See `decode_outcome`."""
    provenance = _decode_provenance(message.provenance, shift_ns)
    case = message.WhichOneof("outcome")
    if case == "executed":
        return Executed(decode_samples(message.executed.samples), provenance)
    return _decode_without_answer(case, message, provenance)


def _decode_without_answer(
    case: str | None, message: pb.Outcome | pb.CircuitOutcome, provenance: Provenance
) -> Shed | Late | Failed:
    match case:
        case "shed":
            return Shed(decode_rejection(message.shed.rejection), provenance)
        case "late":
            return Late(DeadlinePassed(message.late.cause.budget_ns), provenance)
        case "failed":
            return Failed(ProviderFault(message.failed.cause.message), provenance)
        case _:
            raise MalformedMessageError("outcome: says none of the ways in which a call can end")


def _check_size(samples: Samples, n: int) -> Samples:
    if samples.pool.shape[1] != n:
        raise MalformedMessageError(f"samples: of {samples.pool.shape[1]} variables, {n} were asked about")
    return samples


def _encode_answer(answer: Answer, message: pb.Answer) -> None:
    message.bits = answer.bits.tobytes()
    message.energy = answer.energy
    message.winner = WINNERS[answer.winner]
    message.solver = answer.solver


def _decode_answer(message: pb.Answer, n: int) -> Answer:
    if len(message.bits) != n:
        raise MalformedMessageError(f"answer: of {len(message.bits)} variables, {n} were asked about")
    if not math.isfinite(message.energy):
        raise MalformedMessageError(f"answer: its energy is {message.energy}")
    bits = unpack_bits(message.bits, "answer")
    return Answer(bits, message.energy, word_of(_WINNER, message.winner, "winner"), message.solver)


def _encode_cause(cause: Cause, message: pb.Degraded) -> None:
    match cause:
        case Rejection():
            message.rejection.CopyFrom(encode_rejection(cause))
        case DeadlinePassed(budget_ns):
            message.deadline_passed.budget_ns = budget_ns
        case ProviderFault(text):
            message.provider_fault.message = text


def _decode_cause(message: pb.Degraded) -> Cause:
    match message.WhichOneof("cause"):
        case "rejection":
            return decode_rejection(message.rejection)
        case "deadline_passed":
            return DeadlinePassed(message.deadline_passed.budget_ns)
        case "provider_fault":
            return ProviderFault(message.provider_fault.message)
        case _:
            raise MalformedMessageError("outcome: degraded without a cause")


def _encode_provenance(provenance: Provenance, shift_ns: int, message: pb.Provenance) -> None:
    message.provider = provenance.provider
    message.emulated = provenance.emulated
    message.base_version = provenance.base_version
    add_stage = message.stages.add
    for timing in provenance.stages:
        stage = add_stage()  # arguments by name would take four times as long
        stage.stage = timing.stage
        stage.start_ns = timing.start_ns + shift_ns
        stage.duration_ns = timing.duration_ns
        stage.emulated_ns = timing.emulated_ns
    message.job_id = provenance.job_id
    message.attempts = provenance.attempts
    message.template_key = provenance.template_key
    message.shots = provenance.shots
    message.qpu_s = provenance.qpu_s
    message.raw_gain = provenance.raw_gain
    message.classical_gain = provenance.classical_gain
    message.samples_at_ns = _shift(provenance.samples_at_ns, shift_ns)
    message.emulator_overrun = provenance.emulator_overrun
    message.sharers = provenance.sharers
    message.cached = provenance.cached
    message.penalised = provenance.penalised
    if provenance.simulation.method:
        _encode_simulation(provenance.simulation, message.simulation)
    if provenance.pre_evaluation is not None:
        _encode_pre_evaluation(provenance.pre_evaluation, message.pre_evaluation)


def _encode_simulation(simulation: Simulation, message: pb.Simulation) -> None:
    message.method = simulation.method
    message.bond_dimension = simulation.bond_dimension
    if simulation.truncation_error is not None:
        message.truncation_error = simulation.truncation_error


def _decode_simulation(message: pb.Simulation) -> Simulation:
    if not message.method:
        return NOT_SIMULATED
    lost = message.truncation_error if message.HasField("truncation_error") else None
    if lost is not None and not math.isfinite(lost):
        raise MalformedMessageError(f"provenance: its truncation_error is {lost}")
    return Simulation(message.method, message.bond_dimension, lost)


def _encode_pre_evaluation(evaluation: PreEvaluation, message: pb.PreEvaluation) -> None:
    message.decision = evaluation.decision
    message.expected_gain = evaluation.expected_gain
    message.incumbent_energy = evaluation.incumbent_energy
    if evaluation.beats_incumbent is not None:
        message.beats_incumbent = evaluation.beats_incumbent


def _decode_pre_evaluation(message: pb.PreEvaluation) -> PreEvaluation:
    if message.decision not in set(SubmitDecision):
        raise MalformedMessageError(f"provenance: no such submit decision ({message.decision[:40]})")
    for name in ("expected_gain", "incumbent_energy"):
        if not math.isfinite(getattr(message, name)):
            raise MalformedMessageError(f"provenance: its {name} is {getattr(message, name)}")
    return PreEvaluation(
        SubmitDecision(message.decision),
        message.expected_gain,
        message.incumbent_energy,
        message.beats_incumbent if message.HasField("beats_incumbent") else None,
    )


def _shift(at_ns: int, by_ns: int) -> int:
    """An instant moved; 0 means no instant."""
    return at_ns + by_ns if at_ns else 0


def _decode_provenance(message: pb.Provenance, shift_ns: int) -> Provenance:
    for name in ("qpu_s", "raw_gain", "classical_gain"):
        if not math.isfinite(getattr(message, name)):
            raise MalformedMessageError(f"provenance: its {name} is {getattr(message, name)}")
    return Provenance(
        provider=message.provider,
        emulated=message.emulated,
        base_version=message.base_version,
        stages=tuple([_decode_stage(timing, shift_ns) for timing in message.stages]),
        job_id=message.job_id,
        attempts=message.attempts,
        template_key=message.template_key,
        shots=message.shots,
        qpu_s=message.qpu_s,
        raw_gain=message.raw_gain,
        classical_gain=message.classical_gain,
        samples_at_ns=_shift(message.samples_at_ns, shift_ns),
        emulator_overrun=message.emulator_overrun,
        sharers=message.sharers,
        cached=message.cached,
        penalised=message.penalised,
        simulation=_decode_simulation(message.simulation),
        pre_evaluation=_decode_pre_evaluation(message.pre_evaluation)
        if message.HasField("pre_evaluation")
        else None,
    )


def _decode_stage(message: pb.StageTiming, shift_ns: int) -> StageTiming:
    stage = _STAGE.get(message.stage)
    if stage is None:
        raise MalformedMessageError(f"provenance: no such stage ({message.stage[:40]})")
    return StageTiming(stage, message.start_ns + shift_ns, message.duration_ns, message.emulated_ns)
