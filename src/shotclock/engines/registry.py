"""Engines by name, loaded on demand: a missing package is one line that says what to install."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from shotclock.domain.engine import Engine, Task
from shotclock.domain.errors import MachineError
from shotclock.settings import EngineSettings


def open_engine(settings: EngineSettings, folder: Path) -> Engine:
    """The engine of `settings.name`; folder: for its files, on every host under the same path for Slurm.

    Raises MachineError where a package is missing, or the cluster does not answer.
    """
    opened: Callable[[EngineSettings, Path], Engine] = _load(settings.name).open_engine
    return opened(settings, folder)


def write_script(settings: EngineSettings, folder: Path, task: Task) -> str:
    """The batch script of a task's job under Slurm. Raises MachineError where submitit is missing."""
    written: str = _load("slurm").write_script(settings, folder, task)
    return written


def _load(name: str) -> ModuleType:
    where = f"--engine {name}"
    try:
        return importlib.import_module(f"shotclock.engines.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("shotclock."):
            raise
        raise MachineError(f"{where}: needs the package {error.name!r}: install shotclock[{name}]") from error
    except Exception as error:
        # Ray asks the libraries of accelerators as it is imported, and passes their errors on.
        text = f"{type(error).__name__}: {error}"
        raise MachineError(
            f"{where}: its package cannot be imported here: {text}; uninstall amdsmi where ROCm is not "
            f"installed, and set HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES"
        ) from error
