"""The orchestrator under SIGKILL, certificate rotations, outages and load peaks, for longer than CI allows.

It is the tests' own machinery: kills hit the real `shotclock serve` under load while a vendor's process keeps
its own account of paid jobs; certificates rotate under real calls with mutual TLS; outages and pulses run the
production code on virtual time against an EMULATED QPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import _extras
from _machine import machine
from shotclock.domain.ledger import TERMINAL

TESTS = Path(__file__).parents[1] / "tests"
SLOW = {"pay_s": 0.02, "answer_s": 0.04, "run_s": 0.1}
LOST = {"lost": 0.3, "refused": 0.05, "failing": 0.05}
ROOM = 50_000
"""Bytes until a disk is full: some jobs later."""
BEFORE, AFTER = 20.0, 320.0
BAD = ("_lost", "_paid_twice", "_unfinished", "_calls_failed")
ROWS = (
    "processes_killed",
    "calls",
    "calls_done",
    "latest_answer_after_deadline_s",
    "jobs_paid",
    "jobs_adopted",
    "never_submitted",
    *(f"records_{state}" for state in sorted(TERMINAL)),
    "lost",
    "paid_twice",
    "unfinished",
)
OUTAGE = (
    "calls",
    "deadline_hit_ratio",
    "quantum_share_before",
    "recovered_s",
    "status_calls",
    "submits",
    "retries",
)
KINDS = {"kill": "kills", "kill_answers_lost": "answers lost", "kill_disk_full": "disk full"}

if TYPE_CHECKING:
    from fault_injection import LoadRecord
    from killing import Calls, Verdict

Figures = dict[str, float]
"""Metric → number."""


def main() -> None:
    """Prints JSON or markdown; ends with 1 where a job was lost or paid for twice, or a call failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--json", action="store_true", help="one object, metric → number")
    parser.add_argument("--page", type=Path, help="where the markdown goes; stdout without it")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    times = 10 if words.quick else 200
    figures = {
        **kill_repeatedly("kill", times, words.seed, SLOW),
        **kill_repeatedly("kill_answers_lost", times, words.seed, SLOW | LOST),
        **kill_repeatedly("kill_disk_full", times, words.seed, SLOW, ROOM),
        **rotations(times),
        **outages((30.0,) if words.quick else (30.0, 120.0, 600.0), words.seed),
        **pulse(words.seed),
    }
    text = json.dumps({name: round(value, 5) for name, value in figures.items()}, indent=2)
    if not words.json:
        text = page(figures)
    if words.page is None:
        print(text)
    else:
        words.page.write_text(f"{text}\n", encoding="utf-8")
    if any(value for name, value in figures.items() if name.endswith(BAD)):
        sys.exit(1)


def page(figures: Figures) -> str:
    """The markdown page: a table of rows by kind for the kills, one of figures for the rest."""
    lines = [
        "# The orchestrator under kills, rotations, outages and pulses",
        "",
        f"Written by `make soak-kills` on {machine()}.",
        "",
        "The QPU is EMULATED, or a vendor's process that keeps a separate account of what was paid for.",
        "",
        "Every process is killed (SIGKILL) at a random instant under the load of six callers. *Answers",
        "lost*: 30 % of the submits are paid for and their response never arrives. *Disk full*: the ledger's",
        "files cannot grow beyond a random size.",
        "",
        f"| | {' | '.join(KINDS.values())} |",
        "|---|---|---|---|",
    ]
    for row in ROWS:
        cells = " | ".join(_cell(figures.get(f"{kind}_{row}", 0.0)) for kind in KINDS)
        lines.append(f"| {row.replace('_', ' ')} | {cells} |")
    rotated = [_cell(figures[name]) for name in ("rotations", "rotation_calls", "rotation_calls_failed")]
    lines += [
        "",
        "Certificates of both ends, and sometimes their authority, replaced {} times under four callers: {}"
        " calls, {} failed.".format(*rotated),
        "",
        "A QPU outage under 100 calls/s with a deadline of 200 ms, on virtual time. *Refuses*:",
        "submits and status calls fail at once; *hangs*: jobs and status calls never end; *hangs but",
        "answers*: status calls succeed; *slow*: everything takes ten times as long. Calls are",
        "answered classically meanwhile. *Recovered*: seconds from the end of the outage until nine calls of",
        "ten have samples again.",
        "",
        f"| outage | {' | '.join(name.replace('_', ' ') for name in OUTAGE)} |",
        "|---|" + "---|" * len(OUTAGE),
    ]
    for outage in _outages(figures):
        cells = " | ".join(_cell(figures[f"{outage}_{name}"]) for name in OUTAGE)
        lines.append(f"| {outage.removeprefix('outage_').replace('_', ' ')} | {cells} |")
    lines += ["", "Three times the load for 30 s:", "", "| figure | value |", "|---|---|"]
    for name, value in figures.items():
        if name.startswith("pulse_"):
            lines.append(f"| {name.removeprefix('pulse_').replace('_', ' ')} | {_cell(value)} |")
    return "\n".join(lines)


