"""Changes to a model, tied to the version they were computed on."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shotclock.domain.errors import DeltaError
from shotclock.domain.subproblem import Subproblem

_LARGEST_INDEX = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """Add `values` at flat `indices` of one named parameter; both of shape (k,).

    base_version: the model version that the change was computed on, a whole number of 0 or more.
    parameter: its name in `model.named_parameters()`, a second name of a tied parameter included.
    indices: row-major places in the parameter, whatever its memory format; any integer type is accepted and
    kept as int64. An index that occurs twice has its values added up.
    values: finite real numbers; kept as float32 or float64.

    Raises DeltaError on booleans (a mask), fractions, negative indices, other shapes, NaN or infinity.
    """

    base_version: int
    parameter: str
    indices: NDArray[np.int64]
    values: NDArray[np.float32 | np.float64]

    def __post_init__(self) -> None:
        if isinstance(self.base_version, bool) or not isinstance(self.base_version, Integral):
            raise DeltaError("base_version", f"must be a whole number (got {self.base_version!r})")
        if self.base_version < 0:
            raise DeltaError("base_version", f"must not be negative (got {self.base_version})")
        if not isinstance(self.parameter, str):
            raise DeltaError("parameter", f"must be a name (got {type(self.parameter).__name__})")
        indices, values = _read_array("indices", self.indices), _read_array("values", self.values)
        if indices.ndim != 1 or indices.shape != values.shape:
            raise DeltaError(
                "values",
                f"has shape {values.shape} for indices of shape {indices.shape}; give one value per index, "
                f"both of shape (k,)",
            )
        indices, values = _sum_duplicates(_check_indices(indices), _check_values(values))
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A subproblem and what its kernel needs to turn bits into a delta.

    subproblem: what is asked.
    context: the kernel's own.
    dense: the subproblem before terms were left out, of the same variables; None where none were.
    surrogate_error: relative energy error of the subproblem against `dense`; 0 without one.
    """

    subproblem: Subproblem
    context: object
    dense: Subproblem | None = None
    surrogate_error: float = 0.0


def _read_array(field: str, array_like: ArrayLike) -> NDArray[np.generic]:
    """An array of numbers; of a tensor, only one that NumPy can read: detached and in host memory."""
    try:
        array = np.asarray(array_like)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DeltaError(field, f"cannot be read as a NumPy array ({reason})") from error
    if array.dtype.kind not in "biuf":
        raise DeltaError(field, f"must be an array of real numbers (got dtype {array.dtype})")
    return array


def _check_indices(array: NDArray[np.generic]) -> NDArray[np.int64]:
    if not array.size:  # np.array([]) is float64
        return np.zeros(0, np.int64)
    if array.dtype.kind == "b":
        raise DeltaError("indices", "must be integers (got a boolean mask); pass np.flatnonzero(mask)")
    if array.dtype.kind == "f":
        raise DeltaError("indices", f"must be integers (got dtype {array.dtype}); convert them to int64")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0:
        raise DeltaError("indices", f"must not be negative (got {lowest}); flat indices count from 0")
    if highest > _LARGEST_INDEX:
        raise DeltaError("indices", f"must fit int64 (got {highest})")
    return array.astype(np.int64)


def _check_values(array: NDArray[np.generic]) -> NDArray[np.float32 | np.float64]:
    """A copy, so that a kernel which reuses its buffer changes no delta."""
    if array.dtype.kind == "b":
        raise DeltaError("values", "must be numbers to add (got booleans)")
    exact = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    values: NDArray[np.float32 | np.float64] = array.astype(np.float32 if exact else np.float64)
    if not np.isfinite(values).all():
        raise DeltaError("values", "has NaN or infinite changes")
    return values


def _sum_duplicates(
    indices: NDArray[np.int64], values: NDArray[np.float32 | np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float32 | np.float64]]:
    """Each index once, as torch would otherwise write one of its values and forget the others."""
    unique, place = np.unique(indices, return_inverse=True)
    if len(unique) == len(indices):
        return indices, values
    total = np.zeros(len(unique), np.float64)
    np.add.at(total, place, values.astype(np.float64))
    return unique, _check_values(total.astype(values.dtype))
