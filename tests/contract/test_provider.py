"""What every Provider must do, run against each of them."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit
from qiskit.primitives import StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import CouplingMap

from harness import FACTS, Inline, WallClock
from ibm_endpoint import IbmEndpoint, on_device, start_endpoint
from shotclock.circuits import store
from shotclock.circuits import user_circuits as raw
from shotclock.circuits.worker import bind_logical
from shotclock.domain.circuit import DeviceCircuit, Pub
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Job, Provider, Rehearsing
from shotclock.emulator import device
from shotclock.emulator.profile import load
from shotclock.emulator.provider import EmulatedProvider
from shotclock.providers.aer import AerProvider
from shotclock.providers.scripted import Reply, ScriptedProvider
from shotclock.providers.threads import ClientThreads
from shotclock.providers.user_sampler import wrap

Maker = Callable[[], Provider]


def make_emulated() -> Provider:
    return EmulatedProvider(FACTS, load("colocated"), Inline(), WallClock(), seed=1)


def aer() -> Provider:
    return AerProvider(bind_logical, Inline(), WallClock(), seed=1)


def make_scripted() -> Provider:
    return ScriptedProvider(WallClock(), afterwards=Reply(delay_s=0.01), predicted_s=0.01)


def slow() -> Provider:
    return ScriptedProvider(WallClock(), afterwards=Reply(delay_s=600.0), predicted_s=600.0)


def sampler() -> Provider:
    """A user's `BaseSamplerV2`."""
    statevector_sampler = StatevectorSampler(seed=1)
    return wrap("sampler", statevector_sampler, bind_logical, ClientThreads("sampler", 1), WallClock())


def backend() -> Provider:
    """A user's `BackendV2` with a coupling map that requires transpiling."""
    backend_v2 = GenericBackendV2(12, coupling_map=CouplingMap.from_line(12), seed=1, noise_info=False)
    backend_v2.options.update_options(seed_simulator=1)
    return wrap("backend", backend_v2, bind_logical, ClientThreads("backend", 1), WallClock())


LOCAL: dict[str, Maker] = {
    "emulated": make_emulated,
    "aer": aer,
    "scripted": make_scripted,
    "sampler": sampler,
    "backend": backend,
}
LASTING = {"slow": slow}
REMOTE = ("ibm", "qrmi")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint() as started:
        yield started


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Maker:
    """What makes the provider that the test is parametrized with."""
    if request.param in LOCAL | LASTING:
        return (LOCAL | LASTING)[request.param]
    endpoint: IbmEndpoint = request.getfixturevalue("endpoint")
    return endpoint.ibm if request.param == "ibm" else endpoint.qrmi


def of(*names: str) -> pytest.MarkDecorator:
    """Runs the test with each of these providers."""
    return pytest.mark.parametrize("make", names, indirect=True)


every_provider = of(*LOCAL, *REMOTE)


def job_of(*widths: int, shots: int = 200) -> Job:
    return Job.of(tuple(on_device(n, n) for n in widths), shots, "test", rep_delay_s=0.0)


NUMBERS = itertools.count(int(uuid.uuid4()) % 2**64)


def ghz(n: int, bits: int) -> DeviceCircuit:
    """All qubits equal, measured crosswise into the first of the classical bits."""
    circuit = QuantumCircuit(n, bits)
    circuit.h(0)
    for qubit in range(n - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(n), reversed(range(n)))
    return of_circuit(circuit)


def of_circuit(circuit: QuantumCircuit) -> DeviceCircuit:
    """Any circuit, compiled."""
    bound = raw.read(circuit, {}, "heron-torino", device.target("heron-torino"))
    return DeviceCircuit(store.obtain(bound, "heron-torino", device.target, None).template, bound)


