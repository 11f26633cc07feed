"""What the service accepts at most."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.wire.callers import DEFAULT_CALLER_LIMITS, CallerLimits

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """The most that the service accepts.

    circuit_bytes: of a circuit.
    subproblem_bytes: of a subproblem (256 variables need 264 KB).
    batch_bytes: of a batch of subproblems, whose coefficients have 4 MiB at most.
    request_bytes: of any other request.
    concurrent_calls: of one method at a time; each method is counted separately.
    watch_streams: of one caller at a time; each reads the status every watch_interval_s.
    watch_interval_s: how often a watched status is read, seconds.
    heartbeat_s: the longest silence of a stream, seconds.
    callers: of each caller, before its requests are parsed.
    """

    circuit_bytes: int = 4 * MIB
    subproblem_bytes: int = MIB // 2
    batch_bytes: int = 4 * MIB + MIB // 4
    request_bytes: int = 4096
    concurrent_calls: int = 1024
    watch_streams: int = 16
    watch_interval_s: float = 0.2
    heartbeat_s: float = 10.0
    callers: CallerLimits = DEFAULT_CALLER_LIMITS


DEFAULT_LIMITS = ServiceLimits()
