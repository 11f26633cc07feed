"""A user's sampler behind the whole path on virtual time, and what cannot be there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.primitives import StatevectorSampler

from shotclock.app.host import VirtualHost
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import Done, Executed
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

BELL = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[1] items; bit[1] keys; \
h q[0]; cx q[0], q[1]; items[0] = measure q[0]; keys[0] = measure q[1];'


def make() -> StatevectorSampler:
    return StatevectorSampler(seed=1)


def settings_of(provider: str) -> Any:
    return load(None, {"quantum": {"provider": provider, "shots": 64}, "kernel": {"n": 3}})


def test_a_users_sampler_answers_subproblems_and_circuits_on_virtual_time() -> None:
    settings, host = settings_of(f"{__name__}:make"), VirtualHost()
    provider = build_provider(host, settings, settings.quantum, profiles.load("colocated"))
    path = assemble(
        host,
        settings,
        settings.quantum,
        provider,
        PathPolicy(True, Fallback.RACE, 1),
        PrometheusRecorder(Metrics(), "test"),
    )
    subproblem = Subproblem(np.zeros((3, 3)), np.array([1.0, -1.0, 2.0]), budget_ns=60 * NS_PER_S)
    host.run(path.orchestrator.start(subproblem))
    try:
        solved = host.run(path.orchestrator.solve(subproblem))
        assert isinstance(solved, Done), solved
        assert solved.provenance.shots == 64
        executed = host.run(path.orchestrator.execute(CircuitSpec(BELL, 64, budget_ns=600 * NS_PER_S)))
        assert isinstance(executed, Executed), executed
        assert {tuple(row) for row in executed.samples.pool.tolist()} == {(0, 0), (1, 1)}
    finally:
        host.run(path.orchestrator.stop())
        host.close()


@pytest.mark.parametrize("provider", ["ibm", "qrmi"])
def test_what_answers_in_real_time_is_refused_on_virtual_time(provider: str) -> None:
    settings, host = settings_of(provider), VirtualHost()
    with pytest.raises(SettingsError, match=f"--clock virtual: quantum.provider '{provider}' answers"):
        build_provider(host, settings, settings.quantum, profiles.load("colocated"))
    host.close()
