"""Shots of a template at the endpoint: by the emulator's kernel, and by Aer like any other circuit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from _ibm_endpoint import circuit_of
from shotclock.circuits.qaoa import bind_isa
from shotclock.emulator import device
from shotclock.emulator.rest.programs import Swept
from shotclock.emulator.rest.recognise.parts import parts_of
from shotclock.emulator.rest.relaxation import snapshot_coherence
from shotclock.emulator.rest.shooting import Device, shoot
from shotclock.emulator.user_circuits import sample_circuit

SHOTS = 1_024
NOISE = 0.1
TARGET = device.target("heron-torino")
HERE = Device(TARGET, snapshot_coherence(TARGET))


@dataclass(frozen=True, slots=True)
class Shot:
    """CPU time of one PUB of a template of n variables, milliseconds: medians."""

    n: int
    recognised_ms: float
    aer_ms: float

    @property
    def ratio(self) -> float:
        """How many times longer Aer takes."""
        return self.aer_ms / self.recognised_ms


def measure(sizes: tuple[int, ...], rounds: int) -> tuple[Shot, ...]:
    """Each size; the ISA circuit is the same for both."""
    return tuple(_measure(n, rounds) for n in sizes)


def markdown(shots: tuple[Shot, ...]) -> list[str]:
    """A row a size."""
    rows = [
        f"| {shot.n} | {shot.recognised_ms:.1f} | {shot.aer_ms:.1f} | {shot.ratio:.1f} |" for shot in shots
    ]
    return [
        f"A template's {SHOTS} shots at the endpoint, CPU time (EMULATED):",
        "",
        "| n | recognised, ms | by Aer, ms | ratio |",
        "|---|---|---|---|",
        *rows,
    ]


def _measure(n: int, rounds: int) -> Shot:
    circuit = bind_isa(circuit_of(n))
    item = Swept(circuit, SHOTS, np.zeros((1, 0)))
    return Shot(
        n,
        _median_ms(lambda: shoot(item, NOISE, 1, HERE), rounds),
        _median_ms(lambda: sample_circuit(parts_of(circuit)[0].circuit(), SHOTS, NOISE, 1), rounds),
    )


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    work()  # compiles and imports
    times_ms = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times_ms.append((time.process_time() - began) * 1e3)
    return statistics.median(times_ms)
