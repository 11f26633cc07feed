"""The error of canaries' sequential tests: 10,000 simulated A/A canaries and planted regressions.

Every canary is read after each 100 calls of an arm, up to 20,000. Before that, ten canaries a case go the way
of a service's calls: the flag file decides on which side each is, its end is recorded, and the canary's
control ends it. Two minutes of processor time in all.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from canary_simulation import Canaries, simulate_canaries
from flag_files import NO_PROFILES, make_file, make_share
from harness import Inline, LoopClock, run_virtual
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.canary import CanaryPhase, CanaryRequest
from shotclock.domain.circuit import Samples
from shotclock.domain.flags import FlagRequest
from shotclock.domain.outcome import Answer, DeadlinePassed, Done, Late, Provenance, Winner
from shotclock.rollout.canary import ArmSample, CanaryPlan, Proportion, Verdict, judge
from shotclock.rollout.canary_control import CanaryControl
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.document_rollout import DocumentRollout
from shotclock.rollout.file_source import FileSource

PLAN = CanaryPlan(alpha=0.01, minimum=500)
CALLS = 20_000
CASES = {
    "aa": {},
    "misses_2_to_4_percent": {"canary_miss": 0.04},
    "misses_2_to_6_percent": {"canary_miss": 0.06},
    "slow_5_to_10_percent": {"canary_slow": 0.10},
}

SLOW_MS, BUDGET_MS = 100.0, 200.0
RUNS = [FlagRequest.of(f"run{number}/", "qat_flip", "trainer") for number in range(1000)]
"""Each is wholly on one side."""
GROWTH = 1.05
"""Of all calls between two looks: more than the 1 % of a side from which the control judges again."""

PROVENANCE = Provenance("scripted", emulated=True, base_version=0)
ANSWER = Answer(np.zeros(4, np.uint8), 0.0, Winner.INCUMBENT, "incumbent")
SAMPLED = Done(ANSWER, Samples(np.zeros((1, 4), np.uint8), np.array([64])), None, PROVENANCE)
LATE = Late(DeadlinePassed(round(BUDGET_MS * NS_PER_MS)), PROVENANCE)

PHASES = {
    Verdict.ROLL_BACK: (CanaryPhase.ROLLED_BACK, "0"),
    Verdict.PROMOTE: (CanaryPhase.PROMOTED, "on"),
    Verdict.INCONCLUSIVE: (CanaryPhase.RUNNING, "50"),
}
"""What the control makes of a verdict, and of the share."""


class Silent:
    """Counts no evaluations."""

    def record_flag(self, flag: str, reason: str) -> None:
        """Not counted here."""


@dataclass(slots=True)
class Side:
    """A side's calls, counted beside the control's own counts."""

    miss: float
    slow: float
    calls: int = 0
    missed: int = 0
    slower: int = 0

    def draw(self, rng: random.Random) -> tuple[Done | Late, int]:
        """A call's outcome and its duration, nanoseconds."""
        luck = rng.random()
        is_missed, is_slow = luck < self.miss, luck < self.slow
        self.calls += 1
        self.missed += is_missed
        self.slower += is_missed or is_slow
        duration_ms = 250 if is_missed else 150 if is_slow else 20
        return LATE if is_missed else SAMPLED, round(duration_ms * NS_PER_MS)

    @property
    def sample(self) -> ArmSample:
        """What the tests read."""
        return ArmSample(Proportion(self.missed, self.calls), Proportion(self.slower, self.calls))


def list_looks() -> Iterator[int]:
    """The number of calls after which the canary is looked at, of both sides."""
    looked = 0
    while looked < 2 * CALLS:
        looked = max(looked + 200, round(looked * GROWTH))
        yield looked


@dataclass(frozen=True, slots=True)
class Driven:
    """How canaries ended that went the way of a service's calls.

    rolled_back, promoted: of them.
    median_calls, most_calls: calls of the canary's side at its end, rolled back or promoted; 0 without one.
    looks: at all of them.
    disagreements: looks after which phase or share were not those of the verdict on the same calls.
    """

    rolled_back: int
    promoted: int
    median_calls: float
    most_calls: int
    looks: int
    disagreements: int


