"""Four trainers of a small quantum network, by IBM's client alone and through one Shotclock orchestrator.

Both use the same endpoint, circuits, precision and batch mode. Only Shotclock's jobs hold PUBs of several
trainers.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, QiskitRuntimeService
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN

import shotclock
from _ibm_endpoint import BACKEND, DEVICE, EmulatedEndpoint

TRAINERS = 4
PRECISION = 1 / 16
BUDGET_S = 60.0
SIDE_BY_SIDE = 4
AGE_MS = 50.0
"""How long a job waits for the calls of the other trainers; a job takes a second and more."""
FEATURES = torch.tensor([[0.2, 1.1], [-0.8, 0.3]], dtype=torch.float64)
OBSERVABLE = SparsePauliOp(["ZZ"])
START = np.array([0.4, -0.9])

SETTINGS = f"""
[quantum]
provider = "ibm"
device = "{DEVICE}"
backend = "{BACKEND}"
profile = "{{profile}}"
execution_mode = "batch"
[circuits]
side_by_side = {{side_by_side}}
[orchestrator]
batch_age_ms = {AGE_MS}
"""


@dataclass(slots=True)
class Training:
    """What the trainers of one way took and cost.

    name: the way.
    steps_s: of every optimisation step of every trainer, seconds.
    jobs, qpu_s: from the endpoint's account.
    calls: forward and backward passes asked for.
    in_time: those of them that ended within the budget.
    """

    name: str
    steps_s: list[float] = field(default_factory=list)
    jobs: int = 0
    qpu_s: float = 0.0
    calls: int = 0
    in_time: int = 0

    @property
    def step_p95_ms(self) -> float:
        """Nearest rank; the slowest of fewer than twenty."""
        return float(np.quantile(self.steps_s, 0.95, method="higher") * 1e3)


OpenEstimator = Callable[[], tuple[BaseEstimatorV2, QuantumCircuit, SparsePauliOp]]
"""One trainer's estimator, with the circuit and the observable as it takes them."""


def measure(endpoint: EmulatedEndpoint, steps: int) -> tuple[Training, Training, Training]:
    """IBM's client alone, then Shotclock with a circuit in a PUB, then with several side by side."""
    with open_ibm_client() as open_one:
        alone = _train_all("IBM's client alone", endpoint, open_one, steps)
    with open_shotclock(endpoint, 1) as open_one:
        together = _train_all("Shotclock", endpoint, open_one, steps)
    with open_shotclock(endpoint, SIDE_BY_SIDE) as open_one:
        name = f"Shotclock, {SIDE_BY_SIDE} circuits side by side"
        beside = _train_all(name, endpoint, open_one, steps)
    return alone, together, beside


@contextmanager
def open_ibm_client() -> Iterator[OpenEstimator]:
    """At its best: transpiled once, a batch a trainer, nothing that costs more shots than asked for."""
    batches: list[Batch] = []

    def open_one() -> tuple[BaseEstimatorV2, QuantumCircuit, SparsePauliOp]:
        backend = QiskitRuntimeService().backend(BACKEND)
        circuit = generate_preset_pass_manager(optimization_level=1, backend=backend).run(make_network())
        batches.append(Batch(backend=backend))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            estimator = EstimatorV2(mode=batches[-1])
        estimator.options.default_precision = PRECISION
        estimator.options.resilience_level = 0
        return estimator, circuit, OBSERVABLE.apply_layout(circuit.layout)

    try:
        yield open_one
    finally:
        for batch in batches:
            batch.close()


