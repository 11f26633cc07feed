"""`shotclock serve`: the orchestrator as a service."""

from __future__ import annotations

import json as json_text
import logging
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


log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 8.0
"""For everything after the drain, seconds; what still runs then ends with the process."""
NOT_CLOSED = 4
"""Exit code of a service that could not close in time."""


def serve(
    *,
    listen: Annotated[str | None, typer.Option(help="gRPC address, HOST:PORT.")] = None,
    metrics: Annotated[str | None, typer.Option(help="HTTP address of /metrics, /livez, /readyz.")] = None,
    provider: Annotated[str | None, typer.Option(help="emulated, aer, or module:factory.")] = None,
    profile: Annotated[str | None, typer.Option(help="Latency profile of the emulated provider.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="No TLS, on a loopback address: to try it on one host.")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option(help="debug (a line for each call), info, warning or error, on stderr.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="text, or json: one object a line.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a change on stdout.")] = False,
) -> None:
    """Take calls over gRPC until SIGTERM or Ctrl-C, then finish what was accepted.

    A second signal ends it at once. Exit codes: 0 drained, 2 settings, 3 environment.
    """
    # Before gRPC loads, because its core writes to stderr; this command reports what matters to a person.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app.check_names import check_names  # noqa: PLC0415
    from shotclock.app.service import Service  # noqa: PLC0415
    from shotclock.runtime.service_manager import ServiceManager  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415
    from shotclock.telemetry import logs  # noqa: PLC0415

    flags = _flags(listen, metrics, provider, profile, insecure=insecure)
    flags["serve"] |= _set_values({"log_level": log_level, "log_format": log_format})
    settings = load(config, flags)
    check_names(config, settings)
    logs.configure(settings.serve.log_level, settings.serve.log_format)
    console = Console(stderr=True)
    reporter: _Reporter = _JsonReporter() if json else _TextReporter(console)
    if settings.serve.log_format == "json" and not json:
        reporter = _LogReporter()
    service = Service(settings, reporter.trouble, ServiceManager.from_environment(os.environ, os.getpid()))
    stopping = _watch_signals()
    started = service.start(reporter.listening)
    for warning in started.warnings:
        reporter.warn(warning)
    reporter.ready(started)
    stopping.wait()
    _end(service, settings.serve.drain_s, reporter)


def _flags(
    listen: str | None, metrics: str | None, provider: str | None, profile: str | None, *, insecure: bool
) -> dict[str, Any]:
    serving = {"listen": listen, "metrics": metrics, "insecure": insecure or None}
    quantum = {"provider": provider, "profile": profile}
    return {"serve": _set_values(serving), "quantum": _set_values(quantum)}


def _set_values(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _watch_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets; the second one ends the process."""
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


def _end(service: Service, drain_s: float, reporter: _Reporter) -> None:
    # Threads of a vendor's client or a user's sampler cannot be ended, and Python waits for them at its exit.
    last_resort = threading.Timer(drain_s + CLOSE_LIMIT_S, os._exit, args=(NOT_CLOSED,))
    last_resort.daemon = True
    last_resort.start()
    reporter.draining(drain_s)
    drained = service.drain()
    service.close()
    reporter.report_drained(drained.finished, drained.handed_back)


class _Reporter(Protocol):
    """Where the service reports its start, its troubles and its end."""

    def listening(self, grpc_port: int, http_port: int) -> None: ...
    def ready(self, started: Started) -> None: ...
    def trouble(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...
    def draining(self, drain_s: float) -> None: ...
    def report_drained(self, finished: int, handed_back: int) -> None: ...


class _TextReporter:
    """Lines of text, for a person."""

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


class _JsonReporter:
    """One JSON object a line, for a script."""

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


class _LogReporter(_JsonReporter):
    """For a log collector: the same events as records on stderr."""

    def trouble(self, what: str) -> None:
        log.error("trouble: %s", what)

    def warn(self, what: str) -> None:
        log.warning("%s", what)

    def _say(self, **fields: object) -> None:
        log.info("%s", fields.pop("event"), extra=fields)
