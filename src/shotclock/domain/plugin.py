"""Loads and calls what a user names as "module:factory"; any failure becomes a one-line error."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.domain.plural import with_article

T = TypeVar("T")


def load(where: str, name: str) -> Callable[..., object]:
    """The callable that "module:factory" names. where: the setting that holds the name, for error texts.

    Raises SettingsError, or MachineError if the module needs a package that is not installed.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise SettingsError(f"{where}: {name!r}: must be module:factory, as in my_pkg.my_module:build")
    _search_working_directory()
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise SettingsError(f"{where}: {name!r}: module {missing!r} was not found") from error
        raise MachineError(f"{where}: {name!r} needs the package {missing!r}: install {missing}") from error
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{where}: {name!r}: cannot be imported: {describe_error(error)}") from error
    if not hasattr(imported, attribute):
        raise SettingsError(f"{where}: {name!r}: {module} has no {attribute!r}")
    factory: object = getattr(imported, attribute)
    if not callable(factory):
        raise SettingsError(f"{where}: {name!r}: must be a function (got {type(factory).__name__})")
    return factory


def _search_working_directory() -> None:
    """Adds it to the import path, last: what lies there must not replace a standard or installed module."""
    with contextlib.suppress(FileNotFoundError):  # it was deleted
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.append(folder)


def call_plugin(where: str, name: str, call: Callable[[], T]) -> T:
    """What the user's code returns; if it raises, SettingsError with that error and its line."""
    try:
        return call()
    except ShotclockError:
        raise
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{where}: {name!r}: failed: {describe_error(error)}") from error


def check(where: str, name: str, instance: object, port: type) -> None:
    """Raises SettingsError naming the members of a port that a user's object lacks."""
    if missing := find_missing(instance, port):
        what = f"returned {with_article(type(instance).__name__)}, which is not a {port.__name__}"
        raise SettingsError(f"{where}: {name!r}: {what}: it lacks {', '.join(missing)}")


def find_missing(instance: object, port: type) -> list[str]:
    """The members of a port that an object does not have."""
    members = [*getattr(port, "__annotations__", {}), *(key for key in vars(port) if not key.startswith("_"))]
    return [member for member in members if not hasattr(instance, member)]


def describe_error(error: BaseException) -> str:
    """The error in one line, with the file and line where it was raised."""
    text = (str(error).splitlines() or [""])[0]
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{message.partition(' (')[0]} ({error.filename}:{error.lineno})"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return message if last.filename == __file__ else f"{message} ({last.filename}:{last.lineno})"
