"""The flags of a service: those of its file, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Clock, FlagRecorder, Offload
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import Settings

if TYPE_CHECKING:
    from shotclock.rollout.file_rollout import FileRollout

CANARY_SUFFIX = ".canary.json"
"""The canary's state is beside the flag file: flags.json and flags.canary.json."""


def open_flags(
    settings: Settings,
    recorder: FlagRecorder,
    on_trouble: Callable[[str], None],
    clock: Clock,
    offload: Offload,
) -> FixedFlags | FileRollout:
    """The flags of `serve.flags`; without a file every call may use the QPU. Raises SettingsError."""
    if not settings.serve.flags:
        return FixedFlags()
    from shotclock.rollout.canary_control import CanaryControl  # noqa: PLC0415 - imports SciPy
    from shotclock.rollout.file_rollout import FileRollout  # noqa: PLC0415
    from shotclock.rollout.flag_file import FlagFile  # noqa: PLC0415 - imports flagd's evaluator

    path = Path(settings.serve.flags)
    try:
        flags = FlagFile(path, recorder, on_trouble, clock)
    except SettingsError as error:
        raise SettingsError(f"serve.flags: {error}") from error
    state = path.with_suffix(CANARY_SUFFIX)
    canary = CanaryControl(flags, state, offload, settings.quantum.budget_ms, on_trouble)
    return FileRollout(flags, canary, offload)
