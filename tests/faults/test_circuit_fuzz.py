"""Hostile circuits and files: refused in one line, within bounded memory and time, and never believed."""

from __future__ import annotations

import io
import json
import multiprocessing
import resource
import signal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import MCXGate, PauliEvolutionGate, UnitaryGate, XGate
from qiskit.qpy import common
from qiskit.quantum_info import Operator, SparsePauliOp

import fuzz_targets as targets
from shotclock.circuits import line_sets, store
from shotclock.circuits.cache import Disk, TemplateSpec
from shotclock.circuits.line_sets import LineSet
from shotclock.circuits.lines import best_line, layout
from shotclock.circuits.store import TemplateStore
from shotclock.domain.circuit_source import qpy_check
from shotclock.domain.circuit_source.qpy_check import QpyCheck
from shotclock.domain.errors import CircuitError
from shotclock.emulator import device

MEMORY = 64 * 2**20
"""What the whole corpus may take beyond the imported modules, in a separate process."""
GUARD_S = 20
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


def dump(circuit: QuantumCircuit, version: int = common.QPY_VERSION) -> bytes:
    content = io.BytesIO()
    qpy.dump(circuit, content, version=version)
    return content.getvalue()


def double(levels: int) -> QuantumCircuit:
    """Gates of which each is the one before, twice."""
    circuit = QuantumCircuit(1)
    circuit.h(0)
    for _ in range(levels):
        gate, circuit = circuit.to_gate(), QuantumCircuit(1)
        circuit.append(gate, [0])
        circuit.append(gate, [0])
    return circuit


def with_numbers(content: bytes, layout: str, at: int, *values: int) -> bytes:
    """The bytes with other numbers in them."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


PLAIN = dump(QuantumCircuit(1, 1, name="n"), 17)
"""147 bytes: the header of the circuit begins at 28, its first register at 76."""
TEXTS = {
    "registers": "bit[200000000] c;",
    "hexadecimal": "qubit[0x5F5E100] q;",
    "physical": "h $100000000;",
    "parentheses": "qubit q; rz(" + "(" * 100_000 + "1" + ")" * 100_000 + ") q;",
    "braces": "{" * 500_000,
    "controls": "qubit[21] q; ctrl(200000) @ U(1, 2, 3) q[0];",
    "doubling": "gate g0 x { h x; }"
    + "".join(f"gate g{k} x {{ g{k - 1} x; g{k - 1} x; }}" for k in range(1, 40)),
    "expressions": "gate g0(a) x { rz(a) x; }"
    + "".join(f"gate g{k}(a) x {{ g{k - 1}(a * (a + 1)) x; }}" for k in range(1, 40)),
    "loops": "qubit q; " + "for int i in [0:999999999] " * 20 + "h q;",
    "numbers": "qubit[" + "9" * 1_000_000 + "] q;",
    "hexadecimals": "qubit[0x" + "f" * 1_000_000 + "] q;",
    "bits": 'qubit["' + "1" * 1_000_000 + '"] q;',
    "products": "qubit[" + "*".join(["9" * 250] * 9_000) + "] q;",
    "comments": "/* " * 300_000,
    "quotes": '"' * 300_000,
    "signs": "qubit q; rz(" + "-" * 300_000 + "1) q;",
    "names": "qubit " + "é" * 1_000_000 + ";",
    "aliases": "bit[4096] c;" + "".join(f"let a{k} = c;" for k in range(5_000)),
    "concatenation": "bit[4096] c; let a = " + "c ++ " * 9_000 + "c;",
    "else": "bit c; qubit q; if (c) x q;" + " else if (c) x q;" * 15_000,
    "power": "qubit[20] q; pow(2) @ g " + ",".join(f"q[{k}]" for k in range(20)) + ";",
    "statements": ";" * 1_000_000,
}
FILES = {
    "clbits": with_numbers(PLAIN, "!I", 37, 3_000_000),
    "qubits": with_numbers(PLAIN, "!I", 33, 2**32 - 1),
    "register": with_numbers(PLAIN, "!I", 78, 2**32 - 1),
    "instructions": with_numbers(PLAIN, "!Q", 53, 2**63),
    "metadata": with_numbers(PLAIN, "!Q", 41, 2**63),
    "programs": with_numbers(PLAIN, "!Q", 10, 2**40),
    "table": with_numbers(PLAIN, "!Q", 20, 2**40),
    "truncated": PLAIN[:-60],
    "magic": b"QISKI",
    "no bytes": b"",
}


def run_corpus(reply: Any) -> None:
    """In a separate process: everything in it, under a limit of memory and one of time each."""
    grown = (int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()) + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (grown, grown))
    problems: dict[str, str] = {}
    for name, text in TEXTS.items():
        signal.alarm(GUARD_S)  # ends the process
        problems[f"text {name}"] = targets.check_qasm((HEAD + text).encode())
    for name, content in FILES.items():
        signal.alarm(GUARD_S)
        problems[f"file {name}"] = targets.check_qpy(content)
    reply.send(problems)


def test_every_hostile_source_is_refused_within_bounded_memory_and_time() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    # not forked: what gRPC keeps for forks would count against the limit of memory
    child = multiprocessing.get_context("spawn").Process(target=run_corpus, args=(there,))
    child.start()
    there.close()
    problems = here.recv() if here.poll(300) else {}
    child.join(60)
    assert child.exitcode == 0
    assert len(problems) == len(TEXTS) + len(FILES)
    assert [name for name, refusal in problems.items() if not refusal] == []
    assert "3000000 classical bits, at most 4096; see circuits.limits.bits" in problems["file clbits"]
    assert "4294967295 qubits, heron-torino has 133" in problems["file qubits"]


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with a few bytes changed, cut out or repeated."""

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        damaged = content
        for at, length, inserted in edits:
            begin = at % (len(damaged) + 1)
            damaged = damaged[:begin] + inserted + damaged[begin + length :]
        return damaged

    inserted = st.binary(max_size=9) | st.sampled_from(
        [b"\xff" * 4, b"\xff" * 8, b"(", b"}", b"/*", b"9" * 8]
    )
    edits = st.tuples(st.integers(0, 2**16), st.integers(0, 9), inserted)
    return st.lists(edits, min_size=1, max_size=4).map(change)


