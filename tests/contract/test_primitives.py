"""Sampler and Estimator agree with Qiskit's reference primitives within statistics, and keep their promises.

Equality is a bound of five standard errors at every element, on fixed seeds; a sign error and a permutation
of the parameters, planted between the primitive and the QPU, each break it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives import PrimitiveResult, PubResult, StatevectorEstimator
from qiskit.providers import JobStatus
from qiskit.quantum_info import SparsePauliOp, Statevector

import shotclock
from shotclock.app.connect import embed_orchestrator
from shotclock.app.host import VirtualHost
from shotclock.domain.circuit import Samples
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.errors import CallFailedError, CallRefusedError, CircuitError, SettingsError
from shotclock.domain.outcome import (
    CircuitOutcome,
    DeadlinePassed,
    Executed,
    Failed,
    Late,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
)
from shotclock.domain.ports import CircuitCaller, PendingBatch
from shotclock.domain.subproblem import Float64s
from shotclock.primitives import CallOptions, Estimator, PrimitiveCounts, Sampler
from shotclock.primitives.grouping import group, read_terms
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

SIGMAS = 5.0
NOBODY = Provenance("scripted", emulated=True, base_version=0, job_id="j")


@pytest.fixture(scope="module")
def caller() -> Iterator[CircuitCaller]:
    """An orchestrator over Aer without noise, on virtual time."""
    with ExitStack() as ending:
        host = VirtualHost()
        ending.callback(host.close)
        settings = load(None, {"quantum": {"provider": "aer"}})
        yield embed_orchestrator(host, settings, PrometheusRecorder(Metrics(), "test"), ending)[0]


def make_ansatz() -> QuantumCircuit:
    """No parameter commutes with another, so that each has its own effect."""
    angles = ParameterVector("θ", 4)
    circuit = QuantumCircuit(2, metadata={"name": "ansatz"})
    circuit.ry(angles[0], 0)
    circuit.rx(angles[1], 1)
    circuit.cx(0, 1)
    circuit.rz(angles[2], 1)
    circuit.ry(angles[3], 0)
    return circuit


POINTS = np.random.default_rng(3).uniform(-np.pi, np.pi, (5, 4))
OBSERVABLES = [
    [SparsePauliOp(["ZZ", "XX", "ZI", "II"], [1.0, 0.5, -0.3, 0.25])],
    [SparsePauliOp(["XY"], [2.0])],
]
PUB = (make_ansatz(), OBSERVABLES, POINTS)


def check_values(result: PubResult, exact: Float64s) -> None:
    """Each value within five standard errors of the exact one."""
    distance = np.abs(result.data.evs - exact)
    assert result.data.evs.shape == exact.shape
    assert (distance <= SIGMAS * np.maximum(result.data.stds, 1.0 / result.metadata["shots"])).all()


def exact_values(pub: Any) -> Float64s:
    values: Float64s = StatevectorEstimator().run([pub]).result()[0].data.evs
    return values


def test_values_are_those_of_the_reference_primitive(caller: CircuitCaller) -> None:
    job = Estimator(caller).run([PUB, (make_ansatz(), "ZZ", POINTS[0], 0.1)])
    result = job.result()
    check_values(result[0], exact_values(PUB))
    check_values(result[1], exact_values((make_ansatz(), "ZZ", POINTS[0])))
    metadata = result[0].metadata
    assert metadata["target_precision"] == 0.015625
    assert metadata["shots"] == 4096
    assert metadata["circuit_metadata"] == {"name": "ansatz"}
    assert metadata["readout_mitigation"] == "none"
    assert metadata["measured_bases"] == 3
    assert result[1].metadata["shots"] == 100
    assert result[1].data.evs.shape == ()
    assert (result[0].data.stds > 0.0).all()


def test_many_points_cost_few_jobs_and_one_compile_a_basis(caller: CircuitCaller) -> None:
    points = np.tile(POINTS, (20, 1))
    result = Estimator(caller, default_precision=0.25).run([(make_ansatz(), OBSERVABLES[0], points)]).result()
    assert result[0].data.evs.shape == (100,)
    assert len(result[0].metadata["jobs"]) == 1  # 200 circuits


def check_samples(result: PubResult, exact: list[dict[str, float]]) -> None:
    """Each count within five standard errors of its expectation, and five more where it is small."""
    joined = result.join_data().reshape(len(exact))
    for index, probabilities in enumerate(exact):
        counts = joined.get_counts(index)
        shots = sum(counts.values())
        assert shots == result.metadata["shots"]
        assert counts.keys() <= {word for word, p in probabilities.items() if p > 1e-9}
        for word, p in probabilities.items():
            assert abs(counts.get(word, 0) - shots * p) <= SIGMAS * np.sqrt(shots * p * (1 - p)) + SIGMAS


def measure_in_registers() -> QuantumCircuit:
    """Two registers, one of them wider than a byte, and an idle qubit."""
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(9, "second")
    circuit = QuantumCircuit(QuantumRegister(4, "q"), first, second)
    circuit.compose(make_ansatz(), [0, 1], inplace=True)
    circuit.x(2)
    circuit.measure([0, 1, 2], [first[1], second[8], second[0]])
    return circuit


def exact_words(points: Float64s) -> list[dict[str, float]]:
    """`join_data` puts the last register first."""
    words = []
    for point in points:
        state = Statevector(make_ansatz().assign_parameters(point))
        words.append({f"{b}00000001{a}0": p for (b, a), p in state.probabilities_dict().items()})
    return words


def test_samples_are_those_of_the_state_in_every_register(caller: CircuitCaller) -> None:
    pub = (measure_in_registers(), POINTS[:4].reshape(2, 2, 4), 2000)
    result = Sampler(caller, seed=1).run([pub]).result()[0]
    assert result.data.shape == (2, 2)
    assert (result.data.first.num_bits, result.data.second.num_bits) == (2, 9)
    check_samples(result, exact_words(POINTS[:4]))
    assert result.metadata["degraded"] is False
    # slices of the shots are alike: a listing by bit string would not be
    half = result.data.first[0, 0].slice_shots(range(1000)).get_counts()
    whole = result.data.first[0, 0].get_counts()
    assert half.keys() == whole.keys()


@dataclass
class Planting:
    """A CircuitCaller with an error planted in the requests or in the answers."""

    inner: CircuitCaller
    change: Callable[[CircuitBatch], CircuitBatch] = lambda batch: batch
    spoil: Callable[[CircuitOutcome], CircuitOutcome] = lambda outcome: outcome

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        return Done(tuple(map(self.spoil, self.inner.submit(self.change(batch)).result())))


@dataclass
class Done:
    """A PendingBatch that has ended."""

    outcomes: tuple[CircuitOutcome, ...]

    def done(self) -> bool:
        return True

    def result(self) -> tuple[CircuitOutcome, ...]:
        return self.outcomes

    def cancel(self) -> bool:
        return False


def permute(batch: CircuitBatch) -> CircuitBatch:
    circuits = tuple(
        replace(circuit, points=circuit.points[:, [1, 0, *range(2, circuit.points.shape[1])]])
        for circuit in batch.circuits
    )
    return replace(batch, circuits=circuits)


def flip(outcome: CircuitOutcome) -> CircuitOutcome:
    """The first measured bit, and so the sign of every term on it."""
    assert isinstance(outcome, Executed)
    pool = outcome.samples.pool.copy()
    pool[:, 0] ^= 1
    return replace(outcome, samples=Samples(pool, outcome.samples.counts))


def test_a_planted_sign_error_and_a_planted_permutation_fail_the_comparison(caller: CircuitCaller) -> None:
    pub = (make_ansatz(), OBSERVABLES[1], POINTS)
    exact = exact_values(pub)
    check_values(Estimator(Planting(caller)).run([pub]).result()[0], exact)
    samples = (measure_in_registers(), POINTS, 2000)
    check_samples(Sampler(Planting(caller)).run([samples]).result()[0], exact_words(POINTS))
    for planted in (Planting(caller, spoil=flip), Planting(caller, change=permute)):
        with pytest.raises(AssertionError):
            check_values(Estimator(planted).run([pub]).result()[0], exact)
        with pytest.raises(AssertionError):
            check_samples(Sampler(planted).run([samples]).result()[0], exact_words(POINTS))


def test_terms_that_commute_qubit_by_qubit_are_measured_together() -> None:
    operator = SparsePauliOp(["ZZI", "IZZ", "XXI", "IXX", "ZIZ", "III"], np.ones(6))
    assert len(group(read_terms(dict(operator.to_list()), 3))) == 2


def test_projectors_are_expanded_and_complex_coefficients_refused() -> None:
    assert read_terms({"0+": 2.0}, 2) == {
        (): 0.5,
        ((1, "Z"),): 0.5,
        ((0, "X"),): 0.5,
        ((0, "X"), (1, "Z")): 0.5,
    }
    with pytest.raises(CircuitError, match="real"):
        read_terms({"Z": 1j}, 1)  # type: ignore[dict-item]


def test_a_delay_of_a_parameter_and_parameters_of_any_name_are_run(caller: CircuitCaller) -> None:
    pause, angle = Parameter("pause"), Parameter("_shotclock_0")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    circuit.delay(pause, 0, "us")
    result = (
        Estimator(caller, default_precision=0.1).run([(circuit, "Z", [[0.0, 1.0], [np.pi, 2.0]])]).result()
    )
    assert result[0].data.evs.tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda caller: Estimator(caller).run([(make_ansatz(), "ZZ", POINTS[0], 0.0)]), "precision"),
        (lambda caller: Estimator(caller).run([(measure_in_registers(), "ZZZZ", POINTS[0])]), "measure"),
        (lambda caller: Sampler(caller).run([QuantumCircuit(1, 1)]).result(), "empty"),
    ],
)
def test_a_pub_that_cannot_run_is_one_clear_error(
    caller: CircuitCaller, run: Callable[[CircuitCaller], Any], message: str
) -> None:
    with pytest.raises(CircuitError, match=message):
        run(caller)


LATE = Late(DeadlinePassed(10**9), NOBODY)


@dataclass
class Scripted:
    """A CircuitCaller whose batches end in this outcome at every point."""

    outcome: CircuitOutcome

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        return Done((self.outcome,) * batch.points)


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (LATE, shotclock.DeadlineExceeded, "budget of 1 s"),
        (Shed(Rejection("remaining_budget", 1, 2, "s", 0), NOBODY), shotclock.DeadlineExceeded, "would miss"),
        (Shed(Rejection("queue_limit", 1, 2, "calls", 0), NOBODY), CallRefusedError, "queue_limit"),
        (Failed(ProviderFault("no such gate"), NOBODY), CallFailedError, "no such gate"),
    ],
)
def test_a_call_without_an_answer_says_why(
    outcome: CircuitOutcome, kind: type[Exception], message: str
) -> None:
    job = Sampler(Scripted(outcome)).run([bell()])
    assert job.status() is JobStatus.ERROR
    assert job.in_final_state()
    assert not job.done()
    with pytest.raises(kind, match=message):
        job.result()


def test_a_local_simulation_answers_in_place_of_the_qpu_and_says_so() -> None:
    job = Sampler(Scripted(LATE), fallback="local").run([bell()], shots=100)
    assert job.done()
    result = job.result()[0]
    assert set(result.data.meas.get_counts()) == {"00", "11"}
    assert result.metadata["degraded"] is True
    assert result.metadata["fallback"] == "local"
    assert "budget of 1 s" in result.metadata["reason"]
    values = Estimator(Scripted(LATE), fallback="local").run([PUB]).result()[0]
    assert values.metadata["degraded"] is True
    assert values.data.evs.shape == (2, 5)


def test_a_circuit_too_large_to_simulate_here_raises_instead() -> None:
    wide = QuantumCircuit(40)
    wide.h(range(40))
    wide.measure_all()
    with pytest.raises(shotclock.DeadlineExceeded):
        Sampler(Scripted(LATE), fallback="local").run([wide]).result()


def test_the_last_value_answers_where_an_equal_pub_has_one() -> None:
    samples = Samples(np.array([[1, 1]], np.uint8), np.array([100]))
    scripted = Scripted(Executed(samples, NOBODY))
    sampler = Sampler(scripted, fallback="last")
    assert sampler.counts == PrimitiveCounts()
    assert sampler.run([bell()], shots=100).result()[0].metadata["degraded"] is False
    scripted.outcome = LATE
    result = sampler.run([bell()], shots=100).result()[0]
    assert result.data.meas.get_counts() == {"11": 100}
    assert result.metadata["degraded"] is True
    with pytest.raises(shotclock.DeadlineExceeded):
        sampler.run([bell()], shots=200).result()
    assert sampler.counts == PrimitiveCounts(answered=1, degraded=1, unanswered=1, pubs=2)


def test_a_function_answers_as_it_likes() -> None:
    def answer(pub: Any) -> PubResult:
        return Estimator(Scripted(LATE), fallback="local").run([pub]).result()[0]

    result = Estimator(Scripted(LATE), fallback=answer).run([PUB]).result()[0]
    assert result.metadata["fallback"] == "function"


def test_a_cancelled_job_says_so(caller: CircuitCaller) -> None:
    job = Sampler(caller).run([bell()])
    assert job.status() is JobStatus.RUNNING
    assert job.running()
    assert job.cancel()
    assert job.cancelled()
    assert job.status() is JobStatus.CANCELLED
    assert repr(job) == f"<Job {job.job_id()}: CANCELLED>"


@pytest.mark.parametrize("budget", ["", "0s", "2", "two", -1.0, float("nan"), "1h"])
def test_a_budget_is_a_positive_time(budget: str | float) -> None:
    with pytest.raises(SettingsError, match="budget"):
        CallOptions(budget)


def test_equal_circuits_are_sent_once_whoever_builds_them() -> None:
    batches: list[CircuitBatch] = []

    @dataclass
    class Recording(Scripted):
        def submit(self, batch: CircuitBatch) -> PendingBatch:
            batches.append(batch)
            return super().submit(batch)

    estimator = Estimator(Recording(LATE))
    renamed = make_ansatz().assign_parameters(ParameterVector("φ", 4))
    estimator.run([(make_ansatz(), "ZZ", POINTS), (renamed, "IZ", POINTS), (make_ansatz(), "ZI", POINTS)])
    estimator.run([(make_ansatz(), "ZZ", POINTS)])
    assert [len(batch.circuits) for batch in batches] == [3, 1]
    assert batches[0].circuits[0].source == batches[1].circuits[0].source
    assert isinstance(PrimitiveResult([]), PrimitiveResult)
