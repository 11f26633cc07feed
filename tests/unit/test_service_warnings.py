"""What a service says at its start of settings that work and should not stay so."""

from __future__ import annotations

import resource

import pytest

from shotclock.app.service import find_warnings
from shotclock.runtime.descriptors import attainable, raise_limit
from shotclock.settings import ServeSettings

ENOUGH = ServeSettings().descriptors


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "[::1]:9464", "localhost:9464"])
def test_a_loopback_address_with_enough_descriptors_needs_no_word(address: str) -> None:
    assert list(find_warnings(ServeSettings(metrics=address), ENOUGH)) == []


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "metrics.example:9464"])
def test_metrics_beyond_loopback_are_one_line(address: str) -> None:
    (warning,) = find_warnings(ServeSettings(metrics=address), ENOUGH)
    assert warning.startswith(f"serve.metrics: {address} is read without TLS")
    assert "\n" not in warning


def test_too_few_descriptors_are_one_line_with_both_numbers() -> None:
    (warning,) = find_warnings(ServeSettings(), ENOUGH - 1)
    assert f"{ENOUGH} file descriptors" in warning
    assert f"{ENOUGH - 1} are allowed" in warning


def test_the_soft_limit_of_descriptors_is_raised_to_what_doctor_expects() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = attainable()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        assert raise_limit() == expected
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
