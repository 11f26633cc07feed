"""The command `shotclock`: one file per subcommand; heavy imports happen when a subcommand runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shotclock import __version__
from shotclock.cli import jobs_accounting as _jobs_accounting  # noqa: F401 - adds its verbs to `jobs`
from shotclock.cli.bench import bench
from shotclock.cli.canary import canary
from shotclock.cli.compare import compare
from shotclock.cli.doctor import doctor
from shotclock.cli.drill import drill
from shotclock.cli.emulate import emulate
from shotclock.cli.exit_codes import INTERRUPTED, READER_GONE
from shotclock.cli.flags import flags
from shotclock.cli.jobs import jobs
from shotclock.cli.load import load
from shotclock.cli.operations import drain, resume, status
from shotclock.cli.ops import ops
from shotclock.cli.pairs import pairs
from shotclock.cli.profile import profile
from shotclock.cli.report import report
from shotclock.cli.serve import serve
from shotclock.cli.streams import prepare_streams
from shotclock.cli.topology import topology
from shotclock.cli.verify import verify
from shotclock.domain.errors import MachineError, ShotclockError


class _Verbs(TyperGroup):
    """Ends an interrupted subcommand with at most one line and a documented exit code."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Parses the arguments; `--help` and `--version` print here, where click exits 1 on a broken pipe."""
        try:
            return super().make_context(*arguments, **more)
        except BrokenPipeError:
            _write_no_more()
            raise typer.Exit(READER_GONE) from None

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Runs the subcommand."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            typer.echo("shotclock: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (BrokenPipeError, SystemExit) as error:
            if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
                raise  # rich turns a broken pipe into SystemExit; any other exit is the command's
            _write_no_more()
            raise typer.Exit(READER_GONE) from None


def _write_no_more() -> None:
    """Discards buffered output; otherwise Python fails to flush it at exit, with code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_Verbs,
    help="Put a quantum processor behind a deadline, and report whether it was worth its cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: an error is one line to grep, and rich alone takes 0.1 s to load
)
app.command()(bench)
app.command()(load)
app.command()(report)
app.command()(compare)
app.command()(pairs)
app.command()(verify)
app.add_typer(profile, name="profile")
app.command()(serve)
app.command()(status)
app.command()(drain)
app.command()(resume)
app.add_typer(jobs, name="jobs")
app.add_typer(flags, name="flags")
app.add_typer(canary, name="canary")
app.command()(emulate)
app.add_typer(topology, name="topology")
app.command()(doctor)
app.add_typer(drill, name="drill")
app.add_typer(ops, name="ops")


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"shotclock {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Parses the options before a subcommand."""


if sys.flags.optimize >= 2:
    from shotclock.cli.stripped import restore_help

    restore_help(app)


def _enter_directory() -> None:
    """Enters a new working directory if it was deleted: without one, torch's MKL ends the process."""
    try:
        Path.cwd()
    except FileNotFoundError:
        folder = Path(mkdtemp(prefix="shotclock-"))
        os.chdir(folder)
        sys.stderr.write(f"shotclock: the working directory was deleted; relative paths are under {folder}\n")


def _name_home() -> None:
    """Sets HOME to a path that does not exist if the user has no home, as in a container with any user id.

    Without HOME, altair raises at import, and numba creates a folder named `~` in the working directory.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"


def _protect_imports() -> None:
    """Keeps the working directory off the import path of worker processes, which Python starts with `-c`.

    Only `domain.plugin` adds it, at the end. numba reads a .numba_config.yaml there, and unpickles what is in
    the cache folder that it names, unless the environment names one; an empty name is numba's default.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", "")


def main() -> None:
    """Runs a subcommand; expected errors are one line and their exit code, never a traceback."""
    prepare_streams()
    _name_home()
    _enter_directory()
    _protect_imports()
    try:
        app()
    except ShotclockError as error:
        sys.stderr.write(f"shotclock: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk behind stdout, above all
        where = error.filename or "stdout"
        if error.filename is None and isinstance(error, FileNotFoundError):  # from `tempfile`
            where = "TMPDIR"
        sys.stderr.write(f"shotclock: {where}: {error.strerror or error}\n")
        _write_no_more()
        sys.exit(MachineError.exit_code)