PROGRAM = (HEAD + """
gate pair(a) x, y { rx(a / 2) x; ctrl @ rz(-a) x, y; }
qubit[4] q; bit[4] c; const int n = 2;
let ends = q[{0, 3}]; // both
for int i in [0:2] { pair(0.5 * pi) q[0:1], q[2:3]; }
if (c[0]) { x ends; } else h q[n];
delay[10ns] q; barrier q;
c = measure q;
""").encode()  # fmt: skip


@settings(max_examples=150)
@given(mutations(PROGRAM))
def test_changed_programs_raise_nothing_else(content: bytes) -> None:
    targets.check_qasm(content)


@settings(max_examples=30)
@given(mutations(HEAD.encode() + b"qubit[2] q; bit[2] c; h q; cx q[0], q[1]; c = measure q;"))
def test_changed_programs_that_are_read_raise_nothing_else(content: bytes) -> None:
    targets.read_qasm(content)


def sample() -> QuantumCircuit:
    """A circuit with every kind of part that the check walks through."""
    vector, angle = ParameterVector("t", 3), Parameter("a")
    circuit = QuantumCircuit(4, 2, global_phase=angle)
    circuit.rx(vector[1] * 2 + angle, 0)
    circuit.append(double(2).to_gate().control(1), [0, 1])
    circuit.append(UnitaryGate(Operator(XGate())), [0])
    circuit.append(MCXGate(3), range(4))
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), time=0.3), [0, 1])
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    return circuit


@settings(max_examples=150)
@given(mutations(dump(sample())))
def test_changed_qpy_raises_nothing_else(content: bytes) -> None:
    targets.check_qpy(content)


@pytest.mark.parametrize("version", range(common.QPY_COMPATIBILITY_VERSION, common.QPY_VERSION + 1))
def test_honest_qpy_of_every_version_passes_and_is_counted(version: int) -> None:
    assert common.QPY_VERSION <= qpy_check.NEWEST
    assert targets.check_qpy(dump(sample(), version)) == ""
    nested = QuantumCircuit(1)
    nested.append(double(3).to_gate(), [0])
    check = QpyCheck(dump(nested, version), targets.LIMITS)
    assert list(check.steps()) == []
    assert check.main.gates == 1 + 2 + 4 + 8 + 8
    with pytest.raises(CircuitError, match=r"2[0-3] gates, definitions expanded, at most 19"):
        list(QpyCheck(dump(nested, version), replace(targets.LIMITS, gates=19)).steps())


@pytest.mark.parametrize("version", range(qpy_check.TABLE, common.QPY_VERSION + 1))
def test_several_circuits_with_layouts_pass_and_are_counted_together(version: int) -> None:
    bell = QuantumCircuit(2, 2)
    bell.h(0)
    bell.cx(0, 1)
    on_device = transpile(bell, coupling_map=[[0, 1], [1, 2]], initial_layout=[2, 1], optimization_level=0)
    assert on_device.layout is not None
    content = io.BytesIO()
    qpy.dump([on_device, sample(), on_device], content, version=version)
    whole, single = (
        QpyCheck(file, targets.LIMITS, most=3) for file in (content.getvalue(), dump(sample(), version))
    )
    assert not any([*whole.steps(), *single.steps()])
    assert whole.main.gates == 2 * on_device.size() + single.main.gates
    second_begins = len(b"QISKIT") + struct.calcsize("!B3xQ2xQ")
    overlapping = with_numbers(content.getvalue(), "!Q", second_begins, 40)
    with pytest.raises(CircuitError, match="does not begin behind"):
        list(QpyCheck(overlapping, targets.LIMITS, most=3).steps())


