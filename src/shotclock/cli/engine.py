"""The options of `shotclock bench` for its engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from shotclock.app.main_job import JobProgress, MainJob
    from shotclock.bench.record.folder import RunFolder
    from shotclock.bench.schema import Summary
    from shotclock.settings import Settings


def name_engine(
    engine: str | None, ray_address: str | None, partition: str | None, validate_share: float | None
) -> dict[str, Any]:
    """`[engine]` as the flags have it."""
    flags = {
        "name": engine,
        "ray_address": ray_address,
        "partition": partition,
        "validate_share": validate_share,
    }
    branch = {key: value for key, value in flags.items() if value is not None}
    return {"engine": branch} if branch else {}


def find_settings(resume: Path | None) -> Path | None:
    """The settings file of a run to go on with. Raises SettingsError where no engine ran there."""
    if resume is None:
        return None
    from shotclock.app.replicate_job import ReplicateStore  # noqa: PLC0415 - `--help` must not wait for it

    return ReplicateStore.of(resume).find_settings()


def check_engine(
    settings: Settings, *, hardware: bool, dry_run: bool, resume: Path | None, out: Path | None
) -> bool:
    """Whether an engine runs the replicates. Raises SettingsError where options contradict each other."""
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415 - as above

    name = settings.engine.name
    if resume is not None and out is not None:
        raise SettingsError("--resume: names the run folder; leave --out out")
    if name == "local":
        if resume is not None:
            raise SettingsError("--resume: goes with --engine ray or slurm")
        if settings.engine.validate_share:
            raise SettingsError("--validate-share: goes with --engine ray or slurm, which have several hosts")
        return False
    if hardware:
        raise SettingsError(f"--engine {name}: the hardware run is in this process; leave it out")
    if dry_run and name != "slurm":
        raise SettingsError(f"--dry-run: --engine {name} has no script to print; leave it out")
    return True


def run_engine(
    settings: Settings, job: MainJob, progress: JobProgress, *, resume: bool
) -> tuple[Summary, RunFolder]:
    """Runs the replicates on the engine's hosts."""
    from shotclock.app.replicates import run_replicates  # noqa: PLC0415 - as above
    from shotclock.engines.registry import open_engine  # noqa: PLC0415

    return run_replicates(
        settings, job, progress, lambda own, folder: open_engine(own.engine, folder), resume=resume
    )


def show_script(settings: Settings, job: MainJob) -> None:
    """Prints the batch script of a replicate's job."""
    from shotclock.app.replicate_job import ReplicateStore  # noqa: PLC0415 - as above
    from shotclock.app.replicates import describe_task  # noqa: PLC0415
    from shotclock.engines.registry import write_script  # noqa: PLC0415

    task = describe_task(settings, job)
    typer.echo(write_script(settings.engine, ReplicateStore.of(job.folder).path, task), nl=False)
