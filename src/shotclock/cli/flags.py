"""`shotclock flags`: shows and sets the feature flags in a flag file."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.domain.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from shotclock.rollout.flag_document import FlagDocument

flags = typer.Typer(help="Feature flags of a service: which calls may use the QPU.", no_args_is_help=True)

File = Annotated[Path | None, typer.Option(help="The flag file (default: the settings' serve.flags).")]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@flags.callback()
def _root() -> None:
    """Takes the verb."""


@flags.command("get")
def get_flags(*, file: File = None, config: Config = None, json: Json = False) -> None:
    """Show every flag's setting."""
    _show(_read(_locate(file, config)), json=json)


@flags.command("set")
def set_flag(
    flag: Annotated[str, typer.Argument(metavar="FLAG", help="A flag, as `flags get` shows it.")],
    setting: Annotated[
        str,
        typer.Argument(
            metavar="SETTING", help="on, off, a percentage, off:NAME,NAME; for shots a number or any."
        ),
    ],
    *,
    file: File = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Set one flag; a running service that reads the file follows within a second."""
    from shotclock.domain import files  # noqa: PLC0415 - `--help` must not wait for them
    from shotclock.rollout import flag_edit  # noqa: PLC0415
    from shotclock.rollout.flag_document import read_document  # noqa: PLC0415

    path = _locate(file, config)
    text = flag_edit.set_flag(_read(path, may_be_new=True), flag, setting)
    document = read_document(text, str(path))
    try:
        files.write_text(path, text)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
    _show(document, json=json)


def _locate(file: Path | None, config: Path | None) -> Path:
    if file is not None:
        return file
    from shotclock.settings import load  # noqa: PLC0415

    configured = load(config, {}).serve.flags
    if not configured:
        raise SettingsError("flags: no flag file; name it with --file, or as serve.flags in the settings")
    return Path(configured)


def _read(path: Path, *, may_be_new: bool = False) -> FlagDocument:
    from shotclock.domain.documents import MOST_SETTINGS_BYTES  # noqa: PLC0415
    from shotclock.domain.files import read_regular  # noqa: PLC0415
    from shotclock.rollout.flag_document import read_document  # noqa: PLC0415

    try:
        content = read_regular(path, MOST_SETTINGS_BYTES)
    except OSError as error:
        if may_be_new and not path.exists():
            return read_document('{"flags": {}}', str(path))
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    return read_document(content, str(path))


def _show(document: FlagDocument, *, json: bool) -> None:
    from shotclock.rollout.flag_edit import describe_flags  # noqa: PLC0415

    settings = describe_flags(document)
    if json:
        typer.echo(json_text.dumps(settings))
        return
    for flag, setting in settings.items():
        typer.echo(f"{flag:<16} {setting}")
