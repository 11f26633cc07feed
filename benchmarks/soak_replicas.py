"""Orchestrators that share a ledger under kills, stops, cut links and restarts, for longer than CI allows.

It is the tests' machinery: three real `shotclock serve` on a real PostgreSQL server, and a vendor's process
that keeps a separate account of paid jobs and counts those that run at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
from pathlib import Path

import _extras
from _machine import machine
from shotclock.domain.ledger import TERMINAL

TESTS = Path(__file__).parents[1] / "tests"
SLOW = {"pay_s": 0.02, "answer_s": 0.04, "run_s": 0.1, "lost": 0.05}
BAD = ("lost", "paid_twice", "unfinished", "contradictions", "lanes_oversubscribed")

Figures = dict[str, float]
"""Metric → number; a percentile with too few samples is absent."""


def main() -> None:
    """Prints JSON or markdown; ends with 1 where a job was lost or paid for twice, or too many ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=math.inf, help="cause no fault later than that")
    parser.add_argument("--json", action="store_true", help="one object, metric → number")
    parser.add_argument("--page", type=Path, help="where the markdown goes; stdout without it")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    figures = soak(words.kills, words.seed, 60.0 * words.minutes)
    text = json.dumps(figures, indent=2) if words.json else page(figures)
    if words.page is None:
        print(text)
    else:
        words.page.write_text(f"{text}\n", encoding="utf-8")
    if any(figures[name] for name in BAD):
        sys.exit(1)


def soak(kills: int, seed: int, limit_s: float) -> Figures:
    """So many kills, and a tenth as many restarts, stops and cut links each, or fewer if time is up."""
    from killing import Verdict  # noqa: PLC0415 - the tests' folder is on the path only now
    from paid_provider import vendor  # noqa: PLC0415
    from postgres_cluster import run_cluster  # noqa: PLC0415
    from replica_faults import LANES_SHARED, LEASE_S, REPLICAS, Faults, run_replicas  # noqa: PLC0415

    others = max(1, kills // 10)
    faults = Faults(kills, restarts=others, stops=others, cuts=others, limit_s=limit_s)
    with tempfile.TemporaryDirectory() as name, run_cluster() as cluster:
        folder = Path(name)
        with vendor(folder, seed, **SLOW) as account:
            story = asyncio.run(run_replicas(folder, cluster, account, faults, seed=seed))
            verdict = Verdict.of(cluster.url(), account)
            most_at_once = account.most_at_once()
    if any(code or "trouble" in messages for code, messages in story.codes):
        raise SystemExit(f"an orchestrator ended with {story.codes}")
    print(verdict.explain_contradictions(), file=sys.stderr)
    adoptions = sorted(story.adoption_s)
    quantiles = {"p50": 0.5, "p99": 0.99}
    return {
        "replicas": REPLICAS,
        "lease_s": LEASE_S,
        "kills": story.caused["kill"] + 2 * story.caused["kill two"],
        "restarts": story.caused["restart"],
        "stops": story.caused["stop"],
        "cut_links": story.caused["cut"],
        "calls": story.calls.endings.total(),
        "calls_done": story.calls.endings["Done"],
        "jobs_paid": len(verdict.paid),
        "jobs_adopted": verdict.count_adopted(),
        "never_submitted": verdict.count_never_submitted(),
        **{f"records_{state}": verdict.states()[state] for state in sorted(TERMINAL)},
        "lanes": LANES_SHARED,
        "most_jobs_at_once": most_at_once,
        "lost": len(verdict.find_lost_jobs()),
        "paid_twice": len(verdict.find_paid_twice()),
        "unfinished": len(verdict.find_unfinished()),
        "contradictions": len(verdict.find_contradictions()),
        "lanes_oversubscribed": max(0, most_at_once - LANES_SHARED),
        "adoptions": len(story.adoption_s),
        "adoption_max_s": max(story.adoption_s, default=0.0),
        **{
            f"adoption_{name}_s": adoptions[math.ceil(share * len(adoptions)) - 1]
            for name, share in quantiles.items()
            if adoptions
        },
    }


def page(figures: Figures) -> str:
    """The markdown page."""
    lines = [
        "# Orchestrators that share a ledger, under faults",
        "",
        f"Written by `make soak-replicas` on {machine()}.",
        "",
        "Three `shotclock serve` on one PostgreSQL server, under the load of six callers, with a vendor's",
        "process that keeps a separate account of what was paid for and of the jobs that ran at once.",
        "One or two are killed (SIGKILL) at random instants, stopped (SIGSTOP) or cut off from the",
        "database for longer than their lease; the server is restarted, in half of the cases by a",
        "crash. 5 % of the submits are paid for and their answer is lost. *Adoption*: from a kill that",
        "left jobs open until another one owns them all.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in figures.items()]
    lines += [
        "",
        f"The percentiles are nearest ranks of {figures['adoptions']:.0f} adoptions, without a bound:",
        "a p99 with one, at 99 % confidence, needs 662.",
    ]
    return "\n".join(lines)


def _cell(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


if __name__ == "__main__":
    _extras.run(main)