@contextmanager
def open_shotclock(endpoint: EmulatedEndpoint, side_by_side: int) -> Iterator[OpenEstimator]:
    """One orchestrator in this process for all trainers."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.toml"
        text = SETTINGS.format(profile=endpoint.profile, side_by_side=side_by_side)
        settings.write_text(text, encoding="utf-8")
        with shotclock.connect(settings=settings) as connection:

            def open_one() -> tuple[BaseEstimatorV2, QuantumCircuit, SparsePauliOp]:
                estimator = connection.estimator(precision=PRECISION, budget=BUDGET_S)
                return estimator, make_network(), OBSERVABLE

            yield open_one


def _train_all(name: str, endpoint: EmulatedEndpoint, open_one: OpenEstimator, steps: int) -> Training:
    trainers = [_make_trainer(*open_one()) for _ in range(TRAINERS)]
    trainers[0]()  # the first step compiles, and opens what is opened once
    before = len(endpoint.account()["charges"])
    training, barrier, failures = Training(name), Barrier(TRAINERS), list[BaseException]()

    def run(step: Callable[[], list[float]]) -> None:
        try:
            barrier.wait()
            for _ in range(steps):
                took_s = step()
                training.steps_s.append(sum(took_s))
                training.calls += len(took_s)
                training.in_time += sum(each <= BUDGET_S for each in took_s)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failures.append(error)

    threads = [Thread(target=run, args=(step,)) for step in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    charges = endpoint.account()["charges"][before:]
    training.jobs, training.qpu_s = len(charges), sum(charge["seconds"] for charge in charges)
    return training


def _make_trainer(
    estimator: BaseEstimatorV2, circuit: QuantumCircuit, observable: SparsePauliOp
) -> Callable[[], list[float]]:
    """One step at a time; a step returns how long its forward and its backward pass took, seconds."""
    inputs, weights = ([p for p in circuit.parameters if p.name.startswith(letter)] for letter in ("x", "w"))
    network = EstimatorQNN(
        circuit=circuit,
        estimator=estimator,
        observables=observable,
        input_params=inputs,
        weight_params=weights,
        gradient=ParamShiftEstimatorGradient(estimator),
        default_precision=PRECISION,
    )
    layer = TorchConnector(network, initial_weights=START)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def step() -> list[float]:
        optimizer.zero_grad()
        began = time.perf_counter()
        loss = layer(FEATURES).sum()
        forward = time.perf_counter()
        torch.autograd.backward(loss)
        ended = time.perf_counter()
        optimizer.step()
        return [forward - began, ended - forward]

    return step


def make_network() -> QuantumCircuit:
    """Two inputs, two weights."""
    inputs, weights = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    for qubit in range(2):
        circuit.ry(inputs[qubit], qubit)
    circuit.cx(0, 1)
    for qubit in range(2):
        circuit.rx(weights[qubit], qubit)
    return circuit


def markdown(profile: str, trainings: tuple[Training, ...]) -> list[str]:
    """Lines of the page."""
    steps = len(trainings[0].steps_s) // TRAINERS
    lines = [
        f"{TRAINERS} trainers of an `EstimatorQNN` (two inputs, two weights, {round(PRECISION**-2)} shots a "
        f"circuit) at the same time, {steps} steps each, by the parameter-shift rule. EMULATED: `{profile}` "
        "at its real speed. Each way has batch mode and puts the PUBs of a pass into one job; Shotclock "
        f"puts those of all trainers that ask within {AGE_MS:g} ms into one. A QPU runs circuits of all "
        "trainers one after another, so that a step of one lasts as long as the circuits of all; side by "
        "side, several run in the same shots, which the emulation does without the crosstalk of a real QPU. "
        f"The endpoint and all clients shared {os.cpu_count()} cores with other work (load average "
        f"{os.getloadavg()[2]:.1f} over 15 minutes), which lengthens every row, that of the "
        "most jobs above all: compare the p95 where the load is below the cores.",
        "",
        "| | jobs | QPU seconds | p95 of a step | passes within their deadline |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.jobs} | {each.qpu_s:.1f} | {each.step_p95_ms:,.0f} ms "
        f"(n = {len(each.steps_s)}) | {each.in_time} of {each.calls} |"
        for each in trainings
    ]
    return lines
