"""W3C's traceparent in gRPC metadata: the trace of a call crosses the wire with it."""

from __future__ import annotations

import re
from typing import Any

from shotclock.domain.trace_context import TraceContext

TRACEPARENT = "traceparent"
SAMPLED = 0x01
_FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_metadata(context: TraceContext | None) -> tuple[tuple[str, str], ...] | None:
    """The metadata to send with a call; None without a trace."""
    if context is None:
        return None
    flags = SAMPLED if context.is_sampled else 0
    return ((TRACEPARENT, f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"),)


def read_trace(context: Any) -> TraceContext | None:
    """What the caller sent; None of a call without it, or with one that no sender of the standard makes."""
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT:
            return parse_traceparent(value) if isinstance(value, str) else None
    return None


def parse_traceparent(text: str) -> TraceContext | None:
    """See W3C's Trace Context: a later version may append fields, this one may not."""
    parts = _FORMAT.fullmatch(text)
    if parts is None:
        return None
    version, trace_id, span_id = parts[1], int(parts[2], 16), int(parts[3], 16)
    if version == "ff" or (version == "00" and parts[5]) or not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(parts[4], 16) & SAMPLED), is_remote=True)
