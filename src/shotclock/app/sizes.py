"""Subproblem sizes: what a device takes, and subproblems of a size for warming a path and for load tests."""

from __future__ import annotations

import numpy as np

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Provider
from shotclock.domain.subproblem import Subproblem

MOST_DENSE = 24
"""Up to this many variables, made-up subproblems are dense; beyond, they have a device's couplings alone."""


def check_width(where: str, n: int, provider: Provider) -> None:
    """Raises SettingsError, which names the setting, where the provider's device has fewer qubits."""
    width = provider.limits.max_qubits
    if n > width:
        raise SettingsError(f"{where}: must be at most {width}, the qubits of the device (got {n})")


def make_sample(n: int, kind: str = "qubo") -> Subproblem:
    """A subproblem of n variables that warms a path: beyond `MOST_DENSE`, one without couplings fits any."""
    rng = np.random.default_rng(n)
    upper = np.triu(rng.normal(size=(n, n)), 1) if n <= MOST_DENSE else np.zeros((n, n))
    return Subproblem(upper + upper.T, rng.normal(size=n), kind=kind)


def find_couplings(device: str, n: int) -> tuple[tuple[int, int], ...] | None:
    """The pairs of variables that sparse subproblems of a load test couple; None where they are dense.

    Imports Qiskit where there are any. Raises SettingsError where the device has fewer working qubits.
    """
    return None if n <= MOST_DENSE else find_native_pairs(device, n)


def find_native_pairs(device: str, n: int) -> tuple[tuple[int, int], ...]:
    """The pairs of variables that sparse subproblems of this size may couple. Imports Qiskit.

    Raises SettingsError where the device has fewer working qubits.
    """
    from shotclock.circuits.native import map_device  # noqa: PLC0415
    from shotclock.emulator.device import target  # noqa: PLC0415

    try:
        return map_device(target(device), n).pairs
    except SettingsError as error:
        raise SettingsError(f"kernel.n: {device}: {error}") from error
