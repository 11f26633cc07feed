"""`shotclock flags`: shows and sets the feature flags of a running service, of a flag file or a ledger."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.cli.operator import Authorities, Certificate, Json, PrivateKey, ask_operator
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import PROFILE

if TYPE_CHECKING:
    from shotclock.domain.flags import FlagReport
    from shotclock.domain.ports import FlagSource
    from shotclock.wire.operations import GrpcOperations

flags = typer.Typer(help="Feature flags of a service: which calls may use the QPU.", no_args_is_help=True)

Target = Annotated[
    str, typer.Option(help="A running service, HOST:PORT of gRPC, instead of a file on this host.")
]
File = Annotated[Path | None, typer.Option(help="The flag file (default: the settings' serve.flags).")]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML).")]


@flags.callback()
def _root() -> None:
    """Takes the verb."""


@flags.command("get")
def get_flags(
    *,
    target: Target = "",
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    file: File = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show every flag's setting."""
    if target:
        _refuse_file(file, config)

        async def ask(operations: GrpcOperations) -> None:
            _show_report(target, (await operations.status()).flags, json=json)

        ask_operator(target, certificate, private_key, authorities, ask)
        return
    from shotclock.rollout.flag_document import read_document  # noqa: PLC0415 - slow to load
    from shotclock.rollout.flag_edit import describe_flags  # noqa: PLC0415

    source = _open_source(file, config)
    _show(describe_flags(read_document(source.read(), source.name)), json=json)


@flags.command("set")
def set_flag(
    flag: Annotated[str, typer.Argument(metavar="FLAG", help="A flag, as `flags get` shows it.")],
    setting: Annotated[
        str,
        typer.Argument(
            metavar="SETTING",
            help="on, off, a percentage, off:NAME,NAME; shots: a number, any; profile: a name, settings.",
        ),
    ],
    *,
    target: Target = "",
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    file: File = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Set one flag; a running service follows within a second."""
    if target:
        _refuse_file(file, config)

        async def ask(operations: GrpcOperations) -> None:
            _show_report(target, (await operations.set_flag(flag, setting)).flags, json=json)

        ask_operator(target, certificate, private_key, authorities, ask)
        return
    from shotclock.rollout import flag_edit  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.rollout.flag_document import read_document  # noqa: PLC0415

    source = _open_source(file, config, may_be_new=True)
    if flag == PROFILE and setting != flag_edit.OF_SETTINGS:
        _check_profile(setting, file, config)
    flag_edit.edit_source(source, flag, setting)
    _show(flag_edit.describe_flags(read_document(source.read(), source.name)), json=json)


def _refuse_file(file: Path | None, config: Path | None) -> None:
    if file is not None or config is not None:
        raise SettingsError("flags: --target is a service with its own source; leave out --file and --config")


def _check_profile(name: str, file: Path | None, config: Path | None) -> None:
    """A file alone does not say which provider it is for; the service looks."""
    from shotclock.app.flags import check_profile  # noqa: PLC0415 - slow to load
    from shotclock.settings import load  # noqa: PLC0415

    is_alone = file is not None and config is None
    try:
        check_profile(name, "emulated" if is_alone else load(config, {}).quantum.provider)
    except SettingsError as error:
        raise SettingsError(f"flags set: profile {error}") from error


def _open_source(file: Path | None, config: Path | None, *, may_be_new: bool = False) -> FlagSource:
    if file is not None:
        from shotclock.rollout.file_source import FileSource  # noqa: PLC0415 - as above

        return FileSource(file, may_be_new=may_be_new)
    from shotclock.app.flags import open_source  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, {})
    if not settings.serve.flags:
        raise SettingsError(
            "flags: no flag file; name it with --file or as serve.flags in the settings, or use --target"
        )
    return open_source(settings, may_be_new=may_be_new)


def _show_report(target: str, report: FlagReport, *, json: bool) -> None:
    if not report.settings:
        raise SettingsError(f"{target}: the service has no flags; name a file, or 'ledger', as serve.flags")
    if report.reason:
        typer.echo(f"warning: {target}: {report.state}: {report.reason}", err=True)
    _show(report.settings, json=json)


def _show(settings: Mapping[str, str], *, json: bool) -> None:
    if json:
        typer.echo(json_text.dumps(dict(settings)))
        return
    for flag, setting in settings.items():
        typer.echo(f"{flag:<16} {setting}")
