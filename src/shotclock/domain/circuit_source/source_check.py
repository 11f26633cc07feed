"""Compares a user circuit's source with the limits before anything is built of it. Imports no Qiskit.

In `shotclock serve` it runs in the process that serves every caller: linear in the source, with little
memory, and in steps between which others get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source.qasm_check import QasmCheck
from shotclock.domain.circuit_source.qpy_check import QpyCheck
from shotclock.domain.circuit_source.refusal import Guard

BYTE_ORDER_MARK = "\ufeff"


def check(source: str | bytes, limits: CircuitLimits, most: int = 1) -> None:
    """Raises CircuitError, in one line, on a source that is over a limit: where, what, settings key.

    most: circuits in a QPY file.
    """
    for _ in _steps(source, limits, most):
        pass


def check_beginning(content: bytes, limits: CircuitLimits) -> None:
    """`check` of a QPY file's header and first instructions, for a file that was probably written here."""
    next(_steps(content, limits), None)


async def check_in_turns(source: str | bytes, limits: CircuitLimits) -> None:
    """`check` for the event loop: others run in between."""
    for _ in _steps(source, limits):
        await asyncio.sleep(0)


def _steps(source: str | bytes, limits: CircuitLimits, most: int = 1) -> Iterator[None]:
    Guard(limits).check("source_bytes", len(source), "bytes")
    if isinstance(source, str):
        yield from QasmCheck(source.removeprefix(BYTE_ORDER_MARK), limits).steps()
    else:
        yield from QpyCheck(source, limits, most).steps()
