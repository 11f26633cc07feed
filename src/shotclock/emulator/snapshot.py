"""Reads a device's figures from a calibration snapshot. Imports Qiskit (2 to 3 s): for the worker."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from pathlib import Path

from qiskit.transpiler import Target
from qiskit_ibm_runtime import fake_provider

# CLOPS_h counts layers of two-qubit gates, each followed by arbitrary single-qubit rotations;
# IBM quotes circuits of 100 of them (Wack et al., arXiv 2110.14108, and its "h" revision of 2023).
CLOPS_LAYERS = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's figures.

    target: Qiskit's target
    rep_delay_default_s, rep_delay_low_s, rep_delay_high_s: default and range, seconds
    max_shots: per job
    max_circuits: per sub-job
    clops_h: layers of two-qubit gates per second
    taken_at: ISO 8601
    """

    target: Target
    rep_delay_default_s: float
    rep_delay_low_s: float
    rep_delay_high_s: float
    max_shots: int
    max_circuits: int
    clops_h: float
    taken_at: str

    def model_shot_s(self, reset_s: float) -> float:
        """Time of one shot of the CLOPS_h circuit from rep_delay + circuit + reset, seconds.

        A layer is one median CZ and one arbitrary rotation, which takes two SX (its RZ are virtual), with
        one read-out at the end.
        """
        cz, sx, measure = (self._median_s(name) for name in ("cz", "sx", "measure"))
        return self.rep_delay_default_s + CLOPS_LAYERS * (cz + 2.0 * sx) + measure + reset_s

    def efficiency(self, reset_s: float) -> float:
        """Modelled time of a 100-layer shot ÷ the time CLOPS_h implies (100 ÷ CLOPS_h), at most 1."""
        return min(1.0, self.model_shot_s(reset_s) / (CLOPS_LAYERS / self.clops_h))

    def _median_s(self, instruction: str) -> float:
        durations: list[float] = [
            properties.duration
            for properties in self.target[instruction].values()
            if properties is not None and properties.duration is not None
        ]
        return statistics.median(durations)


@functools.lru_cache(maxsize=4)
def read(fake_backend: str) -> Snapshot:
    """The named snapshot of qiskit-ibm-runtime's fake provider."""
    backend = getattr(fake_provider, fake_backend)()
    configuration = backend.configuration().to_dict()
    low_us, high_us = configuration["rep_delay_range"]
    return Snapshot(
        target=backend.target,
        # Configurations store microseconds.
        rep_delay_default_s=configuration["default_rep_delay"] * 1e-6,
        rep_delay_low_s=low_us * 1e-6,
        rep_delay_high_s=high_us * 1e-6,
        max_shots=int(configuration["max_shots"]),
        max_circuits=int(configuration["max_experiments"]),
        clops_h=float(configuration["clops_h"]),
        taken_at=backend.properties().last_update_date.isoformat(),
    )


def documents(fake_backend: str) -> tuple[str, str]:
    """The named snapshot's configuration and properties, JSON texts."""
    backend = getattr(fake_provider, fake_backend)
    configuration, properties = (
        Path(backend.dirname, name).read_text("utf-8")
        for name in (backend.conf_filename, backend.props_filename)
    )
    return configuration, properties
