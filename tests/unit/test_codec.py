"""What leaves for the wire comes back the same; what comes from elsewhere is one typed error."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotclock.domain.canary import CanaryGroup, CanaryMeasure, CanaryPhase, CanaryReport
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.errors import CircuitError, SubproblemError
from shotclock.domain.flags import FlagReport, FlagState
from shotclock.domain.outcome import (
    Answer,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    PreEvaluation,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
    SubmitDecision,
    Winner,
)
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.status import BreakerState, Drained, Phase, Status
from shotclock.domain.subproblem import MAX_VARIABLES, Priority, Subproblem
from shotclock.wire import codec, outcomes
from shotclock.wire.integrity import parse_checked, serialize
from shotclock.wire.payload import (
    MalformedMessageError,
    PayloadCorruptedError,
    checksum,
    decode_samples,
    encode_samples,
    parse,
)
from shotclock.wire.recent_answers import RecentAnswers, identify
from shotclock.wire.v1 import shotclock_pb2 as pb

TYPED = (SubproblemError, CircuitError, PayloadCorruptedError, MalformedMessageError)
N = 4

finite = st.floats(allow_nan=False, allow_infinity=False)
coefficients = st.floats(-1e147, 1e147)  # whose energies `Subproblem` takes
words = st.text(max_size=12)
u32 = st.integers(0, 2**32 - 1)
u63 = st.integers(0, 2**63 - 1)


def flat(value: Any) -> Any:
    """Comparable: arrays by shape, type and content, domain words field by field."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype, value.tolist())
    if dataclasses.is_dataclass(value):
        parts = tuple(flat(getattr(value, field.name)) for field in dataclasses.fields(value))
        return (type(value), *parts)
    return tuple(map(flat, value)) if isinstance(value, tuple) else value


@st.composite
def subproblems(draw: st.DrawFn, most: int = 12) -> Subproblem:
    n = draw(st.integers(1, most))
    pairs = st.lists(coefficients, min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2)
    quadratic = np.zeros((n, n))
    quadratic[np.triu_indices(n, 1)] = draw(pairs)
    quadratic += np.triu(quadratic, 1).T
    linear = np.array(draw(st.lists(coefficients, min_size=n, max_size=n)))
    return Subproblem(
        quadratic,
        linear,
        draw(coefficients),
        draw(words),
        draw(words),
        draw(u63),
        draw(u63),
        draw(st.sampled_from(Priority)),
        fresh=draw(st.booleans()),
    )


circuits = st.builds(
    CircuitSpec,
    source=st.one_of(st.text(min_size=1), st.binary(min_size=1)),
    shots=st.integers(1, 2**31 - 1),
    values=st.lists(st.tuples(words, finite), max_size=4).map(tuple),
    request_id=words,
    budget_ns=u63,
    priority=st.sampled_from(Priority),
)

rejections = st.builds(Rejection, words, finite, finite, words, st.floats(0, allow_nan=False))
passed = st.builds(DeadlinePassed, u63)
faults = st.builds(ProviderFault, words)
timings = st.builds(StageTiming, st.sampled_from(Stage), st.integers(-(2**40), 2**40), u63, u63)
pre_evaluations = st.builds(
    PreEvaluation, st.sampled_from(SubmitDecision), finite, finite, st.one_of(st.none(), st.booleans())
)
provenances = st.builds(
    Provenance,
    provider=words,
    emulated=st.booleans(),
    base_version=u63,
    stages=st.lists(timings, max_size=9).map(tuple),
    job_id=words,
    attempts=u32,
    template_key=words,
    shots=u32,
    qpu_s=finite,
    raw_gain=finite,
    classical_gain=finite,
    samples_at_ns=st.integers(-(2**62), 2**62),
    emulator_overrun=st.booleans(),
    sharers=u32,
    cached=st.booleans(),
    penalised=st.booleans(),
    pre_evaluation=st.one_of(st.none(), pre_evaluations),
)
bits = st.lists(st.integers(0, 1), min_size=N, max_size=N).map(lambda row: np.array(row, dtype=np.uint8))
answers = st.builds(Answer, bits, finite, st.sampled_from(Winner), words)


