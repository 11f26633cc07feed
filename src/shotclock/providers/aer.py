"""Qiskit Aer as a provider: the reference for the emulator's samples. Needs qiskit-aer."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict, deque
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit
from qiskit_aer import AerError, AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError

from shotclock.domain.circuit import Bound, DeviceCircuit, Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Offload, ProviderLimits
from shotclock.providers.jobs import TaskJobs, check_limits

CircuitBuilder = Callable[[DeviceCircuit], QuantumCircuit]

# Before the first job, because the worker has yet to import Qiskit and Aer.
COLD_PREDICTION_S = 5.0
RECENT = 32
REHEARSAL = 2**32
"""The job number of rehearsals, above every real job's."""


class AerProvider:
    """Implements Provider on AerSimulator, without any emulated wait.

    circuit_builder: a module-level function from a DeviceCircuit to a bound, measured circuit, such as
        `circuits.worker.bind_logical` (seven times faster than the ISA circuit at n = 16).
    flip_probability: λ of the emulator's noise surrogate, as the equivalent read-out error.
    """

    name = "aer"
    limits = ProviderLimits(
        lanes=1,
        max_shots=1_000_000,
        max_qubits=24,
        submissions_per_minute=None,
        paid=False,
        emulated=True,
        max_pubs=1_000,
    )

    def __init__(
        self,
        circuit_builder: CircuitBuilder,
        offload: Offload,
        clock: Clock,
        seed: int,
        *,
        circuit_offload: Offload | None = None,
        flip_probability: float = 0.0,
    ) -> None:
        self._circuit_builder = circuit_builder
        self._offload = offload
        self._circuit_offload = circuit_offload or offload
        self._clock = clock
        self._seed = seed
        self._flip_probability = flip_probability
        self._numbers = itertools.count()
        self._jobs = TaskJobs()
        self._seen_s: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def predict_s(self, job: Job) -> float:
        """The longest of the last 32 jobs of this width, seconds; 5 s before the first."""
        return max(self._seen_s.get(_width(job), ()), default=COLD_PREDICTION_S)

    async def rehearse(self, job: Job) -> None:
        """See `Rehearsing.rehearse`; the seeds of jobs do not depend on it."""
        check_limits(job, self.limits)
        await self._run(job, REHEARSAL)

    async def submit(self, job: Job) -> Accepted:
        """Starts the simulation; raises ProviderError(PERMANENT) on a job beyond the limits."""
        check_limits(job, self.limits)
        number = next(self._numbers)
        return self._jobs.start(f"aer-{self._seed}-{number}", job.tag, self._run(job, number))

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the samples."""
        return await self._jobs.collect(accepted)

    async def cancel(self, accepted: Accepted) -> None:
        """Cancels the job; see `Offload.run` for its worker."""
        await self._jobs.cancel(accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`; a simulation does not outlive its process."""
        return self._jobs.find(tag)

    async def ping(self) -> None:
        """See `Provider.ping`; it always succeeds."""

    async def close(self) -> None:
        """See `Provider.close`; nothing is open."""

    async def _run(self, job: Job, number: int) -> Execution:
        began_ns = self._clock.now_ns()
        seeds = np.random.default_rng((self._seed, number)).integers(0, 2**31, len(job.circuits))
        is_users = any(isinstance(circuit.parameters, Bound) for circuit in job.circuits)
        offload = self._circuit_offload if is_users else self._offload
        try:
            samples = await offload.run(
                simulate_all,
                self._circuit_builder,
                job.circuits,
                job.shots,
                self._flip_probability,
                tuple(int(seed) for seed in seeds),
            )
        except AerError as error:
            raise ProviderError(FaultKind.PERMANENT, f"Aer: {error}") from error
        finished_ns = self._clock.now_ns()
        self._seen_s[_width(job)].append((finished_ns - began_ns) * 1e-9)
        return Execution(samples, began_ns, finished_ns, finished_ns)


def simulate_all(
    circuit_builder: CircuitBuilder,
    circuits: tuple[DeviceCircuit, ...],
    shots: int,
    flip_probability: float,
    seeds: tuple[int, ...],
) -> tuple[Samples, ...]:
    """Samples of each circuit, in order; for the worker. Raises AerError, which pickles."""
    simulator = _simulator(flip_probability)
    return tuple(
        _sample(simulator, circuit_builder(circuit), shots, seed)
        for circuit, seed in zip(circuits, seeds, strict=True)
    )


def _sample(simulator: AerSimulator, circuit: QuantumCircuit, shots: int, seed: int) -> Samples:
    result = simulator.run(circuit, shots=shots, seed_simulator=seed).result()
    if not result.success:
        raise AerError(result.status)
    counts = sorted((int(word, 16), count) for word, count in result.data(0)["counts"].items())
    width = (circuit.num_clbits + 7) // 8  # a circuit may have more classical bits than a machine word
    packed = b"".join(word.to_bytes(width, "little") for word, _ in counts)
    octets = np.frombuffer(packed, np.uint8).reshape(len(counts), width)
    pool = np.unpackbits(octets, axis=1, count=circuit.num_clbits, bitorder="little")
    return Samples(pool, np.array([count for _, count in counts], np.int64))


@functools.lru_cache(maxsize=4)
def _simulator(flip_probability: float) -> AerSimulator:
    """One thread: Aer's own collapse beside a busy process. Replacing a bit by a random one flips it λ/2."""
    noise = None
    if flip_probability > 0.0:
        flip = 0.5 * flip_probability
        noise = NoiseModel()
        noise.add_all_qubit_readout_error(ReadoutError([[1.0 - flip, flip], [flip, 1.0 - flip]]))
    return AerSimulator(method="statevector", noise_model=noise, max_parallel_threads=1)


def _width(job: Job) -> int:
    return max(circuit.qubits for circuit in job.circuits)


def build(
    circuit_builder: CircuitBuilder,
    offload: Offload,
    clock: Clock,
    seed: int,
    *,
    circuit_offload: Offload | None = None,
    flip_probability: float = 0.0,
) -> AerProvider:
    """The registry's entry point."""
    return AerProvider(
        circuit_builder,
        offload,
        clock,
        seed,
        circuit_offload=circuit_offload,
        flip_probability=flip_probability,
    )
