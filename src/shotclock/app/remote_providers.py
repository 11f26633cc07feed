"""Providers outside this package: IBM's cloud, QRMI's resources, a user's own provider or sampler."""

from __future__ import annotations

import inspect
import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shotclock.app.host import Host, VirtualHost
from shotclock.domain import plugin
from shotclock.domain.data_policy import DataPolicy, Destination
from shotclock.domain.errors import SettingsError
from shotclock.domain.plural import with_article
from shotclock.domain.ports import Job, Provider
from shotclock.emulator import device as devices
from shotclock.emulator import timing
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.profile import Profile
from shotclock.providers import credentials, registry
from shotclock.providers.money import Price
from shotclock.settings import QuantumSettings, Settings

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LOOPBACK = ("localhost", "127.0.0.1", "::1")

REMOTE = ("ibm", "qrmi")

CRN_REGION = 5
"""Where an instance's region is: crn:v1:bluemix:public:quantum-computing:REGION:…"""


@dataclass(frozen=True, slots=True)
class ProfileForecast:
    """A `Forecast` of a job's times, from the emulator's time model of this device and network profile."""

    facts: DeviceFacts
    profile: Profile

    def latency_s(self, job: Job) -> float:
        """The p95 of submit to samples with an empty queue, seconds."""
        return timing.quantile_s(job, self.facts, self.profile, 0.95)

    def qpu_s(self, job: Job) -> float:
        """The mean QPU time, which is what is charged, seconds."""
        overhead = self.profile.subjob_overhead
        loading_s = timing.subjobs(job, self.facts) * overhead.mean_s if overhead else 0.0
        return loading_s + timing.shots_s(job, self.facts)


@dataclass(frozen=True, slots=True)
class Access:
    """How a remote provider is reached; see `QuantumSettings`.

    credentials_file: path of the file with the key; "" uses the vendor's environment variables.
    instance: the vendor's instance; "" uses the one in the credentials file.
    backend: the vendor's name of the device.
    execution_mode: "job", "batch" or "session".
    session_max_s: maximum length of a session, seconds; None uses the vendor's default.
    session_idle_s: how long a session may stay idle before it is closed, seconds.
    """

    credentials_file: str = ""
    instance: str = ""
    backend: str = ""
    execution_mode: str = "job"
    session_max_s: int | None = None
    session_idle_s: float = 5.0

    @classmethod
    def of(cls, quantum: QuantumSettings) -> Access:
        """From the settings."""
        return cls(
            quantum.credentials_file,
            quantum.instance,
            quantum.backend,
            quantum.execution_mode,
            quantum.session_max_s,
            quantum.session_idle_s,
        )

    def credentials(self) -> credentials.Credentials:
        """The key in the file; without a file, the vendor's environment variables. Raises SettingsError."""
        if not self.credentials_file:
            return credentials.Credentials(credentials.NONE.token, self.instance)
        try:
            file = Path(self.credentials_file).expanduser()
        except RuntimeError:
            raise SettingsError(
                f"quantum.credentials_file: {self.credentials_file}: this user has no home folder; "
                "give an absolute path"
            ) from None
        stored = credentials.read(file)
        return credentials.Credentials(stored.token, self.instance or stored.instance, stored.url)


def data_policy(settings: Settings, quantum: QuantumSettings, provider: str) -> DataPolicy:
    """The rules of the settings for this path; IBM's region is in its instance. Raises SettingsError."""
    region = ""
    if quantum.provider == "ibm" and settings.data_policy:
        crn = Access.of(quantum).credentials().instance.split(":")
        region = crn[CRN_REGION] if len(crn) > CRN_REGION else ""
    return DataPolicy(tuple(rule.rule() for rule in settings.data_policy), Destination(provider, region))


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Excludes loopback addresses from the environment's proxy, mainly for `shotclock emulate`.

    IBM's cloud may need the proxy; requests, urllib3 and QRMI's client all read `no_proxy`.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in PROXIES):
        return
    for name in ("no_proxy", "NO_PROXY"):
        spared = environment.get(name) or environment.get(name.swapcase()) or ""
        hosts = [host for host in spared.split(",") if host.strip()]
        if "*" in hosts:
            continue
        missing = [host for host in LOOPBACK if host not in hosts]
        environment[name] = ",".join([*hosts, *missing])


