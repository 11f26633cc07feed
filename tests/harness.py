"""What the tests of the quantum path share: instances, clocks, an offload, and goodness of fit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
from scipy import stats

from shotclock.domain.circuit import DeviceCircuit, QaoaParameters, Samples, Template
from shotclock.domain.ports import Clock
from shotclock.domain.subproblem import Float64s, Subproblem
from shotclock.emulator.device import DeviceFacts
from shotclock.providers.scripted import UNLIMITED, Never, Reply, ScriptedProvider
from shotclock.runtime.virtual_loop import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")

FACTS = DeviceFacts(
    name="heron-torino",
    n_qubits=133,
    max_shots=100_000,
    max_circuits=300,
    rep_delay_default_s=250e-6,
    rep_delay_low_s=0.0,
    rep_delay_high_s=500e-6,
    reset_s=1.7e-6,
    clops_h=210_000.0,
    efficiency=0.5,
    calibration_id="test",
    snapshot_date="2025-02-26",
    lanes=5,
    noise_base=0.046,
    noise_per_gate_layer=0.0042,
    noise_exposure=0.65,
    noise_short_rep_delay=0.05,
    components=(),
)


class Inline:
    """An Offload that works on the spot."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)


class WallClock:
    """The monotonic clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()


class LoopClock:
    """The running loop's own time; of a VirtualLoop it is virtual."""

    def now_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a VirtualLoop.

    The task has no result: a runner that gives its signal handler back formats the task with it, which took
    longer than a simulation of many calls.
    """
    results: list[T] = []

    async def keep() -> None:
        results.append(await work)

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(base_ns=lambda: 0)) as runner:
        runner.run(keep())
    return results[0]


def random_subproblem(n: int, seed: int, scale: float = 1.0) -> Subproblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), k=1) * scale
    return Subproblem(upper + upper.T, rng.normal(size=n) * scale)


def random_parameters(n: int, seed: int, layers: int = 1) -> QaoaParameters:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(scale=0.4, size=(layers, n, n)), k=1)
    return QaoaParameters(
        warm=rng.uniform(0.0, np.pi, n),
        field=rng.normal(scale=0.5, size=(layers, n)),
        coupling=upper + upper.transpose(0, 2, 1),
        mixer=rng.uniform(-1.0, -0.2, layers),
    )


def without_qpy(parameters: QaoaParameters, duration_s: float = 6e-6) -> DeviceCircuit:
    """A device circuit whose template holds no QPY: for whoever executes from the parameters alone."""
    template = Template("key", "heron-torino", tuple(range(parameters.n)), b"", duration_s, 0, 0)
    return DeviceCircuit(template, parameters)


def histogram(samples: Samples) -> Float64s:
    """Counts of every basis state, shape (2ⁿ,); bit i of an index is variable i."""
    n = samples.pool.shape[1]
    words = samples.pool.astype(np.int64) @ (1 << np.arange(n))
    return np.bincount(words, weights=samples.counts, minlength=1 << n).astype(np.float64)


def goodness_of_fit(samples: Samples, probabilities: Float64s) -> float:
    """Pearson's chi-square p-value, states pooled from the least likely up to an expected count ≥ 5."""
    expected = probabilities / probabilities.sum() * samples.shots
    bins = _bins(expected)
    observed = np.bincount(bins, weights=histogram(samples))
    return float(stats.chisquare(observed, np.bincount(bins, weights=expected)).pvalue)


def same_source(samples: Samples, other: Samples) -> float:
    """Chi-square p-value that two samples of equal size share a distribution, pooled to a mean ≥ 5."""
    a, b = histogram(samples), histogram(other)
    bins = _bins((a + b) / 2.0)
    table = np.array([np.bincount(bins, weights=a), np.bincount(bins, weights=b)])
    return float(stats.chi2_contingency(table).pvalue)


def _bins(expected: Float64s) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A bin for each state: in ascending order they share one until it expects 5; the rest join the last."""
    bins = np.zeros(expected.shape[0], np.int64)
    current, filled = 0, 0.0
    remaining = float(expected.sum())
    for state in np.argsort(expected, kind="stable"):
        bins[state] = current
        filled += expected[state]
        remaining -= expected[state]
        if filled >= 5.0 and remaining >= 5.0:
            current, filled = current + 1, 0.0
    return bins


def never(clock: Clock, seed: int) -> ScriptedProvider:
    """A provider factory for settings, "harness:never": a QPU that takes jobs and never answers."""
    return ScriptedProvider(clock, afterwards=Never(), predicted_s=0.05, seed=seed)


def paying(clock: Clock, seed: int) -> ScriptedProvider:
    """A provider factory for settings, "harness:paying": answers soon, for money."""
    limits = replace(UNLIMITED, paid=True)
    return ScriptedProvider(clock, afterwards=Reply(0.002), limits=limits, predicted_s=0.01, seed=seed)
