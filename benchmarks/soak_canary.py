"""The error of canaries' sequential tests: 10,000 simulated A/A canaries and planted regressions.

Every canary is read after each 100 calls of an arm, up to 20,000; ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from canary_simulation import Canaries, simulate_canaries
from shotclock.rollout.canary import CanaryPlan

PLAN = CanaryPlan(alpha=0.01, minimum=500)


def measure(count: int) -> dict[str, Canaries]:
    """How equals and planted regressions ended, `count` canaries of each."""
    planted = {
        "aa": {},
        "misses_2_to_4_percent": {"canary_miss": 0.04},
        "misses_2_to_6_percent": {"canary_miss": 0.06},
        "slow_5_to_10_percent": {"canary_slow": 0.10},
    }
    return {
        name: simulate_canaries(count, PLAN, calls=20_000, look_every=100, seed=7, **rates)
        for name, rates in planted.items()
    }


def main() -> None:
    """Prints one row a case, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 canaries a case")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    count = 200 if arguments.quick else 10_000
    cases = measure(count)
    if arguments.json:
        print(json.dumps({name: {"canaries": count, **asdict(ended)} for name, ended in cases.items()}))
        return
    for name, ended in cases.items():
        print(
            f"{name}: of {count:,} canaries {ended.rolled_back:,} rolled back "
            f"(median {ended.median_calls:,.0f} calls), {ended.promoted:,} promoted; "
            f"a fixed-size test read as often rolls back {ended.peeked:,}"
        )


if __name__ == "__main__":
    main()
