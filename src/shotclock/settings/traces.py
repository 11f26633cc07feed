"""`[traces]`: spans of calls for an OpenTelemetry collector."""

from __future__ import annotations

from pydantic import Field

from shotclock.settings.branch import Branch


class TracesSettings(Branch):
    """Traces over OTLP/HTTP, of `serve` and of `attach`; OpenTelemetry's OTEL_ variables apply as well.

    enabled: whether spans are made and exported; needs `pip install 'shotclock[otel]'`.
    endpoint: the collector's full URL for traces; "" is OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
        OTEL_EXPORTER_OTLP_ENDPOINT or http://localhost:4318/v1/traces. Credentials belong into
        OTEL_EXPORTER_OTLP_HEADERS.
    sample_ratio: share of the traces begun here that are exported, at 1 as OTEL_TRACES_SAMPLER says; a
        caller's own decision goes first.
    service_name: the name in the spans; "" is OTEL_SERVICE_NAME or the command's.
    """

    enabled: bool = False
    endpoint: str = Field(default="", pattern=r"^(https?://[^@\s]+)?$")
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    service_name: str = ""
