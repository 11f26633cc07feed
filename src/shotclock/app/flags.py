"""The flags of a service: those of its file, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Clock, FlagRecorder, Offload, Rollout
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import ServeSettings
from shotclock.wire.rollout import NO_ROLLOUT

if TYPE_CHECKING:
    from shotclock.rollout.flag_file import FlagFile


def open_flags(
    serve: ServeSettings, recorder: FlagRecorder, on_trouble: Callable[[str], None], clock: Clock
) -> FixedFlags | FlagFile:
    """The flags of `serve.flags`; without a file every call may use the QPU. Raises SettingsError."""
    if not serve.flags:
        return FixedFlags()
    from shotclock.rollout.flag_file import FlagFile  # noqa: PLC0415 - imports flagd's evaluator

    try:
        return FlagFile(Path(serve.flags), recorder, on_trouble, clock)
    except SettingsError as error:
        raise SettingsError(f"serve.flags: {error}") from error


def open_rollout(flags: FixedFlags | FlagFile, offload: Offload) -> Rollout:
    """What changes these flags when an operator requests it."""
    if isinstance(flags, FixedFlags):
        return NO_ROLLOUT
    from shotclock.rollout.file_rollout import FileRollout  # noqa: PLC0415 - as above

    return FileRollout(flags, offload)
