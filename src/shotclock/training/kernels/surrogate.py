"""A quadratic function of the chosen steps, and its conversion to a subproblem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shotclock.domain.subproblem import Bits, Float64s, Subproblem


@dataclass(frozen=True, slots=True, eq=False)
class Quadratic:
    """E(b) = bᵀAb + a·b + c over bits; square: A, (n, n), with its diagonal; linear: a, (n,); offset: c."""

    square: Float64s
    linear: Float64s
    offset: float = 0.0

    def reflect(self, base: Bits) -> Quadratic:
        """The same function of the flips x with b = base ⊕ x, so that x = 0 changes nothing.

        With S = diag(1 − 2·base), b = base + Sx and E = xᵀSASx + S(a + (A + Aᵀ)base)·x + E(base).
        """
        b = base.astype(np.float64)
        sign = 1.0 - 2.0 * b
        slope = self.linear + (self.square + self.square.T) @ b
        value = b @ self.square @ b + self.linear @ b + self.offset
        return Quadratic(sign[:, None] * self.square * sign, sign * slope, float(value))

    def subproblem(self, kind: str, request_id: str, version: int, budget_ns: int) -> Subproblem:
        """The equal Subproblem: symmetrised, the diagonal moved into the linear part (b² = b)."""
        quadratic = 0.5 * (self.square + self.square.T)
        np.fill_diagonal(quadratic, 0.0)
        return Subproblem(
            quadratic,
            self.linear + np.diagonal(self.square),
            self.offset,
            kind=kind,
            request_id=request_id,
            base_version=version,
            budget_ns=budget_ns,
        )

    def rebuild_subproblem(self, original: Subproblem, version: int) -> Subproblem:
        """The Subproblem at another version, with the original's kind, request and budget."""
        return self.subproblem(original.kind, original.request_id, version, original.budget_ns)
