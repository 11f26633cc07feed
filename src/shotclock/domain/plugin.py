"""What a user names as "module:factory": loaded, called, and refused in one line where it does not work."""

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
    """The callable that "module:factory" names; where: the setting it stands in, for the error's words.

    Raises SettingsError, and MachineError where the module needs a package that is not installed.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise SettingsError(f"{where}: {name!r}: wants module:factory, as in my_pkg.my_module:build")
    _search_working_directory()
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise SettingsError(f"{where}: {name!r}: there is no module {missing!r}") from error
        raise MachineError(f"{where}: {name!r} needs the package {missing!r}: install {missing}") from error
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{where}: {name!r}: cannot be imported: {describe_error(error)}") from error
    if not hasattr(found, attribute):
        raise SettingsError(f"{where}: {name!r}: {module} has no {attribute!r}")
    factory: object = getattr(found, attribute)
    if not callable(factory):
        raise SettingsError(f"{where}: {name!r}: is of type {type(factory).__name__}, wants a function")
    return factory


def _search_working_directory() -> None:
    """Adds it to the import path, last: what lies there must not replace a standard or installed module."""
    with contextlib.suppress(FileNotFoundError):  # it was deleted
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)


def call_plugin(where: str, name: str, call: Callable[[], T]) -> T:
    """What the user's code returns; SettingsError with its own error and line where it raises."""
    try:
        return call()
    except ShotclockError:
        raise
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{where}: {name!r}: failed: {describe_error(error)}") from error


def check(where: str, name: str, made: object, port: type) -> None:
    """SettingsError naming the members of a port that an object of the user's lacks."""
    if missing := lacking(made, port):
        what = f"made {with_article(type(made).__name__)}, which is no {port.__name__}"
        raise SettingsError(f"{where}: {name!r}: {what}: it lacks {', '.join(missing)}")


def lacking(made: object, port: type) -> list[str]:
    """The members of a port that an object does not have."""
    members = [*getattr(port, "__annotations__", {}), *(key for key in vars(port) if not key.startswith("_"))]
    return [member for member in members if not hasattr(made, member)]


def describe_error(error: BaseException) -> str:
    """The error in one line, with the file and the line where it was raised."""
    text = (str(error).splitlines() or [""])[0]
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{told.partition(' (')[0]} ({error.filename}:{error.lineno})"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return told if last.filename == __file__ else f"{told} ({last.filename}:{last.lineno})"
