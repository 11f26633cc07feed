"""`python -m shotclock.app.replicate_process FOLDER HOST`: one seed of all arms, for an engine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from shotclock.app.main_job import JobProgress, MainJob, lock, measure, prepare
from shotclock.app.replicate_job import ReplicateJob
from shotclock.bench.judge.replicates import Replicate
from shotclock.domain import documents, files
from shotclock.domain.errors import RunError, SettingsError, ShotclockError
from shotclock.settings import Settings, load
from shotclock.wire.certificates import TlsFiles
from shotclock.wire.tls import ClientTls, Insecure

QPUS = ("QRMI_JOB_QPU_RESOURCES", "SLURM_JOB_QPU_RESOURCES")
"""What QRMI's plugin for Slurm allocated, by its present variable and the former one."""


def list_qpus() -> tuple[str, ...]:
    """The QPUs that the scheduler allocated to this process."""
    text = next((os.environ[name] for name in QPUS if os.environ.get(name)), "")
    return tuple(name.strip() for name in text.split(",") if name.strip())


def describe_priority() -> dict[str, str]:
    """The niceness that the scheduler gave this process, where it is not 0: Ray's workers have 15."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return {"niceness": str(niceness)} if niceness else {}


def run_replicate(job: ReplicateJob, settings: Settings, host: str) -> Replicate:
    """Raises ShotclockError, also where an arm failed or the run was interrupted."""
    security = ClientTls(TlsFiles(*map(Path, job.tls))) if job.tls else Insecure()
    main_job = MainJob(
        Path(), job.quick, job.clock, None, describe_priority(), security=security, budget=job.budget
    )
    if settings.engine.qpu and not list_qpus():
        raise SettingsError(
            f"engine.qpu: Slurm allocated no QPU for --qpu={settings.engine.qpu} on {host}: {QPUS[0]} is not "
            f"set; QRMI's plugin ignores a name that is missing from its qrmi_config.json"
        )
    measured = measure(
        prepare(settings, main_job), main_job, _QUIET, _begin_nothing, range(job.seed, job.seed + 1)
    )
    if measured.log.interrupted or measured.log.failure:
        raise RunError(measured.log.failure or f"seed {job.seed}: interrupted")
    return Replicate(
        seed=job.seed,
        validation=job.validation,
        host=host,
        qpus=list_qpus(),
        facts=measured.facts,
        steps=tuple(measured.log.steps),
    )


_QUIET = JobProgress(lambda _text: None, lambda _steps, _estimate_s: None, lambda _arm, _steps: None)


def _begin_nothing(_settings: Settings) -> None:
    """A replicate has no run folder."""


def _read(folder: Path) -> tuple[ReplicateJob, Settings]:
    try:
        job = ReplicateJob.model_validate_json(files.read_regular(folder / "task.json", documents.MOST_BYTES))
    except ValidationError as error:
        raise SettingsError(f"task.json: {error.errors()[0]['msg']}; run one version on all hosts") from error
    file = folder / "settings.toml"
    files.write_text(file, job.settings)
    settings = load(file, {})
    if lock(settings) != job.settings:
        raise SettingsError("SHOTCLOCK_ variables of this host change the run's settings; unset them there")
    return job, settings


def _end_with_caller() -> None:
    """Waits until the caller's end of stdin is closed, as the kernel does when it is killed."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def main(arguments: list[str]) -> int:
    """The exit code; an expected error is one line on stderr."""
    threading.Thread(target=_end_with_caller, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder, host = Path(arguments[0]), arguments[1]
    try:
        job, settings = _read(folder)
        replicate = run_replicate(job, settings, host)
        files.write_text(folder / "result.json", replicate.model_dump_json(by_alias=True))
    except ShotclockError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
