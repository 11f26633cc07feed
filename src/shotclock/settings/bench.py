"""`[bench]`: workload, arms, seeds, steps."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from shotclock.settings.branch import Branch

DEFAULT_ARMS = (
    "classical-only",
    "classical-control",
    "hybrid-colocated",
    "hybrid-colocated-protected",
    "hybrid-onprem-today",
    "hybrid-public-cloud",
    "quantum-raw",
)


class BenchSettings(Branch):
    """The main job: which arms, how long, in which order.

    workload: name of the workload to train.
    arms: names of the arms, at least one.
    seeds: training runs per arm, each with a different seed.
    steps: measured steps per arm and seed, counted after the warm-up.
    warmup_steps: steps before the measured ones, not counted; 0 for no warm-up.
    order: "interleaved" runs the arms of a seed in turns, "sequential" one arm after the other.
    """

    workload: str = "digits-mlp"
    arms: tuple[str, ...] = Field(default=DEFAULT_ARMS, min_length=1)
    seeds: int = Field(default=5, ge=1, le=1000)
    steps: int = Field(default=1000, ge=1, le=1_000_000_000)
    warmup_steps: int = Field(default=200, ge=0, le=1_000_000_000)
    order: Literal["interleaved", "sequential"] = "interleaved"


QUICK = {"steps": 150, "seeds": 3}
"""What `--quick` sets: 30 calls a seed at the default cadence, 90 in all (the fewest a p95 gate takes)."""


QUICK_LEAVES_OUT = "hybrid-onprem-today"
