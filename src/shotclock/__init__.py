"""Shotclock puts a quantum processor behind a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shotclock.app.attach import attach

__version__ = "0.1.0"
__all__ = ["__version__", "attach"]


def __getattr__(name: str) -> object:
    """`shotclock.attach` imports torch when it is asked for, not before."""
    if name == "attach":
        from shotclock.app.attach import attach  # noqa: PLC0415

        return attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
