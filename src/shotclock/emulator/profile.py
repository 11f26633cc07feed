"""Latency profiles: everything between a submit and its samples except the QPU's shots.

Profiles are data files. Each number has a provenance tag and a source; a component without a figure is
listed as not modelled, so that no invented number hides among published ones.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from shotclock.domain.errors import SettingsError
from shotclock.emulator import model_file
from shotclock.emulator.figures import SECONDS, Distribution, Named, Sourced, TaggedNumber, figures_of
from shotclock.emulator.windows import CalibrationWindows

COMPONENTS = ("link", "queue", "subjob_overhead", "poll_interval", "submissions_per_minute")


class Link(Sourced):
    """The network: the time of a round trip, and how many a submit and a collect take."""

    rtt: TaggedNumber
    submit_round_trips: TaggedNumber
    collect_round_trips: TaggedNumber


class Range(Sourced):
    """Two times, the lower one first."""

    low: TaggedNumber
    high: TaggedNumber

    @property
    def ms(self) -> tuple[float, float]:
        """Both in milliseconds."""
        return self.low.seconds * 1e3, self.high.seconds * 1e3


class Omission(Sourced):
    """A component this profile does not model, and why."""

    component: Literal[
        "link", "queue", "subjob_overhead", "poll_interval", "submissions_per_minute", "calibration"
    ]
    reason: str = Field(min_length=8)


class Sanity(Sourced):
    """The reference figures for this fabric: for comparison, never for tuning.

    text: the figures in words
    mean, p95: ranges of the latency that a call adds
    """

    text: str
    mean: Range
    p95: Range | None = None


class Profile(Sourced):
    """One way of reaching a QPU. Each component is either modelled or listed in not_modelled.

    schema_number: the file's format
    name: the profile's name in settings
    title, summary: for people
    execution_mode: how the QPU is reserved
    sanity: the reference figures, if any
    link: the network
    queue: each call's wait for the QPU
    subjob_overhead: time to load a sub-job, during which the QPU is reserved
    poll_interval: a finished job is seen at the next poll, at a uniform phase
    submissions_per_minute: the account's limit
    calibration: optional even in not_modelled, because only a long run meets a window; predictions ignore it
    not_modelled: the omitted components with their reasons
    """

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    title: str
    summary: str
    execution_mode: str
    sanity: Sanity | None = None
    link: Link | None = None
    queue: Distribution | None = None
    subjob_overhead: Distribution | None = None
    poll_interval: TaggedNumber | None = None
    submissions_per_minute: TaggedNumber | None = None
    calibration: CalibrationWindows | None = None
    not_modelled: tuple[Omission, ...] = ()

    @model_validator(mode="after")
    def _check_components(self) -> Profile:
        absent = {name for name in COMPONENTS if getattr(self, name) is None}
        listed: set[str] = {omission.component for omission in self.not_modelled}
        if self.calibration is None:
            listed.discard("calibration")
        if absent != listed:
            odd = min(absent ^ listed)
            raise ValueError(f"{odd} must be either modelled or listed in not_modelled with its reason")
        return self

    @model_validator(mode="after")
    def _check_units(self) -> Profile:
        for entry in self.figures():
            expected = _unit_class(entry.name)
            if (entry.figure.unit in SECONDS) != (expected == "time"):
                raise ValueError(f"{entry.name} has the unit {entry.figure.unit!r}, expected a {expected}")
        return self

    def figures(self) -> tuple[Named, ...]:
        """The numbers that determine the latency, with their dotted names."""
        return tuple(entry for entry in figures_of(self) if not entry.name.startswith("sanity."))

    @property
    def submit_s(self) -> float:
        """Network time of a submit, seconds."""
        return self.link.submit_round_trips.value * self.link.rtt.seconds if self.link else 0.0

    @property
    def collect_s(self) -> float:
        """Network time of a collect without polling, seconds."""
        return self.link.collect_round_trips.value * self.link.rtt.seconds if self.link else 0.0

    @property
    def poll_interval_s(self) -> float:
        """Time between polls, seconds."""
        return self.poll_interval.seconds if self.poll_interval else 0.0


def list_profiles() -> tuple[str, ...]:
    """The names of the shipped profiles."""
    folder = resources.files("shotclock.emulator") / "profiles"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(name_or_path: str) -> Profile:
    """A shipped profile by name, or one from a file (a path that ends in .toml or has a slash).

    Raises SettingsError, which names the nearest profile or the faulty key.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return model_file.read("profile", Path(name_or_path), Profile)
    if name_or_path not in list_profiles():
        near = difflib.get_close_matches(name_or_path, list_profiles(), n=1, cutoff=0.0)[0]
        raise SettingsError(
            f"no profile {name_or_path!r}; did you mean {near!r}? "
            f"known: {', '.join(list_profiles())}, or a path to a .toml file"
        )
    file = resources.files("shotclock.emulator") / "profiles" / f"{name_or_path}.toml"
    return model_file.parse("profile", file.name, file.read_text("utf-8"), Profile)


def _unit_class(name: str) -> str:
    counts = {"link.submit_round_trips", "link.collect_round_trips", "submissions_per_minute"}
    return "count" if name in counts else "time"
