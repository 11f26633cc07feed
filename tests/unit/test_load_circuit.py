"""A user circuit under load: measured as subproblems are, and reported with its cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from harness import LoopClock, run_virtual
from queueing import MS, Queue, run_load
from shotclock.app.load_generator import make_first_calls
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario, instances
from shotclock.bench.load.circuit import CircuitFile
from shotclock.bench.load.folder import read_load, write_load
from shotclock.bench.load.generate import LoadGenerator
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CallRecord, classify_answer
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.load.scripted import MADE_UP
from shotclock.bench.load.summarise import LoadFacts, QpuPrice, summarise
from shotclock.bench.report.load.page import write_load_report
from shotclock.bench.report.load.wording import sentences, show_load
from shotclock.bench.verify.load_run import check_load
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.outcome import (
    CircuitOutcome,
    DeadlinePassed,
    Failed,
    Late,
    ProviderFault,
    Rejection,
    Shed,
    why_no_samples,
)

SPEC = CircuitSpec("OPENQASM 3.0;", 64, (("theta", 0.5),))
SERVER = ArrivalPlan(Scenario.SERVER, rate_per_s=100, duration_s=10, deadline_ns=200 * MS)
FULL = Rejection("queue_limit", 1, 2, "calls", 0.1)
SHED, LATE = Shed(FULL, MADE_UP), Late(DeadlinePassed(MS), MADE_UP)
FAILED = Failed(ProviderFault("no such gate"), MADE_UP)


@dataclass
class RefusingDispatcher(Queue):
    """Ends circuits in these outcomes, in turn; with none of them left, in samples."""

    ends: Sequence[CircuitOutcome] = ()

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        outcome = await super().execute(spec)
        return self.ends[len(self.budgets_ns) - 1] if len(self.budgets_ns) <= len(self.ends) else outcome


def circuits(plan: ArrivalPlan, queue: Queue) -> list[CallRecord]:
    async def main() -> list[CallRecord]:
        return await LoadGenerator(plan, queue, LoopClock(), (SPEC,)).generate()

    return run_virtual(main())


def summary_of(calls: list[CallRecord], price: QpuPrice | None = None) -> LoadSummary:
    facts = LoadFacts(
        shotclock="0.1",
        started_at="2026-11-22T10:00:00",
        run_id="load-x",
        interrupted=False,
        target="q",
        provider="q",
        emulated=True,
        clock="virtual",
        environment={"cpu": "one"},
        basis="quantum",
        knee=None,
        circuit=CircuitFile("own.qasm", SPEC).to_record(),
        price=price,
    )
    return summarise([judge(calls, SERVER, "quantum")], calls, replace(SERVER, n=2), facts)


@pytest.mark.parametrize("scenario", Scenario)
def test_a_circuit_is_measured_as_a_subproblem_is(scenario: Scenario) -> None:
    plan = replace(SERVER, scenario=scenario, duration_s=2)

    def service_s(number: int) -> float:
        return 0.3 if number == 50 else 0.004

    of_circuit, solved = circuits(plan, Queue(service_s)), run_load(plan, Queue(service_s))
    assert [replace(call, outcome="done") for call in of_circuit] == solved
    assert {call.outcome for call in of_circuit} == {"executed"}
    assert {call.answered_by for call in of_circuit} == {"qpu"}


def test_each_call_has_its_own_budget_of_the_one_circuit() -> None:
    queue = Queue(lambda number: 0.001)
    circuits(SERVER, queue)
    assert max(queue.budgets_ns) <= SERVER.deadline_ns
    assert min(queue.budgets_ns) >= SERVER.deadline_ns - 10_000


def test_a_circuit_without_samples_is_unanswered_and_missed() -> None:
    calls = circuits(SERVER, RefusingDispatcher(lambda number: 0.001, ends=[SHED, LATE, FAILED]))
    load_run = judge(calls, SERVER, "quantum")
    assert (
        load_run.quantum_latency.missed == load_run.latency.missed == load_run.by_class["unanswered"].n == 3
    )
    assert load_run.causes == {
        "rejected: queue_limit": 1,
        "deadline passed": 1,
        "provider: no such gate": 1,
    }
    assert load_run.quantum_share.n == load_run.calls
    assert load_run.quantum_goodput_per_s == pytest.approx((load_run.calls - 3) / SERVER.duration_s)


def test_a_cause_is_reported_with_its_figures_or_without() -> None:
    assert why_no_samples(SHED, figures=False) == "rejected: queue_limit"
    assert why_no_samples(SHED, figures=True) == f"rejected: {FULL}"
    assert classify_answer(SHED) == "unanswered"


def test_the_first_call_takes_no_refusal_of_a_circuit_and_tells_its_bits() -> None:
    requests = (SPEC,)
    assert run_virtual(make_first_calls(Queue(lambda number: 5.0), requests, "here")) == 1
    for end in (SHED, LATE, FAILED):
        with pytest.raises(MachineError, match="here: accepts no calls"):
            run_virtual(
                make_first_calls(RefusingDispatcher(lambda number: 0.1, ends=[end]), requests, "here")
            )
    assert run_virtual(make_first_calls(Queue(lambda number: 0.1), instances(5, 0, 3), "here")) == 5


@pytest.mark.parametrize(
    ("content", "values", "shots", "words"),
    [
        (None, [], 1, "--circuit {file}: No such file or directory"),
        (b"", [], 1, "source: is empty"),
        (b"\xff\xfe\x00", [], 1, "neither OpenQASM 3 text nor QPY"),
        (b"OPENQASM 3.0;", [], 0, "--shots 0: must be at least 1"),
        (b"OPENQASM 3.0;", ["theta"], 1, "--value theta: expected NAME=NUMBER"),
        (b"OPENQASM 3.0;", ["=1"], 1, "expected NAME=NUMBER"),
        (b"OPENQASM 3.0;", ["theta=much"], 1, "--value theta=much: 'much' is not a number"),
        (b"OPENQASM 3.0;", ["theta=1", "theta=2"], 1, "theta has a value already"),
        (b"OPENQASM 3.0;", ["theta=inf"], 1, "--value theta=inf: must be a finite number"),
    ],
)
def test_a_circuit_that_cannot_be_asked_is_one_line(
    tmp_path: Path, content: bytes | None, values: list[str], shots: int, words: str
) -> None:
    file = tmp_path / "own.qasm"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        CircuitFile.read(file, values, shots)
    assert words.format(file=file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_text_and_qpy_are_distinguished_by_their_first_bytes(tmp_path: Path) -> None:
    text, binary = tmp_path / "own.qasm", tmp_path / "own.qpy"
    text.write_text("OPENQASM 3.0;", encoding="utf-8")
    binary.write_bytes(b"QISKIT\x11and so on")
    assert CircuitFile.read(text, ["a=1", "b[0]=-2e-3"], 5).spec == CircuitSpec(
        "OPENQASM 3.0;", 5, (("a", 1.0), ("b[0]", -0.002))
    )
    assert CircuitFile.read(binary, [], 5).spec.source == b"QISKIT\x11and so on"


def test_the_circuit_is_in_the_summary_the_page_and_the_terminal(tmp_path: Path) -> None:
    calls = circuits(SERVER, Queue(lambda number: 0.004))
    summary = summary_of(calls)
    write_load(summary, calls, tmp_path)
    assert read_load(tmp_path) == summary
    assert summary.circuit is not None
    page = write_load_report(summary, calls, tmp_path).read_text(encoding="utf-8")
    console = Console(record=True, width=200)
    show_load(summary, console)
    for text in (page, console.export_text(), (tmp_path / "charts" / "latency_over_time.svg").read_text()):
        assert "own.qasm, 64 shots, 2 bits" in text
        assert "n = " not in text
    assert "theta = 0.5" in page
    assert summary.circuit.sha256[:12] in page
    assert "variables a subproblem" not in page


def make_priced(qpu_s: float) -> tuple[LoadSummary, list[CallRecord]]:
    """One call in ten, beginning with the first, is late; each has had the QPU for so long."""
    calls = circuits(SERVER, Queue(lambda number: 0.004))
    calls = [
        replace(call, qpu_s=qpu_s, answered_by="unanswered" if number % 10 == 0 else "qpu")
        for number, call in enumerate(calls)
    ]
    return summary_of(calls, QpuPrice("EUR", 2.0)), calls


def test_qpu_seconds_have_a_price_marked_emulated_and_what_came_late_is_paid_too(tmp_path: Path) -> None:
    summary, calls = make_priced(0.25)
    assert summary.cost is not None
    assert summary.cost.qpu_s == pytest.approx(0.25 * len(calls))
    assert summary.cost.money == pytest.approx(0.5 * len(calls))
    in_time = sum(call.answered_by == "qpu" for call in calls)
    assert in_time < len(calls)
    assert summary.cost.money_per_hit == pytest.approx(0.5 * len(calls) / in_time)
    console = Console(record=True, width=200)
    show_load(summary, console)
    price_line = next(line for line in console.export_text().splitlines() if "QPU seconds" in line)
    assert price_line.startswith("EMULATED, VIRTUAL CLOCK")
    assert " EUR" in price_line
    assert price_line.strip() in write_load_report(summary, calls, tmp_path).read_text(encoding="utf-8")


def test_an_abandoned_call_may_have_cost_more_than_is_reported() -> None:
    _, calls = make_priced(0.25)
    calls[0] = replace(calls[0], qpu_s=0.0, attempts=1)
    summary = summary_of(calls, QpuPrice("EUR", 2.0))
    assert summary.cost is not None
    assert summary.cost.untold == 1
    assert "at least " in " ".join(sentences(summary))
    assert "at least " not in " ".join(sentences(make_priced(0.25)[0]))


def test_without_qpu_seconds_no_money_is_reported(tmp_path: Path) -> None:
    summary, calls = make_priced(0.0)
    assert summary.cost is None
    page = write_load_report(summary, calls, tmp_path).read_text(encoding="utf-8")
    assert "EUR" not in page
    assert "no QPU seconds are reported" in page


def test_verify_recomputes_the_money(tmp_path: Path) -> None:
    summary, calls = make_priced(0.25)
    write_load(summary, calls, tmp_path)
    write_load_report(summary, calls, tmp_path)
    assert not [fault for fault in check_load(tmp_path) if "cost" in str(fault)]
    document = json.loads((tmp_path / "load.json").read_text(encoding="utf-8"))
    document["cost"]["money"] *= 0.5
    (tmp_path / "load.json").write_text(json.dumps(document), encoding="utf-8")
    assert any("cost.money: says" in str(fault) for fault in check_load(tmp_path))


def test_a_load_json_from_before_circuits_and_money_is_read(tmp_path: Path) -> None:
    calls = circuits(SERVER, Queue(lambda number: 0.004))
    document = json.loads(summary_of(calls).model_dump_json(by_alias=True))
    del document["circuit"], document["cost"]
    (tmp_path / "load.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_load(tmp_path).circuit is None