@dataclass(frozen=True, slots=True)
class DrivenCanary:
    """One of them: its phase, the calls of its side, the looks at it, and the disagreements among these."""

    phase: CanaryPhase
    calls: int
    looks: int
    disagreements: int


async def drive_canary(
    folder: Path, seed: int, *, canary_miss: float = 0.02, canary_slow: float = 0.05
) -> DrivenCanary:
    """A canary of half the calls."""
    path, rng, clock = folder / "flags.json", random.Random(seed), LoopClock()
    path.write_text(make_file(quantum_share=make_share(0)))
    flags = DocumentFlags(FileSource(path), Silent(), print, clock, NO_PROFILES)
    control = CanaryControl(flags, folder / f"{seed}.canary.json", Inline(), SLOW_MS, print)
    rollout = DocumentRollout(flags, control, Inline())
    margins = (PLAN.miss_margin, PLAN.slow_margin, PLAN.validation_margin)
    await rollout.start_canary(
        CanaryRequest(50, "promote", SLOW_MS, PLAN.minimum, PLAN.alpha, *margins), "soak"
    )
    canary, others = Side(canary_miss, canary_slow), Side(0.02, 0.05)
    looks = disagreements = 0
    for until in list_looks():
        while canary.calls + others.calls < until:
            decision = rollout.decide(rng.choice(RUNS))
            outcome, duration_ns = (others if decision.kept_by else canary).draw(rng)
            rollout.record_end(decision, outcome, duration_ns, round(BUDGET_MS * NS_PER_MS))
        await control.advance()
        looks += 1
        expected = PHASES[judge(canary.sample, others.sample, PLAN).verdict]
        phase = rollout.canary().phase
        disagreements += (phase, rollout.report().settings["quantum_share"]) != expected
        if phase is not CanaryPhase.RUNNING:
            break
    return DrivenCanary(rollout.canary().phase, canary.calls, looks, disagreements)


def drive(count: int, **rates: float) -> Driven:
    """Canaries of these rates, one after another."""
    with TemporaryDirectory() as folder:
        ended = [run_virtual(drive_canary(Path(folder), seed, **rates)) for seed in range(count)]
    phases = [canary.phase for canary in ended]
    calls = [canary.calls for canary in ended if canary.phase is not CanaryPhase.RUNNING]
    return Driven(
        phases.count(CanaryPhase.ROLLED_BACK),
        phases.count(CanaryPhase.PROMOTED),
        median(calls) if calls else 0,
        max(calls, default=0),
        sum(canary.looks for canary in ended),
        sum(canary.disagreements for canary in ended),
    )


def measure(count: int) -> dict[str, Canaries]:
    """How equals and planted regressions ended, `count` canaries of each."""
    return {
        name: simulate_canaries(count, PLAN, calls=CALLS, look_every=100, seed=7, **rates)
        for name, rates in CASES.items()
    }


def main() -> None:
    """Prints two rows a case, or one JSON object; exits with 1 if the control disagrees with its tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 canaries a case, 2 of them driven")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    count, driven_count = (200, 2) if arguments.quick else (10_000, 10)
    driven = {name: drive(driven_count, **rates) for name, rates in CASES.items()}
    cases = measure(count)
    if arguments.json:
        document = {
            name: {"canaries": count, **asdict(ended), "driven": asdict(driven[name])}
            for name, ended in cases.items()
        }
        print(json.dumps(document))
    else:
        for name, ended in cases.items():
            control = driven[name]
            print(
                f"{name}: of {count:,} canaries {ended.rolled_back:,} rolled back "
                f"(median {ended.median_calls:,.0f} calls), {ended.promoted:,} promoted; "
                f"a fixed-size test read as often rolls back {ended.peeked:,}"
            )
            print(
                f"  of {driven_count} through the control {control.rolled_back} rolled back, "
                f"{control.promoted} promoted, after {control.median_calls:,.0f} calls of the canary "
                f"(median, at most {control.most_calls:,}); "
                f"{control.disagreements} of {control.looks} looks disagree"
            )
    sys.exit(any(control.disagreements for control in driven.values()))


if __name__ == "__main__":
    main()
