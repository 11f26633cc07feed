"""Checks the names in the settings file and the environment, even those that a flag overrides."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from shotclock.bench.record import arm_runs as arm_names
from shotclock.bench.record.arm_runs import Arm
from shotclock.domain.errors import SettingsError
from shotclock.emulator import profile as profiles
from shotclock.providers import registry
from shotclock.settings import ArmSettings, QuantumSettings, Settings, load_sources, nearest


def check_names(config: Path | None, settings: Settings) -> None:
    """Raises SettingsError on an arm, profile, provider or workload that does not exist, naming its source.

    settings: those in force; an arm in the file may be named after their profile. A "module:factory" is
    imported only if it is in force.
    """
    for source, loaded in load_sources(config).items():
        try:
            _check(loaded, settings)
        except SettingsError as error:
            raise SettingsError(f"{source}: {error}") from error


def _check(loaded: Settings, settings: Settings) -> None:
    profile_names = tuple(dict.fromkeys((*list_profiles(loaded), *list_profiles(settings))))
    for name in loaded.bench.arms:
        parse_arm(name, profile_names)
    tables: tuple[QuantumSettings | ArmSettings, ...] = (loaded.quantum, *loaded.arm.values())
    for quantum in tables:
        if quantum.profile is not None:
            profiles.load(quantum.profile)
        if quantum.provider is not None and ":" not in quantum.provider:
            registry.refuse_unknown(quantum.provider)
    if ":" not in loaded.bench.workload:
        refuse_unknown_workload(loaded.bench.workload)


def list_profiles(settings: Settings) -> tuple[str, ...]:
    """The names of the built-in profiles and of the settings' profile, and what stands for `bench.hosts`."""
    named = (*profiles.list_profiles(), profiles.load(settings.quantum.profile).name)
    return tuple(dict.fromkeys((*named, *([arm_names.HOSTS] if settings.bench.hosts else []))))


def parse_arm(name: str, profile_names: tuple[str, ...]) -> Arm:
    """The arm of this name; raises SettingsError on an unknown name."""
    arm = arm_names.parse(name, profile_names)
    if arm is None and arm_names.parse(name, (arm_names.HOSTS,)) is not None:
        raise SettingsError(f"bench.arms: '{name}' calls running orchestrators; name them with --hosts")
    if arm is None:
        raise SettingsError(f"bench.arms: no arm '{name}'{nearest(name, arm_names.list_arms(profile_names))}")
    return arm


def refuse_unknown_workload(name: str) -> None:
    """Raises SettingsError if no installed workload has the name."""
    if name not in (installed := workloads()):
        raise SettingsError(
            f"bench.workload: no workload '{name}'{nearest(name, tuple(installed))}, or module:factory"
        )


def workloads() -> dict[str, EntryPoint]:
    """The installed workloads, by name."""
    return {entry.name: entry for entry in entry_points(group="shotclock.workloads")}
