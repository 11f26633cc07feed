"""Programs of libraries that take Qiskit's primitives, and how far their figures may be from exact ones.

Each program takes a primitive and asserts that its figures are those of Qiskit's reference primitive, or of
the state, within five standard errors.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import XXPlusYYGate
from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2, StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_addon_sqd.counts import bit_array_to_arrays
from qiskit_addon_sqd.qubit import solve_qubit
from qiskit_addon_sqd.subsampling import postselect_by_hamming_right_and_left
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient, ParamShiftSamplerGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN, SamplerQNN
from scipy.optimize import minimize

from shotclock.app.connect import embed_orchestrator
from shotclock.app.host import VirtualHost
from shotclock.domain.circuit import Samples
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.outcome import CircuitOutcome, Executed
from shotclock.domain.ports import CircuitCaller, PendingBatch
from shotclock.domain.subproblem import Float64s
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

SIGMAS = 5.0


def open_caller(provider: str, ending: ExitStack, side_by_side: int = 1) -> CircuitCaller:
    """An orchestrator in this process, on virtual time."""
    host = VirtualHost()
    ending.callback(host.close)
    settings = load(None, {"quantum": {"provider": provider}, "circuits": {"side_by_side": side_by_side}})
    recorder = PrometheusRecorder(Metrics(), "test")
    return embed_orchestrator(host, settings, recorder, ending)[0]


@dataclass
class Counting:
    """A CircuitCaller that counts points and the jobs they were in, and sums their QPU seconds."""

    inner: CircuitCaller
    points: int = 0
    qpu_s: float = 0.0
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
        self.counting.qpu_s += sum(outcome.provenance.qpu_s for outcome in outcomes)
        return outcomes

    def cancel(self) -> bool:
        return self.inner.cancel()


@dataclass
class Planted:
    """A CircuitCaller with an error planted in the parameters or in the answers."""

    inner: CircuitCaller
    permutes: bool = False
    flips: bool = False

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        if self.permutes:
            circuits = tuple(
                replace(circuit, points=np.roll(circuit.points, 1, axis=1)) for circuit in batch.circuits
            )
            batch = replace(batch, circuits=circuits)
        return PlantedBatch(self.inner.submit(batch), self.flips)


@dataclass
class PlantedBatch:
    """Its batch in progress; the first measured bit may be flipped, and so the sign of every term on it."""

    inner: PendingBatch
    flips: bool

    def done(self) -> bool:
        return self.inner.done()

    def result(self) -> tuple[CircuitOutcome, ...]:
        outcomes = self.inner.result()
        return tuple(map(flip_first_bit, outcomes)) if self.flips else outcomes

    def cancel(self) -> bool:
        return self.inner.cancel()


def flip_first_bit(outcome: CircuitOutcome) -> CircuitOutcome:
    assert isinstance(outcome, Executed)
    pool = outcome.samples.pool.copy()
    pool[:, 0] ^= 1
    return replace(outcome, samples=Samples(pool, outcome.samples.counts))


INPUTS, WEIGHTS = ParameterVector("x", 2), ParameterVector("w", 2)
START = np.array([0.4, -0.9])


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
    return TorchConnector(network, initial_weights=START)


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


def check_classifier(estimator: BaseEstimatorV2, precision: float, steps: int) -> None:
    """qiskit-machine-learning's EstimatorQNN in torch, by the parameter-shift rule."""
    losses, weights = train(estimator, precision, steps)
    expected_losses, expected_weights = train(StatevectorEstimator(), 0.0, steps)
    # a step adds the noise of a gradient: its rate times the precision of some values
    np.testing.assert_allclose(losses, expected_losses, atol=SIGMAS * 3 * precision)
    np.testing.assert_allclose(weights, expected_weights, atol=SIGMAS * 3 * precision)


def check_sampled_network(sampler: BaseSamplerV2, shots: int) -> None:
    """qiskit-machine-learning's SamplerQNN in torch, by the parameter-shift rule."""
    network = SamplerQNN(
        circuit=make_network(),
        sampler=sampler,
        input_params=list(INPUTS),
        weight_params=list(WEIGHTS),
        gradient=ParamShiftSamplerGradient(sampler),
        interpret=lambda word: word.bit_count() % 2,
        output_shape=2,
    )
    layer = TorchConnector(network, initial_weights=START)
    inputs = np.array([[0.2, 1.1], [-0.8, 0.3]])
    odd = layer(torch.tensor(inputs))[:, 1]
    torch.autograd.backward(odd.sum())

    def exact(weights: Float64s) -> Float64s:
        pub = (make_network(), "ZZ", np.hstack([np.tile(weights, (2, 1)), inputs]))
        values: Float64s = StatevectorEstimator().run([pub]).result()[0].data.evs
        return (1.0 - values) / 2.0

    bound = SIGMAS * 0.5 / np.sqrt(shots)
    np.testing.assert_allclose(odd.detach().numpy(), exact(START), atol=bound)
    shifts = np.eye(2) * np.pi / 2
    gradient = [(exact(START + shift) - exact(START - shift)).sum() / 2 for shift in shifts]
    assert layer.weight.grad is not None
    np.testing.assert_allclose(layer.weight.grad.numpy(), gradient, atol=bound)


