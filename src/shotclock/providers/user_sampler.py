"""A user's sampler as a provider: a `BaseSamplerV2`, or a `BackendV2` behind Qiskit's sampler for it."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from qiskit import ClassicalRegister, QuantumCircuit, generate_preset_pass_manager
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2
from qiskit.providers import BackendV2

from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Offload, ProviderLimits
from shotclock.providers.ibm_results import samples_of
from shotclock.providers.jobs import TaskJobs, check_limits

CircuitBuilder = Callable[[DeviceCircuit], QuantumCircuit]
COLD_PREDICTION_S = 5.0
RECENT = 32
MAX_QUBITS = 24
"""The width limit of a user's sampler; a back end reports its own width."""


class SamplerProvider:
    """Implements Provider on a sampler that runs in this process: free, one job at a time, no queue.

    An exception of the sampler is a PERMANENT fault with its text.

    circuit_builder: builds the bound, measured circuit by its definition, without regard to connectivity.
    transpile: makes that circuit one that the sampler accepts.
    """

    limits: ProviderLimits

    def __init__(
        self,
        name: str,
        sampler: BaseSamplerV2,
        circuit_builder: CircuitBuilder,
        threads: Offload,
        clock: Clock,
        *,
        max_qubits: int = MAX_QUBITS,
        transpile: Callable[[QuantumCircuit], QuantumCircuit] = lambda circuit: circuit,
    ) -> None:
        self.name = name
        self.limits = ProviderLimits(
            lanes=1,
            max_shots=1_000_000,
            max_qubits=max_qubits,
            submissions_per_minute=None,
            paid=False,
            emulated=True,
            max_pubs=1_000,
        )
        self._sampler = sampler
        self._circuit_builder = circuit_builder
        self._transpile = transpile
        self._threads = threads
        self._clock = clock
        self._numbers = itertools.count()
        self._jobs = TaskJobs()
        self._turn = asyncio.Lock()
        self._seen_s: deque[float] = deque(maxlen=RECENT)

    def predict_s(self, job: Job) -> float:
        """The longest of the last 32 jobs, seconds; 5 s before the first."""
        del job
        return max(self._seen_s, default=COLD_PREDICTION_S)

    async def rehearse(self, job: Job) -> None:
        """See `Rehearsing.rehearse`."""
        check_limits(job, self.limits)
        await self._run(job)

    async def submit(self, job: Job) -> Accepted:
        """Starts the job; raises ProviderError(PERMANENT) on a job beyond the limits."""
        check_limits(job, self.limits)
        return self._jobs.start(f"{self.name}-{next(self._numbers)}", job.tag, self._run(job))

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the samples."""
        return await self._jobs.collect(accepted)

    async def cancel(self, accepted: Accepted) -> None:
        """Forgets the job; a sampler that is running continues, and its result is discarded."""
        await self._jobs.cancel(accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`; no job outlives this process."""
        return self._jobs.find(tag)

    async def ping(self) -> None:
        """See `Provider.ping`; it always succeeds."""

    async def close(self) -> None:
        """See `Provider.close`; nothing is open."""

    async def _run(self, job: Job) -> Execution:
        async with self._turn:
            began_ns = self._clock.now_ns()
            samples = await self._threads.run(self._sample, job.circuits, job.shots)
            finished_ns = self._clock.now_ns()
        self._seen_s.append((finished_ns - began_ns) * 1e-9)
        return Execution(samples, began_ns, finished_ns, finished_ns)

    def _sample(self, circuits: Sequence[DeviceCircuit], shots: int) -> tuple[Samples, ...]:
        try:
            pubs = [self._transpile(_merge_registers(self._circuit_builder(circuit))) for circuit in circuits]
            samples = samples_of(self._sampler.run(pubs, shots=shots).result())
        except Exception as error:
            what = " ".join(str(error).split())[:300]
            raise ProviderError(
                FaultKind.PERMANENT, f"{self.name}: {type(error).__name__}: {what}"
            ) from error
        if len(samples) != len(circuits):
            raise ProviderError(
                FaultKind.PERMANENT, f"{self.name}: {len(samples)} registers for {len(circuits)} circuits"
            )
        return samples


def _merge_registers(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with all classical bits, in order, in one register.

    A sampler returns bits by register: bits outside a register are lost, and a register named like an
    attribute of the result (`items`, `shape`) is refused.
    """
    whole = QuantumCircuit(circuit.qubits, ClassicalRegister(circuit.num_clbits, "c0"))
    return whole.compose(circuit, whole.qubits, whole.clbits)


def wrap(
    name: str,
    target: BaseSamplerV2 | BackendV2,
    circuit_builder: CircuitBuilder,
    threads: Offload,
    clock: Clock,
) -> SamplerProvider:
    """The provider around a user's sampler or back end; circuits are transpiled for a back end."""
    if isinstance(target, BaseSamplerV2):
        return SamplerProvider(name, target, circuit_builder, threads, clock)
    passes = generate_preset_pass_manager(optimization_level=1, backend=target, seed_transpiler=0)
    return SamplerProvider(
        name,
        BackendSamplerV2(backend=target),
        circuit_builder,
        threads,
        clock,
        max_qubits=target.num_qubits or MAX_QUBITS,
        transpile=passes.run,
    )
