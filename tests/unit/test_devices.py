"""The devices that ship: their figures follow from their own snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shotclock.circuits.templates import compile_template
from shotclock.domain.errors import SettingsError
from shotclock.emulator import device, snapshot
from shotclock.emulator.rest import worker


@pytest.mark.parametrize(
    ("name", "qubits", "clops_h", "shot_us", "rep_delay_us", "date"),
    # rep_delay + 100 × (CZ + 2 SX) + read-out + reset, each a median of the snapshot, microseconds.
    [
        ("heron-torino", 133, 210_000, 100 * (0.068 + 2 * 0.032) + 1.56 + 1.708, (0, 250, 500), "2025-02-26"),
        ("heron-fez", 156, 195_000, 100 * (0.084 + 2 * 0.024) + 1.56 + 1.584, (0, 250, 500), "2025-02-26"),
        (
            "heron-marrakesh",
            156,
            195_000,
            100 * (0.068 + 2 * 0.036) + 2.584 + 2.720,
            (0, 250, 500),
            "2025-02-26",
        ),
        ("heron-boston", 156, 340_000, 100 * (0.068 + 2 * 0.032) + 2.2 + 2.232, (0, 250, 2000), "2026-04-17"),
        (
            "nighthawk-berlin",
            120,
            25_000,
            100 * (0.068 + 2 * 0.032) + 2.4 + 2.232,
            (1000, 4000, 4000),
            "2026-04-17",
        ),
    ],
)
def test_efficiency_follows_from_a_devices_own_clops(
    name: str, qubits: int, clops_h: int, shot_us: float, rep_delay_us: tuple[int, int, int], date: str
) -> None:
    facts = device.describe(name)
    assert facts.efficiency == pytest.approx(min(1.0, (rep_delay_us[1] + shot_us) / (1e8 / clops_h)))
    # what IBM's own figures gave for other Herons (facts of Qiskit/documentation#3092)
    assert 0.5 <= facts.efficiency <= 1.0
    assert (facts.n_qubits, facts.clops_h) == (qubits, clops_h)
    delays_s = (facts.rep_delay_low_s, facts.rep_delay_default_s, facts.rep_delay_high_s)
    assert delays_s == pytest.approx([delay * 1e-6 for delay in rep_delay_us])
    assert (facts.max_shots, facts.max_circuits, facts.snapshot_date) == (100_000, 300, date)


@pytest.mark.parametrize("name", ["heron-fez", "heron-marrakesh", "heron-boston", "nighthawk-berlin"])
def test_noise_that_was_fitted_on_another_device_is_tagged_as_assumed(name: str) -> None:
    noise = [named for named in device.describe(name).components if named.name.startswith("device.noise")]
    assert len(noise) == 4
    assert {named.figure.tag for named in noise} == {"assumed"}


def test_devices_differ_in_calibration() -> None:
    assert len({device.describe(name).calibration_id for name in device.list_devices()}) == len(
        device.list_devices()
    )


def test_nighthawk_is_a_square_lattice() -> None:
    near: dict[int, set[int]] = {}
    for a, b in device.target("nighthawk-berlin")["cz"]:
        near.setdefault(a, set()).add(b)
    assert {len(each) for each in near.values()} == {2, 3, 4}
    assert sorted(near[11]) == [1, 10, 12, 21]


def test_a_snapshot_by_its_class_is_its_shipped_device_with_the_familys_defaults() -> None:
    shipped, fake = device.describe("heron-boston"), device.describe("fake:FakeBoston")
    assert replace(fake, name="heron-boston", components=shipped.components) == shipped
    tags = {named.name: named.figure.tag for named in fake.components}
    assert tags["device.rep_delay"] == tags["device.efficiency"] == tags["device.reset"] == "published"
    assert tags["device.lanes"] == tags["device.noise.base"] == "assumed"
    assert "FakeBoston" in {named.name: named.figure.source for named in fake.components}["device.reset"]


def test_what_a_snapshot_lacks_is_the_familys_default_and_tagged_assumed() -> None:
    falcon = device.describe("fake:FakeManilaV2")
    efficiency = next(named.figure for named in falcon.components if named.name == "device.efficiency")
    assert (falcon.efficiency, efficiency.tag) == (1.0, "assumed")
    assert "no CLOPS_h" in efficiency.source
    assert falcon.clops_h > 0.0
    reset = next(
        named.figure for named in device.describe("fake:FakeMiami").components if named.name == "device.reset"
    )
    assert (reset.value, reset.tag) == (2.232, "assumed")
    prague = device.describe("fake:FakePrague")
    delays_s = (prague.rep_delay_low_s, prague.rep_delay_default_s, prague.rep_delay_high_s)
    assert delays_s == (0.0, 250e-6, 500e-6)
    assert prague.components[0].figure.tag == "assumed"


@pytest.mark.parametrize(
    ("fake", "gate"), [("fake:FakeManilaV2", "cx"), ("fake:FakeSherbrooke", "ecr"), ("fake:FakeMiami", "cz")]
)
def test_templates_compile_for_every_two_qubit_gate_and_the_endpoint_offers_the_device(
    fake: str, gate: str
) -> None:
    template = compile_template(3, fake, device.target)
    assert template.duration_s > 0.0
    assert all(
        pair in device.target(fake)[gate] or pair[::-1] in device.target(fake)[gate]
        for pair in zip(template.line, template.line[1:], strict=False)
    )
    assert worker.documents(fake).name.startswith(("ibm_", "ibmq_"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fake:FakeBostn",
            r"no device 'fake:FakeBostn'; did you mean FakeBoston.*ibm_runtime\.fake_pr",
        ),
        ("fake:fakeboston", "did you mean FakeBoston"),
        ("fake:FakeProviderForBackendV2", r"are in qiskit_ibm_runtime\.fake_provider"),
        ("fake:", r"are in qiskit_ibm_runtime\.fake_provider"),
        ("fake:FakeAlmadenV2", "needs the gates sx and rz .*u1, u2, u3"),
        ("fake:FakeArmonkV2", "needs a two-qubit gate"),
    ],
)
def test_a_snapshot_that_cannot_be_emulated_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        device.describe(name)
    assert "\n" not in str(caught.value)


def test_every_snapshot_is_known_by_its_class() -> None:
    known = snapshot.list_snapshots()
    assert {"FakeBoston", "FakeNighthawk", "FakeTorino"} <= set(known)
    assert "FakeProviderForBackendV2" not in known
