"""Tasks as jobs of Slurm, submitted by submitit; results are files in the run folder, which hosts share."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import _make_sbatch_string

from shotclock.domain import documents, files
from shotclock.domain.engine import Failed, Finished, Lost, Report, Task, TaskFailedError
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.engines.process import MOST_RESULT_BYTES, run_module
from shotclock.settings import EngineSettings

POLL_S = 0.5
ASK_EVERY_S = 2.0
"""Between two questions to the controller, one for all jobs."""
GRACE_S = 10.0
"""How long after a job has left the queue its result may still appear in a shared folder."""
ASK_LIMIT_S = 30.0
UNFIT = ("down", "drain", "fail", "unknown", "maint", "power", "reboot", "inval", "future")
"""Beginnings of the states of nodes that run no job."""
REASON_LENGTH = 200


def run_job(folder: str, name: str, every_s: float) -> str:
    """The body of a job. It reads its task from the folder, since a requeue replays the first pickle.

    A task with a result is not run again. Raises TaskKilledError.
    """
    place = Path(folder)
    result = place / f"{name}.result.json"
    if result.is_file():
        return "had finished"
    task = json.loads(files.read_bytes(place / f"{name}.task.json", documents.MOST_BYTES))
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    beats = 0

    def report_life() -> None:
        nonlocal beats
        beats += 1
        files.write_text(place / f"{name}.beat", f"{host} {os.environ.get('SLURM_JOB_ID', '')} {beats}")

    try:
        content = run_module(task["module"], task["document"], host, report_life, every_s)
    except TaskFailedError as error:
        files.write_text(place / f"{name}.failed", str(error))
        return "failed"
    files.write_bytes(result, content)
    return "finished"


@dataclass(slots=True)
class _Job:
    """A job that was submitted.

    task: what it runs
    job: submitit's
    beat, beat_at: its last heartbeat, and when that was seen
    left_at: when it was no longer in the queue; 0 before
    """

    task: Task
    job: Any
    beat: str = ""
    beat_at: float = field(default_factory=time.monotonic)
    left_at: float = 0.0


class SlurmEngine:
    """Runs each task as a job. The run folder decides, then the queue; `sacct` only gives reasons."""

    name = "slurm"

    def __init__(self, settings: EngineSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._jobs: dict[str, _Job] = {}
        self._early: list[Report] = []
        self._asked_at = 0.0

    def list_hosts(self, qpu_slots: int) -> tuple[str, ...]:
        """See `Engine.list_hosts`; raises MachineError where the partition has no node that runs jobs."""
        del qpu_slots  # Slurm's plugin for QPUs has the slots
        partition = self._settings.partition
        chosen = ["-p", partition] if partition else []
        lines = _ask("sinfo", "-h", "-N", "-o", "%N %T", *chosen).splitlines()
        nodes = (line.split() for line in lines if len(line.split()) == 2)
        fit = {name for name, state in nodes if not state.endswith("*") and not state.startswith(UNFIT)}
        if not fit:
            words = f"--partition {partition}" if partition else "--engine slurm"
            raise MachineError(f"{words}: no node runs jobs: {_explain_refusal(chosen) or 'see `sinfo`'}")
        return tuple(sorted(fit))

    def start(self, task: Task) -> None:
        """See `Engine.start`; a result that an earlier driver did not collect is reported at once."""
        files.make_folder(self._folder)
        for suffix in ("beat", "failed"):
            (self._folder / f"{task.name}.{suffix}").unlink(missing_ok=True)
        if (report := self._read_result(task, "")) is not None:
            self._early.append(report)
            return
        text = json.dumps({"module": task.module, "document": task.document})
        files.write_text(self._folder / f"{task.name}.task.json", text)
        executor = submitit.SlurmExecutor(folder=self._folder)
        executor.update_parameters(**_choose_parameters(self._settings, task))
        self._jobs[task.name] = _Job(task, self._submit(executor, task))

    def _submit(self, executor: submitit.SlurmExecutor, task: Task) -> Any:
        every_s = self._settings.heartbeat_s
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
                return executor.submit(run_job, str(self._folder), task.name, every_s)
        except (FailedJobError, FailedSubmissionError) as error:
            reason = _last_line(str(error))
            raise SettingsError(f"--engine slurm: sbatch refused the job: {reason}") from error
        except OSError as error:
            raise MachineError(f"--engine slurm: sbatch cannot be run: {error}") from error

    def wait(self, limit_s: float) -> list[Report]:
        """See `Engine.wait`."""
        until = time.monotonic() + limit_s
        while True:
            reports = [*self._early, *self._collect()]
            self._early.clear()
            if time.monotonic() - self._asked_at >= ASK_EVERY_S:
                self._asked_at = time.monotonic()
                reports += self._find_lost()
            if reports or time.monotonic() >= until:
                return reports
            time.sleep(POLL_S)

    def _collect(self) -> Iterator[Report]:
        for name, job in list(self._jobs.items()):
            beat = _read_text(self._folder / f"{name}.beat")
            if beat != job.beat:
                job.beat, job.beat_at, job.left_at = beat, time.monotonic(), 0.0
            report = self._read_result(job.task, _name_host(beat))
            if report is not None:
                del self._jobs[name]
                yield report

    def _read_result(self, task: Task, host: str) -> Report | None:
        result, failed = (self._folder / f"{task.name}.{suffix}" for suffix in ("result.json", "failed"))
        if result.is_file():
            return Finished(task.name, host, files.read_bytes(result, MOST_RESULT_BYTES))
        if failed.is_file():
            return Failed(task.name, host, _read_text(failed))
        return None

    def _find_lost(self) -> Iterator[Report]:
        if not self._jobs:
            return
        states = _list_queue([job.job.job_id for job in self._jobs.values()])
        if states is None:  # the controller does not answer; jobs go on without it
            return
        for name, job in list(self._jobs.items()):
            because = self._find_reason(job, states.get(job.job.job_id, ""))
            if because:
                del self._jobs[name]
                _cancel(job.job)
                yield Lost(name, _name_host(job.beat), because)

    def _find_reason(self, job: _Job, state: str) -> str:
        """Why the job is lost; "" while it is not. state: in the queue, "" of one that has left it."""
        now = time.monotonic()
        if state:
            job.left_at = 0.0
            if state != "RUNNING":  # it waits, maybe after a requeue
                job.beat_at = now
            age_s = now - job.beat_at
            # A job that has just begun loads its interpreter before it reports.
            limit_s = self._settings.lost_after_s * (1 if job.beat else 10)
            return f"no heartbeat for {age_s:.0f} s" if age_s > limit_s else ""
        if not job.left_at:
            job.left_at = now
            return ""
        if now - job.left_at < GRACE_S:
            return ""
        state = _find_state(job.job.job_id) or "sacct does not say why"
        return f"its job {job.job.job_id} left the queue without a result: {state}"

    def close(self) -> None:
        """See `Engine.close`."""
        for job in self._jobs.values():
            _cancel(job.job)
        self._jobs.clear()


def _choose_parameters(settings: EngineSettings, task: Task) -> dict[str, Any]:
    """As submitit has them."""
    options: dict[str, Any] = {"requeue" if task.may_repeat else "no-requeue": True}
    options |= {"qpu": settings.qpu} if settings.qpu and task.qpu_slots else {}
    parameters: dict[str, Any] = {
        "job_name": f"shotclock-{task.name}",
        "time": settings.time_limit_min,
        "cpus_per_task": settings.cpus,
        "wckey": None,
        "additional_parameters": options | settings.sbatch,
    }
    parameters |= {"partition": settings.partition} if settings.partition else {}
    parameters |= {"account": settings.account} if settings.account else {}
    parameters |= {"gpus_per_node": settings.gpus} if settings.gpus else {}
    parameters |= {"exclude": ",".join(sorted(task.avoid))} if task.avoid else {}
    return parameters


def write_script(settings: EngineSettings, folder: Path, task: Task) -> str:
    """The script that `sbatch` would get."""
    place = folder.resolve() / "slurm"
    command = f"python -u -m submitit.core._submit {place}"
    written: str = _make_sbatch_string(command=command, folder=place, **_choose_parameters(settings, task))
    return written


def _ask(*command: str) -> str:
    """What a command of Slurm prints. Raises MachineError where it cannot be run, or fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"--engine slurm: {command[0]} cannot be run: {error}") from error
    if answer.returncode:
        raise MachineError(f"--engine slurm: {command[0]} failed: {_last_line(answer.stderr)}")
    return answer.stdout


