"""One line from a notebook: what a model becomes, what comes back, and calls inside a running loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dimod
import networkx
import numpy as np
import pytest
import rustworkx
from qiskit import QuantumCircuit

import shotclock
from certificates import SERVER, TRAINER, Site
from mtls_loopback import POLICY, ScriptedDispatcher, ScriptedOperations
from shotclock.app import ask
from shotclock.app.host import WallHost
from shotclock.app.models import read_model
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.errors import CallFailedError, CallRefusedError, SettingsError, SubproblemError
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    DeadlinePassed,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.fallback import Classical
from shotclock.wire.server import serve
from shotclock.wire.tls import ClientTls, ServerTls

PROVENANCE = Provenance(
    "emulated", True, 0, (StageTiming(Stage.QPU_EXEC_TIME, 10, 2_000_000, 1_000_000),), "job-7", 1, shots=64
)
REJECTION = Rejection("queue_limit", 4, 4, "calls waiting", 0.2)


async def solve_classically(subproblem: Subproblem) -> Outcome:
    bits = Classical().solve(subproblem)
    answer = Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, "exact")
    samples = Samples(bits[None, :], np.array([64]))
    return Done(answer, samples, answer, PROVENANCE)


@pytest.fixture
def dispatcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDispatcher]:
    """The dispatcher in place of the orchestrator in this process."""
    host, dispatcher = WallHost(), ScriptedDispatcher(solve_classically)
    service = ask.Service(host, dispatcher, None)
    monkeypatch.setattr(ask, "_services", {("", ask.WITHOUT_TLS, ""): service})
    yield dispatcher
    host.close()


@pytest.mark.usefixtures("dispatcher")
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_a_dimod_model_is_minimised_in_its_own_terms(vartype: str) -> None:
    model = dimod.BQM({"b": -3, 7: 2, "c": 0.5}, {("b", 7): 1, (7, "c"): -4}, 1.5, vartype)
    solution = shotclock.solve(model, budget="200ms")
    best = dimod.ExactSolver().sample(model).first  # type: ignore[no-untyped-call]
    assert solution.objective == pytest.approx(best.energy)
    assert solution.sample == best.sample
    assert solution.is_feasible
    assert not solution.penalties
    assert isinstance(solution.outcome, Done)


def make_cqm() -> Any:
    items, chosen = dimod.Integer("items", upper_bound=3), dimod.Binary("chosen")
    model = dimod.ConstrainedQuadraticModel()  # type: ignore[no-untyped-call]
    model.set_objective(-items - 2 * chosen)
    model.add_constraint(items + 3 * chosen <= 4, label="capacity")
    return model


@pytest.mark.usefixtures("dispatcher")
def test_constraints_become_penalties_that_are_named_with_their_weights() -> None:
    solution = shotclock.solve(make_cqm())
    assert solution.objective == -3.0
    assert solution.is_feasible
    assert dict(solution.penalties) == {"capacity": 6.0}
    assert "penalties   capacity 6" in solution.summary()
    weak = shotclock.solve(make_cqm(), penalty=0.01)
    assert weak.sample == {"chosen": 1, "items": 3}
    assert dict(weak.violations) == {"capacity": 2.0}
    assert "1 constraints violated" in repr(weak)
    assert "violated    capacity by 2" in weak.summary()


def make_refused(kind: str) -> Any:
    model = make_cqm()
    x, y = dimod.Binary("x"), dimod.Binary("y")
    match kind:
        case "soft":
            model.add_constraint(x + y <= 1, label="soft", weight=2.0)
        case "quadratic":
            model.add_constraint(x * y <= 0, label="both")
        case "real":
            model.add_variable("REAL", "r")
        case "wide":
            model.add_constraint(sum(dimod.Binary(f"v{index}") for index in range(300)) <= 1)
        case "negative":
            model.add_variable("INTEGER", "n", lower_bound=-2, upper_bound=2)
    return model


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("soft", r"cqm: constraint 'soft' is soft; make it hard"),
        ("quadratic", r"cqm: its constraints cannot become penalties: .*quadratic constraints"),
        ("real", r"cqm: its constraints cannot become penalties"),
        ("wide", r"model: must have 1 to 256 variables \(got 30\d, \d+ of them for integers and slack\)"),
        ("negative", r"cqm: its constraints cannot become penalties: .*lower bound"),
    ],
)
def test_a_constraint_that_cannot_be_penalised_is_refused_with_the_reason(kind: str, message: str) -> None:
    with pytest.raises(SubproblemError, match=message) as caught:
        read_model(make_refused(kind))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("inf"), float("nan"), "x"])
def test_a_penalty_is_a_positive_number(penalty: Any) -> None:
    with pytest.raises(SubproblemError, match=r"penalty: must be a finite number above 0"):
        read_model(make_cqm(), penalty)
    with pytest.raises(SubproblemError, match=r"penalty: must be a finite number above 0"):
        read_model(dimod.BQM({"a": 1.0}, {}, 0.0, "BINARY"), penalty)


def make_networkx() -> Any:
    graph = networkx.Graph()
    graph.add_weighted_edges_from([("a", "b", 2.0), ("b", "c", -1.0), ("c", "a", 1.5), ("a", "a", 9.0)])
    graph.add_edge("c", "d")
    return graph


def make_rustworkx() -> Any:
    graph = rustworkx.PyGraph()
    graph.add_nodes_from("abcd")
    graph.add_edges_from([(0, 1, 2.0), (1, 2, -1.0), (2, 0, 1.5), (0, 0, 9.0), (2, 3, None)])
    return graph


@pytest.mark.usefixtures("dispatcher")
@pytest.mark.parametrize("make", [make_networkx, make_rustworkx])
def test_the_largest_cut_of_a_graph(make: Any) -> None:
    solution = shotclock.solve(make())
    assert solution.objective == 4.5  # every edge but the one that counts against it
    assert repr(solution).startswith("<Solution: cut 4.5, winner classical (exact)")
    assert len(solution.sample) == 4


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, r"model: must be a dimod BinaryQuadraticModel .* \(got int\)"),
        (networkx.DiGraph([(1, 2)]), r"graph: must be undirected"),
        (rustworkx.PyDiGraph(), r"graph: must be undirected"),
        (networkx.Graph(), r"model: must have 1 to 256 variables \(got 0\)"),
        (networkx.empty_graph(257), r"model: must have 1 to 256 variables \(got 257\)"),
        (dimod.BQM("SPIN"), r"model: must have 1 to 256 variables \(got 0\)"),
        (
            networkx.Graph([(1, 2, {"weight": float("nan")})]),
            r"graph: the weight of edge 1, 2 must be a finite",
        ),
        (networkx.Graph([(1, 2, {"weight": "x"})]), r"graph: the weight of edge 1, 2 must be a finite"),
    ],
)
def test_a_model_that_cannot_be_solved_is_refused_with_the_reason(model: Any, message: str) -> None:
    with pytest.raises(SubproblemError, match=message):
        shotclock.solve(model)


@pytest.mark.usefixtures("dispatcher")
def test_a_call_may_block_inside_a_running_loop() -> None:
    async def cell() -> float:
        return shotclock.solve(make_networkx(), budget=1).objective

    assert asyncio.run(cell()) == 4.5


def test_budget_and_request_ids_arrive(dispatcher: ScriptedDispatcher) -> None:
    for _ in range(2):
        shotclock.solve(make_networkx(), budget="200ms")
    first, second = dispatcher.subproblems
    assert first.budget_ns == 200_000_000
    assert first.request_id != second.request_id
    for budget in ("soon", "200", "-1ms", 0, -1.0, math.nan, None, [1]):
        with pytest.raises(SettingsError, match="budget: must be a positive time"):
            shotclock.solve(make_networkx(), budget=budget)  # type: ignore[arg-type]


def make_bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def test_counts_of_a_circuit_are_written_as_qiskit_writes_them(dispatcher: ScriptedDispatcher) -> None:
    async def execute(spec: CircuitSpec) -> CircuitOutcome:
        return Executed(
            Samples(np.array([[0, 1], [1, 1]], np.uint8), np.array([3, spec.shots - 3])), PROVENANCE
        )

    dispatcher.executes = execute
    result = shotclock.run(make_bell(), shots=10, budget="2s")
    assert result.counts == {"11": 7, "10": 3}
    assert list(result.counts) == ["11", "10"]
    assert result.shots == 10
    assert repr(result) == "<CircuitResult: 10 shots, 2 bit strings, EMULATED>"
    for words in (
        "counts      11 7, 10 3",
        "deadline    2 s",
        "emulated (EMULATED)",
        "job-7",
        "2 ms, 1 of them",
    ):
        assert words in result.summary()


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Shed(REJECTION, PROVENANCE), CallRefusedError),
        (Late(DeadlinePassed(5), PROVENANCE), shotclock.DeadlineExceeded),
        (Failed(ProviderFault("the fridge is warm"), PROVENANCE), CallFailedError),
    ],
)
def test_a_call_without_an_answer_raises(
    dispatcher: ScriptedDispatcher, outcome: Shed | Late | Failed, error: type[Exception]
) -> None:
    async def end(work: Any) -> Any:
        return outcome

    dispatcher.solves = dispatcher.executes = end
    with pytest.raises(error):
        shotclock.solve(make_networkx())
    with pytest.raises(error):
        shotclock.run(make_bell())


def test_an_answer_without_samples_says_why(dispatcher: ScriptedDispatcher) -> None:
    async def degrade(subproblem: Subproblem) -> Outcome:
        bits = np.zeros(subproblem.n, np.uint8)
        return Degraded(Answer(bits, 0.0, Winner.INCUMBENT, "incumbent"), REJECTION, PROVENANCE)

    dispatcher.solves = degrade
    solution = shotclock.solve(make_networkx(), budget=0.5)
    assert repr(solution) == "<Solution: cut 0, winner incumbent (all bits 0), degraded, EMULATED>"
    assert "deadline    0.5 s, answered classically: rejected: queue_limit" in solution.summary()


def test_every_outcome_says_what_happened() -> None:
    samples = Samples(np.zeros((1, 2), np.uint8), np.array([64]))
    answer = Answer(np.zeros(2, np.uint8), -1.5, Winner.QUANTUM, "qaoa")
    fault = ProviderFault("the fridge is warm")
    words_of = {
        Done(
            answer, samples, None, PROVENANCE
        ): "Done, energy -1.5, winner quantum (qaoa), 64 shots, 1 distinct",
        Degraded(answer, fault, PROVENANCE): "winner quantum (qaoa), provider: the fridge is warm",
        Executed(samples, PROVENANCE): "Executed, 64 shots",
        Shed(REJECTION, PROVENANCE): "Shed, rejected: queue_limit: 4 calls waiting",
        Late(DeadlinePassed(5), PROVENANCE): "Late, deadline passed",
        Failed(fault, PROVENANCE): "Failed, provider: the fridge is warm",
    }
    for outcome, words in words_of.items():
        assert words in repr(outcome)
        assert repr(outcome).endswith("EMULATED>")
        first, *facts = outcome.summary().splitlines()
        assert first == repr(outcome)[1:-1]
        assert any("job-7" in fact for fact in facts)


def test_a_target_is_asked_over_mutual_tls(tmp_path: Path) -> None:
    site, host = Site.at(tmp_path), WallHost()
    dispatcher = ScriptedDispatcher(solve_classically)
    tls = ServerTls(site.issue(SERVER), POLICY)
    server = host.run(serve(dispatcher, ScriptedOperations(), "127.0.0.1:0", tls))
    security = ClientTls(site.issue(TRAINER), SERVER)
    try:
        solution = shotclock.solve(make_networkx(), target=f"127.0.0.1:{server.port}", security=security)
        assert solution.objective == 4.5
        result = shotclock.run(make_bell(), shots=7, target=f"127.0.0.1:{server.port}", security=security)
        assert result.shots == 7
        assert len(dispatcher.circuits) == 1
    finally:
        ask.close_services()
        host.run(server.stop(0))
        host.close()


def test_a_forked_process_makes_its_service_and_closes_none_of_the_parent(
    dispatcher: ScriptedDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = ask.Service(WallHost(), dispatcher, None)
    closed: list[str] = []
    with ExitStack() as ending:
        ending.callback(closed.append, "parent's")
        monkeypatch.setattr(ask, "_ending", ending)
        monkeypatch.setattr(ask, "_make_service", lambda *_: service)
        assert ask._find_service("", ask.WITHOUT_TLS, None) is not service
        monkeypatch.setattr(ask, "_owner", ask.Owner(0))  # as after a fork: another process made them
        assert ask._find_service("", ask.WITHOUT_TLS, None) is service
        monkeypatch.setattr(ask, "_owner", ask.Owner(0))
        ask.close_services()
    assert not closed
    service.host.close()
