"""Slurm's engine with scripted commands: files decide, then the queue, and `sacct` may say what it likes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from shotclock.app.replicate_job import ReplicateJob
from shotclock.app.replicate_process import list_qpus, run_replicate
from shotclock.domain.engine import Failed, Finished, Lost, Report, Task
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.engines import slurm
from shotclock.engines.slurm import SlurmEngine, open_engine, run_job, write_script
from shotclock.settings import EngineSettings, Settings

TASK = Task("seed-000", "echo_task", '{"seed": 0}', qpu_slots=1)
SETTINGS = EngineSettings(name="slurm", heartbeat_s=0.1)
ECHO = """
import os, signal, sys
from pathlib import Path
folder, host = Path(sys.argv[1]), sys.argv[2]
how = os.environ.get("ECHO", "")
if how == "fail":
    sys.exit("a warning\\nclassical-control, step 3: boom")
if how == "die":
    os.kill(os.getpid(), signal.SIGKILL)
(folder / "result.json").write_text((folder / "task.json").read_text() + host)
"""
"""A task that returns its document and its host."""


class Commands:
    """Slurm's commands, each of which prints its file and notes its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "srun", "squeue", "sinfo", "sacct", "scancel"):
            self.write(name, "")
        self.say("sbatch", "Submitted batch job 7")
        self.say("sinfo", "node1 idle\nnode2 mixed\nnode3 down*\nnode4 drained\nnode5 idle*")

    def write(self, name: str, body: str) -> None:
        script, place = self.folder / name, self.folder / name
        script.write_text(
            f'#!/bin/sh\necho "$@" >> {place}.calls\n/bin/cat {place}.says 2>/dev/null\n{body}\nexit 0\n'
        )
        script.chmod(0o755)

    def say(self, name: str, text: str) -> None:
        (self.folder / f"{name}.says").write_text(f"{text}\n" if text else "")

    def refuse(self, name: str, text: str) -> None:
        self.write(name, f'echo "{text}" >&2; exit 1')

    def read_calls(self, name: str) -> str:
        file = self.folder / f"{name}.calls"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "echo_task.py").write_text(ECHO)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(slurm, "GRACE_S", 0.0)
    return Commands(folder)


@pytest.fixture
def engine(commands: Commands, tmp_path: Path) -> SlurmEngine:
    return open_engine(SETTINGS, tmp_path)


def collect(engine: SlurmEngine) -> list[Report]:
    return engine.wait(0.0)


def finish(tmp_path: Path) -> None:
    run_job(str(tmp_path / "slurm"), TASK.name, 0.1)


def test_a_result_counts_while_sacct_keeps_saying_preempted(
    commands: Commands, engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "node2")
    commands.say("sacct", "PREEMPTED")
    engine.start(TASK)
    commands.say("squeue", "7 PENDING")  # requeued
    assert collect(engine) == []
    commands.say("squeue", "7 RUNNING")
    assert collect(engine) == []
    finish(tmp_path)
    commands.say("squeue", "")
    assert collect(engine) == [Finished(TASK.name, "node2", b'{"seed": 0}node2')]
    assert collect(engine) == []
    assert not commands.read_calls("scancel")


def test_a_job_that_left_the_queue_without_a_result_is_lost(commands: Commands, engine: SlurmEngine) -> None:
    commands.say("sacct", "PREEMPTED")
    engine.start(TASK)
    commands.say("squeue", "")
    assert collect(engine) == []  # once is not enough
    because = "its job 7 left the queue without a result: PREEMPTED"
    assert collect(engine) == [Lost(TASK.name, "", because)]


@pytest.mark.parametrize("broken", ["missing", "failing"])
def test_it_needs_no_sacct(commands: Commands, engine: SlurmEngine, broken: str) -> None:
    if broken == "missing":
        (commands.folder / "sacct").unlink()
    else:
        commands.refuse("sacct", "slurmdbd does not answer")
    engine.start(TASK)
    collect(engine)
    (report,) = collect(engine)
    assert isinstance(report, Lost)
    assert report.because == "its job 7 left the queue without a result: sacct does not say why"


