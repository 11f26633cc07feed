"""`shotclock serve`: the orchestrator as a service."""

from __future__ import annotations

import json as json_text
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from shotclock.domain.plural import count

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from shotclock.app.service import Service, Started


CLOSE_LIMIT_S = 8.0
"""For everything after the drain; what still runs then is ended with the process."""
NOT_CLOSED = 4


def serve(
    *,
    listen: Annotated[str | None, typer.Option(help="gRPC address, HOST:PORT.")] = None,
    metrics: Annotated[str | None, typer.Option(help="HTTP address of /metrics, /livez, /readyz.")] = None,
    provider: Annotated[str | None, typer.Option(help="emulated, aer, or module:factory.")] = None,
    profile: Annotated[str | None, typer.Option(help="Latency profile of the emulated provider.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="No TLS, on a loopback address: to try it on one host.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a change on stdout.")] = False,
) -> None:
    """Take calls over gRPC until SIGTERM or Ctrl-C, then finish what was accepted.

    A second signal ends it at once. Exit codes: 0 drained, 2 settings, 3 environment.
    """
    # before gRPC loads: its core writes to stderr by itself, and what it means for a person is said here
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app.check_names import check_names  # noqa: PLC0415
    from shotclock.app.service import Service  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, _flags(listen, metrics, provider, profile, insecure=insecure))
    check_names(config, settings)
    console = Console(stderr=True)
    say: _Says = _JsonLines() if json else _Words(console)
    service = Service(settings, say.trouble)
    stopping = _on_signals()
    started = service.start(say.listening)
    for warning in started.warnings:
        say.warn(warning)
    say.ready(started)
    stopping.wait()
    _end(service, settings.serve.drain_s, say)


def _flags(
    listen: str | None, metrics: str | None, provider: str | None, profile: str | None, *, insecure: bool
) -> dict[str, Any]:
    serving = {"listen": listen, "metrics": metrics, "insecure": insecure or None}
    quantum = {"provider": provider, "profile": profile}
    tree: dict[str, dict[str, Any]] = {"serve": serving, "quantum": quantum}
    return {
        branch: values_set
        for branch, values in tree.items()
        if (values_set := {key: value for key, value in values.items() if value is not None})
    }


def _on_signals() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the process."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


def _end(service: Service, drain_s: float, say: _Says) -> None:
    # Threads of a vendor's client or a user's sampler cannot be ended, and Python waits for them at its exit.
    last_resort = threading.Timer(drain_s + CLOSE_LIMIT_S, os._exit, args=(NOT_CLOSED,))
    last_resort.daemon = True
    last_resort.start()
    say.draining(drain_s)
    drained = service.drain()
    service.close()
    say.report_drained(drained.finished, drained.handed_back)


class _Says(Protocol):
    def listening(self, grpc_port: int, http_port: int) -> None: ...
    def ready(self, started: Started) -> None: ...
    def trouble(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...
    def draining(self, drain_s: float) -> None: ...
    def report_drained(self, finished: int, handed_back: int) -> None: ...


class _Words:
    """For a person."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def listening(self, grpc_port: int, http_port: int) -> None:
        self._console.print(f"gRPC on port {grpc_port}, HTTP on port {http_port}; compiling templates")

    def ready(self, started: Started) -> None:
        what = f"{started.provider} provider" + (" (EMULATED)" if started.emulated else "")
        sizes = ", ".join(map(str, started.sizes))
        self._console.print(f"[bold]ready[/]: {what}, templates warm for n = {sizes}")
        recovered = started.recovered
        if recovered.adopted or recovered.parked or recovered.settled:
            self._console.print(
                f"from before the stop: {count(recovered.adopted, 'job')} adopted, "
                f"{recovered.settled} settled, {recovered.parked} parked"
                + (" (see `shotclock jobs --state parked`)" if recovered.parked else "")
            )

    def trouble(self, what: str) -> None:
        self._console.print(f"trouble: {what}", markup=False, soft_wrap=True)

    def warn(self, what: str) -> None:
        self._console.print(f"warning: {what}", markup=False, soft_wrap=True)

    def draining(self, drain_s: float) -> None:
        self._console.print(f"draining, up to {drain_s:g} s; a second signal ends at once")

    def report_drained(self, finished: int, handed_back: int) -> None:
        self._console.print(
            f"[bold]drained[/]: {count(finished, 'call')} finished, {handed_back} handed back"
        )


class _JsonLines:
    """For a script: one object a line."""

    def listening(self, grpc_port: int, http_port: int) -> None:
        self._say(event="listening", grpc_port=grpc_port, http_port=http_port)

    def ready(self, started: Started) -> None:
        recovered = started.recovered
        self._say(
            event="ready",
            provider=started.provider,
            emulated=started.emulated,
            sizes=started.sizes,
            adopted=recovered.adopted,
            settled=recovered.settled,
            parked=recovered.parked,
        )

    def trouble(self, what: str) -> None:
        self._say(event="trouble", what=what)

    def warn(self, what: str) -> None:
        self._say(event="warning", what=what)

    def draining(self, drain_s: float) -> None:
        self._say(event="draining", budget_s=drain_s)

    def report_drained(self, finished: int, handed_back: int) -> None:
        self._say(event="drained", finished=finished, handed_back=handed_back)

    def _say(self, **fields: object) -> None:
        typer.echo(json_text.dumps(fields))
