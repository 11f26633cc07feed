"""Shotclock puts a quantum processor behind a deadline.

`solve` and `run` are one call from a notebook. `attach` hooks it into a torch optimizer, `connect` gives
Qiskit's primitives. Its types are in
`shotclock.domain`: a `subproblem.Subproblem` goes in, one of five `outcome.Outcome` comes out, and `ports`
defines what a user's kernel, provider, solver or workload implements. `shotclock.wire.client.GrpcDispatcher`
calls a running `shotclock serve`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shotclock.app.ask import run, solve
    from shotclock.app.attach import attach
    from shotclock.app.connect import connect
    from shotclock.domain.errors import DeadlineExceeded

__version__ = "0.1.0"
__all__ = ["DeadlineExceeded", "__version__", "attach", "connect", "run", "solve"]

_MODULES = {
    "DeadlineExceeded": "shotclock.domain.errors",
    "attach": "shotclock.app.attach",
    "connect": "shotclock.app.connect",
    "run": "shotclock.app.ask",
    "solve": "shotclock.app.ask",
}
"""Where each name is: `attach` imports torch and `connect` Qiskit when they are asked for, not before."""


def __dir__() -> list[str]:
    """With what is not there before it is asked for."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """Imports what is asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
