"""Circuits that are small as text, within every limit on meaning, and long to compile."""

from __future__ import annotations

import random


def heavy(qubits: int, layers: int, seed: int) -> str:
    """OpenQASM 3 of three gates a layer, on qubits that no coupler joins."""
    rng = random.Random(seed)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{qubits}] q;", f"bit[{qubits}] c;"]
    for _ in range(layers):
        a, b = rng.sample(range(qubits), 2)
        lines.append(f"cx q[{a}], q[{b}]; rz({rng.random():.6f}) q[{a}]; h q[{b}];")
    lines.append("c = measure q;")
    return "\n".join(lines)


def hostile() -> dict[str, str]:
    """A few bytes each that Qiskit would build gigabytes of, by what a refusal calls it."""
    gates = ["gate g0 a { h a; }"] + [f"gate g{n} a {{ g{n - 1} a; g{n - 1} a; }}" for n in range(1, 31)]
    programs = {
        "gates in definitions": "\n".join(gates) + "\nqubit[1] q;\nbit[1] c;\ng30 q[0];\nc = measure q;\n",
        "classical bits": "bit[200000000] c;\n",
        "qubits": "qubit[0x5F5E100] q;\n",
        "brackets within each other": f"qubit q;\nrx({'(' * 5_000}1.0{')' * 5_000}) q;\n",
    }
    return {what: f'OPENQASM 3.0;\ninclude "stdgates.inc";\n{program}' for what, program in programs.items()}


def honest(seed: int) -> str:
    """Twenty qubits and five hundred gates."""
    rng = random.Random(seed)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', "qubit[20] q;", "bit[20] c;"]
    for _ in range(500):
        a, b = rng.sample(range(20), 2)
        lines.append(f"cx q[{a}], q[{b}];" if rng.random() < 0.4 else f"rx({rng.random():.6f}) q[{a}];")
    return "\n".join([*lines, "c = measure q;"])
