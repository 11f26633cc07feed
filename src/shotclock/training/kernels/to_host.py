"""Copies tensors from the accelerator to the host in one transfer; tensors on the CPU take the same path."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shotclock.domain.subproblem import Float64s


def to_host(*tensors: Tensor) -> tuple[Float64s, ...]:
    """The tensors, all on one device, as float64 arrays of the same shapes.

    They are packed on the device, so that a proposal costs one transfer and one wait for any number of
    coefficients. `torch.cuda` is both CUDA and ROCm.
    """
    packed = torch.cat([tensor.detach().reshape(-1).to(torch.float64) for tensor in tensors])
    pinned = torch.empty(packed.shape, dtype=torch.float64, pin_memory=packed.is_cuda)
    pinned.copy_(packed, non_blocking=packed.is_cuda)
    if packed.is_cuda:
        torch.cuda.current_stream(packed.device).synchronize()
    ends = np.cumsum([tensor.numel() for tensor in tensors])[:-1]
    # Copied, because the pinned memory returns to torch's cache.
    parts = np.split(pinned.numpy().copy(), ends)
    return tuple(part.reshape(tuple(tensor.shape)) for part, tensor in zip(parts, tensors, strict=True))
