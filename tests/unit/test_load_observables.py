"""Observables of a load test: what is read of flags and files, what a call measures, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness import LoopClock, run_virtual
from queueing import MS, Queue
from shotclock.app.measured_circuit import measure_source
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.generate import LoadGenerator, join_points
from shotclock.bench.load.observables import Observable, read_observables
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import Circuit
from shotclock.cli.load import _circuit
from shotclock.domain.circuit import Samples
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints, Deliver
from shotclock.domain.errors import CircuitError, SettingsError
from shotclock.domain.outcome import CircuitOutcome, DeadlinePassed, Executed, Late, Provenance
from shotclock.settings import load

QASM = """OPENQASM 3.0;
include "stdgates.inc";
input angle theta;
qubit[2] q;
ry(theta) q[0];
cx q[0], q[1];
"""
DEVICE = "heron-torino"
PLAN = ArrivalPlan(Scenario.SINGLE_STREAM, rate_per_s=1, duration_s=1, deadline_ns=200 * MS)


def read(text: str) -> Observable:
    return Observable.read(text, "--observable")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ZZ", (("ZZ", 1.0),)),
        (" 0.5*ZZ - XI+.25e1 * IY ", (("ZZ", 0.5), ("XI", -1.0), ("IY", 2.5))),
        ("-Z", (("Z", -1.0),)),
    ],
)
def test_a_sum_of_pauli_strings_is_read(text: str, terms: tuple[tuple[str, float], ...]) -> None:
    assert read(text).terms == terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a sum of Pauli strings"),
        ("QQ", r"expected a sum of Pauli strings such as 0\.5\*ZZ - XI \(got 'QQ'\)"),
        ("ZZ XI", "expected a sum"),
        ("ZZ +", "expected a sum"),
        ("0.5 ZZ", "expected a sum"),
        ("zz", "expected a sum"),
        ("ZZ\x1b[2J", r"got 'ZZ\\x1b\[2J'"),
        ("ZZ + Z", "equal lengths"),
        ("1e999*ZZ", "finite"),
        ("3*II", "identity"),
    ],
)
def test_what_is_not_an_observable_is_one_line(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"^--observable: .*{words}") as refused:
        read(text)
    assert str(refused.value).isprintable()


def test_a_file_has_an_observable_a_line(tmp_path: Path) -> None:
    file = tmp_path / "o.txt"
    file.write_text("# energies\nZZ\n\n0.5*XX  # half\n", encoding="utf-8")
    assert [each.text for each in read_observables(["YY"], file)] == ["YY", "ZZ", "0.5*XX"]
    file.write_text("ZZ\nnonsense\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"o\.txt:2: expected a sum"):
        read_observables([], file)
    file.write_text("# none\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="has none; write one a line"):
        read_observables([], file)
    with pytest.raises(SettingsError, match=r"nowhere\.txt: No such file"):
        read_observables([], tmp_path / "nowhere.txt")
    with pytest.raises(SettingsError, match="at most 1,024"):
        read_observables(["ZZ"] * 1025, None)


@pytest.mark.parametrize("flag", ["--observable", "--observables"])
def test_observables_are_of_a_circuit(flag: str, tmp_path: Path) -> None:
    sums, file = (["ZZ"], None) if flag == "--observable" else ([], tmp_path / "o.txt")
    with pytest.raises(SettingsError, match=f"^{flag}: applies to a user circuit"):
        _circuit(None, [], None, load(None, {}), sums, file)


def build(*texts: str, source: str = QASM, theta: float = 0.7) -> CircuitBatch:
    return measure_source(source, {"theta": theta}, 64, tuple(read(text).terms for text in texts), DEVICE)


def test_a_call_measures_each_basis_once() -> None:
    batch = build("ZZ", "0.5*ZI - IZ", "XX + YY", "XI")
    assert len(batch.circuits) == 3
    assert {circuit.shots for circuit in batch.circuits} == {64}
    assert batch.points == 3


@pytest.mark.parametrize(
    ("texts", "source", "words"),
    [
        (("ZZZ",), QASM, "observables: have 3 letters, and the circuit has 2 qubits"),
        (("ZZ - ZZ",), QASM, "observables: add up to constants"),
        (("ZZ",), QASM + "bit[2] c;\nc = measure q;\n", "measure: an estimator measures by itself"),
        (("ZZ",), "nonsense", "source: not OpenQASM 3"),
    ],
)
def test_observables_that_do_not_fit_the_circuit_are_refused(
    texts: tuple[str, ...], source: str, words: str
) -> None:
    with pytest.raises(CircuitError, match=words):
        build(*texts, source=source)


def make_executed(job: str, at_ns: int) -> Executed:
    provenance = Provenance("q", True, 0, job_id=job, attempts=1, qpu_s=0.5, samples_at_ns=at_ns)
    return Executed(Samples(np.zeros((1, 1), np.uint8), np.array([4])), provenance)


def test_a_call_ends_with_its_last_point_and_one_point_without_samples_fails_it() -> None:
    joined = join_points([make_executed("a", 5), make_executed("b", 9), make_executed("a", 7)])
    assert isinstance(joined, Executed)
    provenance = joined.provenance
    assert (provenance.samples_at_ns, provenance.qpu_s, provenance.attempts) == (9, 1.5, 2)
    late = Late(DeadlinePassed(1), Provenance("q", True, 0))
    assert isinstance(join_points([make_executed("a", 5), late]), Late)


@dataclass
class LateOnce(Queue):
    """Its second batch has a point without samples."""

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        outcomes: dict[int, CircuitOutcome] = {}
        await super().execute_batch(batch, outcomes.__setitem__)
        if len(self.budgets_ns) == 2:
            outcomes[1] = Late(DeadlinePassed(1), outcomes[1].provenance)
        for index, outcome in outcomes.items():
            deliver(index, outcome)


def generate(requests: Sequence[CircuitBatch], queue: Queue) -> list[CallRecord]:
    async def main() -> list[CallRecord]:
        return await LoadGenerator(PLAN, queue, LoopClock(), requests).generate()

    return run_virtual(main())


def test_each_call_is_one_batch_with_the_calls_budget() -> None:
    batch = CircuitBatch((CircuitPoints("OPENQASM 3.0;", 4, (), np.zeros((1, 0))),) * 3)
    queue = LateOnce(lambda number: 0.1)
    calls = generate([batch], queue)
    assert [call.answered_by for call in calls[:3]] == ["qpu", "unanswered", "qpu"]
    assert calls[1].cause == "deadline passed"
    assert set(queue.budgets_ns) == {PLAN.deadline_ns}


def test_the_record_names_observables_and_reads_older_files() -> None:
    old = Circuit.model_validate({"file": "a", "sha256": "b", "values": {}, "shots": 3})
    assert str(old) == "a, 3 shots"
    new = old.model_copy(update={"observables": ("ZZ", "XX"), "bases": 2})
    assert str(new) == "a, 3 shots of 2 measured circuits, 2 observables"
