"""Unusual and wrong inputs of Sampler and Estimator: results as Qiskit's own, or one line before any job."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector
from qiskit.primitives import DataBin, StatevectorEstimator, StatevectorSampler
from qiskit.providers import JobStatus

from shotclock.domain.circuit import Samples
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.errors import (
    CallCancelledError,
    CallFailedError,
    CircuitError,
    SettingsError,
    ShotclockError,
)
from shotclock.domain.outcome import CircuitOutcome, DeadlinePassed, Executed, Late, Provenance
from shotclock.domain.ports import PendingBatch
from shotclock.primitives import CallOptions, Estimator, Sampler

SCRIPTED = Provenance("scripted", emulated=True, base_version=0, job_id="j", qpu_s=0.5)


@dataclass
class Batch:
    """A PendingBatch with these outcomes; without any it goes on until it is cancelled."""

    outcomes: tuple[CircuitOutcome, ...] = ()
    is_cancelled: bool = False

    def done(self) -> bool:
        return self.is_cancelled or bool(self.outcomes)

    def result(self) -> tuple[CircuitOutcome, ...]:
        if self.is_cancelled:
            raise CancelledError
        return self.outcomes

    def cancel(self) -> bool:
        self.is_cancelled = not self.outcomes
        return self.is_cancelled


@dataclass
class Caller:
    """A CircuitCaller whose every shot is a 0 of `bits` bits; how: late or silent instead."""

    bits: int = 2
    how: str = "answers"
    batches: list[CircuitBatch] = field(default_factory=list)

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        self.batches.append(batch)
        if self.how == "silent":
            return Batch()
        shots = [circuit.shots for circuit in batch.circuits for _ in circuit.points]
        if self.how == "late":
            return Batch((Late(DeadlinePassed(batch.budget_ns), SCRIPTED),) * len(shots))
        pool = np.zeros((1, self.bits), np.uint8)
        return Batch(tuple(Executed(Samples(pool, np.array([number])), SCRIPTED) for number in shots))


def make_circuit(*, is_measured: bool) -> QuantumCircuit:
    angles = ParameterVector("angle", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(angles[0], 0)
    circuit.ry(angles[1], 1)
    if is_measured:
        circuit.measure_all()
    return circuit


def make_named(register: str) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, register))
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("shape", [(0, 2), (3, 0, 2)])
def test_no_points_give_an_empty_result_as_the_reference_does(shape: tuple[int, ...]) -> None:
    caller, points = Caller(), np.zeros(shape)
    measured, bare = (make_circuit(is_measured=each) for each in (True, False))
    sampled = Sampler(caller).run([(measured, points, 7)])
    reference = StatevectorSampler().run([(measured, points, 7)]).result()[0].data.meas
    bits = sampled.result()[0].data.meas
    assert bits.shape == reference.shape == shape[:-1]
    assert bits.array.shape == reference.array.shape
    assert sampled.status() is JobStatus.DONE
    assert sampled.summary().endswith("no circuit had to run")
    values = Estimator(caller).run([(bare, "ZZ", points)]).result()[0]
    assert values.data.evs.shape == values.data.stds.shape == shape[:-1]
    assert not caller.batches


@pytest.mark.parametrize("observables", ["II", [], {"II": -0.5}, [["II"], ["II"]]])
def test_observables_that_need_no_circuit_have_exact_values(observables: Any) -> None:
    caller, circuit = Caller(), QuantumCircuit(2)
    estimator = Estimator(caller)
    result = estimator.run([(circuit, observables)]).result()[0]
    reference = StatevectorEstimator().run([(circuit, observables)]).result()[0]
    assert np.array_equal(result.data.evs, reference.data.evs)
    assert not result.data.stds.any()
    assert (result.metadata["jobs"], result.metadata["qpu_s"], result.metadata["degraded"]) == (
        [],
        0.0,
        False,
    )
    assert "provider" not in result.metadata
    assert estimator.counts.answered == 1
    assert not caller.batches


def test_a_single_value_is_an_array_as_the_reference_has_it() -> None:
    result = Estimator(Caller()).run([(QuantumCircuit(2), "ZZ")]).result()[0].data
    for name in ("evs", "stds"):
        assert isinstance(result[name], np.ndarray)
        assert (result[name].shape, result[name].dtype) == ((), np.float64)


def test_a_register_of_the_measured_basis_of_its_name_is_no_trouble() -> None:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "shotclock_basis"))
    assert Estimator(Caller()).run([(circuit, "Z")]).result()[0].data.evs == 1.0


def sample(pub: Any, **words: Any) -> Callable[[Caller], object]:
    return lambda caller: Sampler(caller).run([pub], **words)


def estimate(observables: Any, **words: Any) -> Callable[[Caller], object]:
    return lambda caller: Estimator(caller).run([(QuantumCircuit(2), observables)], **words)


MEASURED = make_circuit(is_measured=True)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (sample((MEASURED, [np.nan, 0.0])), CircuitError, r"values\.angle\[0\]: must be a finite .*got nan"),
        (sample((MEASURED, [0.0, np.inf])), CircuitError, r"values\.angle\[1\]: must be a finite .*got inf"),
        (sample(make_named("shape")), CircuitError, "registers: 'shape' is a name of Qiskit's DataBin"),
        (sample(make_named("keys")), CircuitError, "registers: 'keys' is a name of Qiskit's DataBin"),
        (sample((MEASURED, [0, 0]), shots=2**31), CircuitError, "shots: must be at most 2,147,483,647"),
        (sample((MEASURED, [0, 0]), budget=True), SettingsError, "budget: must be a positive time"),
        (estimate({"ZZ": np.nan}), CircuitError, r"observables: coefficients must be finite \(got nan"),
        (estimate({"ZZ": np.inf}), CircuitError, r"observables: coefficients must be finite \(got inf"),
        (estimate("ZZ", precision=1e-300), CircuitError, "precision: must be at least 2.2e-05, that of"),
        (estimate("ZZ", precision=np.nan), CircuitError, "precision: must be above 0"),
        (lambda caller: Sampler(caller, default_shots=None), SettingsError, "shots: must be a whole"),  # type: ignore[arg-type]
        (lambda caller: Sampler(caller, fallback=3), SettingsError, "fallback: must be"),  # type: ignore[arg-type]
        (lambda caller: Estimator(caller, default_precision=None), SettingsError, "precision: must be"),  # type: ignore[arg-type]
        (lambda _: CallOptions(priority="high"), SettingsError, "priority: must be Priority.LOW"),  # type: ignore[arg-type]
        (lambda _: CallOptions(run="a/b"), SettingsError, "run: must be printable text without"),
        (lambda _: CallOptions(run="\n"), SettingsError, "run: must be printable text without"),
    ],
)
def test_what_cannot_run_is_one_line_before_anything_is_submitted(
    call: Callable[[Caller], object], error: type[ShotclockError], says: str
) -> None:
    caller = Caller()
    with pytest.raises(error, match=says) as raised:
        call(caller)
    assert "\n" not in str(raised.value)
    assert not caller.batches


def test_every_name_that_a_result_refuses_is_refused_before_the_call() -> None:
    caller = Caller(bits=1)
    for name in sorted(DataBin._RESTRICTED_NAMES):
        with pytest.raises(CircuitError, match="registers"):
            Sampler(caller).run([make_named(name)])
    assert not caller.batches
    assert Sampler(caller).run([make_named("a b")]).result()[0].data["a b"].num_shots == 1024


def test_the_result_of_a_cancelled_job_says_that_it_was_cancelled() -> None:
    job = Sampler(Caller(how="silent")).run([make_named("c")])
    with pytest.raises(TimeoutError, match=r"no result within 0\.01 s; it goes on until its deadline"):
        job.result(timeout=0.01)
    assert job.cancel()
    for kind in (CallCancelledError, CancelledError):
        with pytest.raises(kind, match="was cancelled before it had ended"):
            job.result()
    assert job.status() is JobStatus.CANCELLED
    lost = Sampler(Caller(how="silent")).run([make_named("c")])
    lost._batches[0].cancel()  # as closing the connection does
    with pytest.raises(CallFailedError, match="the connection was closed before the call had ended"):
        lost.result()
    assert lost.status() is JobStatus.ERROR


def test_a_result_that_is_there_is_returned_without_waiting() -> None:
    job = Sampler(Caller(bits=1)).run([make_named("c")])
    assert job.result(timeout=0).metadata == job.result().metadata


def test_a_fallback_that_returns_something_else_is_named() -> None:
    sampler = Sampler(Caller(how="late"), fallback=lambda _: {"c": 0})
    with pytest.raises(SettingsError, match=r"fallback: the function must return a PubResult \(got dict\)"):
        sampler.run([make_named("c")]).result()


@pytest.mark.parametrize(("observable", "value"), [("0+", 0.0), ("00", 1.0), ({"1Z": 2.0, "ZZ": 1.0}, 1.0)])
def test_a_local_simulation_takes_projectors_as_the_device_does(observable: Any, value: float) -> None:
    estimator = Estimator(Caller(how="late"), fallback="local", default_precision=1e-3)
    circuit = QuantumCircuit(2)
    if observable == "0+":
        circuit.x(0)
        circuit.h(0)
    result = estimator.run([(circuit, [observable])]).result()[0]
    assert result.metadata["degraded"]
    assert result.data.evs == pytest.approx(value, abs=0.02)


def test_a_copied_model_shares_the_connection_and_a_pickle_is_refused_in_a_line() -> None:
    for primitive in (Sampler(Caller()), Estimator(Caller())):
        assert copy.deepcopy(primitive)._submitter is primitive._submitter
        with pytest.raises(TypeError, match=r"cannot be pickled.*call shotclock\.connect in each process"):
            pickle.dumps(primitive)
    with pytest.raises(TypeError, match="pickle its result"):
        pickle.dumps(Sampler(Caller(bits=1)).run([make_named("c")]))
