"""Metered usage compared with the formula, computed here from the snapshot alone, for ten settings."""

from __future__ import annotations

import asyncio
import math
import statistics
from dataclasses import dataclass
from typing import Any

from qiskit_ibm_runtime.fake_provider import FakeTorino

from _ibm_endpoint import EmulatedEndpoint, circuit_of
from shotclock.circuits.qaoa import bind_isa
from shotclock.domain.ports import Job

SUBJOB_S = 2.0  # IBM's baseline approximation, about 2 s a sub-job (Qiskit/documentation#3092)
RESET_S = 1.7e-6  # the device file's
LAYERS = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """A job: its circuits' widths, a PUB each; shots; rep_delay in µs, None is the default."""

    widths: tuple[int, ...]
    shots: int
    rep_delay_us: float | None


SETTINGS = (
    Setting((8,), 100, None),
    Setting((8,), 1_000, None),
    Setting((8,), 4_096, None),
    Setting((8,), 1_000, 0.0),
    Setting((12,), 1_000, 100.0),
    Setting((12,), 256, 500.0),
    Setting((12, 12), 512, None),
    Setting((4, 8, 12), 300, 50.0),
    Setting((6,) * 10, 4_096, None),
    Setting((6,) * 10, 256, 0.0),
)


@dataclass(frozen=True, slots=True)
class Metered:
    """What the endpoint charged and what the formula says, seconds."""

    setting: Setting
    charged_s: float
    formula_s: float

    @property
    def error_ratio(self) -> float:
        """|charged − formula| ÷ formula."""
        return abs(self.charged_s - self.formula_s) / self.formula_s


def measure(endpoint: EmulatedEndpoint) -> tuple[Metered, ...]:
    """Every setting once."""
    return asyncio.run(_measure(endpoint))


def markdown(metered: tuple[Metered, ...]) -> list[str]:
    """A row a setting."""
    rows = [
        f"| {len(row.setting.widths)} | {row.setting.shots} | {_delay(row.setting)} | {row.charged_s:.4f} "
        f"| {row.formula_s:.4f} | {row.error_ratio:.1e} |"
        for row in metered
    ]
    return [
        "| PUBs | shots | rep_delay | metered, s (EMULATED) | formula, s | error |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _delay(setting: Setting) -> str:
    return "default" if setting.rep_delay_us is None else f"{setting.rep_delay_us:g} us"


async def _measure(endpoint: EmulatedEndpoint) -> tuple[Metered, ...]:
    provider = endpoint.provider()
    formula = _Formula()
    rows = []
    for number, setting in enumerate(SETTINGS):
        circuits = tuple(circuit_of(n, seed) for seed, n in enumerate(setting.widths))
        delay_s = None if setting.rep_delay_us is None else setting.rep_delay_us * 1e-6
        before = provider.budget.expenditure
        job = Job.of(circuits, setting.shots, f"shotclock:u{number}", delay_s)
        await provider.collect(await provider.submit(job))
        await provider.wait_settled()
        charged = (provider.budget.expenditure - before) / provider.budget.price.per_second
        rows.append(Metered(setting, charged, formula.usage_s(circuits, setting)))
    await provider.close()
    return tuple(rows)


class _Formula:
    """sub-jobs × 2 s + shots × Σ(rep_delay + circuit + reset) ÷ efficiency, from FakeTorino's documents.

    efficiency: the modelled time of CLOPS_h's 100-layer shot ÷ 100 ÷ CLOPS_h.
    """

    def __init__(self) -> None:
        backend = FakeTorino()
        configuration = backend.configuration().to_dict()
        self._target = backend.target
        self._default_s = configuration["default_rep_delay"] * 1e-6
        self._most = configuration["max_experiments"]
        layer_s = self._median_s("cz") + 2.0 * self._median_s("sx")
        shot_s = self._default_s + LAYERS * layer_s + self._median_s("measure") + RESET_S
        self._efficiency = min(1.0, shot_s * configuration["clops_h"] / LAYERS)

    def usage_s(self, circuits: tuple[Any, ...], setting: Setting) -> float:
        """Seconds of usage."""
        delay_s = self._default_s if setting.rep_delay_us is None else setting.rep_delay_us * 1e-6
        lengths = [bind_isa(circuit).estimate_duration(self._target, unit="s") for circuit in circuits]
        column_s = sum(delay_s + length + RESET_S for length in lengths)
        loading_s = math.ceil(len(circuits) / self._most) * SUBJOB_S
        return float(loading_s + setting.shots * column_s / self._efficiency)

    def _median_s(self, name: str) -> float:
        durations = [
            properties.duration
            for properties in self._target[name].values()
            if properties and properties.duration is not None
        ]
        return float(statistics.median(durations))
