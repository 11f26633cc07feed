"""Bounds of a call that a client keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds of a call from the client's side.

    resubmits: of a request that arrived damaged and so was never accepted, or whose answer arrived damaged
        and is asked for again; nothing else is repeated.
    return_s: reserved of the budget for returning the answer, seconds; at most a tenth of it.
    fallback_s: kept of the budget for the local answer where there is one, seconds, at most a tenth of it.
    decided_s: the deadline of `record_decision`, seconds.
    """

    resubmits: int = 2
    return_s: float = 0.01
    fallback_s: float = 0.02
    decided_s: float = 5.0


DEFAULT_LIMITS = CallLimits()
