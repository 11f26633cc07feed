"""Where a corpus of `make soak-fuzz` begins: small valid inputs, and one small input of each hostile kind.

Small, because every later input grows from them, and libFuzzer runs small ones more often.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flag_files import make_file, make_share, make_shots, make_switch
from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import (
    Answer,
    DeadlinePassed,
    Degraded,
    Done,
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
from shotclock.wire.v1 import shotclock_pb2 as pb

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
PROGRAMS = (
    "qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; rz(pi / 2) q; c = measure q;",
    "gate a x { h x; } gate b x { a x; a x; } qubit q; b q;",
    "gate g(t) x, y { ctrl @ rz(-t * 2) x, y; } qubit[2] q; g(0.5) q[0], q[1];",
    "qubit[4] q; const int n = 2; let e = q[{0, 3}]; for int i in [0:n] { x e; } bit c = measure q[n];",
    "qubit[3] q; inv @ ctrl(2) @ x q[0], q[1], q[2]; pow(0.5) @ h q[0]; barrier q; reset q[1];",
    "qubit q; bit c; if (c == 1) { x q; } else z q; while (c) { c = measure q; } delay[10ns] q;",
    "def f(qubit q, int[32] n) -> bit { return measure q; } qubit q; bit c = f(q, 3);",
    "array[int[32], 10, 10] a; int[32] i = 0x1F; float[64] t = 1e-3; duration d = 2us; stretch s;",
    'input float[64] t; output bit c; bit[3] b = "101"; qubit[b] q; U(t, 0, 1) q; gphase(t);',
    "box { nop; } switch (1) { case 1, 2 { } default { } } extern f(int) -> int; cal { } pragma x",
    "/* a comment */ // another\nqubit é; rx(((((1.0))))) é; h $3;",
)
SIDE = {"command": ["shotclock"], "settings": "schema = 1"}
PAIRS = {"schema": 1, "bench": [], "a": SIDE, "b": SIDE}
SETTINGS = """schema = 1
[bench]
arms = ["hybrid-colocated"]
[kernel]
name = "qat_flip"
n = 12
[quantum]
shots = 256
[circuits.limits]
gates = 1_000
[serve]
listen = "127.0.0.1:7315"
trainers = ["a"]
"""
RECORD = {
    "created": "2026-11-01T00:00:00+00:00",
    "running": "2026-11-01T00:01:00+00:00",
    "finished": "2026-11-01T00:02:00+00:00",
    "usage_s": 3.0,
    "shots_s": 1.0,
}
HOSTILE_ROW = (b'["a", "b"]', b"[[[[1]]]] ")
FLAG_FILES = (
    make_file(quantum_path=make_switch(), shots=make_shots(64)),
    make_file(quantum_share=make_share(30)),
    make_file(quantum_path=make_switch(targeting={"if": [{"in": ["a", {"var": "client"}]}, "on", "off"]})),
    make_file(
        quantum_path=make_switch(targeting={"reduce": [[1, 2], {"cat": [{"var": "accumulator"}] * 2}, "a"]})
    ),
)


def seeds(target: str) -> list[bytes]:
    """The first inputs of a target."""
    return MAKERS[target]()


def _programs() -> list[bytes]:
    return [(HEAD + program).encode() for program in PROGRAMS]


def _qpy() -> list[bytes]:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    from shotclock.domain.circuit_bytes import dump_circuit

    plain, nested = QuantumCircuit(2, 1), QuantumCircuit(1, metadata={"a": 1})
    plain.rx(0.5, 1)
    plain.measure(0, 0)
    nested.append(QuantumCircuit(1, name="inner").to_gate(), [0])
    nested.rz(Parameter("a") * 2, 0)
    return [dump_circuit(plain), dump_circuit(nested)]


def _template() -> list[bytes]:
    import fuzz_targets
    from shotclock.circuits import store

    return [store.serialise(fuzz_targets.identity(), fuzz_targets.template())]


def _lines() -> list[bytes]:
    return [b'{"calibration": "a", "costs": [0.5], "device": "heron-torino", "lines": [[0, 1]], "n": 2}']


def _profile() -> list[bytes]:
    from shotclock.emulator import profile

    return [(Path(profile.__file__).parent / "profiles" / "colocated.toml").read_bytes()]


def _records() -> list[bytes]:
    head = ",".join(RECORD)
    return [json.dumps([RECORD] * 3).encode(), f"{head}\n{','.join(map(str, RECORD.values()))}\n".encode()]


def _history() -> list[bytes]:
    from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure

    figure = HistoryFigure("load.latency.p99_ms", "ms", "lower", 1_000, 12.5, 13.0)
    entry = HistoryEntry("r", "load", "2026-11-20T10:00:00", "0.1.0", True, "wall", {"cpu": "one"}, (figure,))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.db"
        with History(file) as history:
            history.add(entry)
        return [file.read_bytes()]


def _steps() -> list[bytes]:
    import pyarrow as pa

    from fuzz.hostile_files import parquet
    from shotclock.bench.record.rows import SCHEMA

    return [parquet(pa.Table.from_pylist([{"step": 1, "arm": "hybrid-colocated"}], SCHEMA))]


def _samples() -> list[bytes]:
    import pyarrow as pa

    from fuzz.hostile_files import parquet
    from shotclock.bench.record.samples import SCHEMA

    return [parquet(pa.Table.from_pylist([{"step": 1, "bitstring": "01", "count": 3}], SCHEMA))]


def _subproblems() -> list[bytes]:
    from shotclock.domain.subproblem import Subproblem
    from shotclock.wire.codec import encode_subproblem

    subproblem = Subproblem(np.array([[0, 1], [1, 0]], float), np.ones(2), 0.5, "qat_flip", "a", 3, 1_000)
    message = encode_subproblem(subproblem, 1_000)
    message.report.CopyFrom(pb.ClientReport(client=7, sequence=1, late=2, fallback=1, fallback_in_time=1))
    return [message.SerializeToString()]


def _batches() -> list[bytes]:
    subproblem = pb.Subproblem.FromString(_subproblems()[0])
    return [pb.SubproblemBatch(subproblems=[subproblem] * count).SerializeToString() for count in (1, 3)]


def _batch_answers() -> list[bytes]:
    outcomes = [
        pb.SubproblemOutcome(index=index, outcome=pb.Outcome.FromString(content))
        for index, content in enumerate(_answers()[:4])
    ]
    return [pb.SubproblemOutcomes(outcomes=some).SerializeToString() for some in (outcomes, outcomes[2:], [])]


def _circuits() -> list[bytes]:
    from shotclock.domain.circuit import CircuitSpec
    from shotclock.wire.codec import encode_circuit

    sources = (HEAD + PROGRAMS[0], b"QISKIT")
    specs = [CircuitSpec(source, 10, (("t", 0.5),), "a", 1_000) for source in sources]
    return [encode_circuit(spec, 1_000).SerializeToString() for spec in specs]


def _answers() -> list[bytes]:
    from shotclock.wire.outcomes import encode_outcome

    return [encode_outcome(outcome).SerializeToString() for outcome in _outcomes()]


def _circuit_answers() -> list[bytes]:
    from shotclock.domain.outcome import Executed
    from shotclock.wire.outcomes import encode_circuit_outcome

    executed = [Executed(each.samples, each.provenance) for each in _outcomes() if isinstance(each, Done)]
    ended = [each for each in _outcomes() if isinstance(each, Shed | Late | Failed)]
    return [encode_circuit_outcome(each).SerializeToString() for each in (*executed, *ended)]


def _outcomes() -> list[Outcome]:
    """Each way in which a call can end, of three variables."""
    answer = Answer(np.array([0, 1, 1], np.uint8), -1.5, Winner.CLASSICAL, "tabu")
    drawn = Samples(np.array([[1, 0, 0], [0, 1, 1]], np.uint8), np.array([5, 3]))
    stages = (StageTiming(Stage.BIND, 1, 2, 0),)
    provenance = Provenance("emulated", True, 3, stages, "job", 1, "key", 8, 0.5)
    rejection = Rejection("queue_limit", 1, 2, "calls", 0.1)
    causes = (rejection, DeadlinePassed(5), ProviderFault("x"))
    return [
        Done(answer, drawn, answer, provenance),
        *(Degraded(answer, cause, provenance) for cause in causes),
        Shed(rejection, provenance),
        Late(DeadlinePassed(5), provenance),
        Failed(ProviderFault("x"), provenance),
    ]


def _host_states() -> list[bytes]:
    trips = pb.RoundTrips(endpoint="q:1", p50_ms=1.0, p95_ms=2.0, n=130, age_s=0.5)
    whole = pb.HostState(name="a", fabrics=["ualink p.1"], round_trips=[trips], endpoint="q:1", load=0.5)
    return [whole.SerializeToString(), b""]


def _host_reports() -> list[bytes]:
    from shotclock.placement.report import write_report
    from shotclock.placement.topology import read_host
    from shotclock.placement.tree import Tree
    from shotclock.placement.values import Absent
    from topology_trees import build

    reports = []
    for machine in ("cxl-old", "rdma", "ualink"):
        with tempfile.TemporaryDirectory() as folder:
            view = read_host(Tree(build(machine, Path(folder))), Absent("files alone"))
        reports.append(write_report(view).encode())
    return reports


def _ledger() -> list[bytes]:
    import asyncio

    from shotclock.domain.ledger import JobRecord
    from shotclock.orchestrator.ledger.sqlite import SqliteLedger

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        ledger = SqliteLedger(file, lambda: 1.0)
        asyncio.run(ledger.intend(JobRecord("tag", "ibm", ("a", "b"), 8)))
        ledger.close()
        valid = file.read_bytes()
    assert valid.count(HOSTILE_ROW[0]) == 1
    return [valid, valid.replace(*HOSTILE_ROW)]


def _of_run(name: str) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        from fuzz.run_folders import make_run

        with tempfile.TemporaryDirectory() as folder:
            return [(make_run(Path(folder) / "run") / name).read_bytes()]

    return read


def _load() -> list[bytes]:
    from fuzz.run_folders import make_load

    with tempfile.TemporaryDirectory() as folder:
        return [(make_load(Path(folder)) / "load.json").read_bytes()]


MESSAGES: dict[str, Callable[[], list[bytes]]] = {
    "subproblem": _subproblems,
    "circuit": _circuits,
    "decision": lambda: [
        pb.DecidedRequest(request_id="a", decision=pb.DECISION_APPLIED, stale=True).SerializeToString()
    ],
    "answer": _answers,
    "subproblem-batch": _batches,
    "batch-answers": _batch_answers,
    "circuit-answer": _circuit_answers,
    "host-state": _host_states,
    "status": lambda: [
        pb.Status(
            phase=pb.PHASE_READY, provider="x", breaker=pb.BREAKER_STATE_CLOSED, running=1, warnings=["y"]
        ).SerializeToString()
    ],
}
"""Of the wire, both ways."""

MAKERS: dict[str, Callable[[], list[bytes]]] = {
    "qasm": _programs,
    "qasm-read": _programs,
    "qpy": _qpy,
    "template": _template,
    "lines": _lines,
    "settings": lambda: [SETTINGS.encode()],
    "profile": _profile,
    "records": _records,
    "pairs": lambda: [json.dumps(PAIRS).encode()],
    "history": _history,
    "parquet": _steps,
    "samples": _samples,
    **MESSAGES,
    "host-report": _host_reports,
    "flags": lambda: [flags.encode() for flags in FLAG_FILES],
    "ledger": _ledger,
    "summary": _of_run("summary.json"),
    "load": _load,
    "machine": _of_run("machine.json"),
    "lock": _of_run("config.lock.toml"),
    "page": lambda: [b"<html><p a='b'>run-1 EMULATED</p></html>"],
    "latency-log": _of_run("latency.hlog"),
    "trace": _of_run("trace.pftrace"),
}
