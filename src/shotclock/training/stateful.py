"""What a kernel may have a checkpoint carry: where it was in its rows and its random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """A part of a kernel that remembers; torch's own names, so that its objects qualify.

    A kernel without these two methods starts anew after a checkpoint.
    """

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, which `torch.load(weights_only=True)` reads."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Goes on where that was taken; raises whatever it likes on what it cannot use."""
