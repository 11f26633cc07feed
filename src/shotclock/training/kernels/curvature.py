"""Slope and Gauss–Newton curvature of a model's cross-entropy along chosen directions of one parameter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from shotclock.training.layers.parameters import evaluation_mode


def slope(model: nn.Module, name: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """∂(mean cross-entropy)/∂parameter, of the parameter's shape; no `.grad` is touched."""
    point = model.get_parameter(name).detach().requires_grad_()
    with evaluation_mode(model), torch.enable_grad():
        logits = functional_call(model, {name: point}, (inputs,))
        loss = nn.functional.cross_entropy(logits, targets)
        (gradient,) = torch.autograd.grad(loss, point)
    return gradient


@torch.no_grad()
def gauss_newton(model: nn.Module, name: str, indices: Tensor, steps: Tensor, inputs: Tensor) -> Tensor:
    """DHD, shape (n, n), for moves of size steps, shape (n,), at flat indices, shape (n,).

    H is the Gauss–Newton curvature of the mean cross-entropy: with t_i = J·(D_i e_i) of the logits,
    DHD_ij = E[t_iᵀ (diag p − p pᵀ) t_j], p the softmax (Schraudolph 2002, doi 10.1162/08997660260028683).
    It costs one forward pass and n tangents from the parameter on.
    """
    point = model.get_parameter(name).detach()
    tangents = torch.zeros((len(steps), point.numel()), dtype=point.dtype, device=point.device)
    tangents[torch.arange(len(steps), device=point.device), indices] = steps.to(point)

    def logits_of(value: Tensor) -> Tensor:
        out: Tensor = functional_call(model, {name: value}, (inputs,))
        return out

    def push(tangent: Tensor) -> Tensor:
        pushed: Tensor = jvp(logits_of, (point,), (tangent.view_as(point),))[1]
        return pushed

    with evaluation_mode(model):
        pushed = vmap(push)(tangents)
        p = model(inputs).softmax(dim=1)
    weighted = pushed * p
    mean = weighted.sum(dim=2)
    flat = len(steps), -1
    curvature = weighted.reshape(flat) @ pushed.reshape(flat).T - mean @ mean.T
    mean_curvature: Tensor = curvature / p.shape[0]
    return mean_curvature