@st.composite
def pools(draw: st.DrawFn) -> Samples:
    rows = draw(st.lists(bits, max_size=6))
    counts = draw(st.lists(st.integers(1, 2**62), min_size=len(rows), max_size=len(rows)))
    pool = np.array(rows, dtype=np.uint8).reshape(len(rows), N)
    return Samples(pool, np.array(counts, dtype=np.int64))


causes = st.one_of(rejections, passed, faults)
done_outcomes = st.builds(Done, answers, pools(), st.one_of(st.none(), answers), provenances)
degraded = st.builds(Degraded, answers, causes, provenances)
unanswered = st.one_of(
    st.builds(Shed, rejections, provenances),
    st.builds(Late, passed, provenances),
    st.builds(Failed, faults, provenances),
)
flag_reports = st.builds(
    FlagReport, st.dictionaries(words, words, max_size=6), st.sampled_from(FlagState), finite, words
)
optional = st.one_of(st.none(), finite)
groups = st.builds(CanaryGroup, u63, u63, u63, u63, optional, u63, optional)
measures = st.builds(CanaryMeasure, words, optional, optional, finite)
canaries = st.builds(
    CanaryReport,
    st.sampled_from(CanaryPhase),
    u32,
    words,
    words,
    words,
    finite,
    words,
    u63,
    words,
    groups,
    groups,
    st.lists(measures, max_size=3).map(tuple),
)
statuses = st.builds(
    Status,
    st.sampled_from(Phase),
    words,
    st.booleans(),
    st.sampled_from(BreakerState),
    u63,
    u63,
    u63,
    finite,
    u63,
    u63,
    st.lists(words, max_size=3).map(tuple),
    flag_reports,
    canaries,
)


def over_the_wire(message: Any) -> Any:
    return parse(type(message), message.SerializeToString())


@given(subproblems(), u63)
def test_a_subproblem_comes_back_the_same_with_its_new_budget(subproblem: Subproblem, budget_ns: int) -> None:
    message = over_the_wire(codec.encode_subproblem(subproblem, budget_ns))
    assert flat(codec.decode_subproblem(message)) == flat(replace(subproblem, budget_ns=budget_ns))


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_flipped_bit_of_a_message_is_used() -> None:
    subproblem = Subproblem(np.zeros((2, 2)), np.ones(2), 3.5, "kind", "id", 7, 9)
    data = serialize(codec.encode_subproblem(subproblem, 9))
    assert int.from_bytes(data[-4:], "little") == google_crc32c.value(data[:-5])
    refused = 0
    for bit in range(8 * len(data)):
        try:
            decoded = codec.decode_subproblem(parse_checked(pb.Subproblem, flip(data, bit)))
        except (PayloadCorruptedError, MalformedMessageError) as error:
            refused += isinstance(error, PayloadCorruptedError)
        else:
            assert flat(decoded) == flat(subproblem)
    # a flipped bit of the field's own tag leaves a message without a checksum, which is otherwise whole
    assert refused >= 8 * len(data) - 8


def test_a_peer_without_checksums_is_not_checked() -> None:
    message = codec.encode_subproblem(Subproblem(np.zeros((2, 2)), np.ones(2)), 1)
    message.ClearField("crc32c")
    assert codec.decode_subproblem(parse_checked(pb.Subproblem, message.SerializeToString())).n == 2
    circuit = codec.encode_circuit(CircuitSpec("OPENQASM 3.0;", 1), 1)
    circuit.ClearField("crc32c")
    assert codec.decode_circuit(parse_checked(pb.CircuitSpec, circuit.SerializeToString())).shots == 1
    answer = pb.Outcome()
    answer.done.samples.n, answer.done.samples.pool = 1, b"\1"
    answer.done.samples.counts.append(1)
    answer.done.answer.bits, answer.done.answer.winner = b"\1", pb.WINNER_QUANTUM
    assert isinstance(outcomes.decode_outcome(parse_checked(pb.Outcome, answer.SerializeToString()), 1), Done)


