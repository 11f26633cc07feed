"""From the device to the host: one packed copy, whatever the tensors' number, shape and kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from shotclock.domain.ports import Kernel
from shotclock.training.kernels.to_host import to_host
from shotclock.training.loops import digits_mlp

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=5)


class HostCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts float64 copies into a tensor that is not their source's own: what would cross the bus."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.copies: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.copy_.default and args[0].dtype == torch.float64 and args[0].ndim == 1:
            self.copies.append(args[1].is_contiguous())
        return func(*args, **(kwargs or {}))


@given(shapes, st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64]))
def test_every_tensor_comes_over_in_its_shape_as_float64(
    sizes: list[tuple[int, ...]], kind: torch.dtype
) -> None:
    tensors = [torch.randint(-9, 9, size).to(kind) for size in sizes]
    for array, tensor in zip(to_host(*tensors), tensors, strict=True):
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, tensor.double().numpy())


def test_what_came_over_is_the_hosts_own() -> None:
    tensor = torch.ones(3, dtype=torch.float64)
    (array,) = to_host(tensor)
    tensor.zero_()
    assert array.tolist() == [1.0, 1.0, 1.0]
    array[0] = 7.0
    assert tensor.tolist() == [0.0, 0.0, 0.0]


def test_a_transposed_view_and_a_leaf_with_a_gradient_come_over_as_they_read() -> None:
    leaf = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    turned, scalar = to_host(leaf.T, (leaf * 2.0).sum())
    np.testing.assert_array_equal(turned, leaf.detach().numpy().T)
    assert scalar == 30.0


@pytest.mark.parametrize("count", [1, 4])
def test_it_is_one_transfer_however_many_there_are(count: int) -> None:
    tensors: list[Tensor] = [torch.randn(3, 3) for _ in range(count)]
    with HostCopies() as host_copies:
        to_host(*tensors)
    assert host_copies.copies == [True]


@pytest.mark.parametrize(
    ("build", "name"),
    [(digits_mlp.build_rounded, "rounding"), (digits_mlp.build, "qat_flip")],
)
def test_a_rebuilt_surrogate_costs_one_transfer(build: Any, name: str) -> None:
    kernel: Kernel = build(0).kernel(name, 8)
    proposal = kernel.propose(0, 1)
    with HostCopies() as host_copies:
        kernel.rebuild(proposal, 1)
    assert host_copies.copies.count(True) == 1