def test_jobs_go_on_while_the_controller_does_not_answer(commands: Commands, engine: SlurmEngine) -> None:
    engine.start(TASK)
    commands.refuse("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
    assert [collect(engine) for _ in range(3)] == [[], [], []]
    commands.refuse("squeue", "slurm_load_jobs error: Invalid job id specified")
    assert [len(collect(engine)) for _ in range(2)] == [0, 1]


def test_a_running_job_without_heartbeats_is_lost_and_cancelled(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(SETTINGS, tmp_path)
    engine.start(TASK)
    (tmp_path / "slurm" / f"{TASK.name}.beat").write_text("node1 7 1")
    commands.say("squeue", "7 RUNNING")
    assert collect(engine) == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 20)
    assert collect(engine) == [Lost(TASK.name, "node1", "no heartbeat for 20 s")]
    assert commands.read_calls("scancel").split() == ["7"]


def test_a_replayed_job_runs_nothing_again(engine: SlurmEngine, tmp_path: Path) -> None:
    engine.start(TASK)
    finish(tmp_path)
    result = tmp_path / "slurm" / f"{TASK.name}.result.json"
    before = result.stat().st_mtime_ns
    assert run_job(str(tmp_path / "slurm"), TASK.name, 0.1) == "had finished"
    assert result.stat().st_mtime_ns == before


def test_a_result_that_no_driver_collected_is_used(
    commands: Commands, engine: SlurmEngine, tmp_path: Path
) -> None:
    engine.start(TASK)
    finish(tmp_path)
    later = open_engine(SETTINGS, tmp_path)
    later.start(TASK)
    assert [type(report) for report in collect(later)] == [Finished]
    assert len(commands.read_calls("sbatch").splitlines()) == 1


def test_an_error_of_the_work_is_reported_in_its_own_words(
    engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start(TASK)
    monkeypatch.setenv("ECHO", "fail")
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    finish(tmp_path)
    assert collect(engine) == [Failed(TASK.name, "node1", "classical-control, step 3: boom")]


def test_a_killed_process_leaves_no_result(
    engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start(TASK)
    monkeypatch.setenv("ECHO", "die")
    with pytest.raises(ShotclockError, match="signal 9"):
        finish(tmp_path)
    assert not list((tmp_path / "slurm").glob("*.result.json"))


def test_hosts_are_nodes_that_run_jobs(commands: Commands, engine: SlurmEngine) -> None:
    assert engine.list_hosts(1) == ("node1", "node2")
    commands.say("sinfo", "node3 down")
    commands.refuse("sbatch", "allocation failure: Invalid partition name specified")
    with pytest.raises(MachineError, match="no node runs jobs: allocation failure: Invalid partition name"):
        engine.list_hosts(1)


def test_what_sbatch_refuses_is_one_line(
    commands: Commands, engine: SlurmEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    commands.refuse("sbatch", "sbatch: error: Batch job submission failed: Invalid account")
    with pytest.raises(
        SettingsError, match="sbatch refused the job: sbatch: error: Batch job submission failed"
    ):
        engine.start(TASK)
    assert capfd.readouterr().err == ""


def test_missing_commands_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="sbatch, srun, squeue, sinfo not found"):
        open_engine(SETTINGS, tmp_path)


def test_the_script_has_the_options_of_settings_and_task(tmp_path: Path) -> None:
    settings = EngineSettings(
        name="slurm",
        partition="qpu",
        account="lab",
        time_limit_min=30,
        cpus=2,
        gpus=1,
        qpu="ibm_x",
        sbatch={"qos": "high"},
    )
    lines = write_script(settings, tmp_path, TASK).splitlines()
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert options >= {
        "--partition=qpu",
        "--account=lab",
        "--time=30",
        "--cpus-per-task=2",
        "--gpus-per-node=1",
        "--qpu=ibm_x",
        "--qos=high",
        "--requeue",
        "--job-name=shotclock-seed-000",
    }
    paid = Task(TASK.name, TASK.module, "", 0, frozenset({"node1", "node2"}), may_repeat=False)
    text = write_script(settings, tmp_path, paid)
    assert "#SBATCH --no-requeue\n" in text
    assert "--requeue" not in text.replace("--no-requeue", "")
    assert "#SBATCH --exclude=node1,node2\n" in text
    assert "--qpu" not in text  # it has no quantum arm


@pytest.mark.parametrize("variable", ["QRMI_JOB_QPU_RESOURCES", "SLURM_JOB_QPU_RESOURCES"])
def test_the_allocated_qpus_are_read_by_both_names(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "ibm_x, ibm_y")
    assert list_qpus() == ("ibm_x", "ibm_y")


def test_a_qpu_that_the_plugin_ignored_is_named() -> None:
    settings = Settings(engine=EngineSettings(name="slurm", qpu="ibm_x"))
    job = ReplicateJob(settings="", seed=0, validation=False, clock="virtual", quick=False)
    with pytest.raises(SettingsError, match="allocated no QPU for --qpu=ibm_x on node1"):
        run_replicate(job, settings, "node1")


def test_tasks_are_files_that_others_can_read(engine: SlurmEngine, tmp_path: Path) -> None:
    engine.start(TASK)
    written = json.loads((tmp_path / "slurm" / f"{TASK.name}.task.json").read_text())
    assert written == {"module": TASK.module, "document": TASK.document}
