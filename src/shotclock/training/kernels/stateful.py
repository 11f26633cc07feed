"""What a kernel may have a checkpoint carry: where it was in its rows and its random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Stateful(Protocol):
    """A part of a kernel that remembers; torch's own names, so that its objects qualify.

    A kernel without these two methods starts anew after a checkpoint.
    """

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, which `torch.load(weights_only=True)` reads."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Goes on where that was taken; raises whatever it likes on what it cannot use."""


class Turns:
    """Stateful: random numbers from a seed, and how many proposals were made, so whose turn it is."""

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
