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
