"""The flags of a service: those of its file, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Clock, Offload, Provider
from shotclock.domain.recorders import FlagRecorder
from shotclock.emulator import profile as profiles
from shotclock.emulator.provider import EmulatedProvider
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import Settings

if TYPE_CHECKING:
    from shotclock.rollout.file_rollout import FileRollout

CANARY_SUFFIX = ".canary.json"
"""The canary's state is beside the flag file: flags.json and flags.canary.json."""


def check_profile(name: str, provider: str) -> None:
    """Raises SettingsError unless a service of this `quantum.provider` can take the profile."""
    if provider != "emulated":
        raise SettingsError(f"needs quantum.provider = 'emulated' (got '{provider}'); remove the flag")
    if name not in profiles.list_profiles():
        known = ", ".join(profiles.list_profiles())
        raise SettingsError(f"must be one of {known} (got {name[:60]!r}); or set it to settings")


@dataclass(frozen=True, slots=True)
class ProviderProfiles:
    """Implements Profiles.

    provider, provider_name: what `quantum.provider` names.
    own: the profile that `quantum.profile` names.
    """

    provider: Provider
    provider_name: str
    own: profiles.Profile

    def check(self, name: str) -> None:
        """See `Profiles.check`."""
        check_profile(name, self.provider_name)

    def use(self, name: str) -> None:
        """See `Profiles.use`; any other provider than the emulated has none."""
        if isinstance(self.provider, EmulatedProvider):
            self.provider.use_profile(profiles.load(name) if name else self.own)


def open_flags(
    settings: Settings,
    provider: Provider,
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

    path, quantum = Path(settings.serve.flags), settings.quantum
    choice = ProviderProfiles(provider, quantum.provider, profiles.load(quantum.profile))
    try:
        flags = FlagFile(path, recorder, on_trouble, clock, choice)
    except SettingsError as error:
        raise SettingsError(f"serve.flags: {error}") from error
    state = path.with_suffix(CANARY_SUFFIX)
    canary = CanaryControl(flags, state, offload, quantum.budget_ms, on_trouble)
    return FileRollout(flags, canary, offload)