def test_qpy_of_every_other_version_is_refused_by_its_header() -> None:
    content = dump(sample())
    for version in {*range(256)} - {*range(qpy_check.OLDEST, qpy_check.NEWEST + 1)}:
        refused = f"circuit.source: QPY version {version} is not supported; write one of 13 to 18"
        assert targets.check_qpy(with_numbers(content, "!B", len(b"QISKIT"), version)) == refused


TEMPLATE_FACTS = [
    {"duration_s": -1.0}, {"duration_s": 1e9}, {"duration_s": float("nan")}, {"two_qubit_gates": -5},
    {"two_qubit_depth": 10**30}, {"line": [0, 1, 1000]}, {"line": [0, 0, 0]},
    {"line": []}, {"line": [5, 4, 3]},
]  # fmt: skip


@pytest.mark.parametrize("facts", TEMPLATE_FACTS)
def test_facts_that_are_not_the_circuits_are_never_believed(
    tmp_path: Path, facts: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    path = TemplateStore(tmp_path).path(targets.identity())
    header, _, payload = store.serialise(targets.identity(), targets.template()).split(b"\n", 2)
    fields = json.loads(header)
    fields["facts"] |= facts
    path.write_bytes(store.seal(json.dumps(fields).encode(), payload))
    obtained = store.obtain(TemplateSpec(3), targets.DEVICE, device.target, tmp_path)
    assert obtained.disk in {Disk.FACTS, Disk.FORMAT}
    assert obtained.template.duration_s == targets.template().duration_s
    assert obtained.template.line == targets.template().line
    assert [record.message for record in caplog.records if str(path) in record.message]
    assert store.obtain(TemplateSpec(3), targets.DEVICE, device.target, tmp_path).disk is Disk.LOADED


def foreign() -> bytes:
    """A circuit that is not the ansatz, on the same qubits."""
    circuit = QuantumCircuit(133, 3)
    line = targets.template().line
    circuit.x(line[0])
    circuit.measure(line, range(3))
    return dump(circuit)


@pytest.mark.parametrize("payload", [foreign(), FILES["clbits"], dump(QuantumCircuit(133, 3)), b"QISKIT\x12"])
def test_a_circuit_that_is_not_the_template_is_never_believed(payload: bytes) -> None:
    header = store.serialise(targets.identity(), targets.template()).partition(b"\n")[0]
    assert targets.load_template(header + b"\n\n" + payload) != ""


@settings(max_examples=40)
@given(st.data())
def test_changed_templates_are_refused_or_are_what_was_asked_for(data: st.DataObject) -> None:
    content = store.serialise(targets.identity(), targets.template())
    header, _, payload = content.split(b"\n", 2)
    changed = data.draw(mutations(header))
    if targets.load_template(changed + b"\n\n" + payload) == "":
        assert json.loads(changed)["facts"] == json.loads(header)["facts"]


@pytest.mark.parametrize("wrong", ["elsewhere", "unconnected", "cheap"])
def test_lines_off_the_device_and_wrong_costs_are_computed_again(
    tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = device.target(targets.DEVICE)
    line = best_line(target, 5)
    known = LineSet(targets.DEVICE, "present", 5, (line,), (layout(target).cost(line),))
    monkeypatch.setattr(line_sets, "compute", lambda *_: known)
    path = line_sets.save(known, tmp_path)
    assert targets.load_line_set(path.read_bytes()) == ""
    fields = json.loads(known.to_json())
    fields |= {
        "elsewhere": {"lines": [[*range(1000, 1005)]]},
        "unconnected": {"lines": [[line[0], line[2], line[1], line[3], line[4]]]},
        "cheap": {"costs": [0.0]},
    }[wrong]
    path.write_text(json.dumps(fields))
    assert line_sets.load_or_make(tmp_path, target, targets.DEVICE, "present", 5) == known
    assert len(caplog.records) == 1
    assert targets.load_line_set(path.read_bytes()) == ""


@settings(max_examples=40)
@given(
    mutations(b'{"calibration": "a", "costs": [0.5], "device": "heron-torino", "lines": [[0, 1]], "n": 2}')
)
def test_changed_line_sets_raise_nothing_else(content: bytes) -> None:
    targets.load_line_set(content)


KINDS: dict[str, Callable[[bytes], str]] = {
    name: getattr(targets, name)
    for name in ("check_qasm", "check_qpy", "read_qasm", "load_template", "load_line_set")
}


@pytest.mark.parametrize("name", KINDS)
def test_each_target_takes_any_bytes(name: str) -> None:
    for content in (b"", b"\0", b"\xff" * 50, b"QISKIT", b"{}", b"[" * 9_999):
        assert isinstance(KINDS[name](content), str)
