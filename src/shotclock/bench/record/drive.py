"""Runs the arms in turn, a block of steps each, the order rotating, and keeps a row a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from shotclock.bench.record.circuit_rows import add_circuit_calls
from shotclock.bench.record.compared_calls import ComparedCall, Controls, compare_call
from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.bench.record.samples import CallSamples, keep_samples
from shotclock.domain import plugin
from shotclock.domain.errors import RunError, ShotclockError
from shotclock.domain.host_figures import NOT_READ, AroundCall
from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration
from shotclock.domain.outcome import Degraded, Done, why_no_samples
from shotclock.domain.ports import CallsCircuits, Solver, Trainer
from shotclock.domain.subproblem import Subproblem


@dataclass(frozen=True, slots=True)
class ArmLane:
    """An arm as the driver sees it.

    make: makes a trainer and its held-out loss for a seed.
    as_long_as: the arm whose time each of its iterations spends, in as many steps as that takes; None is one.
    """

    name: str
    make: Callable[[int], tuple[Trainer, Callable[[], float]]]
    as_long_as: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is read of the host while calls run.

    accelerators: that the process can use.
    take: what was read around a call, by arm, seed and request id.
    """

    accelerators: int
    take: Callable[[str, int, str], AroundCall]


def take_nothing(_arm: str, _seed: int, _request_id: str) -> AroundCall:
    """Where nothing is read."""
    return NOT_READ


UNREAD = Surroundings(0, take_nothing)


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """How much a run is, and in which order.

    seeds: training runs per arm.
    steps: measured steps a seed.
    block: steps an arm runs before the next has its turn.
    interleaved: whether arms take turns; else a turn is all steps of a seed.
    samples: whether each call's samples are kept.
    first_seed: number of the first seed.
    """

    seeds: int
    steps: int
    block: int
    interleaved: bool
    samples: bool = False
    first_seed: int = 0


@dataclass(slots=True)
class Log:
    """The rows so far, and how the run ended; whatever ends it, what has run is here.

    steps: the rows.
    interrupted: whether Ctrl-C ended it.
    failure: the first error, with where it happened; empty without one.
    skipped: calls that fell due and were not asked, by arm and reason.
    compared: the calls with samples beside their controls; an interrupt leaves some out.
    samples: of these calls, if the plan keeps them.
    """

    steps: list[StepRow] = field(default_factory=list)
    interrupted: bool = False
    failure: str = ""
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)
    compared: list[ComparedCall] = field(default_factory=list)
    samples: list[CallSamples] = field(default_factory=list)

    def count_skipped(self, arm: str, counts: CallCounts) -> None:
        """Adds the due calls that a turn of this arm did not ask, by reason."""
        reasons = self.skipped.setdefault(arm, {})
        for reason in ("in_flight", "retry_after", "no_memory"):
            if number := getattr(counts, reason):
                reasons[reason] = reasons.get(reason, 0) + number


