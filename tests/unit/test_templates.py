"""Lines, templates, their cache, the synthesizer and decoding."""

from __future__ import annotations

import asyncio
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import ParamSpec, TypeVar

import numpy as np
import pytest
from qiskit import qpy

from shotclock.circuits.cache import TemplateCache
from shotclock.circuits.decoding import decode
from shotclock.circuits.lines import best_line
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.circuits.templates import calibration, compile_template, identity
from shotclock.domain.circuit import Samples, Template
from shotclock.domain.errors import FaultKind, ProviderError, SettingsError
from shotclock.domain.outcome import Winner
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device
from shotclock.solvers.greedy import Greedy

P = ParamSpec("P")
T = TypeVar("T")
DEVICE = "heron-torino"


class Counting:
    """An offload that counts, takes a moment, and fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.runs = 0
        self._failures = failures

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.runs += 1
        await asyncio.sleep(0)
        pickle.dumps((work, args, kwargs))
        if self.runs <= self._failures:
            raise ProviderError(FaultKind.TRANSIENT, "the worker died")
        return work(*args, **kwargs)


def synthesizer_on(offload: Counting, cache_size: int = 4) -> QaoaSynthesizer:
    return QaoaSynthesizer(
        DEVICE,
        target_source=device.target,
        offload=offload,
        incumbent=Greedy(),
        cache_size=cache_size,
    )


def subproblem_of(n: int) -> Subproblem:
    rng = np.random.default_rng(n)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n), offset=0.5)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 20])
def test_a_line_is_a_path_of_working_couplers(n: int) -> None:
    target = device.target(DEVICE)
    line = best_line(target, n)
    assert len(set(line)) == len(line) == n
    assert all(target["cz"][pair].error < 1.0 for pair in pairwise(line))
    assert line == best_line(target, n)


def test_a_line_beats_the_average_of_its_device_by_far() -> None:
    target = device.target(DEVICE)
    line = best_line(target, 12)
    errors = sorted(one.error for one in target["cz"].values())
    assert max(target["cz"][pair].error for pair in pairwise(line)) < errors[len(errors) * 3 // 4]


def test_no_line_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="no line of 134 working qubits"):
        best_line(device.target(DEVICE), 134)


def test_a_template_is_its_device_in_its_own_instructions() -> None:
    template = compile_template(6, DEVICE, device.target)
    target = device.target(DEVICE)
    isa = qpy.load(io.BytesIO(template.qpy))[0]
    assert {one.operation.name for one in isa.data} <= {"cz", "sx", "x", "rz", "measure"}
    used = {isa.find_bit(qubit).index for one in isa.data for qubit in one.qubits}
    assert used == set(template.line)
    assert template.duration_s == pytest.approx(isa.estimate_duration(target, unit="s"))
    assert 1.56e-6 < template.duration_s < 10e-6
    assert (template.n, template.two_qubit_gates, template.two_qubit_depth) == (6, 45, 18)
    assert len(isa.parameters) == 6 + 6 + 15 + 1


def test_the_key_is_stable_and_moves_with_everything_it_depends_on() -> None:
    target = device.target(DEVICE)
    line = best_line(target, 4)
    same = identity(DEVICE, target, line)
    assert same.key == identity(DEVICE, target, line).key == compile_template(4, DEVICE, device.target).key
    assert len(same.key) == 64
    others = [
        replace(same, device="other"),
        replace(same, line=(*line[:-1], 0)),
        replace(same, calibration="later"),
        replace(same, layers=2),
        replace(same, ansatz="other"),
        replace(same, optimization_level=1),
        replace(same, transpiler_seed=8),
        replace(same, qiskit="0"),
    ]
    assert len({same.key, *(other.key for other in others)}) == 1 + len(others)
    assert same.calibration == calibration(target)


def test_the_cache_drops_the_least_recently_used() -> None:
    cache = TemplateCache(2)
    templates = {n: Template(str(n), DEVICE, tuple(range(n)), b"", 1e-6, 0, 0) for n in (2, 3, 4)}
    cache.put(templates[2])
    cache.put(templates[3])
    assert cache.get(2) is templates[2]
    cache.put(templates[4])
    assert cache.get(3) is None
    assert cache.get(2) is templates[2]
    assert (cache.hits, cache.misses, cache.evictions) == (2, 1, 1)


def test_everyone_who_waits_shares_one_compile() -> None:
    async def main() -> None:
        offload = Counting()
        synthesizer = synthesizer_on(offload)
        bound = await asyncio.gather(*(synthesizer.bind(subproblem_of(4)) for _ in range(5)))
        await synthesizer.warm(4)
        assert offload.runs == 1
        assert len({id(one.template) for one in bound}) == 1
        assert (synthesizer.cache.hits, synthesizer.cache.misses) == (1, 5)

    asyncio.run(main())


def test_a_caller_who_gives_up_does_not_take_the_compile_from_the_others() -> None:
    async def main() -> None:
        offload = Counting()
        synthesizer = synthesizer_on(offload)
        first = asyncio.ensure_future(synthesizer.bind(subproblem_of(4)))
        second = asyncio.ensure_future(synthesizer.bind(subproblem_of(4)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).template.n == 4
        assert first.cancelled()
        assert offload.runs == 1

    asyncio.run(main())


def test_a_failed_compile_is_tried_again_by_the_next_call() -> None:
    async def main() -> None:
        offload = Counting(failures=1)
        synthesizer = synthesizer_on(offload)
        with pytest.raises(ProviderError):
            await synthesizer.bind(subproblem_of(4))
        assert (await synthesizer.bind(subproblem_of(4))).template.n == 4
        assert offload.runs == 2

    asyncio.run(main())


def test_scheduling_calls_imports_no_qiskit() -> None:
    code = (
        "import sys, shotclock.circuits.synthesizer, shotclock.emulator.provider\n"
        "import shotclock.providers.registry\n"
        "sys.exit('qiskit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_decoding_takes_the_best_sample_on_the_objective_as_asked() -> None:
    subproblem = subproblem_of(6)
    pool = np.random.default_rng(0).integers(0, 2, (40, 6), dtype=np.uint8)
    answer = decode(subproblem, Samples(pool, np.ones(40, np.int64)))
    assert answer.energy == min(subproblem.energy(bits) for bits in pool)
    assert answer.energy == pytest.approx(subproblem.energy(answer.bits))
    assert answer.winner is Winner.QUANTUM


@pytest.mark.parametrize(
    ("pool", "counts", "told"),
    [
        (np.zeros((2, 5), np.uint8), np.ones(2, np.int64), r"shape \(2, 5\), wants \(m, 6\)"),
        (np.zeros(6, np.uint8), np.ones(1, np.int64), "shape"),
        (np.zeros((2, 6), np.uint8), np.ones(3, np.int64), "counts for 2 bit strings"),
        (np.zeros((0, 6), np.uint8), np.ones(0, np.int64), "no shots"),
        (np.zeros((2, 6), np.uint8), np.array([1, 0]), "a count of 0"),
        (np.full((2, 6), 2, np.uint8), np.ones(2, np.int64), "bits other than 0 and 1"),
        (np.zeros((2, 6)), np.ones(2, np.int64), "wants integers"),
    ],
)
def test_samples_that_do_not_fit_are_a_permanent_fault(
    pool: np.ndarray, counts: np.ndarray, told: str
) -> None:
    with pytest.raises(ProviderError, match=told) as caught:
        decode(subproblem_of(6), Samples(pool, counts))
    assert caught.value.kind is FaultKind.PERMANENT
