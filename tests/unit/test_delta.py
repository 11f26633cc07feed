"""What a delta accepts, and that an index which occurs twice is added up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from shotclock.domain.delta import Delta
from shotclock.domain.errors import DeltaError, RunError
from shotclock.training.layers.parameters import add, apply_temporarily


def apply_delta(parameter: Tensor, indices: ArrayLike, values: ArrayLike) -> list[float]:
    """What the delta changed, row-major."""
    model = nn.Module()
    model.w = nn.Parameter(parameter.clone(memory_format=torch.preserve_format))
    add(model, Delta(0, "w", indices, values))  # type: ignore[arg-type]
    changed: list[float] = (model.w.detach() - parameter).reshape(-1).tolist()
    return changed


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_any_integer_type_is_an_index_and_never_a_mask(dtype: str) -> None:
    assert apply_delta(torch.zeros(4), np.array([1, 0], dtype), np.array([2.0, 3.0])) == [3.0, 2.0, 0.0, 0.0]


def test_values_of_an_index_that_occurs_twice_add_up() -> None:
    assert apply_delta(torch.zeros(3), np.array([2, 1, 2]), np.array([1.0, 5.0, 2.0], np.float32)) == [
        0,
        5,
        3,
    ]


@pytest.mark.parametrize(
    ("indices", "values"),
    [([0, 2], [1, 1]), (torch.tensor([0, 2]), torch.ones(2)), (np.arange(4)[::2], np.ones(4)[::2])],
)
def test_lists_tensors_and_strided_arrays_are_read(indices: ArrayLike, values: ArrayLike) -> None:
    assert apply_delta(torch.zeros(3), indices, values) == [1.0, 0.0, 1.0]


def test_an_empty_change_changes_nothing_whatever_its_dtype() -> None:
    assert apply_delta(torch.zeros(2), np.array([]), np.array([])) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("indices", "values", "message"),
    [
        ([True, False], [1.0, 1.0], r"delta\.indices must be integers \(got a boolean mask\)"),
        ([1.0], [1.0], r"delta\.indices must be integers \(got dtype float64\)"),
        ([-1], [1.0], r"delta\.indices must not be negative \(got -1\)"),
        ([[1]], [[1.0]], r"delta\.values has shape \(1, 1\) for indices of shape \(1, 1\)"),
        ([1, 2], [1.0], r"delta\.values has shape \(1,\) for indices of shape \(2,\)"),
        ([1], [np.nan], r"delta\.values has NaN"),
        ([1], [1j], r"delta\.values must be an array of real numbers \(got dtype complex128\)"),
        ([1], [True], r"delta\.values must be numbers to add \(got booleans\)"),
        (["a"], [1.0], r"delta\.indices must be an array of real numbers"),
        ([1], torch.ones(1, requires_grad=True), r"delta\.values cannot be read as a NumPy array"),
    ],
)
def test_what_is_no_change_is_refused_in_one_line(
    indices: ArrayLike, values: ArrayLike, message: str
) -> None:
    with pytest.raises(DeltaError, match=message) as caught:
        Delta(0, "w", indices, values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_change_that_the_parameters_dtype_cannot_hold_is_refused() -> None:
    with pytest.raises(RunError, match=r"overflow 'w', which is torch\.float16"):
        apply_delta(torch.zeros(2, dtype=torch.float16), [0], [1e6])


@pytest.mark.parametrize(
    "parameter",
    [torch.zeros(4, 3).T, torch.zeros(2, 2, 3, 1).to(memory_format=torch.channels_last), torch.zeros(12)],
)
def test_a_flat_index_is_row_major_in_every_memory_format(parameter: Tensor) -> None:
    assert apply_delta(parameter, [5, 7], [1.0, 2.0]) == [0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0]


def test_a_trial_on_a_transposed_parameter_is_taken_back() -> None:
    model = nn.Module()
    model.w = nn.Parameter(torch.randn(4, 3).T)
    before = model.w.detach().clone()
    with apply_temporarily(model, Delta(0, "w", np.array([5]), np.ones(1))):
        assert float((model.w.detach() - before)[1, 1]) == pytest.approx(1.0)
    assert torch.equal(model.w, before)


@pytest.mark.parametrize("version", [1.0, True, "1", None, -1])
def test_a_base_version_is_a_whole_number(version: object) -> None:
    with pytest.raises(DeltaError, match=r"delta\.base_version must "):
        Delta(version, "w", np.array([0]), np.array([1.0]))  # type: ignore[arg-type]
