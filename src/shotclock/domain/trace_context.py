"""Which span a call is part of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which span what follows is part of.

    trace_id: of its trace, 128 bits, not 0.
    span_id: of the span, 64 bits, not 0.
    is_sampled: whether the trace is exported.
    is_remote: whether the span is another process's.
    """

    trace_id: int
    span_id: int
    is_sampled: bool
    is_remote: bool = False
