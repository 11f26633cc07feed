"""Circuits of batches beside each other in one PUB: fewer QPU seconds, and each caller gets its samples."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PubResult, StatevectorEstimator

from harness import random_parameters
from qiskit_peers import make_network, open_caller
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaParameters, Template
from shotclock.orchestrator.side_by_side import group_side_by_side
from shotclock.primitives import Estimator, Sampler

POINTS = np.random.default_rng(4).uniform(-np.pi, np.pi, (6, 4))


def place(*line: int, has_neighbours: bool = True, content: QaoaParameters | None = None) -> DeviceCircuit:
    bound = Bound(b"", len(line), len(line), within=line if has_neighbours else ())
    return DeviceCircuit(Template("k", "d", line, b"", 1e-6, 0, 0), content or bound)


def test_circuits_join_the_last_pub_on_qubits_that_it_leaves_free() -> None:
    circuits = [place(0, 1), place(2, 3), place(1, 2), place(4), place(0)]
    assert group_side_by_side(circuits, lambda each: each) == (
        (circuits[0], circuits[1]),
        (circuits[2], circuits[3], circuits[4]),
    )


def test_a_circuit_that_was_not_compiled_for_neighbours_has_none() -> None:
    circuits = [place(0), place(1, has_neighbours=False), place(2), place(3, content=random_parameters(1, 0))]
    assert group_side_by_side(circuits, lambda each: each) == tuple((each,) for each in circuits)


def run_two_callers(side_by_side: int) -> list[PubResult]:
    """Two callers with different circuits of two qubits, and a third one with a circuit of three."""
    wide = QuantumCircuit(3)
    wide.ry(Parameter("a"), 0)
    wide.cx(0, 1)
    wide.cx(1, 2)
    with ExitStack() as ending:
        caller = open_caller("emulated", ending, side_by_side)
        jobs = [
            Estimator(caller, default_precision=1 / 32).run([pub])
            for pub in (
                (make_network(), "ZZ", POINTS),
                (make_network(), "XY", POINTS),
                (wide, "ZZZ", [[0.5]]),
            )
        ]
        return [job.result()[0] for job in jobs]


def test_several_callers_share_pubs_where_the_setting_asks_for_it() -> None:
    apart, together = run_two_callers(1), run_two_callers(4)
    for results in (apart, together):
        assert len({job for result in results for job in result.metadata["jobs"]}) <= 2
        for result, observable in zip(results, ("ZZ", "XY"), strict=False):
            exact = StatevectorEstimator().run([(make_network(), observable, POINTS)]).result()[0].data.evs
            # the EMULATED noise damps a value of two bits by a tenth
            np.testing.assert_allclose(result.data.evs, exact, atol=0.25)
    seconds = [sum(result.metadata["qpu_s"] for result in results) for results in (apart, together)]
    assert seconds[1] < 0.45 * seconds[0]


def test_a_circuit_that_a_line_costs_more_gates_stays_alone() -> None:
    ring = QuantumCircuit(4)
    for qubit in range(4):
        ring.ry(0.3, qubit)
    for first in range(4):
        for second in range(first):
            ring.cz(first, second)
    ring.measure_all()
    with ExitStack() as ending:
        sampler = Sampler(open_caller("emulated", ending, 4))
        seconds = [sampler.run([ring] * count, shots=100).result()[0].metadata["qpu_s"] for count in (1, 3)]
    assert seconds[1] == pytest.approx(seconds[0], rel=0.5)
