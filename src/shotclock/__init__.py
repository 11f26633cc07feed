"""Shotclock puts a quantum processor behind a deadline.

`attach` hooks it into a torch optimizer, `connect` gives Qiskit's primitives. Its types are in
`shotclock.domain`: a `subproblem.Subproblem` goes in, one of five `outcome.Outcome` comes out, and `ports`
defines what a user's kernel, provider, solver or workload implements. `shotclock.wire.client.GrpcDispatcher`
calls a running `shotclock serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shotclock.app.attach import attach
    from shotclock.app.connect import connect
    from shotclock.domain.errors import DeadlineExceeded

__version__ = "0.1.0"
__all__ = ["DeadlineExceeded", "__version__", "attach", "connect"]


def __dir__() -> list[str]:
    """With what is not there before it is asked for."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """`shotclock.attach` imports torch and `connect` Qiskit when they are asked for, not before."""
    if name == "attach":
        from shotclock.app.attach import attach  # noqa: PLC0415

        return attach
    if name == "connect":
        from shotclock.app.connect import connect  # noqa: PLC0415

        return connect
    if name == "DeadlineExceeded":
        from shotclock.domain.errors import DeadlineExceeded  # noqa: PLC0415

        return DeadlineExceeded
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