def test_the_oldest_answers_are_forgotten_first_and_a_large_one_at_once() -> None:
    answers = RecentAnswers(most_bytes=10, answer_bytes=6)
    first, second, large, unnamed = (
        identify("x", pb.Subproblem(request_id=name)) for name in ("a", "b", "c", "")
    )
    answers.add(first, bytes(6))
    answers.add(large, bytes(7))
    answers.add(unnamed, b"1")
    assert answers.find(first) == bytes(6)
    assert [answers.find(key) for key in (large, unnamed, replace(first, caller="y"))] == [None] * 3
    answers.add(first, b"12")
    answers.add(second, bytes(6))
    assert answers.find(first) == b"12"
    answers.add(identify("x", pb.CircuitSpec(request_id="a")), b"345")
    assert answers.find(first) is None
    assert answers.find(second) == bytes(6)


def test_the_triangle_is_packed_row_by_row() -> None:
    quadratic = np.zeros((3, 3))
    quadratic[0, 1], quadratic[0, 2], quadratic[1, 2] = 1.0, 2.0, 3.0
    message = codec.encode_subproblem(Subproblem(quadratic + quadratic.T, np.array([4.0, 5.0, 6.0])), 0)
    assert np.frombuffer(message.quadratic, "<f8").tolist() == [1.0, 2.0, 3.0]
    assert np.frombuffer(message.linear, "<f8").tolist() == [4.0, 5.0, 6.0]


def test_the_checksum_is_crc32c() -> None:
    # the check value of CRC-32C in the catalogue of parametrised CRC algorithms
    assert checksum(b"1234", b"56789") == 0xE3069283


def test_the_largest_subproblem_fits_its_limit() -> None:
    largest = Subproblem(np.zeros((MAX_VARIABLES,) * 2), np.zeros(MAX_VARIABLES))
    assert codec.encode_subproblem(largest, 1).ByteSize() < 512 * 1024


@given(circuits)
def test_a_circuit_comes_back_the_same(spec: CircuitSpec) -> None:
    assert codec.decode_circuit(over_the_wire(codec.encode_circuit(spec, spec.budget_ns))) == spec


@given(st.one_of(done_outcomes, degraded, unanswered))
def test_every_outcome_comes_back_the_same(outcome: Any) -> None:
    assert flat(outcomes.decode_outcome(over_the_wire(outcomes.encode_outcome(outcome)), N)) == flat(outcome)


@given(st.one_of(st.builds(Executed, pools(), provenances), unanswered))
def test_every_circuit_outcome_comes_back_the_same(outcome: Any) -> None:
    message = over_the_wire(outcomes.encode_circuit_outcome(outcome))
    assert flat(outcomes.decode_circuit_outcome(message)) == flat(outcome)


@given(words, st.sampled_from(Decision), st.booleans(), statuses, u63, u63)
def test_the_rest_comes_back_the_same(
    request_id: str, decision: Decision, stale: bool, status: Status, finished: int, handed_back: int
) -> None:
    message = over_the_wire(codec.encode_decided(request_id, decision, stale))
    assert codec.decode_decided(message) == (request_id, decision, stale)
    assert codec.decode_status(over_the_wire(codec.encode_status(status))) == status
    drained = Drained(finished, handed_back)
    assert codec.decode_drained(over_the_wire(codec.encode_drained(drained))) == drained


