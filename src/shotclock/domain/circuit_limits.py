"""How large a user circuit may be, checked before anything is built of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """What a source may hold; `[circuits.limits]` sets all but `device` and `qubits`.

    device, qubits: the device's name and width; "" and 0 where they are not known yet: then the worker
    checks the width.
    source_bytes: of the text, or of the QPY file.
    tokens, statement_tokens: words and signs of the text, of one statement.
    statements: of the text, those in blocks and definitions included.
    bits: classical bits, declared in total.
    gates: gates, measurements and delays once every definition is expanded, each definition counting as one
    more; the definitions by themselves have the same limit.
    nesting: brackets and blocks within each other, definitions that use each other.
    name_length: characters of a name or a number.
    terms: numbers and names in the gates' parameters once every definition is expanded.
    """

    device: str = ""
    qubits: int = 0
    source_bytes: int = 4 * 2**20
    tokens: int = 100_000
    statement_tokens: int = 20_000
    statements: int = 10_000
    bits: int = 4_096
    gates: int = 20_000
    nesting: int = 64
    name_length: int = 256
    terms: int = 1_000_000