@dataclass(slots=True, eq=False)
class _Turn:
    """One seed of one arm, of which a turn runs a block of steps.

    lane: the arm.
    trainer: its training with this seed.
    evaluate: its held-out loss.
    seed: number of the seed, from 0.
    paced_by: the turn whose time this one's extra steps fill; None for one step an iteration.
    steps_done: steps that have run.
    elapsed_ns: length of these steps, end to end, nanoseconds.
    rows: their rows, by step.
    """

    lane: ArmLane
    trainer: Trainer
    evaluate: Callable[[], float]
    seed: int
    paced_by: _Turn | None = None
    steps_done: int = 0
    elapsed_ns: int = 0
    rows: dict[int, StepRow] = field(default_factory=dict)

    def run(self, steps: int) -> None:
        """The next so many steps, then the held-out loss outside the measured time."""
        for step in range(self.steps_done, self.steps_done + steps):
            iteration, optimizer_steps = self._iterate(step)
            self.rows[step] = StepRow(
                arm=self.lane.name,
                seed=self.seed,
                step=step,
                start_ns=self.elapsed_ns,
                total_iteration_time_ns=iteration.duration_ns,
                batch_loss=iteration.batch_loss,
                eval_loss=None,
                call=None,
                optimizer_steps=optimizer_steps,
            )
            self.elapsed_ns += iteration.duration_ns
        self.steps_done += steps
        last = self.steps_done - 1
        self.rows[last] = replace(self.rows[last], eval_loss=self.evaluate())

    def _iterate(self, step: int) -> tuple[Iteration, int]:
        """One iteration, or as many as bring this arm's time level with the other's; and how many."""
        iteration, iterations = self.trainer.iterate(step), 1
        if self.paced_by is None:
            return iteration, iterations
        other = self.paced_by.rows[step]
        until_ns = other.start_ns + other.total_iteration_time_ns
        spent_ns = iteration.duration_ns
        while self.elapsed_ns + spent_ns < until_ns:
            iteration = self.trainer.iterate(step)
            iterations += 1
            spent_ns += iteration.duration_ns
        return replace(iteration, duration_ns=spent_ns), iterations

    def compare(self, controls: Controls) -> Iterator[tuple[FinishedCall, ComparedCall]]:
        """The measured calls with samples, and each beside its controls."""
        for call in self.trainer.finished:
            if call.step in self.rows:
                compared = compare_call(self.lane.name, self.seed, call, controls)
                if compared is not None:
                    yield call, compared

    def collect(self, host: Surroundings) -> list[StepRow]:
        """The rows with their calls laid in."""
        for call in self.trainer.finished:
            if call.step in self.rows:
                around = host.take(self.lane.name, self.seed, call.request_id)
                row = describe(call, host.accelerators, around)
                self.rows[call.step] = replace(self.rows[call.step], call=row)
        if isinstance(self.trainer, CallsCircuits):
            return add_circuit_calls(self.rows, self.trainer.circuit_calls)
        return list(self.rows.values())


def no_controls(_subproblem: Subproblem, _shots: int, _seed: int) -> Sequence[Solver]:
    """For runs that compare their calls with nothing."""
    return ()


def drive(
    lanes: list[ArmLane],
    plan: DrivePlan,
    advance: Callable[[str, int], None],
    controls: Controls = no_controls,
    host: Surroundings = UNREAD,
) -> Log:
    """Every seed of every arm; `advance(arm, steps)` reports progress.

    controls: what each call's samples are compared with when its seed has ended.
    host: what was read around each call.

    Ctrl-C and errors, a workload's own too, end it early, marked; what has run is kept.
    """
    log = Log()
    for seed in range(plan.first_seed, plan.first_seed + plan.seeds):
        turns: list[_Turn] = []
        try:
            turns.extend(_Turn(lane, *lane.make(seed), seed) for lane in lanes)
            _pace(turns)
            _take_turns(turns, plan, advance)
            for turn in turns:
                _keep_error(turn, turn.trainer.flush)
        except KeyboardInterrupt:
            log.interrupted = True
        except ShotclockError as error:
            log.failure = f"seed {seed}: {error}"
        for turn in turns:
            log.steps.extend(turn.collect(host))
            log.count_skipped(turn.lane.name, turn.trainer.counts)
        try:
            for turn in turns:
                for call, compared in turn.compare(controls):
                    log.compared.append(compared)
                    if plan.samples and isinstance(call.outcome, Done):
                        log.samples.append(keep_samples(call, call.outcome, compared))
        except KeyboardInterrupt:
            log.interrupted = True
        if log.interrupted or log.failure:
            break
    return log


def _take_turns(turns: list[_Turn], plan: DrivePlan, advance: Callable[[str, int], None]) -> None:
    block = plan.block if plan.interleaved else plan.steps
    rounds = range(0, plan.steps, block)
    for number, first in enumerate(rounds):
        for turn in _order(turns, number):
            steps = min(block, plan.steps - first)
            _keep_error(turn, partial(turn.run, steps))
            advance(turn.lane.name, steps)


