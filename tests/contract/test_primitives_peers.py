"""Libraries that take Qiskit's primitives, unmodified, over Shotclock's: as exact, and in few jobs.

The orchestrator is in this process, on virtual time, over Aer without noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BaseEstimatorV2, StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient, ParamShiftSamplerGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN, SamplerQNN
from scipy.optimize import minimize

from shotclock.app.connect import embed_orchestrator
from shotclock.app.host import VirtualHost
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.ports import CircuitCaller, PendingBatch
from shotclock.domain.subproblem import Float64s
from shotclock.primitives import Estimator, Sampler
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

PRECISION = 0.015625
SIGMAS = 5.0


@dataclass
class Counting:
    """A CircuitCaller that counts points and the jobs they were in."""

    inner: CircuitCaller
    points: int = 0
    jobs: set[str] = field(default_factory=set)

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        self.points += batch.points
        return Counted(self.inner.submit(batch), self)


@dataclass
class Counted:
    """Its batch in progress."""

    inner: PendingBatch
    counting: Counting

    def done(self) -> bool:
        return self.inner.done()

    def result(self) -> tuple[CircuitOutcome, ...]:
        outcomes = self.inner.result()
        self.counting.jobs |= {outcome.provenance.job_id for outcome in outcomes}
        return outcomes

    def cancel(self) -> bool:
        return self.inner.cancel()


def open_caller(provider: str, ending: ExitStack) -> Counting:
    host = VirtualHost()
    ending.callback(host.close)
    settings = load(None, {"quantum": {"provider": provider}})
    recorder = PrometheusRecorder(Metrics(), "test")
    return Counting(embed_orchestrator(host, settings, recorder, ending))


@pytest.fixture(scope="module")
def exact_qpu() -> Iterator[Counting]:
    with ExitStack() as ending:
        yield open_caller("aer", ending)


@pytest.fixture
def counting(exact_qpu: Counting) -> Counting:
    return Counting(exact_qpu.inner)


INPUTS, WEIGHTS = ParameterVector("x", 2), ParameterVector("w", 2)


def make_network() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    for qubit in range(2):
        circuit.ry(INPUTS[qubit], qubit)
    circuit.cx(0, 1)
    for qubit in range(2):
        circuit.rx(WEIGHTS[qubit], qubit)
    return circuit


def make_layer(estimator: BaseEstimatorV2, precision: float) -> TorchConnector:
    network = EstimatorQNN(
        circuit=make_network(),
        estimator=estimator,
        observables=SparsePauliOp(["ZZ", "IY"], [1.0, 0.5]),
        input_params=list(INPUTS),
        weight_params=list(WEIGHTS),
        gradient=ParamShiftEstimatorGradient(estimator),
        input_gradients=True,
        default_precision=precision,
    )
    return TorchConnector(network, initial_weights=np.array([0.4, -0.9]))


def train(estimator: BaseEstimatorV2, precision: float, steps: int) -> tuple[list[float], Float64s]:
    """Losses of a small hybrid classifier, and its weights at the end."""
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), make_layer(estimator, precision))
    features = torch.tensor([[0.2, 1.1], [-0.8, 0.3], [1.4, -0.6]])
    labels = torch.tensor([[1.0], [-1.0], [1.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(features), labels)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    weights = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    return losses, weights.double().numpy()


def test_a_hybrid_classifier_trains_as_with_the_reference_primitive(counting: Counting) -> None:
    losses, weights = train(Estimator(counting, default_precision=PRECISION), PRECISION, steps=2)
    expected_losses, expected_weights = train(StatevectorEstimator(), 0.0, steps=2)
    assert losses[-1] < losses[0]
    # a step adds the noise of a gradient: its rate times the precision of some values
    np.testing.assert_allclose(losses, expected_losses, atol=SIGMAS * 3 * PRECISION)
    np.testing.assert_allclose(weights, expected_weights, atol=SIGMAS * 3 * PRECISION)
    assert counting.points == 2 * 2 * (3 + 2 * 4 * 3)  # bases × (forward + shifts of inputs and weights)
    assert len(counting.jobs) == 2 * 2  # forward and backward of each step


def test_a_sampled_network_and_its_gradient_are_those_of_the_state(counting: Counting) -> None:
    sampler = Sampler(counting, default_shots=4096)
    network = SamplerQNN(
        circuit=make_network(),
        sampler=sampler,
        input_params=list(INPUTS),
        weight_params=list(WEIGHTS),
        gradient=ParamShiftSamplerGradient(sampler),
        interpret=lambda word: word.bit_count() % 2,
        output_shape=2,
    )
    layer = TorchConnector(network, initial_weights=np.array([0.4, -0.9]))
    inputs = np.array([[0.2, 1.1], [-0.8, 0.3]])
    odd = layer(torch.tensor(inputs))[:, 1]
    torch.autograd.backward(odd.sum())

    def exact(weights: Float64s) -> Float64s:
        pub = (make_network(), "ZZ", np.hstack([np.tile(weights, (2, 1)), inputs]))
        values: Float64s = StatevectorEstimator().run([pub]).result()[0].data.evs
        return (1.0 - values) / 2.0

    weights = np.array([0.4, -0.9])
    np.testing.assert_allclose(odd.detach().numpy(), exact(weights), atol=SIGMAS * 0.5 / 64)
    shifts = np.eye(2) * np.pi / 2
    gradient = [(exact(weights + shift) - exact(weights - shift)).sum() / 2 for shift in shifts]
    assert layer.weight.grad is not None
    np.testing.assert_allclose(layer.weight.grad.numpy(), gradient, atol=SIGMAS * 0.5 / 64)
    assert len(counting.jobs) == 2


RING = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "ZIIZ"], [0.5] * 4)


def make_qaoa() -> QuantumCircuit:
    gamma, beta = ParameterVector("γ", 1), ParameterVector("β", 1)
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    for qubit in range(4):
        circuit.rzz(gamma[0], qubit, (qubit + 1) % 4)
    circuit.rx(2 * beta[0], range(4))
    return circuit


def minimise(estimator: Estimator, ansatz: QuantumCircuit, operator: SparsePauliOp, steps: int) -> float:
    """The exact value at what COBYLA finds by the estimator's values, each within five standard errors."""
    reference = StatevectorEstimator()

    def exact(angles: Float64s) -> float:
        return float(reference.run([(ansatz, operator, angles)]).result()[0].data.evs)

    def value(angles: Float64s) -> float:
        data = estimator.run([(ansatz, operator, angles)]).result()[0].data
        assert abs(data.evs - exact(angles)) <= SIGMAS * max(data.stds, 1.0 / 4096)
        return float(data.evs)

    begin = np.full(ansatz.num_parameters, 0.4)
    return exact(minimize(value, begin, method="COBYLA", options={"maxiter": steps, "rhobeg": 0.5}).x)


def test_cobyla_finds_a_cut_near_the_best_of_one_layer(counting: Counting) -> None:
    estimator = Estimator(counting, default_precision=PRECISION)
    assert minimise(estimator, make_qaoa(), RING, 25) < -0.8  # the best is -1: three of four edges
    assert len(counting.jobs) == counting.points <= 25  # one basis, one job a step


def test_cobyla_finds_the_ground_state_of_hydrogen(counting: Counting) -> None:
    operator = SparsePauliOp(["II", "IZ", "ZI", "ZZ", "XX"], [-1.0524, 0.3979, -0.3979, -0.0113, 0.1809])
    angle = ParameterVector("θ", 1)
    ansatz = QuantumCircuit(2)
    ansatz.x(0)
    ansatz.ry(angle[0], 1)
    ansatz.cx(1, 0)
    estimator = Estimator(counting, default_precision=PRECISION)
    reached = minimise(estimator, ansatz, operator, 20)
    ground = float(np.linalg.eigvalsh(operator.to_matrix())[0])
    assert reached == pytest.approx(ground, abs=0.02)
    assert len(counting.jobs) * 2 == counting.points  # both bases in one job
