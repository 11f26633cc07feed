"""A QUBO with its budget and the model version it was computed on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.errors import SubproblemError
from shotclock.domain.plural import with_article
from shotclock.domain.trace_context import TraceContext

if TYPE_CHECKING:
    from dimod import BinaryQuadraticModel

Float64s = NDArray[np.float64]
Bits = NDArray[np.uint8]

MAX_VARIABLES = 256
MAX_ENERGY = 1e150
"""Bound on the energy of any assignment, so that differences and squares of energies stay finite."""
MAX_COUNT = 2**63 - 1

LAYOUT: Final = ("C", "ALIGNED", "WRITEABLE")
"""The array flags numba compiles for: it treats read-only and unaligned arrays as separate types."""


class Priority(IntEnum):
    """Who goes first under overload; deadlines order calls of one priority."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True, eq=False)
class Subproblem:
    """Minimise ``E(b) = bᵀQb + q·b + offset`` over ``b ∈ {0,1}ⁿ`` within a time budget.

    quadratic: Q, shape (n, n), float64, symmetric, zero diagonal, finite; copied only if not in C order.
    linear: q, shape (n,), float64, finite; copied only if not in C order.
    offset: the constant term of E, finite; Σ|Q| + Σ|q| + |offset| is at most `MAX_ENERGY`.
    kind: the kernel's name; it selects the template family and labels figures.
    request_id: the caller's name for this request; decisions refer to it.
    base_version: the model version the coefficients were computed on, 0 or more.
    budget_ns: the time left until the deadline when this object is handed over, nanoseconds.
    priority: which of a caller's calls is served first.
    caller: the name in the caller's certificate, set by the wire; "" for calls from within the process.
    fresh: the call must get new samples, never those of an earlier, equal call.
    trace: the span that the call is part of; None without traces.
    origin: which allocation of a batch system it comes from, and whether it was sent elsewhere before.

    Raises SubproblemError naming the invalid field.
    """

    quadratic: Float64s
    linear: Float64s
    offset: float = 0.0
    kind: str = "qubo"
    request_id: str = ""
    base_version: int = 0
    budget_ns: int = 0
    priority: Priority = Priority.NORMAL
    caller: str = ""
    fresh: bool = False
    trace: TraceContext | None = None
    origin: Origin = HERE

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_words()
        if not self._sum_magnitudes() <= MAX_ENERGY:  # also where a coefficient is not a number
            self._refuse_coefficients()
        self._check_structure()
        # numba compiles once per array layout, and a caller would wait for each compilation.
        for name, array in (("quadratic", self.quadratic), ("linear", self.linear)):
            if type(array) is not np.ndarray or not array.flags.carray:
                object.__setattr__(self, name, np.require(np.asarray(array), requirements=LAYOUT))

    def _check_shapes(self) -> None:
        q2, q1 = self.quadratic, self.linear
        for name, array in (("quadratic", q2), ("linear", q1)):
            if not isinstance(array, np.ndarray):
                kind = with_article(type(array).__name__)
                raise SubproblemError(name, f"must be a numpy array (got {kind})")
        if q1.ndim != 1 or not 1 <= q1.shape[0] <= MAX_VARIABLES:
            raise SubproblemError(
                "linear", f"must have shape (n,) with 1 ≤ n ≤ {MAX_VARIABLES} (got {q1.shape})"
            )
        if q2.shape != (q1.shape[0], q1.shape[0]):
            raise SubproblemError("quadratic", f"must have shape {(q1.shape[0],) * 2} (got {q2.shape})")
        for name, array in (("quadratic", q2), ("linear", q1)):
            if array.dtype != np.float64:
                raise SubproblemError(name, f"must have dtype float64 (got {array.dtype})")

    def _sum_magnitudes(self) -> float:
        """The sum of all magnitudes or more, Σ|x| ≤ √(m Σx²), for which a call waits the shortest time.

        NaN or infinite where a coefficient is, and infinite of larger ones than may be squared.
        """
        sums = (math.sqrt(array.size * np.vdot(array, array)) for array in (self.quadratic, self.linear))
        return sum(sums) + abs(self.offset)

    def _check_structure(self) -> None:
        q2 = self.quadratic
        if np.count_nonzero(q2.diagonal()):
            raise SubproblemError("quadratic", "has a non-zero diagonal; move it into linear (b² = b)")
        # comparing bytes takes a fifth of the time; zeros of both signs differ there
        if q2.tobytes() != q2.T.tobytes() and not (q2 == q2.T).all():
            raise SubproblemError("quadratic", "is not symmetric; pass (Q + Qᵀ)/2")

    def _check_words(self) -> None:
        """Checks the other fields and converts each to Python's own type."""
        if type(self.offset) is not float:
            object.__setattr__(self, "offset", _convert_offset(self.offset))
        for name in ("base_version", "budget_ns"):
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count <= MAX_COUNT:
                object.__setattr__(self, name, _check_count(name, count))
        if type(self.priority) is not Priority:
            object.__setattr__(self, "priority", _check_priority(self.priority))
        if not isinstance(self.fresh, bool):
            raise SubproblemError("fresh", f"must be true or false (got {self.fresh!r})")
        for name in ("kind", "request_id", "caller"):
            if not isinstance(getattr(self, name), str):
                raise SubproblemError(name, f"must be text (got {getattr(self, name)!r})")

    def _refuse_coefficients(self) -> None:
        """Refuses energies beyond float64's range: gains would be infinite or NaN, and every answer a tie."""
        for name, array in (("linear", self.linear), ("quadratic", self.quadratic)):
            if not np.isfinite(array).all():
                raise SubproblemError(name, "has NaN or infinite coefficients")
        with np.errstate(over="ignore"):
            sums = {
                "quadratic": float(np.abs(self.quadratic).sum()),
                "linear": float(np.abs(self.linear).sum()),
                "offset": abs(self.offset),
            }
        if not math.isfinite(self.offset):
            raise SubproblemError("offset", f"must be finite (got {self.offset})")
        reach = sum(sums.values())
        if reach > MAX_ENERGY:
            raise SubproblemError(
                max(sums, key=lambda name: sums[name]),
                f"energies may reach {reach:.3g} (the sum of all magnitudes), the most is {MAX_ENERGY:g}; "
                f"scale the problem down",
            )

    @property
    def n(self) -> int:
        """Number of binary variables."""
        return int(self.linear.shape[0])

    def fingerprint(self) -> bytes:
        """SHA-256 of kind, n and coefficients: of what the samples depend on, so the offset is not in it."""
        digest = hashlib.sha256(repr((self.kind, self.n)).encode())
        for coefficients in (self.quadratic, self.linear):
            # −0.0 equals 0.0 but has other bytes; adding 0.0 makes them equal.
            digest.update((coefficients + 0.0).tobytes())
        return digest.digest()

    def energy(self, bits: Bits) -> float:
        """E(b) of one assignment, shape (n,)."""
        b = bits.astype(np.float64)
        return float(b @ self.quadratic @ b + self.linear @ b + self.offset)

    def tie_tolerance(self) -> float:
        """Energies closer than this are a tie: float64 rounding of a sum of n² terms."""
        scale = float(np.abs(self.quadratic).sum() + np.abs(self.linear).sum())
        return 1e-12 * max(1.0, scale)

    def energies(self, pool: Bits) -> Float64s:
        """E(b) of each row of a pool, shape (m, n) → (m,)."""
        b = pool.astype(np.float64)
        energies: Float64s = np.einsum("mi,mi->m", b @ self.quadratic, b) + b @ self.linear + self.offset
        return energies

    def ising(self) -> tuple[Float64s, Float64s]:
        """(J, h) of the same function over z = 1 − 2b, the constant left out.

        J has shape (n, n), symmetric, each pair counted once in ``Σ_{i<j} J_ij z_i z_j``;
        J = Q/2 and h = −q/2 − rowsum(Q)/2.
        """
        return self.quadratic / 2.0, -self.linear / 2.0 - self.quadratic.sum(axis=1) / 2.0

    @classmethod
    def from_bqm(cls, bqm: BinaryQuadraticModel, **words: Any) -> Subproblem:
        """From dimod's exchange type, of either vartype: bit i is the i-th label of `bqm.variables`.

        words: the other fields of a Subproblem. `sample` converts an answer back. Raises SubproblemError on
        anything but a BinaryQuadraticModel.
        """
        binary = _check_bqm(bqm).binary
        # By default dimod sorts the labels, where they can be compared at all.
        vectors = binary.to_numpy_vectors(variable_order=list(binary.variables))
        linear = np.asarray(vectors.linear_biases, dtype=np.float64)
        quadratic = np.zeros((len(linear), len(linear)))
        rows, columns, values = vectors.quadratic
        np.add.at(quadratic, (rows, columns), np.asarray(values, dtype=np.float64) / 2.0)
        return cls(quadratic + quadratic.T, linear, float(vectors.offset), **words)

    @staticmethod
    def sample(bqm: BinaryQuadraticModel, bits: Bits) -> dict[Hashable, int]:
        """An answer's bits by label, as dimod uses them: 0 and 1 for a BINARY model, −1 and 1 for a SPIN one.

        bits: shape (n,), an answer to the subproblem from `from_bqm(bqm)`; `bqm.energy` of the result equals
        the subproblem's energy of the bits. Raises SubproblemError if they do not fit the model.
        """
        labels, values = list(_check_bqm(bqm).variables), np.asarray(bits)
        if values.shape != (len(labels),):
            raise SubproblemError(
                "bits", f"must be shape ({len(labels)},), one bit a variable (got shape {values.shape})"
            )
        if not np.isin(values, (0, 1)).all():
            raise SubproblemError("bits", "must be 0 or 1, as in an answer, even for a SPIN model")
        is_spin = bqm.vartype.name == "SPIN"
        numbers = [2 * int(bit) - 1 if is_spin else int(bit) for bit in values]
        return dict(zip(labels, numbers, strict=True))


