"""`[engine]`: where the replicates of a benchmark run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shotclock.settings.branch import Branch


class EngineSettings(Branch):
    """Replicates (a seed of all arms) in this process, or one by one on the hosts of a Ray or Slurm cluster.

    name: "local" runs all of them in this process.
    validate_share: share of the replicates that a second host repeats, 0 to 1; none by default.
    attempts: how often a replicate is started at most, when hosts are lost under it.
    heartbeat_s: how often a running replicate reports that it lives, seconds.
    lost_after_s: after how long without such a report it is lost, seconds; several heartbeats.
    cpus: that a replicate reserves.
    gpus: that a replicate reserves; the scheduler makes them visible to it, and nothing else does.
    qpu_slots: of the Ray resource `qpu_slot` that a replicate with a quantum arm reserves.
    ray_address: HOST:PORT of the cluster's head; "" is RAY_ADDRESS, else the cluster of this host.
    labels: Ray labels that a host must have, as `shotclock topology export` writes them.
    partition: of Slurm; "" is the cluster's default.
    account: of Slurm; "" is the user's default.
    time_limit_min: of a replicate's job under Slurm, minutes.
    qpu: name of a QPU that QRMI's plugin for Slurm allocates (`--qpu`); "" asks for none.
    sbatch: further options of sbatch, by long name without dashes, as `{ qos = "high" }`.
    """

    name: Literal["local", "ray", "slurm"] = "local"
    validate_share: float = Field(default=0.0, ge=0, le=1)
    attempts: int = Field(default=3, ge=1, le=100)
    heartbeat_s: float = Field(default=2.0, ge=0.1, le=600)
    lost_after_s: float = Field(default=15.0, ge=0.5, le=3_600)
    cpus: int = Field(default=1, ge=1, le=4096)
    gpus: int = Field(default=0, ge=0, le=64)
    qpu_slots: int = Field(default=1, ge=0, le=4096)
    ray_address: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    partition: str = ""
    account: str = ""
    time_limit_min: int = Field(default=60, ge=1, le=525_600)
    qpu: str = ""
    sbatch: dict[str, str] = Field(default_factory=dict)
