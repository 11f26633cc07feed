"""`[circuits.limits]`: how large a user circuit may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
)

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.settings.branch import Branch

Count = Annotated[int, Field(ge=1, le=2**31)]

DEFAULTS = CircuitLimits()


class CircuitLimitsSettings(Branch):
    """Checked before any work is handed over; see `CircuitLimits`. Qubits are limited by the device."""

    source_bytes: Count = DEFAULTS.source_bytes
    tokens: Count = DEFAULTS.tokens
    statement_tokens: Count = DEFAULTS.statement_tokens
    statements: Count = DEFAULTS.statements
    bits: Count = DEFAULTS.bits
    gates: Count = DEFAULTS.gates
    nesting: Annotated[int, Field(ge=1, le=1000)] = DEFAULTS.nesting
    name_length: Annotated[int, Field(ge=1, le=4000)] = DEFAULTS.name_length
    terms: Count = DEFAULTS.terms

    def for_device(self, device: str, qubits: int) -> CircuitLimits:
        """The limits of a device of this width; 0 where it is not known."""
        return CircuitLimits(device=device, qubits=qubits, **self.model_dump())
