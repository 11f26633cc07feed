"""`shotclock bench --engine ray|slurm`: each replicate, a seed of all arms, on some host of a cluster."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from shotclock.app.main_job import (
    JobProgress,
    MainJob,
    Measured,
    Prepared,
    lock,
    prepare,
    set_cadences,
    write_run,
)
from shotclock.app.replicate_job import ReplicateJob, ReplicateStore, name_execution
from shotclock.bench.judge.replicates import Replicate, describe_replication, group_by_kind, join
from shotclock.bench.record.drive import Log
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.replication import LostExecution
from shotclock.bench.schema import Summary
from shotclock.domain.engine import Engine, Failed, Finished, Lost, Report, Task
from shotclock.domain.errors import MachineError, RunError, SettingsError
from shotclock.orchestrator.ledger.places import is_shared
from shotclock.settings import Settings
from shotclock.wire.tls import ClientTls

MODULE = "shotclock.app.replicate_process"
POLL_S = 1.0
FREE = ("emulated", "aer")
"""The providers that never cost anything."""

OpenEngine = Callable[[Settings, Path], Engine]
"""Settings and the store's folder → an engine."""


def run_replicates(
    settings: Settings, job: MainJob, progress: JobProgress, open_engine: OpenEngine, *, resume: bool
) -> tuple[Summary, RunFolder]:
    """Runs what is missing, writes the run folder, returns the summary.

    resume: whether `job.folder` is that of an earlier run, whose finished executions are kept.
    Raises SettingsError, MachineError; Ctrl-C keeps what has finished, and marks the run.
    """
    prepared = prepare(settings, job)
    _refuse_what_stays_local(prepared, job)
    if resume:
        job = _follow_run(prepared.settings, job)
    engine = open_engine(prepared.settings, ReplicateStore.of(job.folder).path)
    with contextlib.closing(engine):
        slots = _count_slots(prepared)
        hosts = engine.list_hosts(slots)
        _refuse_one_host(prepared.settings, hosts)
        folder = RunFolder(job.folder) if resume else RunFolder.create(job.folder)
        store = ReplicateStore.of(folder.path)
        if not resume:
            store.create(lock(prepared.settings), job.clock, job.quick)
        progress.phase(f"{engine.name}: {prepared.settings.bench.seeds} replicates on {', '.join(hosts)}")
        executions = Executions(prepared, job, engine, store, slots, progress.phase)
        executions.run()
    return _write(prepared, job, folder, executions, engine.name, progress), folder


def describe_task(settings: Settings, job: MainJob) -> Task:
    """The task of a run's first replicate without its document, for the scheduler's options."""
    prepared = prepare(settings, job)
    _refuse_what_stays_local(prepared, job)
    return Task(name_execution(0, validation=False), MODULE, "", _count_slots(prepared))


def _refuse_what_stays_local(prepared: Prepared, job: MainJob) -> None:
    if job.metrics_port is not None:
        raise SettingsError("--metrics: goes with --engine local; replicates are short-lived processes")
    if prepared.settings.bench.samples:
        raise SettingsError("--samples: goes with --engine local; leave it out")


def _count_slots(prepared: Prepared) -> int:
    is_quantum = any(arm.quantum for arm in prepared.arms)
    return prepared.settings.engine.qpu_slots if is_quantum else 0


def _refuse_one_host(settings: Settings, hosts: tuple[str, ...]) -> None:
    if settings.engine.validate_share and len(hosts) < 2:
        raise SettingsError(
            f"--validate-share: a second host repeats replicates, and there is one ({', '.join(hosts)}); add "
            f"hosts, or leave it out"
        )


def _follow_run(settings: Settings, job: MainJob) -> MainJob:
    """The job with the clock of the run that goes on; raises SettingsError where that was another one."""
    written, clock, quick = ReplicateStore.of(job.folder).read_run()
    same_flags = job.clock in {"wall", clock} and job.quick in {False, quick}
    if not same_flags or _without_engine(written) != _without_engine(lock(settings)):
        raise SettingsError(
            f"--resume {job.folder}: was begun with other settings, see {job.folder}/config.lock.toml; leave "
            f"out what you changed, or name a new folder with --out"
        )
    return replace(job, clock=clock, quick=quick)


