"""The emulated QPU's time, on a virtual clock: exact to the nanosecond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import pytest

from harness import FACTS, Inline, LoopClock, random_parameters, run_virtual, without_qpy
from shotclock.domain.circuit import Bound, DeviceCircuit, Template
from shotclock.domain.errors import ProviderError, WorkerError, WorkerFault
from shotclock.domain.ports import Execution, Job, Offload
from shotclock.emulator.profile import load
from shotclock.emulator.provider import EmulatedProvider, build
from shotclock.emulator.timing import sample_timeline

P = ParamSpec("P")
T = TypeVar("T")
SEED = 5
NEAREST_NS = 2  # the loop's time is a float of seconds


class SlowOffload:
    """An offload that takes ten virtual seconds."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(10.0)
        return work(*args, **kwargs)


class DeadOffload:
    """An offload whose process has died."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        raise WorkerError(WorkerFault.DIED, "the worker process ended")


def provider_of(profile: str, offload: Offload | None = None) -> EmulatedProvider:
    return build(FACTS, load(profile), offload or Inline(), LoopClock(), SEED)


def job_of(n: int = 4, shots: int = 256, rep_delay_s: float | None = None) -> Job:
    return Job.of((without_qpy(random_parameters(n, 1)),), shots, "test", rep_delay_s)


@pytest.mark.parametrize("profile", ["colocated", "onprem-today", "public-cloud"])
def test_a_lone_job_takes_exactly_its_timeline(profile: str) -> None:
    async def main() -> None:
        provider = provider_of(profile)
        timeline = sample_timeline(job_of(), FACTS, load(profile), np.random.default_rng((SEED, 0)))
        accepted = await provider.submit(job_of())
        execution = await provider.collect(accepted)
        reached = timeline.submit_ns + timeline.queue_ns
        assert execution.running_at_ns == pytest.approx(reached, abs=NEAREST_NS)
        assert execution.finished_at_ns == pytest.approx(reached + timeline.execution_ns, abs=NEAREST_NS)
        assert execution.execution_emulated_ns == pytest.approx(timeline.execution_ns, abs=NEAREST_NS)
        assert execution.collect_emulated_ns == timeline.collect_ns
        assert execution.qpu_s == timeline.qpu_s
        assert not execution.emulator_overrun
        slept = timeline.collect_ns if timeline.collect_ns >= 200_000 else 0
        assert execution.collected_at_ns == pytest.approx(
            reached + timeline.execution_ns + slept, abs=NEAREST_NS
        )

    run_virtual(main())


def test_one_qpu_serves_one_job_at_a_time_and_the_wait_counts_as_queueing() -> None:
    async def main() -> tuple[Execution, ...]:
        provider = provider_of("public-cloud")
        accepted = await asyncio.gather(*(provider.submit(job_of()) for _ in range(3)))
        executions: list[Execution] = await asyncio.gather(
            *(provider.collect(accepted_job) for accepted_job in accepted)
        )
        return tuple(executions)

    first, second, third = run_virtual(main())
    assert second.running_at_ns == first.finished_at_ns
    assert third.running_at_ns == second.finished_at_ns
    assert first.queue_emulated_ns == 0
    assert second.queue_emulated_ns == pytest.approx(first.execution_emulated_ns, abs=NEAREST_NS)
    assert third.queue_emulated_ns == pytest.approx(2 * first.execution_emulated_ns, abs=NEAREST_NS)


def test_cancelling_the_running_job_frees_the_qpu() -> None:
    async def main() -> Execution:
        provider = provider_of("public-cloud")
        holding = await provider.submit(job_of())
        waiting = await provider.submit(job_of())
        await asyncio.sleep(1.0)
        await provider.cancel(holding)
        return await provider.collect(waiting)

    execution = run_virtual(main())
    assert execution.running_at_ns == pytest.approx(1.150e9, abs=NEAREST_NS)


def test_a_cancelled_job_is_charged_for_its_share_of_the_execution() -> None:
    """Nothing in the queue, half of it half-way, all of it once it has run; what is collected has its own."""
    charged_s: list[float] = []

    async def main() -> None:
        provider = provider_of("public-cloud")
        for share in (-0.1, 0.5, 1.1):
            timeline = sample_timeline(
                job_of(), FACTS, load("public-cloud"), np.random.default_rng((SEED, len(charged_s)))
            )
            before = provider.charges()
            began = asyncio.get_running_loop().time()
            accepted = await provider.submit(job_of())
            until = began + (timeline.submit_ns + timeline.queue_ns + share * timeline.execution_ns) * 1e-9
            await asyncio.sleep(until - asyncio.get_running_loop().time())
            await provider.cancel(accepted)
            await provider.cancel(accepted)
            assert provider.charges().abandoned == before.abandoned + 1
            charged_s.append((provider.charges().abandoned_s - before.abandoned_s) / timeline.qpu_s)
        before = provider.charges()
        await provider.collect(await provider.submit(job_of()))
        assert provider.charges() == before
        assert before.abandoned_untold == 0

    run_virtual(main())
    assert charged_s == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)


def test_computing_longer_than_the_emulated_time_is_an_overrun() -> None:
    async def main() -> Execution:
        provider = provider_of("public-cloud", SlowOffload())
        return await provider.collect(await provider.submit(job_of()))

    execution = run_virtual(main())
    assert execution.emulator_overrun
    assert execution.finished_at_ns == pytest.approx(10.0e9, abs=NEAREST_NS)
    assert execution.execution_emulated_ns < 3e9


def test_a_dead_worker_is_no_fault_of_the_provider() -> None:
    async def main() -> None:
        provider = provider_of("colocated", DeadOffload())
        with pytest.raises(WorkerError) as caught:
            await provider.collect(await provider.submit(job_of()))
        assert caught.value.fault is WorkerFault.DIED

    run_virtual(main())


def test_a_rep_delay_outside_the_devices_range_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ProviderError, match=r"rep_delay 600 us is outside heron-torino's range 0 to 500"):
            await provider_of("colocated").submit(job_of(rep_delay_s=600e-6))

    run_virtual(main())


def test_a_circuit_of_ones_own_that_is_wider_than_the_device_is_refused() -> None:
    async def main() -> None:
        template = Template("key", "heron-torino", tuple(range(134)), b"", 6e-6, 0, 0)
        wide = DeviceCircuit(template, Bound(b"", qubits=134, n=1))
        with pytest.raises(ProviderError, match="134 qubits, this provider takes 1 to 133"):
            await provider_of("colocated").submit(Job.of((wide,), 10, "test"))

    run_virtual(main())


def test_more_shots_than_the_device_takes_are_refused_with_the_limit() -> None:
    async def main() -> None:
        with pytest.raises(ProviderError, match="100001 shots, heron-torino takes 1 to 100000"):
            await provider_of("colocated").submit(job_of(shots=100_001))

    run_virtual(main())


def test_limits_come_from_the_device_and_the_profile() -> None:
    assert provider_of("public-cloud").limits.submissions_per_minute == 5.0
    assert provider_of("colocated").limits.submissions_per_minute is None
    limits = provider_of("onprem-today").limits
    assert (limits.lanes, limits.paid, limits.emulated) == (5, False, True)


def test_the_figures_of_a_profile_add_up() -> None:
    figures = provider_of("public-cloud").components(job_of())
    assert figures.mean_ms == pytest.approx(sum(part.mean_ms for part in figures.mean_by_component))
    assert figures.p95_ms > figures.mean_ms
    assert [omission.component for omission in figures.not_modelled] == ["queue", "calibration"]
    assert {"link.rtt", "subjob_overhead.value"} <= {named.name for named in figures.components}
