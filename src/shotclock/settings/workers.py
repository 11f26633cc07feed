"""`[workers]`: the processes that read, compile and emulate."""

from __future__ import annotations

from pydantic import (
    Field,
)

from shotclock.settings.branch import Branch


class WorkersSettings(Branch):
    """What a worker process may take; one over its limits is replaced, and its caller alone refused.

    circuit_workers: processes that read and compile user circuits, and as many that emulate them.
    queue_limit: calls that may wait for one of these.
    template_limit_s: the longest compile of a subproblem's template, whatever its caller's deadline.
    circuit_limit_s: the longest read or compile of a user circuit; its caller's deadline may end it earlier.
    sampling_limit_s: the longest emulation of one job; its callers' deadlines may end it earlier.
    memory_mib: data of one process beyond what its imports take.
    """

    circuit_workers: int = Field(default=2, ge=1, le=64)
    queue_limit: int = Field(default=64, ge=0, le=100_000)
    template_limit_s: float = Field(default=60.0, gt=0, le=86_400)
    circuit_limit_s: float = Field(default=60.0, gt=0, le=86_400)
    sampling_limit_s: float = Field(default=600.0, gt=0, le=86_400)
    memory_mib: int = Field(default=2048, ge=64, le=1_048_576)
