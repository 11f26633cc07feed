"""OpenQASM held against the limits before it is read: what is counted, and what is refused where."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm3

from harness import Inline
from heavy_circuits import hostile
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source import source_check
from shotclock.domain.circuit_source.qasm_check import QasmCheck, Size
from shotclock.domain.circuit_source.qasm_tokens import Token, fold, tokens
from shotclock.domain.errors import CircuitError, SettingsError
from shotclock.emulator import device
from shotclock.settings import load
from shotclock.solvers.greedy import Greedy

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
LIMITS = CircuitLimits("heron-torino", 133)


def size_of(body: str, limits: CircuitLimits = LIMITS) -> Size:
    check = QasmCheck(HEAD + body, limits)
    for _ in check.steps():
        pass
    return check.size


def doubling(levels: int, gate: str = "h x;") -> str:
    """Gate definitions of which each calls the one before twice."""
    calls = "".join(f"gate g{k} x {{ g{k - 1} x; g{k - 1} x; }}\n" for k in range(1, levels + 1))
    return f"gate g0 x {{ {gate} }}\n{calls}qubit q; g{levels} q;"


REFUSED = [
    ("qubits", "line 3, column 1: 200000000 qubits, heron-torino has 133", "qubit[200000000] q; h q[0];"),
    ("qubits", "99999999 qubits", "qubit[0x5F5_E0FF] q;"),
    ("qubits", "134 qubits", "qubit[0b1000_0110] q;"),
    ("qubits", "134 qubits", "qubit[0o206] q;"),
    ("qubits", "134 qubits", "const int n = 67;\nqubit[2 * n] q;"),
    ("qubits", "134 qubits", "qubit[(100 - -20) + 56 / 4] q;"),
    ("qubits", "134 qubits", 'qubit["10000110"] q;'),
    ("qubits", "134 qubits", "qreg a[100]; qreg b[34];"),
    ("qubits", "134 qubits", "qubit/* x */[/**/134// y\n] q;"),
    ("qubits", "far too many qubits", f"qubit[{'9' * 200}] q;"),
    ("qubits", "far too many qubits", f"qubit[{'*'.join(['9' * 200] * 900)}] q;"),
    ("qubits", "100000001 qubits", "h $100000000;"),
    ("bits", "200000000 classical bits, at most 4096; see circuits.limits.bits", "bit[200000000] c;"),
    ("bits", "4097 classical bits", "creg a[4096]; bit c;"),
    ("bits", "bits in an alias", "bit[4096] c; let a = " + " ++ ".join(["c"] * 9) + ";"),
    ("gates", "gates in definitions, expanded", doubling(30)),
    ("gates", "gates in definitions, expanded", doubling(30, gate="")),
    ("gates", "gates, definitions expanded", "gate g x { " + "h x; " * 2000 + "} qubit[133] q; g q;"),
    ("gates", "far too many gates", "qubit q; for int i in [0:9999999999] for int j in [0:9999999999] h q;"),
    ("gates", "gates", "qubit q; for uint i in [0:2:400] { for uint j in {1, 2, 3} { g q; h q; } }" * 90),
    ("gates", "far too many gates", "qubit q; qubit[20] r; ctrl(1000000000) @ U(1, 2, 3) r, q;"),
    ("gates", "gates", "qubit[20] q; ctrl(200) @ x q[0], q[1];"),
    ("gates", "gates", "qubit[12] q; pow(2) @ g " + ", ".join(f"q[{k}]" for k in range(12)) + ";"),
    ("gates", "gates", "gate g x { " + "h x; " * 9000 + "} qubit q; " + "inv @ " * 20 + "g q;"),
    ("gates", "gates", "qubit[133] q; bit[133] c; " + "c = measure q; " * 1000),
    ("terms", "terms", "gate g0(a) x { rz(a) x; }"
        + "".join(f"gate g{k}(a) x {{ g{k - 1}(a * (a + 1)) x; }}" for k in range(1, 30))),
    ("nesting", "line 3, column 76: 65 brackets within each other, at most", "qubit q; rz" + "(" * 100_000),
    ("nesting", "brackets", "qubit q; " + "{" * 40 + "rz" + "(" * 30),
    ("nesting", "blocks", "{" * 100_000),
    ("nesting", "loops and conditions", "bit c; qubit q; " + "if (c) " * 100 + "h q;"),
    ("nesting", "loops and conditions", "bit c; qubit q; if (c) { h q; }" + " else if (c) { h q; }" * 100),
    ("nesting", "definitions within each other", "gate g0 x { h x; }"
        + "".join(f"gate g{k} x {{ g{k - 1} x; }}" for k in range(1, 99))),
    ("name_length", "257 characters in a name", f"qubit {'a' * 257};"),
    ("name_length", "300 characters in a number", f"qubit q; rz(0.{'3' * 298}) q;"),
    ("statements", "10001 statements", "qubit q;" + ";" * 10 + "h q;" * 10_000),
    ("statement_tokens", "words and signs in a statement", "barrier " + "q," * 20_000),
    ("tokens", "100001 words and signs", "qubit q" + ";" * 100_001),
    ("source_bytes", "bytes, at most 4194304; see circuits.limits.source_bytes", " " * 4_194_304),
    ("source", "'\"/etc/passwd\" cannot be included'", 'include "/etc/passwd";'),
    ("source", "column 1: cal is not supported", 'cal { anything'),
    ("source", "] closes nothing", "qubit[2] q; rz(2] q;"),
    ("source", "} closes nothing", "qubit q; }"),
    ("source", "the comment is not closed", "qubit q; " + "/* " * 100_000),
    ("source", "( is not closed", "qubit q; h(q;"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "message", "body"), REFUSED)
def test_what_is_over_a_limit_is_refused_in_one_line(key: str, message: str, body: str) -> None:
    with pytest.raises(CircuitError) as caught:
        source_check.check(HEAD + body, LIMITS)
    assert caught.value.field == key
    assert message.strip("'") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


HONEST = [
    ("qubit[3] q; bit[3] c; h q; cx q[0], q[1]; c = measure q;", Size(3, 3, 7)),
    ("qreg q[2]; creg c[2]; U(pi, 0, pi) q[0]; CX q[0], q[1]; measure q -> c;", Size(2, 2, 4)),
    ("qubit[4] q; let a = q[0:2]; h a; h q[{0, 3}]; let b = q[0:0] ++ q[1:1]; cx b, q[2:3];", Size(4, 0, 12)),
    ("qubit q; input float[64] theta; rx(2 * theta) q; delay[10ns] q; delay[8 dt] q;", Size(1, 0, 3)),
    ("gate pair(a) x, y { rx(a) x; cx x, y; } qubit[4] q; pair(0.5) q[0:1], q[2:3];", Size(4, 0, 6)),
    ("bit c; qubit q; c = measure q; if (c) { x q; } else { h q; } if (!c) x q;", Size(1, 1, 4)),
    ("qubit q; for int i in [0:2:6] { h q; } for uint j in {4, 5} h q;", Size(1, 0, 6)),
    ("@note { ( [ anything\nqubit q; /* { */ h q; // (\n", Size(1, 0, 1)),
    ("qubit[2] q; inv @ s q[0]; ctrl @ x q[0], q[1]; negctrl @ gphase(1) q[0]; reset q;", Size(2, 0, 5)),
    ("h $4; cx $0, $1; barrier $0, $1;", Size(5, 0, 2)),
]


@pytest.mark.parametrize(("body", "size"), HONEST)
def test_honest_programs_are_counted_and_accepted(body: str, size: Size) -> None:
    assert size_of(body) == size
    loaded = qasm3.loads(HEAD + body)
    assert (loaded.num_qubits, loaded.num_clbits) == (size.qubits, size.bits)


def count_gates(circuit: QuantumCircuit, defined: set[str]) -> int:
    """Every gate of a circuit and of the definitions in it, by expanding them."""
    return sum(
        1
        + (
            count_gates(instruction.operation.definition, defined)
            if instruction.operation.name in defined
            else 0
        )
        for instruction in circuit.data
        if instruction.operation.name != "barrier"
    )


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, set[str]]:
    """Definitions that use those before them, and a program of broadcast calls."""
    widths = {"h": 1, "cx": 2, "rz(0.5)": 1}
    lines: list[str] = []
    for index in range(draw(st.integers(0, 4))):
        width = draw(st.integers(1, 3))
        names = [gate for gate, qubits in widths.items() if qubits <= width]
        calls = ""
        for gate in draw(st.lists(st.sampled_from(names), max_size=4)):
            operands = draw(st.permutations([f"x{number}" for number in range(width)]))[: widths[gate]]
            calls += f"{gate} {', '.join(operands)}; "
        lines.append(f"gate d{index} {', '.join(f'x{number}' for number in range(width))} {{ {calls} }}")
        widths[f"d{index}"] = width
    size = draw(st.integers(1, 5))
    lines += [f"qubit[{size}] q{index};" for index in range(3)]
    lines += [
        f"bit[{count}] c{count};" for count in draw(st.lists(st.integers(1, 9), unique=True, max_size=3))
    ]
    for gate in draw(st.lists(st.sampled_from(sorted(widths)), max_size=6)):
        which = draw(st.sampled_from(["", "[0]", "[0:0]"]))
        lines.append(f"{gate} {', '.join(f'q{number}{which}' for number in range(widths[gate]))};")
    return "\n".join(lines), {gate for gate in widths if gate.startswith("d")}


@settings(max_examples=30)
@given(programs())
def test_the_counts_are_those_of_the_circuit_that_qiskit_builds(program: tuple[str, set[str]]) -> None:
    body, defined = program
    built = qasm3.loads(HEAD + body)
    assert size_of(body) == Size(built.num_qubits, built.num_clbits, count_gates(built, defined))


def value(expression: str) -> int | None:
    return fold(list(tokens(expression)), {"n": 7})


NUMBERS = st.integers(0, 10**6).flatmap(
    lambda number: st.sampled_from([f"{number}", hex(number), bin(number), f"0o{number:o}", f"{number:_}"])
)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner) | st.builds("-{}".format, inner)
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_constants_fold_as_python_folds_them(expression: str) -> None:
    try:
        expected = eval(expression.replace("/", "//"))
    except ZeroDivisionError:
        expected = None
    if expected is None or abs(expected) < 10**12:
        assert value(expression) == expected or expected is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("7 - 2 - 1", 4), ("- 2 * 3", -6), ("n / 2", 3), ("1/0", None),
        ("1 +", None), ("(1", None), ("1)", None), ("", None), ("1.5", None), ("m", None), ("1 2", None),
        ('"101"', 5), ("2 ** 3", None), ("int(3)", None),
    ],
)  # fmt: skip
def test_what_folds(expression: str, expected: int | None) -> None:
    assert value(expression) == expected


@given(st.text(alphabet="aé_$0x1bF.;{}()[]\"'/*@# \n+->=", max_size=40))
def test_tokens_cover_the_text_and_keep_their_places(text: str) -> None:
    if "/*" in text:
        text = text.replace("/*", "")
    all_tokens: list[Token] = list(tokens(text))
    for token in all_tokens:
        assert text[token.at :].startswith(token.text)
    assert [token.at for token in all_tokens] == sorted({token.at for token in all_tokens})


def test_a_refusal_reaches_no_worker_and_others_run_meanwhile() -> None:
    turns: list[int] = []

    async def main() -> None:
        offload = Counting()
        synthesizer = QaoaSynthesizer(
            "heron-torino",
            target_source=device.target,
            offload=offload,
            circuit_offload=offload,
            incumbent=Greedy(),
            limits=LIMITS,
        )
        other = asyncio.ensure_future(count_turns(turns))
        with pytest.raises(CircuitError, match="statements"):
            await synthesizer.bind_circuit(HEAD + "h q;" * 11_000, {})
        other.cancel()
        for what, source in hostile().items():
            with pytest.raises(CircuitError, match=what) as refused:
                await synthesizer.bind_circuit(source, {})
            assert "\n" not in str(refused.value)
        assert offload.runs == 0

    asyncio.run(main())
    assert len(turns) >= 10_000 * 3 // 250


async def count_turns(turns: list[int]) -> None:
    while True:
        turns.append(1)
        await asyncio.sleep(0)


class Counting(Inline):
    """An offload that counts what it is given."""

    runs = 0

    async def run(self, work, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.runs += 1
        return await super().run(work, *args, **kwargs)


def test_every_limit_has_its_settings_key(tmp_path: Path) -> None:
    keys = {field.name for field in fields(CircuitLimits)} - {"device", "qubits"}
    file = tmp_path / "settings.toml"
    file.write_text("[circuits.limits]\n" + "".join(f"{key} = 9\n" for key in keys))
    limits = load(file, {}).circuits.limits.for_device("some", 5)
    assert (limits.device, limits.qubits) == ("some", 5)
    assert {getattr(limits, key) for key in keys} == {9}
    assert load(None, {}).circuits.limits.for_device("", 0) == CircuitLimits()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[circuits.limits]\nbit = 3",
            "settings.toml:2: circuits.limits.bit: unknown key; did you mean 'bits'",
        ),
        (
            "[circuits.limits]\nbits = 0",
            "settings.toml:2: circuits.limits.bits: input should be greater than",
        ),
        ("[circuits]\nlimits = 5", "settings.toml:2: circuits.limits: must be a table, [circuits.limits]"),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    assert message in str(caught.value)
