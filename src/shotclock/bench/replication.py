"""Replicates that ran on several hosts, as `summary.json` holds them."""

from __future__ import annotations

from pydantic import Field

from shotclock.bench.analysis import KnownFigures
from shotclock.bench.frozen import Frozen


class ReplicateHost(Frozen):
    """What one host finished.

    replicates: seeds
    validations: seeds that another host had run before
    kind: hosts of one number have equal machine facts
    qpus: the QPUs that the scheduler had allocated, by QRMI's variables
    """

    replicates: tuple[int, ...] = ()
    validations: tuple[int, ...] = ()
    kind: int = 0
    qpus: tuple[str, ...] = ()


class LostExecution(Frozen):
    """An execution that ended without a result.

    seed: its number
    validation: whether another host had run it before
    host: that was lost; "" where none had begun it
    because: how that was noticed
    """

    seed: int
    validation: bool
    host: str
    because: str


class Spread(KnownFigures):
    """The variance of a figure over the executions on hosts of one kind.

    n: executions
    hosts: that ran them
    within: variance between executions on the same host, pooled; other seeds are part of it
    between: what hosts add to it: (mean square between hosts − within) ÷ executions a host, as in a one-way
        analysis of variance with random effects; negative where hosts differ less than executions do
    """

    n: int
    hosts: int
    within: float | None = None
    between: float | None = None


class RepeatedSeeds(KnownFigures):
    """A figure on the second host minus the same seed's on the first; the seed's share is gone.

    n: seeds that a second host of the same kind repeated
    equal: of these, those with exactly the same value
    mean: of the differences
    low, high: its 95 % interval; None with one seed
    """

    n: int
    equal: int
    mean: float
    low: float | None = None
    high: float | None = None


class OtherHosts(Frozen):
    """Hosts whose machine differs; their executions are not among the arms' figures.

    hosts: their names
    differences: of their machine, `key: value against value`, the run's first
    seeds: that they ran
    means: of each figure over these executions
    """

    hosts: tuple[str, ...]
    differences: tuple[str, ...]
    seeds: tuple[int, ...]
    means: dict[str, float]


class Replication(Frozen):
    """Replicates over hosts.

    engine: that ran them
    hosts: by name, those that finished one
    lost: executions that were repeated elsewhere
    missing: what was to run and did not, with the reason
    spread: by `<arm>.<figure>`, of the hosts whose executions are the arms' figures
    repeated: likewise, of the validations
    others: hosts that differ from those
    """

    engine: str
    hosts: dict[str, ReplicateHost]
    lost: tuple[LostExecution, ...] = ()
    missing: tuple[str, ...] = ()
    spread: dict[str, Spread] = Field(default_factory=dict)
    repeated: dict[str, RepeatedSeeds] = Field(default_factory=dict)
    others: tuple[OtherHosts, ...] = ()
