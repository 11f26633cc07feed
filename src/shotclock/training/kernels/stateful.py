"""The state a kernel may add to a checkpoint: its position and its random state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Stateful(Protocol):
    """An object with state for a checkpoint; torch's method names, so that torch's objects qualify.

    A kernel without these two methods starts from the beginning after a checkpoint is loaded.
    """

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, which `torch.load(weights_only=True)` reads."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Resumes from that state; may raise any exception on a state that it cannot use."""


class Turns:
    """A Stateful base class: a seeded random generator and the number of proposals made."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._turn = 0

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`."""
        return {"random": self._rng.bit_generator.state, "turn": self._turn}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """See `Stateful`."""
        turn = int(state["turn"])
        self._rng.bit_generator.state = state["random"]
        self._turn = turn