def _outages(figures: Figures) -> list[str]:
    ill = (name for name in figures if name.startswith("outage_"))
    return [name.removesuffix("_deadline_hit_ratio") for name in ill if name.endswith("_hit_ratio")]


def _cell(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def rotations(times: int) -> Figures:
    """Both ends' certificates and now and then their authority replaced so many times under four callers."""
    from certificates import Site  # noqa: PLC0415 - the tests' folder is on the path only now
    from rotating import rotate  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        endings = asyncio.run(rotate(Site.at(Path(folder)), times))
    answered = endings.pop("Done")
    return {
        "rotations": times,
        "rotation_calls": answered + endings.total(),
        "rotation_calls_failed": endings.total(),
    }


def kill_repeatedly(
    name: str, kills: int, seed: int, words: Mapping[str, float], room: int | None = None
) -> Figures:
    """Figures of so many kills, judged by the vendor's account; room: see `run_with_kills`."""
    from killing import Place, Verdict, run_with_kills  # noqa: PLC0415
    from paid_provider import vendor  # noqa: PLC0415 - the tests' folder is on the path only now

    with tempfile.TemporaryDirectory() as folder, vendor(Path(folder), seed, **words) as account:
        place = Place.at(Path(folder), account)
        calls, code, complaints = asyncio.run(run_with_kills(place, kills=kills, seed=seed, room=room))
        if code or complaints:
            raise SystemExit(f"the last process ended with {code}: {complaints}")
        return {
            f"{name}_{key}": value
            for key, value in _judge(kills, calls, Verdict.of(place.ledger, account)).items()
        }


def _judge(kills: int, calls: Calls, verdict: Verdict) -> Figures:
    return {
        "processes_killed": kills,
        "calls": calls.endings.total(),
        "calls_done": calls.endings["Done"],
        "latest_answer_after_deadline_s": calls.latest_s,
        "jobs_paid": len(verdict.paid),
        "jobs_adopted": verdict.count_adopted(),
        "never_submitted": verdict.count_never_submitted(),
        **{f"records_{state}": count for state, count in sorted(verdict.states().items())},
        "lost": len(verdict.find_lost_jobs()),
        "paid_twice": len(verdict.find_paid_twice()),
        "unfinished": len(verdict.find_unfinished()),
    }


def outages(lengths_s: tuple[float, ...], seed: int) -> Figures:
    """Each outage for each length: the outcomes of calls, and the time until the QPU answered again."""
    from fault_injection import LoadPhase, OutageKind, run_phases  # noqa: PLC0415
    from harness import run_virtual  # noqa: PLC0415

    figures: Figures = {}
    for outage in OutageKind:
        for length_s in lengths_s if outage is not OutageKind.NONE else ():
            spells = (
                LoadPhase(BEFORE),
                LoadPhase(length_s, outage=outage),
                LoadPhase(AFTER if length_s > 30 else 80.0),
            )
            story = run_virtual(run_phases(*spells, seed=seed))
            name = f"outage_{outage.name.lower()}_{length_s:g}s"
            figures |= {
                f"{name}_{key}": value for key, value in _to_figures(story, BEFORE + length_s).items()
            }
    return figures


def _to_figures(story: LoadRecord, ended_s: float) -> Figures:
    return {
        "calls": len(story.rows),
        "deadline_hit_ratio": story.in_time(),
        "quantum_share_before": story.share(2.0, BEFORE - 0.2),
        "recovered_s": story.measure_recovery_s(ended_s, 0.9),
        "status_calls": story.pings,
        "submits": story.submits,
        "retries": story.retries,
    }


def pulse(seed: int) -> Figures:
    """Three times the load for half a minute: goodput before, during and 10 s after, calls a second."""
    from fault_injection import LoadPhase, run_phases  # noqa: PLC0415
    from harness import run_virtual  # noqa: PLC0415

    story = run_virtual(run_phases(LoadPhase(BEFORE), LoadPhase(30, rate=300), LoadPhase(30), seed=seed))
    ends = BEFORE + 30
    return {
        "pulse_deadline_hit_ratio": story.in_time(),
        "pulse_goodput_before_per_s": story.goodput(2.0, BEFORE),
        "pulse_goodput_during_per_s": story.goodput(BEFORE, ends),
        "pulse_goodput_after_per_s": story.goodput(ends + 10, ends + 30),
        "pulse_share_before": story.share(2.0, BEFORE),
        "pulse_share_after": story.share(ends + 10, ends + 30),
        "pulse_recovered_s": story.measure_recovery_s(ends, 0.95 * story.share(2.0, BEFORE)),
    }


if __name__ == "__main__":
    _extras.run(main)