def _list_queue(job_ids: list[str]) -> dict[str, str] | None:
    """The state of each job in the queue; None where the controller does not answer."""
    try:
        lines = _ask("squeue", "-h", "-o", "%i %T", "-j", ",".join(job_ids)).splitlines()
    except MachineError as error:
        return {} if "Invalid job id" in str(error) else None  # none of them is known any more
    return dict(line.split(maxsplit=1) for line in lines if len(line.split()) == 2)


def _find_state(job_id: str) -> str:
    """What the accounting says of a job that is over, which may be out of date; "" where it says nothing."""
    try:
        lines = _ask("sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id).splitlines()
    except MachineError:
        return ""
    return lines[-1].strip() if lines else ""


def _explain_refusal(chosen: list[str]) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["sbatch", "--test-only", *chosen, "--wrap", "true"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False)  # noqa: S603
        return _last_line(answer.stderr) if answer.returncode else ""
    return ""


def _cancel(job: Any) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        job.cancel(check=False)


def _name_host(beat: str) -> str:
    return beat.partition(" ")[0]


def _read_text(path: Path) -> str:
    try:
        return files.read_bytes(path, documents.MOST_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:REASON_LENGTH] if lines else "no message"


def open_engine(settings: EngineSettings, folder: Path) -> SlurmEngine:
    """An engine whose files are below `folder`. Raises MachineError where Slurm's commands are missing."""
    missing = [name for name in ("sbatch", "srun", "squeue", "sinfo") if shutil.which(name) is None]
    if missing:
        raise MachineError(
            f"--engine slurm: {', '.join(missing)} not found; run where Slurm's commands are, on a login node"
        )
    logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it warns on stdout, which is the summary's
    return SlurmEngine(settings, folder.resolve() / "slurm")
