"""The flags of a service: those of its file, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import FlagRecorder
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import ServeSettings

if TYPE_CHECKING:
    from shotclock.rollout.flag_file import FlagFile


def open_flags(
    serve: ServeSettings, recorder: FlagRecorder, on_trouble: Callable[[str], None]
) -> FixedFlags | FlagFile:
    """The flags of `serve.flags`; without a file every call may use the QPU. Raises SettingsError."""
    if not serve.flags:
        return FixedFlags()
    from shotclock.rollout.flag_file import FlagFile  # noqa: PLC0415 - imports flagd's evaluator

    try:
        return FlagFile(Path(serve.flags), recorder, on_trouble)
    except SettingsError as error:
        raise SettingsError(f"serve.flags: {error}") from error
