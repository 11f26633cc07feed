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
    "classical-longer",
    "hybrid-colocated",
    "hybrid-colocated-protected",
    "hybrid-onprem-today",
    "hybrid-public-cloud",
    "quantum-raw",
    "classical-magnitude",
    "classical-random",
    "classical-perturbed-greedy",
    "classical-greedy",
)


HOSTS_ARMS = ("classical-only", "classical-control", "hybrid-hosts", "hybrid-hosts-protected")
"""Those of `bench --hosts` without `--arms`."""


class BenchSettings(Branch):
    """The main job: which arms, how long, in which order.

    workload: name of the workload to train.
    arms: names of the arms, at least one.
    seeds: training runs per arm, each with a different seed.
    steps: measured steps per arm and seed, counted after the warm-up.
    warmup_steps: steps before the measured ones, not counted; they train too, so many leave less to gain.
    order: "interleaved" runs the arms of a seed in turns, "sequential" one arm after the other.
    hosts: HOST:PORT of running orchestrators, which `hybrid-hosts` and `hybrid-hosts-protected` call.
    placement: how the host of such a call is chosen; two are there to compare with rtt.
    samples: whether the run folder gets every call's bit strings, `samples.parquet`.
    """

    workload: str = "digits-quantized"
    arms: tuple[str, ...] = Field(default=DEFAULT_ARMS, min_length=1)
    seeds: int = Field(default=8, ge=1, le=1000)
    steps: int = Field(default=500, ge=1, le=1_000_000_000)
    warmup_steps: int = Field(default=5, ge=0, le=1_000_000_000)
    order: Literal["interleaved", "sequential"] = "interleaved"
    hosts: tuple[str, ...] = ()
    placement: Literal["rtt", "round-robin", "random"] = "rtt"
    samples: bool = False


QUICK = {"steps": 85}
"""What `--quick` sets: 17 calls a seed at the default cadence, 136 in all; a p95 is printed from 130."""


QUICK_LEAVES_OUT = "hybrid-onprem-today"
