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
    """Checked before any work is handed over; see `CircuitLimits`. Qubits are limited by the device.

    source_bytes: size of the source, bytes.
    tokens: words and signs of the source text.
    statement_tokens: words and signs of one statement.
    statements: statements of the source text, those in blocks and definitions included.
    bits: classical bits, declared in total.
    gates: gates, measurements and delays once every definition is expanded.
    nesting: brackets and blocks within each other, definitions that use each other.
    name_length: characters of a name or a number.
    terms: numbers and names in the gates' parameters once every definition is expanded.
    """

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
