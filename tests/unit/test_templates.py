"""Lines, templates, their cache, the synthesizer and decoding."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import pytest
from qiskit import qpy
from qiskit.transpiler import InstructionProperties, Target

from exact import exact
from harness import random_parameters
from shotclock.circuits.cache import TemplateCache, TemplateSpec
from shotclock.circuits.decoding import decode
from shotclock.circuits.lines import best_line
from shotclock.circuits.qaoa import bind_isa, bind_logical
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.circuits.templates import calibration, compile_template, identity
from shotclock.domain.circuit import DeviceCircuit, Samples, Template
from shotclock.domain.errors import FaultKind, ProviderError, SettingsError, ShotclockError, SubproblemError
from shotclock.domain.outcome import Winner
from shotclock.domain.recorders import TemplateEvent
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device
from shotclock.solvers.greedy import Greedy
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

P = ParamSpec("P")
T = TypeVar("T")
DEVICE = "heron-torino"


class CountingOffload:
    """An offload that counts, takes a moment, and fails a given number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.runs = 0
        self.fail_on = set(range(1, failures + 1))

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.runs += 1
        await asyncio.sleep(0)
        pickle.dumps((work, args, kwargs))
        if self.runs in self.fail_on:
            raise ProviderError(FaultKind.TRANSIENT, "the worker died")
        return work(*args, **kwargs)


class Counts:
    """A recorder of what becomes of templates."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.compile_s: list[float] = []

    def template(self, event: TemplateEvent) -> None:
        self.events[event] += 1

    def record_compile(self, seconds: float) -> None:
        self.compile_s.append(seconds)


def read_drifting_target(name: str) -> Target:
    """The device's target at the calibration that an environment variable names."""
    target = copy.deepcopy(device.target(name))
    properties = target["measure"][(0,)]
    drift = float(os.environ.get("TEST_DRIFT", "0"))
    target.update_instruction_properties(
        "measure", (0,), InstructionProperties(properties.duration, properties.error + drift)
    )
    return target


def synthesizer_on(
    offload: CountingOffload,
    cache_size: int = 4,
    *,
    recorder: Counts | PrometheusRecorder | None = None,
    store: Path | None = None,
    target_source: Callable[[str], Target] = device.target,
) -> QaoaSynthesizer:
    return QaoaSynthesizer(
        DEVICE,
        target_source=target_source,
        offload=offload,
        circuit_offload=offload,
        incumbent=Greedy(),
        cache_size=cache_size,
        store=store,
        recorder=recorder or Counts(),
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
    errors = sorted(properties.error for properties in target["cz"].values())
    assert max(target["cz"][pair].error for pair in pairwise(line)) < errors[len(errors) * 3 // 4]


def test_no_line_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="no line of 134 working qubits"):
        best_line(device.target(DEVICE), 134)


def test_a_template_is_its_device_in_its_own_instructions() -> None:
    template = compile_template(6, DEVICE, device.target)
    target = device.target(DEVICE)
    isa = qpy.load(io.BytesIO(template.qpy))[0]
    assert {instruction.operation.name for instruction in isa.data} <= {"cz", "sx", "x", "rz", "measure"}
    used = {isa.find_bit(qubit).index for instruction in isa.data for qubit in instruction.qubits}
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
        replace(same, n=5),
        replace(same, layers=2),
        replace(same, ansatz="other"),
        replace(same, optimization_level=1),
        replace(same, transpiler_seed=8),
        replace(same, qiskit="0"),
    ]
    assert len({same.key, *(other.key for other in others)}) == 1 + len(others)
    assert same.calibration == calibration(target)
    assert identity(DEVICE, target, line, 2).key == compile_template(4, DEVICE, device.target, layers=2).key
    assert json.loads(same.json)["line"] == list(line)


def test_a_template_can_be_wanted_on_any_line_that_works() -> None:
    line = best_line(device.target(DEVICE), 6)[1:5][::-1]
    assert compile_template(4, DEVICE, device.target, line=line).line == line