@given(subproblems(), st.data())
def test_one_flipped_bit_of_the_payload_is_noticed(subproblem: Subproblem, data: st.DataObject) -> None:
    message = codec.encode_subproblem(subproblem, 1)
    name = data.draw(st.sampled_from(["quadratic", "linear"] if subproblem.n > 1 else ["linear"]))
    payload = bytearray(getattr(message, name))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    setattr(message, name, bytes(payload))
    with pytest.raises(PayloadCorruptedError):
        codec.decode_subproblem(message)


@pytest.mark.parametrize("source", ["OPENQASM 3; qubit q;", b"QISKIT-qpy"])
def test_one_changed_letter_of_a_circuit_is_noticed(source: str | bytes) -> None:
    message = codec.encode_circuit(CircuitSpec(source, 1), 1)
    setattr(message, *(("openqasm3", "OPENQASM 3; qubit r;") if isinstance(source, str) else ("qpy", b"Q")))
    with pytest.raises(PayloadCorruptedError):
        codec.decode_circuit(message)


@pytest.mark.parametrize("counts", [[], [1], [1] * 127, [127] * 128, [128], [1, 2**40], [3] * 20_000])
def test_counts_of_any_size_are_what_protobuf_itself_would_write(counts: list[int]) -> None:
    samples = Samples(np.zeros((len(counts), 1), np.uint8), np.array(counts, dtype=np.int64))
    message = pb.Samples()
    encode_samples(samples, message)
    plain = pb.Samples(n=1, pool=bytes(len(counts)), counts=counts, crc32c=message.crc32c)
    assert message.SerializeToString() == plain.SerializeToString()


@pytest.mark.parametrize("count", [0, 2**63, 2**64 - 1])
def test_a_count_is_at_least_1_and_has_63_bits(count: int) -> None:
    with pytest.raises(MalformedMessageError, match=r"^samples: a count is below 1 or beyond 63 bits$"):
        decode_samples(pb.Samples(n=1, pool=bytes(2), counts=[1, count]))
    largest = decode_samples(pb.Samples(n=1, pool=bytes(2), counts=[1, 2**63 - 1]))
    assert largest.counts.tolist() == [1, 2**63 - 1]
    assert largest.counts.dtype == np.int64


@pytest.mark.parametrize("change", ["pool", "counts"])
def test_changed_samples_are_noticed(change: str) -> None:
    samples = Samples(np.eye(N, dtype=np.uint8), np.full(N, 7))
    outcome = Executed(samples, Provenance("scripted", emulated=True, base_version=0))
    message = outcomes.encode_circuit_outcome(outcome)
    if change == "pool":
        message.executed.samples.pool = bytes(N * N)
    else:
        message.executed.samples.counts[0] = 8
    with pytest.raises(PayloadCorruptedError):
        outcomes.decode_circuit_outcome(message)


def encode(**fields: Any) -> pb.Subproblem:
    message = codec.encode_subproblem(Subproblem(np.zeros((2, 2)), np.zeros(2)), 1)
    for name, value in fields.items():
        setattr(message, name, value)
    message.crc32c = checksum(message.quadratic, message.linear)
    return message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": 0}, "n"),
        ({"n": 2**32 - 1}, "n"),
        ({"n": 3}, "quadratic"),
        ({"linear": b"\0" * 15}, "linear"),
        ({"quadratic": b""}, "quadratic"),
        ({"linear": np.array([1.0, math.nan]).tobytes()}, "linear"),
        ({"quadratic": np.array([math.inf]).tobytes()}, "quadratic"),
        ({"linear": np.array([1e308, -1e308]).tobytes()}, "linear"),
        ({"quadratic": np.array([1e308]).tobytes()}, "quadratic"),
        ({"offset": 1e308}, "offset"),
        ({"offset": math.nan}, "offset"),
        ({"budget_ns": 2**64 - 1}, "budget_ns"),
        ({"base_version": 2**63}, "base_version"),
        ({"priority": 9}, "priority"),
    ],
)
def test_a_subproblem_that_cannot_be_used_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(SubproblemError) as caught:
        codec.decode_subproblem(encode(**fields))
    assert caught.value.field == field


