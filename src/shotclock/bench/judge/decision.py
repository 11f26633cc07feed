"""The specification's decision framework: how a call meets training on each fabric, and what to choose.

Remote needs the least operation; private has the lowest latency and the highest engineering cost; staged
prototypes remotely and moves to a private fabric what proves worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shotclock.bench.numbers import limit_ms, ms
from shotclock.bench.record.arm_runs import BASELINE, HYBRID
from shotclock.bench.schema import GateResult, Latency, Metric, Percentile, Result, Summary
from shotclock.bench.stats import overrun
from shotclock.domain.plural import count, verb
from shotclock.domain.stages import Stage

Kind = Literal["remote", "private", "unknown"]
Mode = Literal["inline", "overlap", "offline", "not settled"]
Way = Literal["remote", "private", "staged", "not settled"]
Worth = Literal["worth it", "not worth it", "undecided"]

KINDS: dict[str, Kind] = {"colocated": "private", "onprem-today": "private", "public-cloud": "remote"}
REMOTE_FROM_MS = 5.0
"""Round trip from which a site's profile counts as remote: the geometric mean of the link classes 'local',
1 ms, and 'cloud', 25 ms, of arXiv 2605.11860."""

_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_RANK: dict[Mode, int] = {"inline": 0, "overlap": 1, "offline": 2, "not settled": 3}


def name_mode(mode: str) -> str:
    """The mode in a sentence; summary.json's "not settled" reads as the gate's result that causes it."""
    return "inconclusive" if mode == "not settled" else mode


@dataclass(frozen=True, slots=True)
class FabricFigures:
    """A hybrid arm in the framework.

    arm: its name
    kind: remote, private or unknown
    mode: how a call meets training
    why: the comparison behind the mode
    figures: the metrics it cites
    """

    arm: str
    kind: Kind
    mode: Mode
    why: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacementChoice:
    """The option that a run supports, the reason, and the figures behind it."""

    way: Way
    why: str
    figures: tuple[str, ...]


def fabrics(summary: Summary) -> tuple[FabricFigures, ...]:
    """Every gated arm: inline if its p95 passes, overlap if it fits behind training, otherwise offline.

    It fits if the p95 of a call is at most the duration of the training steps between two calls, at
    classical-only's mean iteration: a longer call would still be running when the next one is due.
    """
    return tuple(_fabric(summary, gate) for gate in summary.mission_gates)


def _fabric(summary: Summary, gate: GateResult) -> FabricFigures:
    arm = gate.metric.removesuffix(".quantum_latency.p95_ms")
    kind = kind_of(summary, arm)
    within = limit_ms(gate.limit)
    if invalid := overrun.invalid_arms(summary.arms).get(arm):
        why = overrun.describe(invalid.emulator_overruns, invalid.calls)
        return FabricFigures(arm, kind, "not settled", f"invalid: {why}", (gate.metric,))
    has_p95 = _has_p95(summary.metrics.get(f"{arm}.quantum_latency"))
    if gate.result is Result.PASS:
        finding = f"its p95 is within {within}" if has_p95 else f"every call was within {within}"
        return FabricFigures(arm, kind, "inline", f"{finding} ({gate.why})", (gate.metric,))
    if gate.result is Result.INCONCLUSIVE:
        calls = f"about {count(gate.needed, 'call')}" if gate.needed else "more calls"
        return FabricFigures(
            arm, kind, "not settled", f"{calls} would decide it ({gate.why})", (gate.metric,)
        )
    mode, compared = _beside_training(summary, arm)
    iteration = f"{BASELINE}.{Stage.TOTAL_ITERATION_TIME}.mean_ms"
    finding = f"its p95 is not within {within}" if has_p95 else f"too many calls were not within {within}"
    why = f"{finding} ({gate.why}), and {compared}"
    return FabricFigures(
        arm, kind, mode, why, (gate.metric, iteration) if BASELINE in summary.arms else (gate.metric,)
    )


def _has_p95(metric: Metric | None) -> bool:
    """Whether the figure is printed: a gate needs fewer calls than a percentile."""
    return isinstance(metric, Latency) and isinstance(metric.percentiles.get("p95"), Percentile)


def _beside_training(summary: Summary, arm: str) -> tuple[Mode, str]:
    latency = summary.metrics.get(f"{arm}.quantum_latency")
    iteration = summary.metrics.get(f"{BASELINE}.{Stage.TOTAL_ITERATION_TIME}")
    every = summary.arms[arm].call_every
    if every is None or not isinstance(latency, Latency):
        return "not settled", "no call was made"
    if not isinstance(iteration, Latency) or iteration.mean is None:
        return "not settled", f"without {BASELINE} there is no iteration time to compare with"
    window_ms = every * iteration.mean
    steps = (
        f"the {count(every, 'training step')} between calls {verb(every, 'takes', 'take')} {ms(window_ms)} ms"
    )
    p95 = latency.percentiles.get("p95")
    if isinstance(p95, Percentile):
        if p95.value is None:
            return "offline", f"{steps}, while more than one call in twenty never came back"
        mode: Mode = "overlap" if p95.value <= window_ms else "offline"
        return mode, f"{steps} against a p95 of {ms(p95.value)} ms"
    if latency.mean is not None and latency.mean > window_ms:
        return "offline", f"{steps} against a mean of {ms(latency.mean)} ms"
    return (
        "not settled",
        f"{steps}; {count(latency.n, 'call')} {verb(latency.n, 'is', 'are')} too few for a p95 "
        f"to compare with that",
    )


def kind_of(summary: Summary, arm: str) -> Kind:
    """The kind by the fabric's name, or by the round trip of a site's profile."""
    name = arm.removeprefix(HYBRID)
    if name in KINDS:
        return KINDS[name]
    profile = summary.profiles.get(summary.arms[arm].profile or "")
    rtt = next((part for part in profile.components if part.name == "link.rtt"), None) if profile else None
    if rtt is None or rtt.unit not in _MS:
        return "unknown"
    return "remote" if rtt.value * _MS[rtt.unit] >= REMOTE_FROM_MS else "private"


def choose(arms: tuple[FabricFigures, ...], worth: Worth, tags: dict[str, dict[str, int]]) -> PlacementChoice:
    """Remote if it does as well as any private fabric; private only if quantum has proved worth it.

    tags: how many numbers of each arm's profile are published, measured and assumed.
    """
    remote, private = (_best(arms, kind) for kind in ("remote", "private"))
    if remote is None or private is None:
        missing = " and ".join(
            kind for kind, best in (("remote", remote), ("private", private)) if best is None
        )
        return PlacementChoice(
            "not settled", f"no {missing} fabric was measured in this run", _cite_sources(remote, private)
        )
    cited = _cite_sources(remote, private)
    if remote.mode == "not settled" or (private.mode == "not settled" and remote.mode != "inline"):
        open_one = remote if remote.mode == "not settled" else private
        return PlacementChoice("not settled", f"{open_one.arm} is inconclusive", cited)
    only = "only " if _RANK[remote.mode] > _RANK[private.mode] else ""
    both = f"{private.arm} fits {private.mode}, {remote.arm} {only}{remote.mode}"
    if _RANK[remote.mode] <= _RANK[private.mode]:
        return PlacementChoice("remote", f"{both}: a private fabric gains nothing here", cited)
    assumed, every = tags.get(private.arm, {}).get("assumed", 0), sum(tags.get(private.arm, {}).values())
    rests = ""
    if assumed:
        of = f"{assumed} of the {count(every, 'number')} behind {private.arm}'s latency"
        rests = f"; {of} {verb(assumed, 'is', 'are')} assumed"
    if worth == "worth it":
        return PlacementChoice("private", f"{both}, and the gain pays for it{rests}", cited)
    return PlacementChoice(
        "staged",
        f"{both}, but the samples have not shown that they are worth a fabric: prototype remotely, and move "
        f"over what proves itself{rests}",
        cited,
    )


def _best(arms: tuple[FabricFigures, ...], kind: str) -> FabricFigures | None:
    same_kind = (arm for arm in arms if arm.kind == kind)
    return min(same_kind, key=lambda arm: _RANK[arm.mode], default=None)


def _cite_sources(*arms: FabricFigures | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(figure for arm in arms if arm is not None for figure in arm.figures))