@pytest.mark.parametrize(
    ("n", "layers", "line", "message"),
    [
        (134, 1, None, "subproblem.n: 134 variables, heron-torino has 133 qubits"),
        (0, 1, None, "subproblem.n: 0 variables"),
        (133, 1, None, "133 variables, more than heron-torino has in a line"),
        (40, 1, None, r"40 variables on a line of heron-torino: 5.8e-05 of the shots .* at least 0.001 are"),
        (3, 0, None, "circuits.layers: must be at least 1"),
        (3, 1, (0, 1), "not 3 different qubits"),
        (3, 1, (0, 1, 0), "not 3 different qubits"),
        (3, 1, (0, 1, 133), "qubit 133 of heron-torino does not work"),
        (3, 1, (0, 1, 3), "no working coupler between 1 and 3"),
    ],
)
def test_a_template_that_cannot_be_names_the_setting(
    n: int, layers: int, line: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ShotclockError, match=message):
        compile_template(n, DEVICE, device.target, layers=layers, line=line)


def test_more_variables_than_the_device_has_qubits_names_the_field() -> None:
    async def main() -> None:
        with pytest.raises(SubproblemError) as caught:
            await synthesizer_on(CountingOffload()).bind(subproblem_of(134))
        assert caught.value.field == "n"

    asyncio.run(main())


@pytest.mark.parametrize("name", device.list_devices())
@pytest.mark.parametrize("layers", [1, 2])
def test_a_template_is_its_definition_on_every_device(name: str, layers: int) -> None:
    for n in (1, 2, 3, 5):
        angles = random_parameters(n, seed=n, layers=layers)
        circuit = DeviceCircuit(compile_template(n, name, device.target, layers=layers), angles)
        np.testing.assert_allclose(exact(bind_isa(circuit)), exact(bind_logical(circuit)), atol=1e-9)


@pytest.mark.parametrize("name", device.list_devices())
def test_every_instruction_of_a_template_is_one_the_device_has_there(name: str) -> None:
    target = device.target(name)
    template = compile_template(12, name, device.target)
    isa = qpy.load(io.BytesIO(template.qpy))[0]
    for instruction in isa.data:
        qubits = tuple(isa.find_bit(qubit).index for qubit in instruction.qubits)
        assert target.instruction_supported(instruction.operation.name, qubits), (
            instruction.operation.name,
            qubits,
        )
        assert instruction.operation.name == "barrier" or set(qubits) <= set(template.line)
    assert all(target["cz"][pair].error < 1.0 for pair in pairwise(template.line))


def test_the_cache_drops_the_least_recently_used() -> None:
    cache = TemplateCache(2)
    templates = {n: Template(str(n), DEVICE, tuple(range(n)), b"", 1e-6, 0, 0) for n in (2, 3, 4)}
    assert not cache.put(TemplateSpec(2), templates[2])
    assert not cache.put(TemplateSpec(3), templates[3])
    assert cache.get(TemplateSpec(2)) is templates[2]
    assert cache.put(TemplateSpec(4), templates[4])
    assert cache.get(TemplateSpec(3)) is None
    assert cache.get(TemplateSpec(2)) is templates[2]
    assert cache.get(TemplateSpec(2, layers=2)) is None
    assert cache.get(TemplateSpec(2, line=(0, 1))) is None
    assert cache.in_use() == (TemplateSpec(4), TemplateSpec(2))


def test_everyone_who_waits_shares_one_compile() -> None:
    async def main() -> None:
        offload, counts = CountingOffload(), Counts()
        synthesizer = synthesizer_on(offload, recorder=counts)
        bound = await asyncio.gather(*(synthesizer.bind(subproblem_of(4)) for _ in range(5)))
        await synthesizer.warm(4)
        assert offload.runs == 1
        assert len({id(circuit.template) for circuit in bound}) == 1
        assert counts.events == {"hit": 1, "miss": 5}
        assert len(counts.compile_s) == 1

    asyncio.run(main())


def test_a_caller_who_gives_up_does_not_take_the_compile_from_the_others() -> None:
    async def main() -> None:
        offload = CountingOffload()
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
        offload = CountingOffload(failures=1)
        synthesizer = synthesizer_on(offload)
        with pytest.raises(ProviderError):
            await synthesizer.bind(subproblem_of(4))
        assert (await synthesizer.bind(subproblem_of(4))).template.n == 4
        assert offload.runs == 2

    asyncio.run(main())


def test_a_new_calibration_replaces_the_templates_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        offload, counts = CountingOffload(), Counts()
        synthesizer = synthesizer_on(offload, recorder=counts, target_source=read_drifting_target)
        old = [(await synthesizer.bind(subproblem_of(n))).template.key for n in (3, 4)]
        assert not await synthesizer.recalibrate()
        assert len(counts.compile_s) == 2
        monkeypatch.setenv("TEST_DRIFT", "1e-6")
        assert await synthesizer.recalibrate()
        assert len(counts.compile_s) == 4
        assert not await synthesizer.recalibrate()
        new = [(await synthesizer.bind(subproblem_of(n))).template.key for n in (3, 4)]
        assert counts.events == {"miss": 2, "hit": 2}
        assert not set(old) & set(new)

    asyncio.run(main())


