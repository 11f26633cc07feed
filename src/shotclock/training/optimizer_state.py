"""What an applied delta does to the state of an optimizer.

A delta moves a parameter between two steps. Statistics of gradients hold after it as after any step. A copy
or an average of the parameter does not: the next read of it would take part of the delta back. Moved by the
same amount, it is what it would be had the parameter always been there. A history that compares successive
points would take the delta for a step along the gradient, so it starts again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim import Optimizer

from shotclock.domain.errors import SettingsError
from shotclock.training.layers.parameters import ParameterChange

log = logging.getLogger(__name__)


class StateRule(Enum):
    """What becomes of an entry of an optimizer's state."""

    KEEP = auto()
    """Counts, rates and statistics of gradients."""
    MOVE = auto()
    """A copy or an average of the parameter: moves with it."""
    ZERO = auto()
    """The last gradient, whose sign is compared with the next one's: 0, which compares nothing, where the
    parameter moved."""
    RESTART = auto()
    """A history of past points: removed, whichever parameter moved, and built again by the next step."""


def _keep(*keys: str) -> dict[str, StateRule]:
    return dict.fromkeys(keys, StateRule.KEEP)


_ADAM = _keep("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

STATE: Mapping[type[Optimizer], Mapping[str, StateRule]] = {
    optim.Adadelta: _keep("step", "square_avg", "acc_delta"),
    optim.Adafactor: _keep("step", "row_var", "col_var", "variance"),
    optim.Adagrad: _keep("step", "sum"),
    optim.Adam: _ADAM,
    optim.AdamW: _ADAM,
    optim.Adamax: _keep("step", "exp_avg", "exp_inf"),
    optim.ASGD: _keep("step", "eta", "mu") | {"ax": StateRule.MOVE},
    optim.LBFGS: _keep("func_evals")
    | dict.fromkeys(
        ("n_iter", "d", "t", "old_dirs", "old_stps", "ro", "al", "H_diag", "prev_flat_grad", "prev_loss"),
        StateRule.RESTART,
    ),
    optim.Muon: _keep("momentum_buffer"),
    optim.NAdam: _keep("step", "exp_avg", "exp_avg_sq", "mu_product"),
    optim.RAdam: _keep("step", "exp_avg", "exp_avg_sq"),
    optim.RMSprop: _keep("step", "square_avg", "grad_avg", "momentum_buffer"),
    optim.Rprop: _keep("step", "step_size") | {"prev": StateRule.ZERO},
    optim.SGD: _keep("momentum_buffer"),
    optim.SparseAdam: _keep("step", "exp_avg", "exp_avg_sq"),
}
"""Every optimizer of torch.optim, and every entry its state may have."""

HISTORIES = frozenset({"old_dirs", "old_stps", "prev_flat_grad"})
FILLED = 2
"""Steps after which an optimizer has its state: those that compare two points need a second one."""
NEAR = 0.5
"""Of the parameter's norm: an entry this close to its parameter is taken for a copy of it."""

Pairs = Sequence[tuple[Tensor, Tensor]]
"""A parameter and what an optimizer keeps in its shape, for each parameter that has one."""


class OptimizerState:
    """The state of an optimizer and of every optimizer that it wraps, or that wraps it.

    An optimizer that torch does not ship keeps its state under other names. What has the shape of its
    parameter and lies near it when it is first seen is a copy, and moves; one log line says so.
    """

    def __init__(self, optimizer: object) -> None:
        self._optimizers = list(_walk(optimizer, []))
        self._copies: set[tuple[int, str]] = set()
        self._examined: set[tuple[int, str]] = set()
        self._steps = 0
        self._examine()

    def observe_step(self) -> None:
        """After a step; SettingsError where the state is a history that cannot be restarted."""
        self._steps += 1
        if self._steps <= FILLED:
            self._examine()

    @torch.no_grad()
    def adjust(self, change: ParameterChange) -> None:
        """The state after a parameter was changed; as it is where no entry was."""
        if not bool(change.by.any()):
            return
        self._examine()
        for place, optimizer in enumerate(self._optimizers):
            rules = _rules(optimizer)
            for state in _states(optimizer).values():
                for key in [key for key in state if rules.get(key) is StateRule.RESTART]:
                    del state[key]
            for key, pairs in _entries(optimizer).items():
                rule = StateRule.MOVE if (place, key) in self._copies else rules.get(key, StateRule.KEEP)
                for parameter, tensor in pairs:
                    if parameter is change.parameter:
                        _adjust(tensor, rule, change)

    @torch.no_grad()
    def _examine(self) -> None:
        """Finds the copies among what is new in the state."""
        for place, optimizer in enumerate(self._optimizers):
            kind, rules = type(optimizer).__name__, _rules(optimizer)
            for key, pairs in _entries(optimizer).items():
                if key in rules or (place, key) in self._examined:
                    continue
                if key in HISTORIES:
                    raise SettingsError(
                        f"attach: {kind} keeps a history of past parameters ('{key}'), which an applied "
                        f"delta makes wrong; use torch.optim.LBFGS, whose history is restarted"
                    )
                comparable = [pair for pair in pairs if _is_comparable(*pair)]
                if not comparable:
                    continue
                self._examined.add((place, key))
                if _is_near(comparable):
                    self._copies.add((place, key))
                    log.warning(
                        "attach: %s keeps a copy of the parameters ('%s'); applied deltas move it too",
                        kind,
                        key,
                    )


def _adjust(tensor: Tensor, rule: StateRule, change: ParameterChange) -> None:
    at = tuple(part.to(tensor.device) for part in torch.unravel_index(change.indices, tensor.shape))
    if rule is StateRule.MOVE:
        tensor[at] += change.by.to(tensor)
    elif rule is StateRule.ZERO:
        tensor[at] = 0


def _walk(optimizer: object, visited: list[object]) -> Iterator[object]:
    """The optimizer and all that it has as attributes, each once."""
    if any(optimizer is earlier for earlier in visited):
        return
    visited.append(optimizer)
    yield optimizer
    for name, value in _attributes(optimizer).items():
        if isinstance(value, Optimizer) or name == "optimizer":
            yield from _walk(value, visited)


def _rules(optimizer: object) -> Mapping[str, StateRule]:
    return next((STATE[kind] for kind in type(optimizer).__mro__ if kind in STATE), {})


def _attributes(optimizer: object) -> dict[str, Any]:
    """Its own; a wrapper's properties pass on those of the optimizer inside."""
    return getattr(optimizer, "__dict__", {})


def _states(optimizer: object) -> dict[Any, dict[Any, Any]]:
    """By parameter, or by whatever an optimizer takes instead."""
    state = _attributes(optimizer).get("state")
    entries = state.items() if isinstance(state, dict) else ()
    return {key: per_key for key, per_key in entries if isinstance(per_key, dict)}


def _entries(optimizer: object) -> Mapping[str, Pairs]:
    """By key of the state, and by name of an attribute that lists one tensor a parameter."""
    by_name: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for parameter, state in _states(optimizer).items():
        for key, value in state.items():
            pairs = by_name.setdefault(str(key), [])
            if isinstance(parameter, Tensor) and isinstance(value, Tensor) and value.shape == parameter.shape:
                pairs.append((parameter, value))
    parameters = _flatten([group["params"] for group in getattr(optimizer, "param_groups", [])])
    for name, value in _attributes(optimizer).items():
        listed = _flatten(value) if isinstance(value, list | tuple) else []
        if listed and [tensor.shape for tensor in listed] == [tensor.shape for tensor in parameters]:
            by_name[name] = list(zip(parameters, listed, strict=True))
    return by_name


def _flatten(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _flatten(part)] if isinstance(value, list | tuple) else []


def _is_comparable(parameter: Tensor, tensor: Tensor) -> bool:
    """Whether the two may be a parameter with entries and another tensor of numbers like it."""
    holds_fractions = tensor.is_floating_point() or tensor.is_complex()
    other = tensor.layout is torch.strided and tensor.data_ptr() != parameter.data_ptr()
    return holds_fractions and other and bool(parameter.any())


def _is_near(pairs: Pairs) -> bool:
    """Over all parameters together, as one that began at 0 is far from what it was."""
    distance = sum(float((tensor.to(parameter) - parameter).norm()) ** 2 for parameter, tensor in pairs)
    return distance <= NEAR**2 * sum(float(parameter.norm()) ** 2 for parameter, _ in pairs)
