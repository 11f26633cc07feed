"""Replicates over hosts, by a scripted engine: kept, repeated, lost, resumed, joined, reported apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import variance

import pytest

import synthetic
from run_folder import facts
from shotclock.app.main_job import JobProgress, MainJob, Prepared, lock
from shotclock.app.replicate_job import ReplicateJob, ReplicateStore
from shotclock.app.replicates import Executions, choose_validations, run_replicates
from shotclock.bench.judge.replicates import Replicate, describe_replication, find_spread, group_by_kind, join
from shotclock.bench.judge.summarise import summarise
from shotclock.bench.report.run import hosts_table
from shotclock.domain.engine import Engine, Failed, Finished, Lost, Report, Task
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.settings import BenchSettings, EngineSettings, Settings

ARMS = synthetic.ARMS[:3]
SIZE = synthetic.Size(60, 4, 30, quick=True, clock="virtual")
ROWS = synthetic.rows(SIZE, arms=ARMS)
MACHINE = {"host": "x", "cpu": "A", "cores": "8"}


def make_replicate(
    seed: int,
    host: str = "a",
    *,
    validation: bool = False,
    machine: dict[str, str] = MACHINE,
    slower: int = 0,
) -> Replicate:
    steps = (
        replace(step, total_iteration_time_ns=step.total_iteration_time_ns + slower)
        for step in ROWS
        if step.seed == seed
    )
    run = replace(facts(ARMS), environment=machine, wall_s=1.0)
    return Replicate(seed=seed, validation=validation, host=host, facts=run, steps=tuple(steps))


@dataclass
class ScriptedEngine:
    """Each started task takes the next report of the script; without one it finishes on its first host."""

    hosts: tuple[str, ...] = ("a", "b")
    script: dict[str, list[Callable[[Task], Report]]] = field(default_factory=dict)
    machines: dict[str, dict[str, str]] = field(default_factory=dict)
    started: list[Task] = field(default_factory=list)
    interrupt_after: int = 1_000
    closed: bool = False
    reports: deque[Report] = field(default_factory=deque)

    @property
    def name(self) -> str:
        return "scripted"

    def list_hosts(self, qpu_slots: int) -> tuple[str, ...]:
        if not self.hosts:
            raise MachineError("no host is left")
        return self.hosts

    def start(self, task: Task) -> None:
        self.started.append(task)
        script = self.script.get(task.name)
        self.reports.append(script.pop(0)(task) if script else self.finish(task))

    def finish(self, task: Task) -> Finished:
        job = ReplicateJob.model_validate_json(task.document)
        host = next(host for host in self.hosts if host not in task.avoid)
        machine = self.machines.get(host, MACHINE)
        replicate = make_replicate(job.seed, host, validation=job.validation, machine=machine)
        return Finished(task.name, host, replicate.model_dump_json(by_alias=True).encode())

    def wait(self, limit_s: float) -> list[Report]:
        if self.interrupt_after == 0:
            raise KeyboardInterrupt
        self.interrupt_after -= 1
        return [self.reports.popleft()] if self.reports else []

    def close(self) -> None:
        self.closed = True


def settings_of(**engine: float) -> Settings:
    bench = BenchSettings(arms=tuple(arm.name for arm in ARMS), seeds=4, steps=60)
    return Settings(bench=bench, engine=EngineSettings.model_validate({"name": "ray", **engine}))


def run(folder: Path, engine: ScriptedEngine, **chosen: float) -> Executions:
    settings = settings_of(**chosen)
    prepared = Prepared(settings, tuple(each.arm for each in facts(ARMS).arms), ())
    store = ReplicateStore.of(folder)
    store.create(lock(settings), "virtual", quick=False)
    executions = Executions(
        prepared,
        MainJob(folder, False, "virtual", None),
        engine,
        store,
        1,
        [].append,  # type: ignore[arg-type]
    )
    executions.run()
    return executions


def lose(host: str) -> Callable[[Task], Report]:
    return lambda task: Lost(task.name, host, "no heartbeat for 15 s")


def test_every_replicate_is_kept_and_a_share_repeated_on_another_host(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    executions = run(tmp_path, engine, validate_share=0.5)
    assert sorted(executions.finished) == [
        (0, False),
        (0, True),
        (1, False),
        (2, False),
        (2, True),
        (3, False),
    ]
    assert {key: replicate.host for key, replicate in executions.finished.items() if key[1]} == {
        (0, True): "b",
        (2, True): "b",
    }
    assert all(task.qpu_slots == 1 for task in engine.started)
    store = ReplicateStore.of(tmp_path)
    assert store.read("seed-002-validation") == executions.finished[2, True]


def test_a_lost_replicate_runs_again_elsewhere_and_the_others_stay(tmp_path: Path) -> None:
    engine = ScriptedEngine(script={"seed-001": [lose("a")]})
    executions = run(tmp_path, engine)
    again = [task for task in engine.started if task.name == "seed-001"]
    assert [task.avoid for task in again] == [frozenset(), {"a"}]
    assert executions.finished[1, False].host == "b"
    assert [(loss.seed, loss.host) for loss in executions.losses] == [(1, "a")]
    assert not executions.failure
    assert ReplicateStore.of(tmp_path).read_losses() == executions.losses


def test_a_lost_replicate_may_run_again_on_the_only_host(tmp_path: Path) -> None:
    engine = ScriptedEngine(hosts=("a",), script={"seed-001": [lose("a")]})
    assert run(tmp_path, engine).finished[1, False].host == "a"


def test_it_gives_up_after_its_attempts(tmp_path: Path) -> None:
    executions = run(tmp_path, ScriptedEngine(script={"seed-001": [lose("a"), lose("b")]}), attempts=2)
    assert executions.failure == "seed 1 was lost 2 times, last on b: no heartbeat for 15 s"
    assert (0, False) in executions.finished


def test_an_error_of_the_work_ends_the_run(tmp_path: Path) -> None:
    def fail(task: Task) -> Report:
        return Failed(task.name, "b", "classical-control, step 3: boom")

    executions = run(tmp_path, ScriptedEngine(script={"seed-002": [fail]}))
    assert executions.failure == "seed 2 on b: classical-control, step 3: boom"
    assert sorted(executions.finished) == [(0, False), (1, False)]


def test_it_ends_when_no_host_is_left(tmp_path: Path) -> None:
    engine = ScriptedEngine(hosts=("a",))

    def lose_the_last(task: Task) -> Report:
        engine.hosts = ()
        return Lost(task.name, "a", "Ray calls its node dead")

    engine.script = {"seed-003": [lose_the_last]}
    executions = run(tmp_path, engine)
    assert executions.failure == "no host is left"
    assert len(executions.finished) == 3


def test_a_validation_without_a_second_host_is_named_as_missing(tmp_path: Path) -> None:
    executions = run(tmp_path, ScriptedEngine(hosts=("a",)), validate_share=0.25)
    assert executions.missing == ["the validation of seed 0: no host is left but the one that ran the seed"]
    assert len(executions.finished) == 4


def test_an_interrupted_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    first = run(tmp_path, ScriptedEngine(interrupt_after=2), validate_share=0.25)
    assert first.interrupted
    assert sorted(first.finished) == [(0, False), (1, False)]
    engine = ScriptedEngine()
    second = run(tmp_path, engine, validate_share=0.25)
    assert [task.name for task in engine.started] == ["seed-000-validation", "seed-002", "seed-003"]
    assert engine.started[0].avoid == {"a"}
    assert len(second.finished) == 5


def test_a_paid_replicate_that_was_lost_is_not_repeated_and_spends_its_share(tmp_path: Path) -> None:
    engine = ScriptedEngine(script={"seed-000": [lose("a")]})
    settings = settings_of(validate_share=0.25)
    quantum = settings.quantum.model_copy(update={"provider": "ibm", "max_money_per_run": 10.0})
    settings = settings.model_copy(update={"quantum": quantum})
    prepared = Prepared(settings, tuple(each.arm for each in facts(ARMS).arms), ())
    store = ReplicateStore.of(tmp_path)
    store.create(lock(settings), "virtual", quick=False)
    lines: list[str] = []
    executions = Executions(
        prepared, MainJob(tmp_path, False, "virtual", None), engine, store, 1, lines.append
    )
    executions.run()
    assert "its paid jobs may have run" in executions.failure
    sent = [ReplicateJob.model_validate_json(task.document) for task in engine.started]
    assert all("max_money_per_run = 2.0\n" in job.settings for job in sent)
    assert f'ledger = "{tmp_path}/replicates/ledger-001.db"' in sent[1].settings


@pytest.mark.parametrize(
    ("seeds", "share", "chosen"), [(8, 0.2, (0, 4)), (8, 0.0, ()), (3, 1.0, (0, 1, 2)), (10, 0.2, (0, 5))]
)
def test_validations_are_spread_over_the_seeds(seeds: int, share: float, chosen: tuple[int, ...]) -> None:
    assert choose_validations(seeds, share) == chosen


def open_scripted(_settings: Settings, _folder: Path) -> Engine:
    return ScriptedEngine(hosts=("a",))


def refuse(settings: Settings, job: MainJob, *, resume: bool = False) -> str:
    quiet = JobProgress(lambda _: None, lambda _steps, _s: None, lambda _arm, _steps: None)
    with pytest.raises(ShotclockError) as caught:
        run_replicates(settings, job, quiet, open_scripted, resume=resume)
    assert isinstance(caught.value, SettingsError)
    return str(caught.value)


def test_executions_of_a_shared_ledger_count_in_one_budget_that_a_resumed_run_goes_on_with(
    tmp_path: Path,
) -> None:
    def send(folder: Path, ledger: str) -> list[ReplicateJob]:
        engine, settings = ScriptedEngine(), settings_of(validate_share=0.25)
        quantum = settings.quantum.model_copy(update={"provider": "mine:paid", "max_money_per_run": 10.0})
        serve = settings.serve.model_copy(update={"ledger": ledger})
        settings = settings.model_copy(update={"quantum": quantum, "serve": serve})
        prepared = Prepared(settings, tuple(each.arm for each in facts(ARMS).arms), ())
        store, job = ReplicateStore.of(folder), MainJob(folder, False, "virtual", None)
        if not store.path.exists():
            store.create(lock(settings), "virtual", quick=False)
        Executions(prepared, job, engine, store, 1, lambda _: None).run()
        return [ReplicateJob.model_validate_json(task.document) for task in engine.started]

    shared = send(tmp_path / "shared", "postgresql://shotclock@db.example/shotclock")
    assert len({job.budget for job in shared}) == 1
    assert all("max_money_per_run = 10.0\n" in job.settings for job in shared)
    (tmp_path / "shared" / "replicates" / "seed-002.json").unlink()
    (resumed,) = send(tmp_path / "shared", "postgresql://shotclock@db.example/shotclock")
    assert resumed.budget == shared[0].budget != ""
    apart = send(tmp_path / "apart", "")
    assert len({job.budget for job in apart}) == 5
    assert all("max_money_per_run = 2.0\n" in job.settings for job in apart)


def test_a_niced_process_says_so() -> None:
    code = "import os; os.nice(7); from shotclock.app.replicate_process import describe_priority as describe"
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}; print(describe()['niceness'])"], stdout=subprocess.PIPE, check=True
    )
    assert int(printed.stdout) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    job = MainJob(tmp_path / "run", False, "virtual", None)
    control = Settings(bench=BenchSettings(arms=("classical-control",), seeds=2))
    validated = control.model_copy(update={"engine": EngineSettings(name="ray", validate_share=0.2)})
    assert "there is one (a)" in refuse(validated, job)
    assert "--metrics: goes with --engine local" in refuse(control, replace(job, metrics_port=9000))
    assert "was not begun by an engine" in refuse(control, job, resume=True)
    ReplicateStore.of(job.folder).create(lock(control), "virtual", quick=False)
    assert "was begun with other settings" in refuse(control, replace(job, quick=True), resume=True)
    other = control.model_copy(update={"bench": control.bench.model_copy(update={"seeds": 3})})
    assert "was begun with other settings" in refuse(other, job, resume=True)


def test_joined_replicates_are_the_run_in_one_process() -> None:
    parts = [make_replicate(seed, host) for seed, host in enumerate("abab")]
    rows, joined = join(parts)
    of_hosts, of_process = summarise(rows, joined), summarise(ROWS, facts(ARMS))
    assert of_hosts.metrics == of_process.metrics
    assert {name: arm.loss for name, arm in of_hosts.arms.items()} == {
        name: arm.loss for name, arm in of_process.arms.items()
    }
    assert joined.environment["host"] == "a, b"
    assert joined.wall_s == 4.0


def test_hosts_that_differ_are_lines_apart_and_not_joined() -> None:
    other = {**MACHINE, "cpu": "B"}
    parts = [make_replicate(seed, "a") for seed in (0, 1, 2)]
    parts += [make_replicate(3, "b", machine=other), make_replicate(0, "b", validation=True, machine=other)]
    kinds = group_by_kind(parts)
    assert [[each.seed for each in kind] for kind in kinds] == [[0, 1, 2], [0, 3]]
    replication = describe_replication("ray", parts, (), ())
    assert replication.others[0].hosts == ("b",)
    assert replication.others[0].differences == ("cpu: A against B",)
    assert replication.others[0].seeds == (0, 3)
    assert replication.hosts["b"].kind == 1
    # only a seed that equal machines ran counts as repeated
    assert not replication.repeated
    assert replication.spread["classical-control.loss"].hosts == 1
    assert "hybrid-colocated.quantum_share" in replication.spread
    assert "classical-control.quantum_share" not in replication.spread


def test_the_difference_of_repeated_seeds_is_that_of_the_hosts() -> None:
    parts = [make_replicate(seed, "a") for seed in range(4)]
    parts += [make_replicate(seed, "b", validation=True, slower=1_000_000) for seed in range(4)]
    replication = describe_replication("ray", parts, (), ())
    time = replication.repeated["classical-only.total_iteration_time_ms"]
    assert time.mean == pytest.approx(1.0)
    assert (time.n, time.equal) == (4, 0)
    loss = replication.repeated["classical-only.loss"]
    assert (loss.n, loss.equal, loss.mean) == (4, 4, 0.0)
    spread = replication.spread["classical-only.total_iteration_time_ms"]
    assert spread.between == pytest.approx(0.5, rel=0.1)  # of two hosts 1 ms apart: (1 ms)² ÷ 2


def test_the_spread_is_that_of_a_balanced_analysis_of_variance() -> None:
    groups = [[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]
    spread = find_spread(groups)
    assert (spread.n, spread.hosts, spread.within) == (6, 3, 2.0)
    # mean square between 2 × variance(2, 6, 10) = 32; (32 − 2) ÷ 2
    assert spread.between == pytest.approx((2 * variance([2.0, 6.0, 10.0]) - 2) / 2)
    assert find_spread([[1.0], [2.0]]).model_dump() == {"n": 2, "hosts": 2}
    assert find_spread([[1.0, 2.0]]).model_dump() == {"n": 2, "hosts": 1, "within": 0.5}


def test_the_report_names_losses_and_other_machines(tmp_path: Path) -> None:
    engine = ScriptedEngine(script={"seed-001": [lose("a")]}, machines={"b": {**MACHINE, "cpu": "B"}})
    executions = run(tmp_path, engine, validate_share=0.25)
    own = list(executions.finished.values())
    rows, joined = join([each for each in group_by_kind(own)[0] if not each.validation])
    replication = describe_replication("ray", own, executions.losses, ["the validation of seed 9: why"])
    summary = summarise(rows, replace(joined, replication=replication))
    assert hosts_table.list_losses(summary) == [
        "Lost: seed 1 on a (no heartbeat for 15 s); it ran again on b",
        "Not run: the validation of seed 9: why",
    ]
    assert hosts_table.summarise_hosts(summary) == (
        "4 replicates, each a seed of all arms in a process of its host, by ray on 2 hosts; 1 of them "
        "repeated on a second host; 1 execution lost, see the report; 1 entry missing, see the report; 1 "
        "host with another machine, apart."
    )
    cells = [[cell.text for cell in row] for row in hosts_table.list_hosts(summary).groups[0].rows]
    assert cells == [["a", "0, 2, 3", "–", "1"], ["b", "1", "0", "0"]]
    assert {row[1].text for row in hosts_table.list_others(summary).groups[0].rows} >= {
        "classical-control.loss"
    }
