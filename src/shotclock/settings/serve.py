"""`[serve]`: addresses, certificates, ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shotclock.domain.subproblem import MAX_VARIABLES
from shotclock.settings.branch import Branch, Budget
from shotclock.settings.folders import user_folder

OTHER_DESCRIPTORS = 256
"""Allowed beside its connections: for workers' pipes, the ledger, libraries and the reserve for probes."""


class ServeSettings(Branch):
    """The service: where it listens, who may call it, what it keeps.

    listen: HOST:PORT of gRPC.
    metrics: HOST:PORT of HTTP: metrics, status and probes.
    ledger: a path or sqlite:///path, used by paid providers alone; "auto" is the user's state folder;
        postgresql://USER@HOST/DATABASE is shared by several orchestrators (extra `postgres`).
    lease_s: how long an orchestrator that shares its ledger keeps its jobs after its last sign of life,
        seconds; then another one adopts them.
    budget: the name under which `quantum.max_money_per_run` is counted in the ledger; orchestrators with the
        same ledger and name share it. "" is one name for all on PostgreSQL, and starts at 0 with each start
        of a service with its own file.
    parked_grace_s: how long a parked job is searched for in the provider's list of jobs, seconds; one that is
        still missing is then recorded as never submitted.
    certificate: PEM file of the service's certificate for mutual TLS; "" without one.
    private_key: PEM file of the certificate's key; "" without one.
    authorities: PEM file of the authorities that sign the callers' certificates; "" without one.
    trainers: DNS or URI names in the certificates of callers that may solve and watch.
    operators: DNS or URI names in the certificates of callers that may watch, drain and resume.
    probes: DNS or URI names in the certificates of callers that may ask for health.
    insecure: no TLS, on a loopback address.
    sizes: the subproblems whose templates are warm before it is ready, variables, to the device's width.
    fallback: when the classical answer is computed: for every call, only without samples, or never.
    flags: path of a flag file in flagd's format, or "ledger" for those in a PostgreSQL ledger, which all
        orchestrators of it follow; read again within a second of each change; "" without one.
    slo_deadlines_ms: deadlines that the service is measured against, milliseconds; with those of `[quantum]`
        and the arms they are bucket edges of the histograms, so that a share in time is exact.
    log_level: the least severe records that are written to stderr; "debug" has a line for each call.
    log_format: text, or one JSON object a line.
    drain_s: what SIGTERM leaves for the calls in progress, seconds.
    grpc_connections: gRPC connections open at once.
    grpc_handshake_s: what a connection has for its TLS handshake, seconds.
    refusals_per_s: refused calls of one caller that are answered, a second, after a burst of 20.
    http_connections: HTTP connections open at once.
    http_header_s: what a connection has for its first request's headers, seconds.
    http_idle_s: what a connection has from an answer to the end of its next request's headers, seconds.
    """

    listen: str = "127.0.0.1:7443"
    metrics: str = "127.0.0.1:9464"
    ledger: str = "auto"
    lease_s: float = Field(default=10.0, ge=1, le=600)
    budget: str = Field(default="", max_length=64)
    parked_grace_s: float = Field(default=3_600.0, ge=0, le=2_592_000)
    certificate: str = ""
    private_key: str = ""
    authorities: str = ""
    trainers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    insecure: bool = False
    sizes: tuple[Annotated[int, Field(ge=2, le=MAX_VARIABLES)], ...] = Field(default=(12,), min_length=1)
    fallback: Literal["race", "standby", "none"] = "race"
    flags: str = ""
    slo_deadlines_ms: tuple[Budget, ...] = Field(default=(), max_length=16)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    drain_s: float = Field(default=30.0, gt=0, le=86_400)
    grpc_connections: int = Field(default=512, ge=1, le=32_768)
    grpc_handshake_s: float = Field(default=5.0, ge=1, le=300)
    refusals_per_s: float = Field(default=2.0, ge=0.1, le=1e6)
    http_connections: int = Field(default=64, ge=4, le=4096)
    http_header_s: float = Field(default=10.0, ge=0.1, le=300)
    http_idle_s: float = Field(default=30.0, ge=0.1, le=3600)

    @property
    def descriptors(self) -> int:
        """The file descriptors that a service needs at most."""
        return self.grpc_connections + self.http_connections + OTHER_DESCRIPTORS

    @property
    def ledger_file(self) -> str:
        """The path or URL; "auto" is left where the user has no home folder to keep it in."""
        if self.ledger != "auto":
            return self.ledger
        state = user_folder("XDG_STATE_HOME", ".local/state")
        return str(state / "shotclock" / "ledger.db") if state else self.ledger
