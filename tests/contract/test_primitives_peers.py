"""Libraries that take Qiskit's primitives, unmodified, over Shotclock's: as exact, and in few jobs.

The orchestrator is in this process, on virtual time, over Aer without noise. `test_primitives_served.py` has
the same programs through a service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from qiskit_peers import (
    HYDROGEN,
    RING,
    Counting,
    Planted,
    check_classifier,
    check_sampled_network,
    check_subspace,
    make_hydrogen,
    make_qaoa,
    minimise,
    open_caller,
)
from shotclock.domain.ports import CircuitCaller
from shotclock.primitives import Estimator, Sampler

PRECISION = 0.015625


@pytest.fixture(scope="module")
def exact_qpu() -> Iterator[CircuitCaller]:
    with ExitStack() as ending:
        yield open_caller("aer", ending)


@pytest.fixture
def counting(exact_qpu: CircuitCaller) -> Counting:
    return Counting(exact_qpu)


def test_a_hybrid_classifier_trains_as_with_the_reference_primitive(counting: Counting) -> None:
    check_classifier(Estimator(counting, default_precision=PRECISION), PRECISION, steps=2)
    assert counting.points == 2 * 2 * (3 + 2 * 4 * 3)  # bases × (forward + shifts of inputs and weights)
    assert len(counting.jobs) == 2 * 2  # forward and backward of each step


def test_a_sampled_network_and_its_gradient_are_those_of_the_state(counting: Counting) -> None:
    check_sampled_network(Sampler(counting, default_shots=4096), 4096)
    assert len(counting.jobs) == 2


def test_cobyla_finds_a_cut_near_the_best_of_one_layer(counting: Counting) -> None:
    estimator = Estimator(counting, default_precision=PRECISION)
    assert minimise(estimator, make_qaoa(), RING, 25) < -0.8  # the best is -1: three of four edges
    assert len(counting.jobs) == counting.points <= 25  # one basis, one job a step


def test_cobyla_finds_the_ground_state_of_hydrogen(counting: Counting) -> None:
    estimator = Estimator(counting, default_precision=PRECISION)
    reached = minimise(estimator, make_hydrogen(), HYDROGEN, 20)
    ground = float(np.linalg.eigvalsh(HYDROGEN.to_matrix())[0])
    assert reached == pytest.approx(ground, abs=0.02)
    assert len(counting.jobs) * 2 == counting.points  # both bases in one job


def test_sampled_configurations_span_the_subspace_of_the_ground_state(counting: Counting) -> None:
    check_subspace(Sampler(counting, seed=2), 2000)
    assert len(counting.jobs) == counting.points == 1


PROGRAMS: dict[str, Callable[[CircuitCaller], object]] = {
    "classifier": lambda caller: check_classifier(Estimator(caller), PRECISION, steps=1),
    "sampled network": lambda caller: check_sampled_network(Sampler(caller), 1024),
    "cut": lambda caller: minimise(Estimator(caller), make_qaoa(), RING, 1),
    "subspace": lambda caller: check_subspace(Sampler(caller, seed=2), 2000),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_planted_sign_error_fails_every_comparison(
    program: Callable[[CircuitCaller], object], exact_qpu: CircuitCaller
) -> None:
    with pytest.raises(AssertionError):
        program(Planted(exact_qpu, flips=True))


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_planted_permutation_of_the_parameters_fails_every_comparison(
    program: Callable[[CircuitCaller], object], exact_qpu: CircuitCaller
) -> None:
    with pytest.raises(AssertionError):
        program(Planted(exact_qpu, permutes=True))
