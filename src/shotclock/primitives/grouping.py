"""Observables as measured circuits: Pauli terms that commute qubit by qubit are measured together."""

from __future__ import annotations

import cmath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import SparseObservable

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import CircuitError
from shotclock.domain.subproblem import Float64s

Term = tuple[tuple[int, str], ...]
"""A Pauli string: the qubits it acts on, ascending, each with X, Y or Z; () is the identity."""
Terms = dict[Term, float]
"""An observable: each term's coefficient."""

MEASURED = "shotclock_basis"
"""The register of an estimator's measurements."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What one circuit measures: qubits with their Paulis, ascending."""

    paulis: Term

    def measures(self, term: Term) -> bool:
        """Whether the term can be read from the samples."""
        paulis = dict(self.paulis)
        return all(paulis.get(qubit) == pauli for qubit, pauli in term)

    def apply(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit followed by the measurement in this basis."""
        measured = circuit.copy()
        register = ClassicalRegister(len(self.paulis), _name_register(circuit))
        measured.add_register(register)
        for bit, (qubit, pauli) in zip(register, self.paulis, strict=True):
            if pauli == "Y":
                measured.sdg(qubit)
            if pauli in "XY":
                measured.h(qubit)
            measured.measure(qubit, bit)
        return measured

    def estimate(self, terms: Terms, samples: Samples, first_bit: int) -> tuple[float, float]:
        """The mean of these terms over the shots, and the variance of that mean.

        first_bit: the classical bit of the first measured qubit. The variance is NaN of a single shot.
        """
        place = {qubit: first_bit + at for at, (qubit, _) in enumerate(self.paulis)}
        values: Float64s = np.zeros(len(samples.counts))
        for term, coefficient in terms.items():
            parity = samples.pool[:, [place[qubit] for qubit, _ in term]].sum(axis=1) & 1
            values += coefficient * (1.0 - 2.0 * parity)
        shots = samples.shots
        mean = float(values @ samples.counts) / shots
        if shots < 2:
            return mean, float("nan")
        return mean, float((values - mean) ** 2 @ samples.counts) / (shots - 1) / shots


def _name_register(circuit: QuantumCircuit) -> str:
    """A name that no register of the circuit has."""
    name, names = MEASURED, {register.name for register in circuit.cregs}
    while name in names:
        name += "_"
    return name


def read_terms(observable: Mapping[str, float], qubits: int) -> Terms:
    """The observable's Pauli terms; projectors are expanded. CircuitError unless it is real and finite."""
    for coefficient in observable.values():
        if not cmath.isfinite(coefficient):
            raise CircuitError("observables", f"coefficients must be finite (got {coefficient})")
    expanded = SparseObservable.from_list(list(observable.items()), num_qubits=qubits).as_paulis().simplify()
    terms: Terms = {}
    for paulis, indices, coefficient in expanded.to_sparse_list():
        if abs(coefficient.imag) > 1e-9 * abs(coefficient):
            raise CircuitError("observables", f"coefficients must be real (got {coefficient})")
        # the k-th letter of the string acts on the k-th index
        term = tuple(sorted(zip(indices, paulis, strict=True)))
        terms[term] = terms.get(term, 0.0) + coefficient.real
    return terms


def write_terms(observable: Mapping[str, float], qubits: int) -> dict[str, float]:
    """The observable by Pauli strings of all qubits, the last letter of qubit 0; projectors are expanded."""
    strings: dict[str, float] = {}
    for term, coefficient in read_terms(observable, qubits).items():
        paulis = dict(term)
        strings["".join(paulis.get(qubit, "I") for qubit in reversed(range(qubits)))] = coefficient
    return strings


def group(terms: Iterable[Term]) -> list[Basis]:
    """Few bases in which every term but the identity is measured: greedy, the longest terms first."""
    bases: list[dict[int, str]] = []
    for term in sorted(set(terms) - {()}, key=lambda term: (-len(term), term)):
        for basis in bases:
            if all(basis.get(qubit, pauli) == pauli for qubit, pauli in term):
                basis.update(term)
                break
        else:
            bases.append(dict(term))
    return [Basis(tuple(sorted(basis.items()))) for basis in bases]


def assign_terms(terms: Terms, bases: list[Basis]) -> dict[int, Terms]:
    """The terms by the number of the first basis that measures them; the identity is in none."""
    assigned: dict[int, Terms] = {}
    for term, coefficient in terms.items():
        if term:
            number = next(number for number, basis in enumerate(bases) if basis.measures(term))
            assigned.setdefault(number, {})[term] = coefficient
    return assigned
