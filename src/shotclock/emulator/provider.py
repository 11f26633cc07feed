"""The emulated provider: returns real samples of the circuits at the instants when a QPU would.

Emulated instants are absolute: each is the submit's start plus the planned durations so far, so a late
timer does not delay later stages. Imports no Qiskit.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from shotclock.domain.accounting import Charges
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaParameters, Samples
from shotclock.domain.errors import FaultKind, ProviderError, SettingsError
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Offload, ProviderLimits
from shotclock.emulator.device import DeviceFacts, check_rep_delay
from shotclock.emulator.figures import Named
from shotclock.emulator.profile import Omission, Profile, Sanity
from shotclock.emulator.statevector import execute_all
from shotclock.emulator.timing import Timeline, TimePart, mean_by_component, quantile_s, sample_timeline
from shotclock.emulator.user_circuits import execute_any
from shotclock.emulator.windows import CalibrationWindows

# Timers fire up to a millisecond late, so a wait shorter than this is merged into the next one.
SHORTEST_WAIT_NS = 200_000
LATEST_TIMER_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """A profile's and a device's figures for one job, for reports.

    title: the profile's title
    components: every number with its source
    mean_by_component: predicted mean of each part, milliseconds
    mean_ms: predicted mean of submit to samples, milliseconds
    p95_ms: its predicted p95, milliseconds
    sanity: the reference figures, if any
    not_modelled: the omitted components
    """

    title: str
    components: tuple[Named, ...]
    mean_by_component: tuple[TimePart, ...]
    mean_ms: float
    p95_ms: float
    sanity: Sanity | None
    not_modelled: tuple[Omission, ...]


@dataclass(slots=True)
class _Submitted:
    """A running job; planned instants in nanoseconds on the provider's clock.

    timeline: the planned durations
    accepted_at_ns: when the provider accepted it
    reaches_qpu_at_ns: the end of its queue wait
    windows: the device's calibration windows; None without them
    running_at_ns: when it gets the QPU; infinite until then
    """

    timeline: Timeline
    accepted_at_ns: int
    reaches_qpu_at_ns: int
    windows: CalibrationWindows | None
    running_at_ns: float = math.inf

    def consumed_s(self, now_ns: int) -> float:
        """QPU seconds used until now, in proportion to the elapsed part of the execution."""
        share = (now_ns - self.running_at_ns) / max(1, self.timeline.execution_ns)
        return self.timeline.qpu_s * min(1.0, max(0.0, share))


@dataclass(slots=True, eq=False)
class _Computation:
    """The computation of a job's samples. due_ns: the job's earliest end; ended_ns: the computation's end.

    holds_qpu: whether the QPU waits for it; not for a user circuit, whose emulation may take any time.
    """

    due_ns: int
    holds_qpu: bool
    ended_ns: float = math.inf

    def has_overrun(self, now_ns: int) -> bool:
        return min(self.ended_ns, now_ns) > self.due_ns + LATEST_TIMER_NS


class EmulatedProvider:
    """Implements Provider for a device and a profile.

    It has one QPU: executions exclude one another, and waiting for it counts as queue wait. `offload`
    computes a job's samples while its emulated time passes. The same seed and order of submits give the
    same samples and the same times.
    """

    name = "emulated"

    def __init__(
        self,
        facts: DeviceFacts,
        profile: Profile,
        offload: Offload,
        clock: Clock,
        seed: int,
        *,
        circuit_offload: Offload | None = None,
    ) -> None:
        self.device = facts
        self._facts = facts
        self.use_profile(profile)
        self._offload = offload
        self._circuit_offload = circuit_offload or offload
        self._clock = clock
        self._seed = seed
        self._numbers = itertools.count()
        self._running: dict[str, asyncio.Task[Execution]] = {}
        self._tags: dict[str, str] = {}
        self._submitted: dict[str, _Submitted] = {}
        self._computations: set[_Computation] = set()
        self._overran_at_ns = -math.inf
        self._charges = Charges()
        self._qpu = asyncio.Lock()
        self._qpu_free_at_ns = 0

    def use_profile(self, profile: Profile) -> None:
        """Takes this profile from the next submit on; running jobs keep their times."""
        rate, facts = profile.submissions_per_minute, self._facts
        self._profile = profile
        self.limits = ProviderLimits(
            lanes=facts.lanes,
            max_shots=facts.max_shots,
            max_qubits=facts.n_qubits,
            submissions_per_minute=rate.value if rate else None,
            paid=False,
            emulated=True,
            max_pubs=facts.max_circuits,
            rep_delay_default_s=facts.rep_delay_default_s,
        )

    async def warm(self, n: int) -> None:
        """Loads the state-vector kernels in the worker, so that loading makes no job overrun."""
        idle = QaoaParameters.idle(n)
        await self._offload.run(execute_all, (idle,), 1, (0.0,), (0,))

    def predict_s(self, job: Job) -> float:
        """The p95 of submit to samples on an idle QPU, seconds."""
        return quantile_s(job, self._facts, self._profile, 0.95)

    def components(self, job: Job) -> ProfileFigures:
        """The profile's and the device's numbers and their predictions for this job."""
        parts = mean_by_component(job, self._facts, self._profile)
        return ProfileFigures(
            title=self._profile.title,
            components=(*self._profile.figures(), *self._facts.components),
            mean_by_component=parts,
            mean_ms=sum(part.mean_ms for part in parts),
            p95_ms=self.predict_s(job) * 1e3,
            sanity=self._profile.sanity,
            not_modelled=self._profile.not_modelled,
        )

    async def submit(self, job: Job) -> Accepted:
        """Accepts the job after the network's time; raises ProviderError(PERMANENT) if it cannot run it."""
        started_ns = max(self._first_submit_ns, self._clock.now_ns())
        rep_delay_s = self._check(job)
        number = next(self._numbers)
        rng = np.random.default_rng((self._seed, number))
        profile = self._profile
        timeline = sample_timeline(job, self._facts, profile, rng)
        planned_ns = started_ns + timeline.submit_ns
        is_users = any(isinstance(circuit.parameters, Bound) for circuit in job.circuits)
        due_ns = planned_ns + timeline.queue_ns + timeline.execution_ns
        computation = _Computation(due_ns, holds_qpu=not is_users)
        self._computations.add(computation)
        computing = asyncio.ensure_future(self._compute(job, rep_delay_s, rng, computation))
        try:
            waited_ns = await self._wait_until(planned_ns)
        except asyncio.CancelledError:
            computing.cancel()
            self._close(computation)
            raise
        submitted = _Submitted(
            timeline,
            max(planned_ns, self._clock.now_ns()),
            planned_ns + timeline.queue_ns,
            profile.calibration,
        )
        job_id = f"emulated-{self._seed}-{number}"
        self._running[job_id] = asyncio.create_task(self._run(submitted, computing, computation))
        self._tags[job_id] = job.tag
        self._submitted[job_id] = submitted
        return Accepted(job_id, waited_ns)

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the samples. Cancelling a collect leaves the job running; see `cancel`."""
        task = self._running.get(accepted.job_id)
        if task is None:
            raise ProviderError(
                FaultKind.PERMANENT, f"no job {accepted.job_id}: collected, cancelled or foreign"
            )
        # asyncio.wait distinguishes a cancelled job (the task) from a cancelled caller (this coroutine).
        await asyncio.wait({task})
        self._forget(accepted)
        if task.cancelled():
            raise ProviderError(FaultKind.PERMANENT, f"job {accepted.job_id} was cancelled")
        return task.result()

    async def cancel(self, accepted: Accepted) -> None:
        """Cancels the job and frees the QPU; does nothing if it has ended.

        As at IBM, a cancelled job is charged for the time it has run.
        """
        submitted = self._submitted.get(accepted.job_id)
        task = self._forget(accepted)
        if task is not None and submitted is not None:
            charges, consumed_s = self._charges, submitted.consumed_s(self._clock.now_ns())
            self._charges = replace(
                charges, abandoned=charges.abandoned + 1, abandoned_s=charges.abandoned_s + consumed_s
            )
            task.cancel()
            await asyncio.wait({task})

    def has_overrun_since(self, instant_ns: int) -> bool:
        """See `Emulating.has_overrun_since`."""
        now_ns = self._clock.now_ns()
        return self._overran_at_ns >= instant_ns or any(
            each.has_overrun(now_ns) for each in self._computations
        )

    def _close(self, computation: _Computation) -> None:
        now_ns = self._clock.now_ns()
        if computation.has_overrun(now_ns):
            self._overran_at_ns = now_ns
        self._computations.discard(computation)

    def charges(self) -> Charges:
        """See `Charged`. Does not include the session, which is charged by the training's duration."""
        return self._charges

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`; does not find collected or cancelled jobs."""
        return tuple(Accepted(job_id) for job_id, job_tag in self._tags.items() if job_tag == tag)

    async def ping(self) -> None:
        """See `Provider.ping`; one round trip of the network."""
        await self._wait_until(self._clock.now_ns() + round(self._profile.submit_s * 1e9))

    async def close(self) -> None:
        """See `Provider.close`; does nothing."""

    def _forget(self, accepted: Accepted) -> asyncio.Task[Execution] | None:
        self._tags.pop(accepted.job_id, None)
        self._submitted.pop(accepted.job_id, None)
        return self._running.pop(accepted.job_id, None)

    async def _run(
        self,
        submitted: _Submitted,
        computing: asyncio.Future[tuple[Samples, ...]],
        computation: _Computation,
    ) -> Execution:
        try:
            await self._wait_until(submitted.reaches_qpu_at_ns)
            async with self._qpu:
                running_at_ns = self._past_calibration_ns(
                    max(submitted.reaches_qpu_at_ns, self._qpu_free_at_ns), submitted.windows
                )
                submitted.running_at_ns = running_at_ns
                finishes_at_ns = running_at_ns + submitted.timeline.execution_ns
                await self._hold_qpu(finishes_at_ns, computing, computation)
                overrun = self._qpu_free_at_ns > finishes_at_ns
                finished_at_ns = self._qpu_free_at_ns
            samples = await computing
            if computation.ended_ns > finished_at_ns + LATEST_TIMER_NS:
                overrun, finished_at_ns = True, int(computation.ended_ns)
        finally:
            computing.cancel()
            self._close(computation)
        await self._wait_until(finished_at_ns + submitted.timeline.collect_ns)
        # A late timer must not show as a negative duration.
        running_at_ns = max(running_at_ns, submitted.accepted_at_ns)
        finished_at_ns = max(finished_at_ns, running_at_ns)
        return Execution(
            samples=samples,
            running_at_ns=running_at_ns,
            finished_at_ns=finished_at_ns,
            collected_at_ns=max(finished_at_ns, self._clock.now_ns()),
            queue_emulated_ns=running_at_ns - submitted.accepted_at_ns,
            execution_emulated_ns=max(0, finishes_at_ns - running_at_ns),
            collect_emulated_ns=submitted.timeline.collect_ns,
            qpu_s=submitted.timeline.qpu_s,
            emulator_overrun=overrun,
        )

    @functools.cached_property
    def _first_submit_ns(self) -> int:
        return self._clock.now_ns()

    def _past_calibration_ns(self, at_ns: int, windows: CalibrationWindows | None) -> int:
        """The instant, or the end of the calibration window it falls into, counted from the first job."""
        if windows is None:
            return at_ns
        since_s = (at_ns - self._first_submit_ns) * 1e-9
        return self._first_submit_ns + round(windows.free_s(since_s) * 1e9)

    async def _hold_qpu(
        self, until_ns: int, computing: asyncio.Future[tuple[Samples, ...]], computation: _Computation
    ) -> None:
        """Reserves the QPU for the planned time, or longer while samples that it waits for are computed."""
        self._qpu_free_at_ns = until_ns
        try:
            await self._wait_until(until_ns)
            if not computation.holds_qpu:
                return
            if not computing.done():
                await asyncio.wait({computing})
                self._qpu_free_at_ns = self._clock.now_ns()
        except asyncio.CancelledError:
            self._qpu_free_at_ns = self._clock.now_ns()
            raise
        if computation.ended_ns > until_ns + LATEST_TIMER_NS:  # in place, on virtual time
            self._qpu_free_at_ns = max(self._qpu_free_at_ns, int(computation.ended_ns))

    async def _compute(
        self, job: Job, rep_delay_s: float, rng: np.random.Generator, computation: _Computation
    ) -> tuple[Samples, ...]:
        circuits = job.circuits
        flips = tuple(self._flip_probability(circuit, rep_delay_s) for circuit in circuits)
        seeds = tuple(int(seed) for seed in rng.integers(0, 2**63, len(circuits)))
        contents = tuple(circuit.parameters for circuit in circuits)
        angles = tuple(content for content in contents if isinstance(content, QaoaParameters))
        try:
            if len(angles) == len(contents):
                return await self._offload.run(execute_all, angles, job.shots, flips, seeds)
            return await self._circuit_offload.run(execute_any, contents, job.shots, flips, seeds)
        finally:
            computation.ended_ns = self._clock.now_ns()

    def _flip_probability(self, circuit: DeviceCircuit, rep_delay_s: float) -> float:
        parameters = circuit.parameters
        if isinstance(parameters, Bound) or circuit.template.native:
            return self._facts.flip_probability_at_depth(circuit.template.two_qubit_depth, rep_delay_s)
        return self._facts.flip_probability(parameters.n, rep_delay_s, parameters.layers)

    async def _wait_until(self, at_ns: int) -> int:
        """Sleeps until an instant; returns the planned wait, nanoseconds; 0 if it was too short to sleep."""
        remaining_ns = at_ns - self._clock.now_ns()
        if remaining_ns < SHORTEST_WAIT_NS:
            return 0
        await asyncio.sleep(remaining_ns * 1e-9)
        return remaining_ns

    def _check(self, job: Job) -> float:
        """The rep_delay to use, seconds; raises ProviderError(PERMANENT) if the device refuses the job."""
        widest = max((circuit.qubits for circuit in job.circuits), default=0)
        if not 1 <= widest <= self.limits.max_qubits:
            raise ProviderError(
                FaultKind.PERMANENT,
                f"{widest} qubits, this provider takes 1 to {self.limits.max_qubits}; "
                "use a smaller subproblem or circuit",
            )
        for pub in job.pubs:
            if len(pub.circuits) > 1 and (shared := pub.shared_qubits):
                raise ProviderError(
                    FaultKind.PERMANENT, f"circuits side by side share qubits {', '.join(map(str, shared))}"
                )
        if not 1 <= job.shots <= self.limits.max_shots:
            raise ProviderError(
                FaultKind.PERMANENT,
                f"{job.shots} shots, {self._facts.name} takes 1 to {self.limits.max_shots}",
            )
        try:
            return check_rep_delay(self._facts, job.rep_delay_s)
        except SettingsError as error:
            raise ProviderError(FaultKind.PERMANENT, str(error)) from error


def build(
    facts: DeviceFacts,
    profile: Profile,
    offload: Offload,
    clock: Clock,
    seed: int,
    *,
    circuit_offload: Offload | None = None,
) -> EmulatedProvider:
    """The registry's entry point."""
    return EmulatedProvider(facts, profile, offload, clock, seed, circuit_offload=circuit_offload)