def _convert_offset(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SubproblemError("offset", f"must be a number (got {value!r})")
    try:
        return float(value)
    except OverflowError as error:
        raise SubproblemError("offset", f"must be at most {MAX_ENERGY:g} (got a larger integer)") from error


def _check_count(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SubproblemError(field, f"must be a whole number (got {value!r})")
    count = int(value)
    if not 0 <= count <= MAX_COUNT:
        what = "is negative" if count < 0 else "must be less than 2^63"
        raise SubproblemError(field, f"{what} (got {value})")
    return count


def _check_priority(value: object) -> Priority:
    try:
        if not isinstance(value, bool) and isinstance(value, Integral):
            return Priority(int(value))
    except ValueError:
        pass
    names = ", ".join(f"{priority.value} ({priority.name})" for priority in Priority)
    raise SubproblemError("priority", f"must be one of {names} (got {value!r})")


_CONVERSIONS = {
    "ConstrainedQuadraticModel": "dimod.cqm_to_bqm turns constraints into penalties",
    "DiscreteQuadraticModel": "encode each case as a binary variable",
    "QuadraticModel": "integers and reals must be encoded as binary variables",
    "dict": "dimod.BinaryQuadraticModel.from_qubo takes a dict of pairs",
}


def _check_bqm(bqm: object) -> BinaryQuadraticModel:
    from dimod import BinaryQuadraticModel  # noqa: PLC0415 - only callers who have a model pay for it

    if isinstance(bqm, BinaryQuadraticModel):
        return bqm
    what = type(bqm).__name__
    hint = _CONVERSIONS.get(
        what, "build one with dimod.BinaryQuadraticModel(linear, quadratic, offset, vartype)"
    )
    raise SubproblemError("bqm", f"must be a dimod.BinaryQuadraticModel (got {what}); {hint}")
