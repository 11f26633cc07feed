"""The machine that figures were measured on, in a line, without its name."""

from __future__ import annotations

from shotclock.bench.record.folder import environment


def machine() -> str:
    """Processor, cores, memory, system and the versions that matter."""
    return ", ".join(f"{name} {value}" for name, value in environment().items() if name != "host")
