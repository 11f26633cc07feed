"""Circuits side by side in one PUB: each its own distribution, in order, in the time of the longest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import FACTS, Inline, LoopClock, goodness_of_fit, random_parameters, run_virtual
from shotclock.circuits.disjoint import disjoint_lines
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import Pub, QaoaCircuit, Template
from shotclock.domain.ports import Execution, Job
from shotclock.emulator import device
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.profile import load
from shotclock.emulator.provider import EmulatedProvider
from shotclock.emulator.statevector import probabilities

NOISELESS = replace(
    FACTS, noise_base=0.0, noise_per_gate_layer=0.0, noise_exposure=0.0, noise_short_rep_delay=0.0
)
SIZES = (4, 3, 5, 3, 4)
# Each circuit's own test: five circuits fail together with a chance of 0.5 % where all is well.
ALPHA = 1e-3
# onprem-today: IBM's approximation, a constant, in seconds (profiles/onprem-today.toml).
OVERHEAD_S = 2.0


def circuits_of(sizes: tuple[int, ...]) -> tuple[QaoaCircuit, ...]:
    """Random circuits on lines that share no qubit, the later the longer."""
    first, circuits = 0, []
    for number, n in enumerate(sizes):
        line = tuple(range(first, first + n))
        template = Template(f"key-{number}", "heron-torino", line, b"", (5 + number) * 1e-6, 0, 0)
        circuits.append(QaoaCircuit(template, random_parameters(n, number)))
        first += n
    return tuple(circuits)


def execute(facts: DeviceFacts, job: Job) -> Execution:
    async def main() -> Execution:
        provider = EmulatedProvider(facts, load("onprem-today"), Inline(), LoopClock(), seed=3)
        return await provider.collect(await provider.submit(job))

    return run_virtual(main())


def test_each_circuit_of_a_pub_gives_its_own_distribution_in_order() -> None:
    circuits = circuits_of(SIZES)
    execution = execute(NOISELESS, Job((Pub(circuits),), 20_000, "test"))
    assert [sample.pool.shape[1] for sample in execution.samples] == list(SIZES)
    for samples, circuit in zip(execution.samples, circuits, strict=True):
        assert samples.shots == 20_000
        assert goodness_of_fit(samples, probabilities(circuit.parameters)) > ALPHA
    # the test has the power to see two circuits of equal size swapped
    assert goodness_of_fit(execution.samples[0], probabilities(circuits[4].parameters)) < 1e-9


def test_pubs_keep_their_order_as_well() -> None:
    circuits = circuits_of(SIZES)
    pubs = (Pub(circuits[:2]), Pub(circuits[2:3]), Pub(circuits[3:]))
    execution = execute(NOISELESS, Job(pubs, 20_000, "test"))
    for samples, circuit in zip(execution.samples, circuits, strict=True):
        assert goodness_of_fit(samples, probabilities(circuit.parameters)) > ALPHA


def test_a_pub_takes_the_time_of_its_longest_circuit() -> None:
    circuits = circuits_of(SIZES)
    execution = execute(FACTS, Job((Pub(circuits),), 1000, "test"))
    longest_s = max(circuit.template.duration_s for circuit in circuits)
    shot_s = FACTS.rep_delay_default_s + longest_s + FACTS.reset_s
    assert execution.qpu_s == pytest.approx(OVERHEAD_S + 1000 * shot_s / FACTS.efficiency)


def test_nine_subproblems_of_12_take_an_eighth_of_the_qpu_time_or_less() -> None:
    """On Marrakesh: Torino has working couplers for 8 disjoint lines of 12 and not for a ninth."""
    name = "heron-marrakesh"
    facts = device.describe(name)
    circuits = tuple(
        QaoaCircuit(compile_template(12, name, device.target, line=line), random_parameters(12, 1))
        for line in disjoint_lines(device.target(name), 12)[:9]
    )
    assert len(circuits) == 9
    packed_s = execute(facts, Job((Pub(circuits),), 1000, "test")).qpu_s / 9
    alone_s = [execute(facts, Job.of((circuit,), 1000, "test")).qpu_s for circuit in circuits]
    assert np.mean(alone_s) / packed_s >= 8.0
    # nor does the ratio live on the overhead that they share
    shooting_s = np.mean(alone_s) - OVERHEAD_S
    assert shooting_s / (packed_s - OVERHEAD_S / 9) >= 8.0
