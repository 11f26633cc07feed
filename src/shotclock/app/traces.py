"""Opens the tracer that the settings ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Clock
from shotclock.settings import TracesSettings

if TYPE_CHECKING:
    from shotclock.telemetry.traces import ExportingTracer


def do_nothing() -> None:
    """Closes the traces of a process without any."""


def open_tracer(
    settings: TracesSettings, service: str, clock: Clock
) -> tuple[ExportingTracer | None, Callable[[], None]]:
    """The tracer and what closes it; None where traces are off, and nothing of OpenTelemetry is imported.

    service: the name in the spans unless the settings or OTEL_SERVICE_NAME have one.
    Raises SettingsError if the extra is not installed.
    """
    if not settings.enabled or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None, do_nothing
    try:
        from shotclock.telemetry.traces import export_traces  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("opentelemetry"):
            raise
        raise SettingsError(
            f"traces.enabled: needs OpenTelemetry, and {error.name} is not installed; "
            f"run `pip install 'shotclock[otel]'`"
        ) from error
    tracer = export_traces(settings, service, os.environ, clock)
    return tracer, tracer.close
