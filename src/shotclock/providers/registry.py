"""Providers by name: entry points of the group "shotclock.providers", or "module:factory"."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from shotclock.domain import plugin
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ports import Provider

GROUP = "shotclock.providers"

# Each factory takes what its provider needs (see its module). `app` knows the arguments of ours, and calls a
# "module:factory" with the keywords clock and seed.
Factory = Callable[..., Provider]


def list_providers() -> tuple[str, ...]:
    """The names of the installed providers."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load(name: str) -> Factory:
    """The named provider's factory.

    Raises SettingsError on an unknown name or a module that cannot be imported, MachineError if a package
    that the provider needs is not installed.
    """
    if ":" in name:
        return plugin.load("quantum.provider", name)  # type: ignore[return-value]
    refuse_unknown(name)
    return _load(next(iter(entry_points(group=GROUP, name=name))))


def refuse_unknown(name: str) -> None:
    """Raises SettingsError if no installed provider has the name."""
    installed = list_providers()
    if name not in installed:
        near = difflib.get_close_matches(name, installed, n=1, cutoff=0.0)
        meant = f"; did you mean {near[0]!r}?" if near else ";"
        raise SettingsError(f"no provider {name!r}{meant} known: {', '.join(installed)}, or module:factory")


def _load(entry: EntryPoint) -> Factory:
    try:
        factory: Factory = getattr(importlib.import_module(entry.module), entry.attr)
    except ModuleNotFoundError as error:
        missing = error.name or entry.module
        if entry.module == missing or entry.module.startswith(f"{missing}."):
            raise SettingsError(f"provider {entry.name!r}: module {missing!r} was not found") from error
        raise MachineError(
            f"provider {entry.name!r} needs the package {missing!r}: install {_requirement(entry, missing)}"
        ) from error
    except AttributeError as error:
        raise SettingsError(f"provider {entry.name!r}: {entry.module} has no {entry.attr!r}") from error
    return factory


def _requirement(entry: EntryPoint, missing: str) -> str:
    return f"shotclock[{entry.name}]" if entry.module.startswith("shotclock.") else missing
