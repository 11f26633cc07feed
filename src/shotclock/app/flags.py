"""The flags of a service: those of its file, those in its ledger, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Clock, FlagSource, Offload, Provider
from shotclock.domain.recorders import FlagRecorder
from shotclock.emulator import profile as profiles
from shotclock.emulator.provider import EmulatedProvider
from shotclock.orchestrator.ledger.places import is_shared, open_shared_flags
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import Settings

if TYPE_CHECKING:
    from shotclock.rollout.document_flags import DocumentFlags
    from shotclock.rollout.document_rollout import Canary, DocumentRollout

IN_LEDGER = "ledger"
"""What `serve.flags` says where they are in the ledger; a file of that name is ./ledger."""

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


def open_source(settings: Settings, *, may_be_new: bool = False) -> FlagSource:
    """The source that `serve.flags` names. may_be_new: whether a missing file is one without flags.

    Raises SettingsError, and MachineError where the ledger's database does not answer.
    """
    if settings.serve.flags != IN_LEDGER:
        from shotclock.rollout.file_source import FileSource  # noqa: PLC0415 - as in `open_flags`

        return FileSource(Path(settings.serve.flags), may_be_new=may_be_new)
    ledger = settings.serve.ledger_file
    if not is_shared(ledger):
        raise SettingsError(
            "serve.flags: 'ledger' needs a ledger that orchestrators share; set serve.ledger to "
            "postgresql://…, or name a flag file"
        )
    return open_shared_flags(ledger)


def open_flags(
    settings: Settings,
    provider: Provider,
    recorder: FlagRecorder,
    on_trouble: Callable[[str], None],
    clock: Clock,
    offload: Offload,
) -> FixedFlags | DocumentRollout:
    """The flags of `serve.flags`; without them every call may use the QPU.

    Raises SettingsError, and MachineError as `open_source`.
    """
    if not settings.serve.flags:
        return FixedFlags()
    from shotclock.rollout.document_flags import DocumentFlags  # noqa: PLC0415 - imports flagd's evaluator
    from shotclock.rollout.document_rollout import DocumentRollout  # noqa: PLC0415

    source, quantum = open_source(settings), settings.quantum
    choice = ProviderProfiles(provider, quantum.provider, profiles.load(quantum.profile))
    try:
        flags = DocumentFlags(source, recorder, on_trouble, clock, choice)
    except SettingsError as error:
        raise SettingsError(f"serve.flags: {error}") from error
    return DocumentRollout(flags, _open_canary(settings, flags, on_trouble, offload), offload)


def _open_canary(
    settings: Settings, flags: DocumentFlags, on_trouble: Callable[[str], None], offload: Offload
) -> Canary:
    if settings.serve.flags == IN_LEDGER:
        from shotclock.rollout.no_canary import NoCanary  # noqa: PLC0415 - as in `open_flags`

        return NoCanary()
    from shotclock.rollout.canary_control import CanaryControl  # noqa: PLC0415 - imports SciPy

    state = Path(settings.serve.flags).with_suffix(CANARY_SUFFIX)
    return CanaryControl(flags, state, offload, settings.quantum.budget_ms, on_trouble)