def remote(host: Host, settings: Settings, quantum: QuantumSettings, profile: Profile) -> Provider:
    """The provider `ibm` or `qrmi` of these settings, connected.

    Raises SettingsError, MachineError, ProviderError.
    """
    if isinstance(host, VirtualHost):
        raise SettingsError(
            f"--clock virtual: quantum.provider '{quantum.provider}' answers in real time, which cannot be "
            f"skipped; omit --clock"
        )
    # Not at the top: these import Qiskit, which a local run's process does not need.
    from shotclock.circuits.packing import compose_pub  # noqa: PLC0415
    from shotclock.providers.remote import RemoteSetup  # noqa: PLC0415
    from shotclock.providers.workload import WorkloadPolicy  # noqa: PLC0415

    spare_loopback(os.environ)
    access = Access.of(quantum)
    factory = registry.load(quantum.provider)
    facts = host.run(host.workers.templates.run(devices.describe, quantum.device))
    for delay in (quantum.rep_delay_s, *quantum.shorter_rep_delays_s):
        devices.check_rep_delay(facts, delay)
    rate = profile.submissions_per_minute
    key: dict[str, Any] = {"credentials": access.credentials()} if quantum.provider == "ibm" else {}
    setup = RemoteSetup(
        backend=access.backend,
        forecast=ProfileForecast(facts, profile),
        price=Price(settings.cost.qpu_second, settings.cost.currency),
        max_money=quantum.max_money_per_run,
        circuit_builder=compose_pub,
        clock=host.clock,
        policy=WorkloadPolicy(_mode(access.execution_mode), access.session_max_s, access.session_idle_s),
        submissions_per_minute=rate.value if rate else None,
    )
    provider = factory(setup, **key)
    if provider.limits.max_qubits != facts.n_qubits:
        raise SettingsError(
            f"quantum.device: circuits are compiled for {facts.name} with {facts.n_qubits} qubits, but the "
            f"back end has {provider.limits.max_qubits}; set the device of that back end"
        )
    return provider


def build_user_provider(host: Host, quantum: QuantumSettings) -> Provider:
    """The Provider from a user's "module:factory" or entry point.

    The factory may return a Provider, or a Qiskit sampler or back end, which is wrapped; anything else raises
    SettingsError. It is called with those of the keywords clock and seed that it accepts.
    """
    from qiskit.primitives import BaseSamplerV2  # noqa: PLC0415
    from qiskit.providers import BackendV2  # noqa: PLC0415

    factory = registry.load(quantum.provider)
    offered = {"clock": host.clock, "seed": 0}
    provider: object = plugin.call_plugin(
        "quantum.provider", quantum.provider, lambda: factory(**_select_arguments(factory, offered))
    )
    if isinstance(provider, BaseSamplerV2 | BackendV2):
        from shotclock.circuits.worker import bind_logical  # noqa: PLC0415
        from shotclock.providers.threads import ClientThreads  # noqa: PLC0415
        from shotclock.providers.user_sampler import wrap  # noqa: PLC0415

        threads = ClientThreads("sampler", 1)
        return wrap(
            quantum.provider.partition(":")[2] or quantum.provider,
            provider,
            bind_logical,
            threads,
            host.clock,
        )
    if not all(hasattr(provider, name) for name in ("limits", "submit", "collect", "predict_s")):
        raise SettingsError(
            f"quantum.provider: {quantum.provider!r} must return a Provider, a BaseSamplerV2 or a BackendV2 "
            f"(got {with_article(type(provider).__name__)})"
        )
    return provider  # type: ignore[return-value]


def _select_arguments(factory: object, offered: dict[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(factory).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # some built-in callables have no signature
        return {}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return offered
    return {name: value for name, value in offered.items() if name in parameters}


def _mode(text: str) -> Any:
    if text not in {"job", "batch", "session"}:
        raise SettingsError(f"quantum.execution_mode: must be job, batch or session (got {text!r})")
    return text
