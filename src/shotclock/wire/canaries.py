"""A canary's report between the domain and the wire."""

from __future__ import annotations

from typing import Any

from shotclock.domain.canary import CanaryGroup, CanaryMeasure, CanaryPhase, CanaryReport
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.v1 import shotclock_pb2 as pb


def encode_canary(report: CanaryReport) -> pb.CanaryReport:
    """Every field under its own name."""
    return pb.CanaryReport(
        phase=report.phase,
        share=report.share,
        previous=report.previous,
        caller=report.caller,
        on_pass=report.on_pass,
        slow_ms=report.slow_ms,
        verdict=report.verdict,
        needed=report.needed,
        reason=report.reason,
        canary=_encode_group(report.canary),
        control=_encode_group(report.control),
        measures=[
            pb.CanaryMeasure(measure=each.measure, low=each.low, high=each.high, margin=each.margin)
            for each in report.measures
        ],
    )


def decode_canary(message: pb.CanaryReport) -> CanaryReport:
    """A service that knows no canaries reports none. Raises MalformedMessageError."""
    try:
        phase = CanaryPhase(message.phase or CanaryPhase.NONE)
    except ValueError:
        raise MalformedMessageError(f"canary.phase: no such value ({message.phase!r})") from None
    return CanaryReport(
        phase,
        message.share,
        message.previous,
        message.caller,
        message.on_pass,
        message.slow_ms,
        message.verdict,
        message.needed,
        message.reason,
        _decode_group(message.canary),
        _decode_group(message.control),
        tuple(
            CanaryMeasure(each.measure, _optional(each, "low"), _optional(each, "high"), each.margin)
            for each in message.measures
        ),
    )


def _encode_group(group: CanaryGroup) -> pb.CanaryGroup:
    return pb.CanaryGroup(
        calls=group.calls,
        missed=group.missed,
        slow=group.slow,
        sampled=group.sampled,
        p95_ms=group.p95_ms,
        validation_values=group.validation_values,
        validation_mean=group.validation_mean,
    )


def _decode_group(message: pb.CanaryGroup) -> CanaryGroup:
    return CanaryGroup(
        message.calls,
        message.missed,
        message.slow,
        message.sampled,
        _optional(message, "p95_ms"),
        message.validation_values,
        _optional(message, "validation_mean"),
    )


def _optional(message: Any, field: str) -> float | None:
    return getattr(message, field) if message.HasField(field) else None
