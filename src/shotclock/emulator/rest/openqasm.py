"""OpenQASM 3 as the REST API and QRMI send it. Imports Qiskit: for the worker."""

from __future__ import annotations

import contextlib
import io

import openqasm3
import qiskit_qasm3_import
from openqasm3.ast import IODeclaration, IOKeyword
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector


def read_circuit(text: str) -> QuantumCircuit:
    """The circuit, with its parameters in the order in which the text declares its inputs.

    Rows of values use that order, because Qiskit's exporter declares the inputs in the order of the circuit's
    parameters. When reading, Qiskit would sort them by name, and the exporter has renamed `t[2]` and `t[10]`
    to `_t_2_` and `_t_10_`, which sort the other way round. Raises ValueError (one line).
    """
    # The parser prints a syntax error's position; the exception does not hold it.
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        try:
            program = openqasm3.parse(text)
            circuit = qiskit_qasm3_import.convert(program)
        except Exception as error:
            what = " ".join(str(error).split()) or type(error).__name__
            where = printed.getvalue().partition("\n")[0] or what
            raise ValueError(f"not OpenQASM 3 that Qiskit reads: {where}") from error
    return _order_parameters(circuit, _list_inputs(program))


def _list_inputs(program: openqasm3.ast.Program) -> list[str]:
    return [
        statement.identifier.name
        for statement in program.statements
        if isinstance(statement, IODeclaration) and statement.io_identifier is IOKeyword.input
    ]


def _order_parameters(circuit: QuantumCircuit, declared: list[str]) -> QuantumCircuit:
    """The circuit with its parameters replaced by elements of one vector, whose order Qiskit keeps."""
    by_name = {parameter.name: parameter for parameter in circuit.parameters}
    ordered = [by_name[name] for name in declared if name in by_name]
    return circuit.assign_parameters(dict(zip(ordered, ParameterVector("input", len(ordered)), strict=True)))
