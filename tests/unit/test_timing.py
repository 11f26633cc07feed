"""A QPU's time against the formula worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import harness
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters, Template
from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Job
from shotclock.emulator.device import check_rep_delay
from shotclock.emulator.figures import Lognormal, TaggedNumber
from shotclock.emulator.profile import Profile, load
from shotclock.emulator.timing import mean_by_component, quantile_s, sample_timeline, shots_s, subjobs

FACTS = replace(harness.FACTS, reset_s=2e-6)


def circuit(duration_s: float, n: int = 2) -> DeviceCircuit:
    template = Template("key", "test", tuple(range(n)), b"", duration_s, 0, 0)
    return DeviceCircuit(template, QaoaParameters.idle(n))


def test_one_circuit() -> None:
    # 100 × (250 + 8 + 2) µs ÷ 0.5 = 52 ms
    assert shots_s(Job.of((circuit(8e-6),), 100, "t"), FACTS) == pytest.approx(52e-3)


def test_execution_is_column_wise() -> None:
    # 100 × ((10 + 8 + 2) + (10 + 28 + 2)) µs ÷ 0.5 = 12 ms
    job = Job.of((circuit(8e-6), circuit(28e-6)), 100, "t", rep_delay_s=10e-6)
    assert shots_s(job, FACTS) == pytest.approx(12e-3)


def test_public_cloud_by_hand() -> None:
    job = Job.of((circuit(8e-6),), 100, "t")
    means = {part.name: part.mean_ms for part in mean_by_component(job, FACTS, load("public-cloud"))}
    assert means == pytest.approx(
        {
            "network_submit": 75.0,
            "queue_wait": 0.0,
            "subjob_overhead": 2000.0,
            "shots": 52.0,
            "poll": 50.0,
            "network_collect": 50.0,
        }
    )
    # All but the poll's phase, uniform over 0.1 s, is certain: p95 = 75 + 2000 + 52 + 50 + 95 ms.
    assert quantile_s(job, FACTS, load("public-cloud"), 0.95) == pytest.approx(2.272, abs=0.002)


def test_onprem_today_by_hand() -> None:
    job = Job.of((circuit(8e-6),), 100, "t")
    parts = mean_by_component(job, FACTS, load("onprem-today"))
    assert sum(part.mean_ms for part in parts) == pytest.approx(2.0 + 2000.0 + 52.0 + 500.0 + 3.0)


def test_usage_is_overhead_and_shots_alone() -> None:
    job = Job.of((circuit(8e-6),), 100, "t")
    timeline = sample_timeline(job, FACTS, load("public-cloud"), np.random.default_rng(0))
    assert timeline.qpu_s == pytest.approx(2.052)
    assert timeline.execution_ns == 2_052_000_000
    assert timeline.submit_ns == 75_000_000
    assert 50_000_000 <= timeline.collect_ns < 550_000_000


def test_more_circuits_than_the_device_takes_make_more_subjobs() -> None:
    facts = replace(FACTS, max_circuits=2)
    job = Job.of((circuit(8e-6),) * 5, 100, "t")
    assert subjobs(job, facts) == 3
    timeline = sample_timeline(job, facts, load("public-cloud"), np.random.default_rng(0))
    assert timeline.qpu_s == pytest.approx(3 * 2.0 + 5 * 0.052)


def test_draws_average_to_the_mean_and_the_quantile_covers_95_percent() -> None:
    job = Job.of((circuit(8e-6),), 100, "t", rep_delay_s=0.0)
    profile = load("colocated")
    rng = np.random.default_rng(3)
    totals_s = np.array([_total_s(job, profile, rng) for _ in range(20_000)])
    mean_s = sum(part.mean_ms for part in mean_by_component(job, FACTS, profile)) / 1e3
    standard_error = totals_s.std() / math.sqrt(totals_s.size)
    assert totals_s.mean() == pytest.approx(mean_s, abs=4.0 * standard_error)
    assert (totals_s <= quantile_s(job, FACTS, profile, 0.95)).mean() == pytest.approx(0.95, abs=0.006)


def _total_s(job: Job, profile: Profile, rng: np.random.Generator) -> float:
    timeline = sample_timeline(job, FACTS, profile, rng)
    parts = (timeline.submit_ns, timeline.queue_ns, timeline.execution_ns, timeline.collect_ns)
    return sum(parts) * 1e-9


def test_a_lognormal_keeps_its_median_and_its_p99() -> None:
    tail = Lognormal(
        kind="lognormal",
        median=TaggedNumber(value=2.0, unit="ms", tag="assumed", source="a test's own"),
        p99=TaggedNumber(value=10.0, unit="ms", tag="assumed", source="a test's own"),
    )
    draws = tail.draw_s(np.random.default_rng(0), 400_000)
    assert np.quantile(draws, [0.5, 0.99]) == pytest.approx([2e-3, 10e-3], rel=0.02)
    assert draws.mean() == pytest.approx(tail.mean_s, rel=0.01)


def test_the_noise_surrogate_by_hand() -> None:
    # 0.046 + 0.0042 × 3 × 11 × 0.65 = 0.13609; half the default rep_delay adds 0.025.
    assert FACTS.flip_probability(12, 250e-6) == pytest.approx(0.13609)
    assert FACTS.flip_probability(12, 500e-6) == pytest.approx(0.13609)
    assert FACTS.flip_probability(12, 125e-6) == pytest.approx(0.16109)


def test_rep_delay_is_checked_against_the_devices_range() -> None:
    assert check_rep_delay(FACTS, None) == 250e-6
    assert check_rep_delay(FACTS, 500e-6) == 500e-6
    with pytest.raises(SettingsError, match=r"600 us .* 0 to 500 us"):
        check_rep_delay(FACTS, 600e-6)
