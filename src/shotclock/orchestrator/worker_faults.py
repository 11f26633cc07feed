"""What a call is answered when this host could not compile or emulate its circuit."""

from __future__ import annotations

from shotclock.domain.errors import CircuitError, WorkerError, WorkerFault
from shotclock.domain.outcome import COMPILE_CAPACITY, Rejection


def reject(error: WorkerError) -> Rejection:
    """The refusal of a call whose work this host could not do; nobody else's call feels it."""
    return Rejection(COMPILE_CAPACITY, error.allowed, error.present, error.unit, error.retry_after_s)


def reject_circuit(error: WorkerError) -> Rejection:
    """As `reject`, of a user circuit: raises CircuitError where the circuit itself needs too much memory."""
    if error.fault is WorkerFault.MEMORY:
        raise CircuitError(
            "memory", f"{error}; ask for a smaller circuit, or raise workers.memory_mib"
        ) from error
    return reject(error)
