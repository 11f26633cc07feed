"""From the accelerator to the host: one copy through pinned memory; a processor takes the same path."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shotclock.domain.subproblem import Float64s


def to_host(*tensors: Tensor) -> tuple[Float64s, ...]:
    """The tensors, all on one device, as float64 arrays of their own shapes.

    They are packed on the device, so that a proposal costs one transfer and one wait however many
    coefficients it has. `torch.cuda` is CUDA and ROCm alike.
    """
    packed = torch.cat([tensor.detach().reshape(-1).to(torch.float64) for tensor in tensors])
    landing = torch.empty(packed.shape, dtype=torch.float64, pin_memory=packed.is_cuda)
    landing.copy_(packed, non_blocking=packed.is_cuda)
    if packed.is_cuda:
        torch.cuda.current_stream(packed.device).synchronize()
    ends = np.cumsum([tensor.numel() for tensor in tensors])[:-1]
    # copied out of the pinned page, which goes back to torch's cache
    parts = np.split(landing.numpy().copy(), ends)
    return tuple(part.reshape(tuple(tensor.shape)) for part, tensor in zip(parts, tensors, strict=True))