def _pace(turns: list[_Turn]) -> None:
    """Gives each paced turn the turn whose time it spends."""
    by_name = {turn.lane.name: turn for turn in turns}
    for turn in turns:
        if turn.lane.as_long_as is not None:
            turn.paced_by = by_name[turn.lane.as_long_as]


def _order(turns: list[_Turn], number: int) -> list[_Turn]:
    """The order of a round: rotating, a paced turn right after the one whose time it spends."""
    free = [turn for turn in turns if turn.paced_by is None]
    shift = number % len(free)
    return [
        each
        for turn in free[shift:] + free[:shift]
        for each in (turn, *(other for other in turns if other.paced_by is turn))
    ]


def _keep_error(turn: _Turn, work: Callable[[], None]) -> None:
    """Does it; an error becomes one of the run, which keeps the rows."""
    where = f"{turn.lane.name}, step {len(turn.rows)}"
    try:
        work()
    except ShotclockError as error:
        raise RunError(f"{where}: {error}") from error
    except Exception as error:
        raise RunError(f"{where}: {plugin.describe_error(error)}") from error


def describe(call: FinishedCall, accelerators: int = 0, around: AroundCall = NOT_READ) -> CallRow:
    """The row of a finished call; accelerators: those of the process, which wait as long as training does."""
    outcome = call.outcome
    provenance = outcome.provenance
    evaluation = provenance.pre_evaluation
    in_time = isinstance(outcome, Done) and outcome.samples.shots > 0 and not provenance.cached
    stages = (call.proposed, *provenance.stages, call.applying)
    emulated = sum(stage.emulated_ns for stage in stages)
    return CallRow(
        request_id=call.request_id,
        outcome=type(outcome).__name__.lower(),
        cause=why_no_samples(outcome, figures=True),
        decision=call.applied.decision,
        winner=call.applied.winner,
        base_version=provenance.base_version,
        deadline_ns=call.deadline_ns,
        in_time=in_time,
        answered=isinstance(outcome, Done | Degraded) and _by_deadline(call),
        added_latency_ns=call.blocked_ns,
        added_emulated_ns=min(emulated, call.blocked_ns) if call.inline else 0,
        quantum_latency_ns=provenance.samples_at_ns - call.boundary_ns if in_time else None,
        quantum_emulated_ns=emulated,
        raw_gain=provenance.raw_gain,
        classical_gain=provenance.classical_gain,
        qpu_s=provenance.qpu_s,
        attempts=provenance.attempts,
        emulator_overrun=provenance.emulator_overrun,
        cached=provenance.cached,
        penalised=provenance.penalised,
        sharers=provenance.sharers,
        stages=stages,
        inline=call.inline,
        simulation_method=provenance.simulation.method,
        bond_dimension=provenance.simulation.bond_dimension,
        truncation_error=provenance.simulation.truncation_error,
        surrogate_error=call.surrogate_error,
        submit_decision=evaluation.decision if evaluation else "",
        expected_gain=evaluation.expected_gain if evaluation else None,
        beats_incumbent=evaluation.beats_incumbent if evaluation else None,
        gpu_idle_ns=accelerators * _waited_ns(call) if accelerators else None,
        around=around,
    )


def _waited_ns(call: FinishedCall) -> int:
    """The blocked time without what the training thread computed in it."""
    return max(0, call.blocked_ns - call.proposed.duration_ns - call.applying.duration_ns)


def _by_deadline(call: FinishedCall) -> bool:
    """The budget starts when the call is asked, which is when the proposal is made."""
    asked_ns = call.proposed.start_ns + call.proposed.duration_ns
    return not call.inline or call.received_ns - asked_ns <= call.deadline_ns
