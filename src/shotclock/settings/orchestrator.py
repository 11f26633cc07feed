"""`[orchestrator]`: queue, attempts, batches."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
)

from shotclock.settings.branch import LONGEST_MS, Branch, Budget

Wait = Annotated[float, Field(ge=0, le=LONGEST_MS)]
"""Milliseconds that may be none."""


class OrchestratorSettings(Branch):
    """The bounds of the orchestrator: waiting calls, attempts a job, calls that share a job.

    queue_limit: calls that may wait for a job, 1 or more.
    attempts: submits per job at most, 1 to 3.
    batch_limit: calls per job at most; 1 packs nothing.
    batch_age_ms: how long a job that is not full waits for more calls, milliseconds; 0 submits at once.
    overload_wait_ms: a mean queue wait above it sheds low priorities first, milliseconds.
    result_cache: calls whose samples are kept for equal calls; 0 keeps none. Never used by user circuits, by
        calls that ask for new samples (`Subproblem.fresh`), by load tests, and by arms without protection.
    caller_calls: calls that one caller (a name in a certificate) has in progress at once.
    caller_bytes: bytes of the calls that one caller has in progress at once.
    """

    queue_limit: int = Field(default=64, ge=1)
    attempts: int = Field(default=3, ge=1, le=3)
    batch_limit: int = Field(default=8, ge=1, le=300)
    batch_age_ms: Wait = 0.0
    overload_wait_ms: Budget = 100.0
    result_cache: int = Field(default=256, ge=0, le=100_000)
    caller_calls: int = Field(default=128, ge=1, le=100_000)
    caller_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