def _without_engine(toml: str) -> str:
    """The settings without `[engine]`, which changes nothing that is measured."""
    lines, skipping = [], False
    for line in toml.splitlines():
        if line.startswith("["):
            skipping = line.startswith("[engine")
        if not skipping:
            lines.append(line)
    return "\n".join(line for line in lines if line)


def choose_validations(seeds: int, share: float) -> tuple[int, ...]:
    """The seeds that are repeated, evenly spread; the same in a resumed run."""
    n = math.ceil(seeds * share - 1e-9)
    return tuple(number * seeds // n for number in range(n))


@dataclass(slots=True)
class Executions:
    """The executions of a run: which have finished, run or are to come.

    prepared, job: the run
    engine: that runs them
    store: of their results
    slots: QPU slots of each
    report: takes a line for a person
    failure: the first error of an execution; "" without one
    interrupted: whether Ctrl-C ended it
    missing: what cannot run, with the reason
    finished: results by seed and whether they are validations
    losses: executions that ended without a result, those of earlier runs in the folder included
    """

    prepared: Prepared
    job: MainJob
    engine: Engine
    store: ReplicateStore
    slots: int
    report: Callable[[str], None]
    failure: str = ""
    interrupted: bool = False
    missing: list[str] = field(default_factory=list)
    finished: dict[tuple[int, bool], Replicate] = field(default_factory=dict)
    losses: tuple[LostExecution, ...] = ()
    _running: dict[str, ReplicateJob] = field(default_factory=dict)
    _starts: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Of the run."""
        return self.prepared.settings

    @property
    def validations(self) -> tuple[int, ...]:
        """The seeds to repeat."""
        return choose_validations(self.settings.bench.seeds, self.settings.engine.validate_share)

    def run(self) -> None:
        """Starts what is missing, and keeps each result as it comes."""
        self.losses = self.store.read_losses()
        try:
            for seed in range(self.settings.bench.seeds):
                self._begin(seed)
            while self._running and not self.failure:
                for report in self.engine.wait(POLL_S):
                    self._take(report)
        except KeyboardInterrupt:
            self.interrupted = True
        except MachineError as error:  # the cluster, or its last host, is gone
            self.failure = str(error)

    def _begin(self, seed: int) -> None:
        """Starts the replicate, or the validation of one that an earlier run finished."""
        first = self.store.read(name_execution(seed, validation=False))
        if first is None:
            self._start(seed, validation=False, avoid=frozenset())
            return
        self.finished[seed, False] = first
        if seed not in self.validations:
            return
        repeated = self.store.read(name_execution(seed, validation=True))
        if repeated is None:
            self._start(seed, validation=True, avoid=frozenset({first.host}))
        else:
            self.finished[seed, True] = repeated

    def _start(self, seed: int, *, validation: bool, avoid: frozenset[str]) -> None:
        job = ReplicateJob(
            settings=lock(self._share_money(seed)),
            seed=seed,
            validation=validation,
            clock=self.job.clock,
            quick=self.job.quick,
            tls=_list_tls(self.job),
            budget=self._name_budget(name_execution(seed, validation=validation)),
        )
        alive = frozenset(self.engine.list_hosts(self.slots))
        if validation and not alive - avoid:
            self.missing.append(
                f"the validation of seed {seed}: no host is left but the one that ran the seed"
            )
            return
        avoid &= alive
        self._running[job.name] = job
        self._starts[job.name] = self._starts.get(job.name, 0) + 1
        avoid = avoid if alive - avoid else frozenset()
        task = Task(
            job.name, MODULE, job.model_dump_json(), self.slots, avoid, may_repeat=not self._is_paid()
        )
        self.engine.start(task)

    def _share_money(self, seed: int) -> Settings:
        """Paid arms: each execution may spend its share, and has a ledger that no other process opens.

        A ledger on PostgreSQL is shared by all, and its budget too.
        """
        quantum, serve = self.settings.quantum, self.settings.serve
        if not self._is_paid() or is_shared(serve.ledger_file):
            return self.settings
        limit = quantum.max_money_per_run / (self.settings.bench.seeds + len(self.validations))
        ledger = str((self.store.path / f"ledger-{seed:03d}.db").resolve())
        update = {
            "quantum": quantum.model_copy(update={"max_money_per_run": limit}),
            "serve": serve.model_copy(update={"ledger": ledger}),
        }
        return self.settings.model_copy(update=update)

    def _name_budget(self, name: str) -> str:
        """One for all executions in a shared ledger, else one for each; what a lost one spent counts."""
        budget = self.store.read_budget()
        return f"{budget}/{name}" if budget and not is_shared(self.settings.serve.ledger_file) else budget

    def _is_paid(self) -> bool:
        """Whether an arm may spend money: providers of users are paid where the settings allow it."""
        arms = (self.settings.quantum_for(arm.name) for arm in self.prepared.arms if arm.quantum)
        return any(arm.provider not in FREE and arm.max_money_per_run > 0 for arm in arms)

    def _take(self, report: Report) -> None:
        job = self._running.pop(report.task)
        which = f"{'validation of ' if job.validation else ''}seed {job.seed}"
        if isinstance(report, Finished):
            self._keep(job, report, which)
        elif isinstance(report, Failed):
            self.failure = f"{which} on {report.host}: {report.because}"
        else:
            self._repeat(job, report, which)

    def _keep(self, job: ReplicateJob, report: Finished, which: str) -> None:
        replicate = self.store.keep(job.name, report.content)
        self.finished[job.seed, job.validation] = replicate
        replicates = sum(not validation for _, validation in self.finished)
        self.report(
            f"{which} finished on {report.host}: {replicates} of {self.settings.bench.seeds} replicates"
        )
        if not job.validation and job.seed in self.validations:
            self._start(job.seed, validation=True, avoid=frozenset({report.host}))

    def _repeat(self, job: ReplicateJob, report: Lost, which: str) -> None:
        """Starts a lost execution again, elsewhere if there is another host."""
        host = report.host
        loss = LostExecution(seed=job.seed, validation=job.validation, host=host, because=report.because)
        self.losses = (*self.losses, loss)
        self.store.write_losses(self.losses)
        where = f" on {host}" if host else ""
        self.report(f"lost: {which}{where}: {report.because}")
        if self._is_paid():
            self.failure = (
                f"{which} was lost{where}, and its paid jobs may have run; look at `shotclock jobs`, then go "
                f"on with --resume {self.job.folder}"
            )
        elif self._starts[job.name] >= self.settings.engine.attempts:
            self.failure = f"{which} was lost {self._starts[job.name]} times, last{where}: {report.because}"
        else:
            first = self.finished.get((job.seed, False))
            avoid = {first.host} if job.validation and first is not None else set()
            self._start(job.seed, validation=job.validation, avoid=frozenset(avoid | ({host} - {""})))


def _list_tls(job: MainJob) -> tuple[str, ...]:
    if not isinstance(job.security, ClientTls):
        return ()
    tls = job.security.files
    return tuple(str(path.resolve()) for path in (tls.certificate, tls.private_key, tls.authorities))


def _write(
    prepared: Prepared,
    job: MainJob,
    folder: RunFolder,
    executions: Executions,
    engine: str,
    progress: JobProgress,
) -> Summary:
    """The run of the executions on hosts of one kind, and how all of them differ."""
    replicates = list(executions.finished.values())
    kinds = group_by_kind(replicates)
    own = [each for each in kinds[0] if not each.validation] if kinds else []
    if not own:
        if executions.interrupted:
            raise KeyboardInterrupt
        raise RunError(f"no replicate finished: {executions.failure}; go on with --resume {folder.path}")
    rows, facts = join(own)
    facts = replace(facts, interrupted=executions.interrupted, failure=executions.failure)
    folder.write_settings(lock(set_cadences(prepared.settings, job.clock, facts.arms)))
    folder.write_machine(facts.environment)
    folder.write_beside(job.beside)
    missing = (*executions.missing, *_list_missing(prepared.settings, executions))
    replication = describe_replication(engine, replicates, executions.losses, missing)
    return write_run(
        folder, Measured(facts, Log(steps=rows)), progress, samples=False, replication=replication
    )


def _list_missing(settings: Settings, executions: Executions) -> Iterator[str]:
    seeds = [seed for seed in range(settings.bench.seeds) if (seed, False) not in executions.finished]
    if seeds:
        yield f"replicates {', '.join(map(str, seeds))}: the run ended before"