@every_provider
def test_circuits_of_ones_own_run_beside_the_others(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        job = Job.of((ghz(3, 4), on_device(5, 5, first=4)), 400, "test")
        execution = await provider.collect(await provider.submit(job))
        assert [sample.pool.shape[1] for sample in execution.samples] == [4, 5]
        assert [sample.shots for sample in execution.samples] == [400, 400]

    asyncio.run(main())


@of("emulated", "aer", "sampler", "backend", *REMOTE)
def test_what_simulates_circuits_of_ones_own_gives_their_distribution(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        execution = await provider.collect(await provider.submit(Job.of((ghz(3, 4),), 2_000, "test")))
        samples = execution.samples[0]
        sums = samples.pool[:, :3].sum(axis=1)
        assert not samples.pool[:, 3].any()
        # the emulated device replaces one bit in twenty or so
        assert samples.counts[(sums == 0) | (sums == 3)].sum() > 0.85 * 2_000
        assert 0.4 * 2_000 < samples.counts[sums >= 2].sum() < 0.6 * 2_000

    asyncio.run(main())


@every_provider
def test_each_pub_gets_its_own_shots_in_order(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        job = job_of(3, 5, 4, shots=321)
        execution = await provider.collect(await provider.submit(job))
        assert [sample.pool.shape[1] for sample in execution.samples] == [3, 5, 4]
        for samples in execution.samples:
            assert samples.shots == 321
            assert samples.pool.dtype.name == "uint8"
            assert samples.counts.dtype.name == "int64"
            assert samples.counts.shape == samples.pool.shape[:1]
            assert samples.counts.min() >= 1
            assert set(samples.pool.ravel().tolist()) <= {0, 1}
            assert len({row.tobytes() for row in samples.pool}) == samples.pool.shape[0]

    asyncio.run(main())


@every_provider
def test_the_instants_follow_one_another(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        before_ns = WallClock().now_ns()
        execution = await provider.collect(await provider.submit(job_of(4)))
        after_ns = WallClock().now_ns()
        assert before_ns <= execution.running_at_ns <= execution.finished_at_ns
        assert execution.finished_at_ns <= execution.collected_at_ns <= after_ns
        parts = (execution.queue_emulated_ns, execution.execution_emulated_ns, execution.collect_emulated_ns)
        assert min(parts) >= 0
        assert execution.qpu_s >= 0.0
        assert provider.predict_s(job_of(4)) >= 0.0

    asyncio.run(main())


@every_provider
def test_circuits_side_by_side_come_back_apart(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        calls_per_pub = Pub((on_device(3, 1), on_device(4, 2, first=3), on_device(2, 3, first=8)))
        job = Job((calls_per_pub, Pub((on_device(5, 4),))), 300, "test", rep_delay_s=0.0)
        execution = await provider.collect(await provider.submit(job))
        assert [sample.pool.shape[1] for sample in execution.samples] == [3, 4, 2, 5]
        assert [sample.shots for sample in execution.samples] == [300] * 4

    asyncio.run(main())


@every_provider
def test_a_job_is_found_by_its_tag_and_can_be_collected(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        tag = f"shotclock:{next(NUMBERS):024x}"
        job = replace(job_of(4), tag=tag)
        accepted = await provider.submit(job)
        (adopted,) = await provider.find(tag)
        assert adopted.job_id == accepted.job_id
        assert (await provider.collect(adopted)).samples[0].shots == 200
        await provider.ping()

    asyncio.run(main())


@every_provider
def test_concurrent_jobs_do_not_mix(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        jobs = [job_of(n) for n in (2, 3, 4, 5, 6, 7)]
        accepted = await asyncio.gather(*(provider.submit(job) for job in jobs))
        assert len({accepted_job.job_id for accepted_job in accepted}) == len(jobs)
        executions = await asyncio.gather(
            *(provider.collect(accepted_job) for accepted_job in reversed(accepted))
        )
        assert [execution.samples[0].pool.shape[1] for execution in executions] == [7, 6, 5, 4, 3, 2]

    asyncio.run(main())


@every_provider
def test_a_cancelled_job_says_so_and_the_next_one_runs(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        given_up = await provider.submit(job_of(3))
        await provider.cancel(given_up)
        await provider.cancel(given_up)
        with pytest.raises(ProviderError) as caught:
            await provider.collect(given_up)
        assert caught.value.kind is FaultKind.PERMANENT
        execution = await provider.collect(await provider.submit(job_of(4)))
        assert execution.samples[0].shots == 200

    asyncio.run(main())


# Aer computes in one go on an inline offload: by the time anyone could cancel, it has ended.
@of("emulated", *LASTING, "sampler", *REMOTE)
def test_cancelling_while_someone_collects_tells_him(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        # half a minute of the QPU: it has not ended before anyone could cancel
        accepted = await provider.submit(replace(job_of(3, shots=50_000), rep_delay_s=500e-6))
        collecting = asyncio.ensure_future(provider.collect(accepted))
        await asyncio.sleep(0)
        await provider.cancel(accepted)
        with pytest.raises(ProviderError, match="cancelled"):
            await collecting

    asyncio.run(main())


@every_provider
def test_a_cancelled_collect_leaves_the_job_running(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        accepted = await provider.submit(job_of(3))
        collecting = asyncio.ensure_future(provider.collect(accepted))
        await asyncio.sleep(0)
        if collecting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await collecting
            collecting = asyncio.ensure_future(provider.collect(accepted))
        assert (await collecting).samples[0].shots == 200  # a job that ends at once can't be interrupted

    asyncio.run(main())


@every_provider
def test_cancelling_a_finished_job_raises_nothing(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        accepted = await provider.submit(job_of(3))
        await provider.collect(accepted)
        await provider.cancel(accepted)

    asyncio.run(main())


@every_provider
def test_impossible_jobs_are_permanent_faults(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        for job in (
            Job.of((), 10, "empty"),
            job_of(3, shots=0),
            job_of(3, shots=provider.limits.max_shots + 1),
        ):
            with pytest.raises(ProviderError) as caught:
                await provider.submit(job)
            assert caught.value.kind is FaultKind.PERMANENT
        with pytest.raises(ProviderError) as caught:
            await provider.collect(Accepted("nobody's"))
        assert caught.value.kind is FaultKind.PERMANENT

    asyncio.run(main())


@of(*LOCAL)
def test_the_same_seed_gives_the_same_samples(make: Maker) -> None:
    async def samples() -> bytes:
        provider = make()
        execution = await provider.collect(await provider.submit(job_of(6)))
        return execution.samples[0].pool.tobytes() + execution.samples[0].counts.tobytes()

    assert asyncio.run(samples()) == asyncio.run(samples())


def odd_registers() -> QuantumCircuit:
    """X on every other qubit, measured into registers of a result's own attributes and into loose bits."""
    names = ("items", "keys", "values", "shape", "size", "ndim", "class", "meas", "c0")
    registers = [ClassicalRegister(1, name) for name in names]
    circuit = QuantumCircuit(QuantumRegister(30, "q"), [Clbit()], *registers, ClassicalRegister(2, "unused"))
    for bit in range(10):
        qubit = 3 * bit  # the others are idle: a state vector of all 30 qubits would take 16 GiB
        if bit % 2:
            circuit.x(qubit)
        circuit.measure(qubit, bit)
    return circuit


@of("emulated", "aer", "sampler", "backend", *REMOTE)
def test_registers_of_any_name_and_number_and_idle_qubits_are_run(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        execution = await provider.collect(
            await provider.submit(Job.of((of_circuit(odd_registers()),), 400, "test"))
        )
        samples = execution.samples[0]
        assert (samples.pool.shape[1], samples.shots) == (12, 400)
        expected = [bit % 2 for bit in range(10)] + [0, 0]
        # the emulated device replaces one bit in twenty or so
        assert samples.pool[np.argmax(samples.counts)].tolist() == expected

    asyncio.run(main())


@of("emulated", "aer", "sampler", "backend")
def test_more_classical_bits_than_a_machine_word_has_are_run(make: Maker) -> None:
    async def main() -> None:
        circuit = QuantumCircuit(2, 70)
        circuit.x(0)
        circuit.measure([0, 1], [69, 3])
        provider = make()
        execution = await provider.collect(await provider.submit(Job.of((of_circuit(circuit),), 100, "test")))
        samples = execution.samples[0]
        assert samples.pool[np.argmax(samples.counts)].tolist() == [0] * 69 + [1]

    asyncio.run(main())


@of("aer", "sampler")
def test_a_simulator_predicts_from_a_rehearsal_before_the_first_job(make: Maker) -> None:
    async def main() -> None:
        provider = make()
        job = job_of(3)
        assert provider.predict_s(job) == 5.0
        assert isinstance(provider, Rehearsing)
        await provider.rehearse(job)
        assert provider.predict_s(job) < 5.0
        assert await provider.find(job.tag) == ()

    asyncio.run(main())


def test_a_sampler_takes_the_registers_of_any_builder() -> None:
    def build(_: DeviceCircuit) -> QuantumCircuit:
        registers = (ClassicalRegister(1, "items"), ClassicalRegister(2, "b"))
        circuit = QuantumCircuit(QuantumRegister(2, "q"), *registers, [Clbit()])
        circuit.x(0)
        circuit.measure([0, 1], [3, 1])
        return circuit

    async def main() -> None:
        statevector_sampler = StatevectorSampler(seed=1)
        provider = wrap("sampler", statevector_sampler, build, ClientThreads("sampler", 1), WallClock())
        execution = await provider.collect(await provider.submit(job_of(3, shots=10)))
        assert [sample.pool.tolist() for sample in execution.samples] == [[[0, 0, 0, 1]]]

    asyncio.run(main())
