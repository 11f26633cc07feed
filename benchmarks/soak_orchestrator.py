"""The orchestrator under SIGKILL, outages and pulses, for longer than CI has time: the tests' own machinery.

Kills hit the real `shotclock serve` under load while a vendor's process keeps its own account of paid
jobs; outages and pulses run the production code on virtual time against an EMULATED QPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

TESTS = Path(__file__).parents[1] / "tests"
SLOW = {"pay_s": 0.02, "answer_s": 0.04, "run_s": 0.1}
LOST = {"lost": 0.3, "refused": 0.05, "failing": 0.05}
BEFORE, AFTER = 20.0, 320.0

if TYPE_CHECKING:
    from killing import Calls, Verdict
    from weather import Story

Figures = dict[str, float]
"""Metric → number."""


def main() -> None:
    """Prints JSON or markdown on stdout; ends with 1 where a paid job was lost or paid for twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--json", action="store_true", help="one object, metric → number")
    parser.add_argument("--kills", type=int, help="of each kind; 200, with --quick 10")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    kills = words.kills or (10 if words.quick else 200)
    figures = {
        **killed("kill", kills, words.seed, **SLOW),
        **killed("kill_answers_lost", kills, words.seed, **SLOW, **LOST),
        **outages((30.0,) if words.quick else (30.0, 120.0, 600.0), words.seed),
        **pulse(words.seed),
    }
    if words.json:
        print(json.dumps({name: round(value, 5) for name, value in figures.items()}, indent=2))
    else:
        print("## The orchestrator under kills, outages and pulses (EMULATED QPU)\n")
        print("| figure | value |\n|---|---|")
        print("\n".join(f"| `{name}` | {value:.5g} |" for name, value in figures.items()))
    if any(
        value for name, value in figures.items() if name.endswith(("_lost", "_paid_twice", "_unfinished"))
    ):
        sys.exit(1)


def killed(name: str, kills: int, seed: int, **words: float) -> Figures:
    """Figures of so many kills, judged by the vendor's account."""
    from accountant import vendor  # noqa: PLC0415 - the tests' folder is on the path only now
    from killing import Place, Verdict, live_through_kills  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, vendor(Path(folder), seed, **words) as books:
        place = Place.at(Path(folder), books)
        calls, code, complaints = asyncio.run(live_through_kills(place, kills=kills, seed=seed))
        if code or complaints:
            raise SystemExit(f"the last process ended with {code}: {complaints}")
        return {
            f"{name}_{key}": value
            for key, value in _judged(kills, calls, Verdict.of(place.ledger, books)).items()
        }


def _judged(kills: int, calls: Calls, verdict: Verdict) -> Figures:
    return {
        "processes_killed": kills,
        "calls": calls.endings.total(),
        "calls_done": calls.endings["Done"],
        "latest_answer_after_deadline_s": calls.latest_s,
        "jobs_paid": len(verdict.paid),
        "jobs_adopted": verdict.adopted(),
        **{f"records_{state}": count for state, count in sorted(verdict.states().items())},
        "lost": len(verdict.lost()),
        "paid_twice": len(verdict.paid_twice()),
        "unfinished": len(verdict.unfinished()),
    }


def outages(lengths_s: tuple[float, ...], seed: int) -> Figures:
    """Each illness for so long: what calls had, and how soon the QPU answered again."""
    from harness import run_virtual  # noqa: PLC0415
    from weather import Illness, Spell, live_through  # noqa: PLC0415

    figures: Figures = {}
    for illness in Illness:
        for length_s in lengths_s if illness is not Illness.NONE else ():
            spells = (
                Spell(BEFORE),
                Spell(length_s, illness=illness),
                Spell(AFTER if length_s > 30 else 80.0),
            )
            story = run_virtual(live_through(*spells, seed=seed))
            name = f"outage_{illness.name.lower()}_{length_s:g}s"
            figures |= {f"{name}_{key}": value for key, value in _weathered(story, BEFORE + length_s).items()}
    return figures


def _weathered(story: Story, ended_s: float) -> Figures:
    return {
        "calls": len(story.rows),
        "deadline_hit_ratio": story.in_time(),
        "quantum_share_before": story.share(2.0, BEFORE - 0.2),
        "recovered_s": story.recovered_s(ended_s, 0.9),
        "status_calls": story.pings,
        "submits": story.submits,
        "retries": story.retries,
    }


def pulse(seed: int) -> Figures:
    """Three times the load for half a minute: goodput before, during and 10 s after, calls a second."""
    from harness import run_virtual  # noqa: PLC0415
    from weather import Spell, live_through  # noqa: PLC0415

    story = run_virtual(live_through(Spell(BEFORE), Spell(30, rate=300), Spell(30), seed=seed))
    ends = BEFORE + 30
    return {
        "pulse_deadline_hit_ratio": story.in_time(),
        "pulse_goodput_before_per_s": story.goodput(2.0, BEFORE),
        "pulse_goodput_during_per_s": story.goodput(BEFORE, ends),
        "pulse_goodput_after_per_s": story.goodput(ends + 10, ends + 30),
        "pulse_share_before": story.share(2.0, BEFORE),
        "pulse_share_after": story.share(ends + 10, ends + 30),
        "pulse_recovered_s": story.recovered_s(ends, 0.95 * story.share(2.0, BEFORE)),
    }


if __name__ == "__main__":
    main()
