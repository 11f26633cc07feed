"""The devices that ship: their figures follow from their own snapshots."""

from __future__ import annotations

import pytest

from shotclock.emulator import device


@pytest.mark.parametrize(
    ("name", "qubits", "clops_h", "shot_us"),
    # rep_delay + 100 × (CZ + 2 SX) + read-out + reset, each a median of the snapshot, microseconds.
    [
        ("heron-torino", 133, 210_000, 250 + 100 * (0.068 + 2 * 0.032) + 1.56 + 1.708),
        ("heron-fez", 156, 195_000, 250 + 100 * (0.084 + 2 * 0.024) + 1.56 + 1.584),
        ("heron-marrakesh", 156, 195_000, 250 + 100 * (0.068 + 2 * 0.036) + 2.584 + 2.720),
    ],
)
def test_efficiency_follows_from_a_devices_own_clops(
    name: str, qubits: int, clops_h: int, shot_us: float
) -> None:
    facts = device.describe(name)
    assert facts.efficiency == pytest.approx(shot_us / (1e8 / clops_h))
    # what IBM's own figures gave for other Herons (facts of Qiskit/documentation#3092)
    assert 0.5 <= facts.efficiency <= 1.0
    assert (facts.n_qubits, facts.clops_h) == (qubits, clops_h)
    assert (facts.rep_delay_low_s, facts.rep_delay_default_s, facts.rep_delay_high_s) == (0, 250e-6, 500e-6)
    assert (facts.max_shots, facts.max_circuits, facts.snapshot_date) == (100_000, 300, "2025-02-26")


@pytest.mark.parametrize("name", ["heron-fez", "heron-marrakesh"])
def test_noise_that_was_fitted_on_another_device_is_tagged_as_assumed(name: str) -> None:
    noise = [named for named in device.describe(name).components if named.name.startswith("device.noise")]
    assert len(noise) == 4
    assert {named.figure.tag for named in noise} == {"assumed"}


def test_devices_differ_in_calibration() -> None:
    assert len({device.describe(name).calibration_id for name in device.list_devices()}) == len(
        device.list_devices()
    )