# field 7 of a circuit of one shot is 77
UNKNOWN_PRIORITY = pb.CircuitSpec(shots=1).SerializeToString() + bytes((7 << 3, 77))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.CircuitSpec(shots=1), "source"),
        (pb.CircuitSpec(openqasm3="", shots=1), "source"),
        (pb.CircuitSpec(openqasm3="q", crc32c=checksum(b"q")), "shots"),
        (parse(pb.CircuitSpec, UNKNOWN_PRIORITY), "priority"),
    ],
)
def test_a_circuit_that_cannot_be_used_names_its_field(message: pb.CircuitSpec, field: str) -> None:
    with pytest.raises(CircuitError) as caught:
        codec.decode_circuit(message)
    assert caught.value.field == field


def test_more_shots_than_any_circuit_may_have_are_a_circuit_error() -> None:
    with pytest.raises(CircuitError, match="shots: must be at most 2,147,483,647"):
        codec.decode_circuit(pb.CircuitSpec(openqasm3="q", shots=2**31))


def reply(change: Callable[[pb.Outcome], object]) -> pb.Outcome:
    samples = Samples(np.zeros((1, N), dtype=np.uint8), np.array([7]))
    answer = Answer(np.zeros(N, dtype=np.uint8), 0.0, Winner.QUANTUM, "qaoa")
    message = outcomes.encode_outcome(Done(answer, samples, None, Provenance("x", True, 0)))
    change(message)
    return message


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.ClearField("outcome"),
        lambda m: m.done.answer.ClearField("bits"),
        lambda m: setattr(m.done.answer, "bits", b"\1\2\0\0"),
        lambda m: setattr(m.done.answer, "energy", math.nan),
        lambda m: setattr(m.done.answer, "winner", 0),
        lambda m: setattr(m.done.answer, "winner", 99),
        lambda m: setattr(m.done.samples, "n", 0),
        lambda m: setattr(m.done.samples, "n", 2**32 - 1),
        lambda m: m.done.samples.CopyFrom(pb.Samples(n=N + 1)),
        lambda m: m.done.samples.counts.append(1),
        lambda m: m.provenance.stages.add(stage="coffee"),
        lambda m: m.degraded.answer.CopyFrom(m.done.answer),
    ],
)
def test_an_answer_that_cannot_be_used_is_malformed(change: Callable[[pb.Outcome], object]) -> None:
    with pytest.raises(MalformedMessageError):
        outcomes.decode_outcome(reply(change), N)


def catch_error(work: Callable[[], object]) -> str:
    """The message of a typed error, or an empty one; any other error passes."""
    try:
        work()
    except TYPED as error:
        return str(error)
    return ""


DECODERS: list[tuple[type, Callable[[Any], object]]] = [
    (pb.Subproblem, codec.decode_subproblem),
    (pb.CircuitSpec, codec.decode_circuit),
    (pb.DecidedRequest, codec.decode_decided),
    (pb.Status, codec.decode_status),
    (pb.Outcome, lambda message: outcomes.decode_outcome(message, N)),
    (pb.CircuitOutcome, outcomes.decode_circuit_outcome),
]


@pytest.mark.parametrize(("kind", "decode"), DECODERS)
@settings(max_examples=300)
@given(data=st.data())
def test_bytes_from_anywhere_are_a_value_or_one_typed_error(
    kind: type, decode: Callable[[Any], object], data: st.DataObject
) -> None:
    given_bytes = data.draw(st.binary(max_size=200))
    assert "\n" not in catch_error(lambda: decode(parse(kind, given_bytes)))


@given(subproblems(4), st.data())
def test_a_damaged_message_is_a_value_or_one_typed_error(subproblem: Subproblem, data: st.DataObject) -> None:
    damaged = bytearray(codec.encode_subproblem(subproblem, 1).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert "\n" not in catch_error(lambda: codec.decode_subproblem(parse(pb.Subproblem, bytes(damaged))))
