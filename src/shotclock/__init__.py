"""Shotclock puts a quantum processor behind a deadline.

`attach` hooks it into a torch optimizer. Its types are in `shotclock.domain`: a `subproblem.Subproblem`
goes in, one of five `outcome.Outcome` comes out, and `ports` defines what a user's kernel, provider, solver
or workload implements. `shotclock.wire.client.GrpcDispatcher` calls a running `shotclock serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shotclock.app.attach import attach

__version__ = "0.1.0"
__all__ = ["__version__", "attach"]


def __dir__() -> list[str]:
    """With `attach`, which is not there before it is asked for."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """`shotclock.attach` imports torch when it is asked for, not before."""
    if name == "attach":
        from shotclock.app.attach import attach  # noqa: PLC0415

        return attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