def test_while_recalibrating_calls_go_on_with_the_old_and_what_they_bring_comes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        offload, counts = CountingOffload(), Counts()
        synthesizer = synthesizer_on(offload, recorder=counts, target_source=read_drifting_target)
        old = (await synthesizer.bind(subproblem_of(3))).template.key
        monkeypatch.setenv("TEST_DRIFT", "2e-6")
        switching = asyncio.ensure_future(synthesizer.recalibrate())
        await asyncio.sleep(0)
        assert (await synthesizer.bind(subproblem_of(3))).template.key == old
        bringing = asyncio.ensure_future(synthesizer.bind(subproblem_of(2)))
        await asyncio.sleep(0)
        assert not switching.done()
        assert await switching
        await bringing
        assert (await synthesizer.bind(subproblem_of(3))).template.key != old
        before = offload.runs
        await synthesizer.bind(subproblem_of(2))
        assert offload.runs == before

    asyncio.run(main())


def test_a_request_that_fails_meanwhile_is_its_callers_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        offload = CountingOffload()
        synthesizer = synthesizer_on(offload, target_source=read_drifting_target)
        await synthesizer.bind(subproblem_of(3))
        monkeypatch.setenv("TEST_DRIFT", "4e-6")
        switching = asyncio.ensure_future(synthesizer.recalibrate())
        await asyncio.sleep(0)
        with pytest.raises(SubproblemError):
            await synthesizer.bind(subproblem_of(134))
        assert await switching

    asyncio.run(main())


def test_a_recalibration_that_fails_leaves_the_old_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        offload = CountingOffload()
        synthesizer = synthesizer_on(offload, target_source=read_drifting_target)
        old = (await synthesizer.bind(subproblem_of(3))).template.key
        monkeypatch.setenv("TEST_DRIFT", "3e-6")
        offload.fail_on.add(offload.runs + 2)
        with pytest.raises(ProviderError):
            await synthesizer.recalibrate()
        assert (await synthesizer.bind(subproblem_of(3))).template.key == old
        assert await synthesizer.recalibrate()

    asyncio.run(main())


def test_what_becomes_of_templates_is_a_metric(tmp_path: Path) -> None:
    async def main() -> None:
        metrics = Metrics()
        for _ in range(2):
            recorder = PrometheusRecorder(metrics, "test", arm="arm")
            synthesizer = synthesizer_on(CountingOffload(), cache_size=1, recorder=recorder, store=tmp_path)
            await synthesizer.bind(subproblem_of(2))
            await synthesizer.bind(subproblem_of(2))
            await synthesizer.bind(subproblem_of(3))
        value = metrics.registry.get_sample_value
        counts_by_result = {
            event: value("shotclock_template_cache_total", {"arm": "arm", "event": event})
            for event in ("hit", "miss", "loaded", "evicted")
        }
        assert counts_by_result == {"hit": 2, "miss": 4, "loaded": 2, "evicted": 2}
        assert value("shotclock_template_compile_seconds_count", {"arm": "arm"}) == 2

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
    ("pool", "counts", "message"),
    [
        (np.zeros((2, 5), np.uint8), np.ones(2, np.int64), r"shape \(2, 5\), expected \(m, 6\)"),
        (np.zeros(6, np.uint8), np.ones(1, np.int64), "shape"),
        (np.zeros((2, 6), np.uint8), np.ones(3, np.int64), "counts for 2 bit strings"),
        (np.zeros((0, 6), np.uint8), np.ones(0, np.int64), "no shots"),
        (np.zeros((2, 6), np.uint8), np.array([1, 0]), "a count of 0"),
        (np.full((2, 6), 2, np.uint8), np.ones(2, np.int64), "bits other than 0 and 1"),
        (np.zeros((2, 6)), np.ones(2, np.int64), "expected integers"),
    ],
)
def test_samples_that_do_not_fit_are_a_permanent_fault(
    pool: np.ndarray, counts: np.ndarray, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        decode(subproblem_of(6), Samples(pool, counts))
    assert caught.value.kind is FaultKind.PERMANENT
