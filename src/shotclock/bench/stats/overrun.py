"""When the emulation's own computing makes latencies worthless: they are then this machine's, not a QPU's."""

from __future__ import annotations

from collections.abc import Mapping

from shotclock.bench.schema import ArmSummary

P95 = 0.95


def is_invalid(overruns: int, answered: int, quantile: float = P95) -> bool:
    """Whether a quantile of latency may be that of a call in which the emulation overran.

    overruns: such calls, late ones included; answered: calls with samples of the QPU.
    """
    return overruns > (1.0 - quantile) * answered


def describe(overruns: int, calls: int) -> str:
    """Why the figures are invalid, and what to do."""
    return (
        f"the emulation computed for longer than the time it emulates in {overruns:,} of {calls:,} "
        f"calls, so latencies are this machine's, not a QPU's; ask fewer variables or use a faster machine"
    )


def invalid_arms(arms: Mapping[str, ArmSummary]) -> dict[str, ArmSummary]:
    """The arms whose emulation was too slow for their latencies to be a QPU's."""
    return {
        name: arm
        for name, arm in arms.items()
        if arm.calls_quantum and is_invalid(arm.emulator_overruns, arm.outcomes.get("done", 0))
    }