RING = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "ZIIZ"], [0.5] * 4)
HYDROGEN = SparsePauliOp(["II", "IZ", "ZI", "ZZ", "XX"], [-1.0524, 0.3979, -0.3979, -0.0113, 0.1809])


def make_qaoa() -> QuantumCircuit:
    gamma, beta = ParameterVector("γ", 1), ParameterVector("β", 1)
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    for qubit in range(4):
        circuit.rzz(gamma[0], qubit, (qubit + 1) % 4)
    circuit.rx(2 * beta[0], range(4))
    return circuit


def make_hydrogen() -> QuantumCircuit:
    angle = ParameterVector("θ", 1)
    ansatz = QuantumCircuit(2)
    ansatz.x(0)
    ansatz.ry(angle[0], 1)
    ansatz.cx(1, 0)
    return ansatz


def minimise(
    estimator: BaseEstimatorV2, ansatz: QuantumCircuit, operator: SparsePauliOp, steps: int
) -> float:
    """The exact value at what SciPy's COBYLA finds by the estimator's values, each checked on the way."""
    reference = StatevectorEstimator()

    def exact(angles: Float64s) -> float:
        return float(reference.run([(ansatz, operator, angles)]).result()[0].data.evs)

    def value(angles: Float64s) -> float:
        result = estimator.run([(ansatz, operator, angles)]).result()[0]
        least = 1.0 / result.metadata["shots"]
        assert abs(result.data.evs - exact(angles)) <= SIGMAS * max(result.data.stds, least)
        return float(result.data.evs)

    begin = np.linspace(0.4, 0.3, ansatz.num_parameters)
    return exact(minimize(value, begin, method="COBYLA", options={"maxiter": steps, "rhobeg": 0.5}).x)


HOPPING = SparsePauliOp(["IIXX", "IIYY", "XXII", "YYII", "IIIZ", "ZIII"], [0.5, 0.5, 0.5, 0.5, 0.7, -0.4])
"""Of one particle in each half of four sites."""


def make_particles() -> QuantumCircuit:
    """Moves one particle in each half, so that both halves keep theirs."""
    angles = ParameterVector("a", 2)
    circuit = QuantumCircuit(4)
    circuit.x([0, 2])
    circuit.append(XXPlusYYGate(angles[0]), [0, 1])
    circuit.append(XXPlusYYGate(angles[1]), [2, 3])
    circuit.measure_all()
    return circuit


def check_subspace(sampler: BaseSamplerV2, shots: int) -> None:
    """qiskit-addon-sqd's stages from samples to the energy in the subspace that they span."""
    angles = np.array([0.7, 1.9])
    pub = (make_particles(), angles, shots)
    words, shares = bit_array_to_arrays(sampler.run([pub]).result()[0].data.meas)
    configurations, weights = postselect_by_hamming_right_and_left(
        words, shares, hamming_right=1, hamming_left=1
    )
    assert len(configurations) == len(words)  # every shot has its particles where they belong
    state = Statevector(make_particles().remove_final_measurements(inplace=False).assign_parameters(angles))
    share_of = {
        "".join(map(str, word.astype(int))): share
        for word, share in zip(configurations, weights, strict=True)
    }
    for word, share in state.probabilities_dict().items():
        bound = SIGMAS * np.sqrt(share * (1.0 - share) / shots) + 1.0 / shots
        assert abs(share_of.get(word, 0.0) - share) <= bound, word
    energies, _ = solve_qubit(configurations, HOPPING, k=1, which="SA")
    sector = [index for index in range(16) if (index & 3).bit_count() == (index >> 2).bit_count() == 1]
    lowest = np.linalg.eigvalsh(HOPPING.to_matrix()[np.ix_(sector, sector)])[0]
    np.testing.assert_allclose(energies[0], lowest, atol=1e-6)
