"""Checks the environment and a provider before anything is paid: every failure with its fix.

Nothing here submits a job; every request to a provider is free.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from shotclock.app import remote_providers as vendors
from shotclock.app.host import Host
from shotclock.app.host_health import judge_host, name_key
from shotclock.app.memory_watch import find_point
from shotclock.app.site_traps import find_traps
from shotclock.bench.numbers import limit, money, number
from shotclock.domain.circuit import DeviceCircuit, Pub, QaoaParameters, Template
from shotclock.domain.errors import FaultKind, MachineError, ProviderError, SettingsError, ShotclockError
from shotclock.domain.plural import count
from shotclock.domain.ports import Job, Provider
from shotclock.emulator import device as devices
from shotclock.emulator import profile as profiles
from shotclock.placement.accelerators.discover import read_devices
from shotclock.placement.health import FIXES
from shotclock.placement.same_host import same_host
from shotclock.placement.tree import Tree
from shotclock.providers import registry
from shotclock.providers.edge import describe, translate_errors
from shotclock.runtime.descriptors import attainable
from shotclock.settings import ServeSettings, Settings, WorkersSettings
from shotclock.settings.circuit_limits import CircuitLimitsSettings

T = TypeVar("T")
ANSWER_LIMIT_S = 30.0
TEMPLATE_BYTES = 65_536
"""About the size of one template on disk."""
PACKAGES = ("qiskit", "torch", "grpcio", "apsw", "numba")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    name: what was checked.
    ok: whether it passed; with a fix, a warning: everything works, but could work better.
    said: what was found.
    fix: what to do, "" if nothing.
    """

    name: str
    ok: bool
    said: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The expected cost of one call, as a separate job with the settings' shots and device."""

    qpu_s: float
    money: float
    currency: str

    def __str__(self) -> str:
        return f"{number(self.qpu_s)} QPU s a job, {money(self.money, self.currency)}"


def environment(settings: Settings) -> tuple[Check, ...]:
    """Checks what every run needs of this machine."""
    fabrics = (Check(fabric.name, True, str(fabric)) for fabric in same_host())
    packages = (_package(name) for name in PACKAGES)
    certificates = _certificates(settings.serve)
    store, circuits = _store(settings.circuits.store_folder), _circuit_limits(settings.circuits.limits)
    limits = (_workers(settings.workers), _descriptors(settings.serve))
    own = (store, circuits, *limits, _memory(settings), *_health(settings), _data_policy(settings))
    own = (*own, *_site_traps(settings))
    return (_python(), *packages, *own, *certificates, *fabrics)


def provider(host: Host, settings: Settings, report: Callable[[Check], None]) -> None:
    """Checks the settings' provider; stops early if the next check depends on a failed one."""
    name = settings.quantum.provider
    if name in vendors.REMOTE and name == "ibm" and not _print_check(report, _credentials(settings)):
        return
    connection = _connect_provider(host, settings)
    if not isinstance(connection, _Connection):
        report(connection)
        return
    report(Check("reachable", True, f"{connection.label}{_describe_emulated(connection.provider)}"))
    try:
        _print_check(report, _takes_jobs(host, connection.provider))
        _print_check(report, _usage(host, connection.provider))
        report(_limits(connection.provider, settings))
        report(_price(host, connection.provider, settings))
    finally:
        host.run(connection.provider.close())


@dataclass(frozen=True, slots=True)
class _Connection:
    provider: Provider
    label: str


def estimate(host: Host, settings: Settings) -> CostEstimate:
    """The expected cost of a call with these settings. Raises SettingsError."""
    quantum = settings.quantum
    facts = host.run(host.workers.templates.run(devices.describe, quantum.device))
    forecast = vendors.ProfileForecast(facts, profiles.load(quantum.profile))
    shots = 1_000 if quantum.shots == "fit" else quantum.shots
    # 20 us is longer than any circuit of 24 variables, and short compared with the rep_delay.
    template = Template("", facts.name, tuple(range(settings.kernel.n)), b"", 20e-6, 0, 0)
    circuit = DeviceCircuit(template, QaoaParameters.idle(settings.kernel.n))
    qpu_s = forecast.qpu_s(Job((Pub((circuit,)),), shots, "estimate", quantum.rep_delay_s))
    return CostEstimate(qpu_s, qpu_s * settings.cost.qpu_second, settings.cost.currency)


def _print_check(report: Callable[[Check], None], check: Check) -> bool:
    report(check)
    return check.ok


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("python", ok, version, "" if ok else "use Python 3.11, 3.12 or 3.13")


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "reinstall shotclock, which includes this package")


def _store(folder: Path | None) -> Check:
    if folder is None:
        return Check("template store", True, "none: templates are compiled in each process")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial") as probe:
            probe.write(bytes(TEMPLATE_BYTES))  # an empty file would fit on a full disk
            probe.flush()
    except OSError as error:
        problem = f"{folder}: cannot be written: {error.strerror}; templates are compiled again at each start"
        fix = "make it writable, free its disk, or name another folder with circuits.template_store"
        return Check("template store", True, problem, fix)
    return Check("template store", True, str(folder))


def _descriptors(serve: ServeSettings) -> Check:
    """What `shotclock serve` may need of what this user may have; it raises its own soft limit."""
    allowed, needed = attainable(), serve.descriptors
    details = f"{allowed} allowed, a service needs at most {needed}"
    fix = "raise the hard limit (`ulimit -Hn`), or lower serve.grpc_connections"
    return Check("file descriptors", True, details, fix if allowed < needed else "")


def _circuit_limits(limits: CircuitLimitsSettings) -> Check:
    """What a user circuit may hold, by the keys that change it."""
    details = ", ".join(f"{key} {value}" for key, value in limits)
    return Check("circuit limits", True, f"{details}; change them in [circuits.limits]")


def _memory(settings: Settings) -> Check:
    """The blocking point of calls with the settings' size."""
    point = find_point(settings)
    if point is None:
        return Check("memory", True, "free memory is not known, so that it bounds no calls")
    fix = "" if point.calls else "free some, raise placement.memory_share, or lower quantum.shots"
    return Check("memory", bool(point.calls), str(point), fix)


def _health(settings: Settings) -> tuple[Check, ...]:
    """What is wrong with this host, with the setting of what follows; only a refusal is a failure."""
    root = Path(settings.placement.root)
    if not root.is_dir():
        return (
            Check(
                "placement.root", False, f"{root} is not a folder", "name one with this host's sys and proc"
            ),
        )
    findings, others = judge_host(settings, root)
    checks = [
        Check(name_key(each.cause), each.action != "refuse", f"{each.text}: {each.action}", FIXES[each.cause])
        for each in findings
    ]
    if others:
        fix = "see `shotclock topology`"
        checks.append(Check("host", True, f"{count(len(others), 'problem')}: {'; '.join(others[:3])}", fix))
    return tuple(checks) or (Check("host", True, "nothing wrong is known"),)


def _data_policy(settings: Settings) -> Check:
    """What may leave for the settings' provider."""
    try:
        policy = vendors.data_policy(settings, settings.quantum, settings.quantum.provider)
    except SettingsError as error:
        return Check("data policy", False, str(error), "make the credentials file readable")
    if not policy.rules:
        details = f"every call may leave for {policy.destination}; restrict it in [[data_policy]]"
        return Check("data policy", True, details)
    rules = "; ".join(
        f"{', '.join(rule.kernels)} of {', '.join(rule.clients)}: "
        f"{'may' if rule.allows(policy.destination) else 'may not'} leave"
        for rule in policy.rules
    )
    details = f"for {policy.destination}, the first rule decides: {rules}; others may leave"
    return Check("data policy", True, details)


def _site_traps(settings: Settings) -> tuple[Check, ...]:
    """What fails or costs without a word, as warnings."""
    quantum, root = settings.quantum, Path(settings.placement.root)
    backend = quantum.backend if quantum.provider == "qrmi" else ""
    has_amd = any(device.vendor == "AMD" for device in read_devices(Tree(root)))
    traps = find_traps(os.environ, root, backend, has_amd=has_amd, list_aer_devices=_list_aer_devices)
    return tuple(Check(trap.name, True, trap.details, trap.fix) for trap in traps)


def _list_aer_devices() -> tuple[str, ...]:
    """None where Aer is not installed."""
    try:
        from qiskit_aer import AerSimulator  # noqa: PLC0415 - a second to import, and an extra
    except ImportError:
        return ()
    return tuple(map(str, AerSimulator().available_devices()))


def _workers(limits: WorkersSettings) -> Check:
    details = (
        f"{limits.memory_mib} MiB each; a template compiles for up to {limits.template_limit_s:g} s; user "
        f"circuits: {limits.circuit_workers} compile and {limits.circuit_workers} emulate at once, "
        f"{limits.queue_limit} wait, up to {limits.circuit_limit_s:g} s and {limits.sampling_limit_s:g} s"
    )
    return Check("workers", True, details)


def _certificates(serve: ServeSettings) -> tuple[Check, ...]:
    """Checks the service's certificates, if the settings name all three files."""
    paths = (serve.certificate, serve.private_key, serve.authorities)
    if not all(paths):
        return ()
    from shotclock.wire import certificates  # noqa: PLC0415 - imports gRPC, which may be missing
    from shotclock.wire.certificate_checks import Purpose  # noqa: PLC0415

    files = certificates.TlsFiles(*map(Path, paths))
    try:
        notice = certificates.find_notice(files, certificates.utc_now(), Purpose.SERVER)
    except MachineError as error:
        what, _, fix = str(error).rpartition("; ")
        return (Check("certificate", False, what or str(error), fix if what else "replace it"),)
    what, _, fix = notice.rpartition("; ")
    return (Check("certificate", True, what or f"{serve.certificate}: valid", fix),)


def _credentials(settings: Settings) -> Check:
    access = vendors.Access.of(settings.quantum)
    try:
        credentials = access.credentials()
    except SettingsError as error:
        return Check("credentials", False, str(error), "put only the API key in a file, chmod 600")
    where = access.credentials_file or "the client's variables or saved account"
    return Check("credentials", True, f"{credentials.token!r} from {where}")


def _connect_provider(host: Host, settings: Settings) -> _Connection | Check:
    quantum = settings.quantum
    if quantum.provider not in vendors.REMOTE and quantum.provider not in {"aer", "emulated"}:
        fix = "name a module:factory that can be imported here"
    else:
        fix = _fix_for(quantum.provider)
    try:
        if quantum.provider in vendors.REMOTE:
            connected = vendors.remote(host, settings, quantum, profiles.load(quantum.profile))
        elif quantum.provider in {"aer", "emulated"}:
            registry.load(quantum.provider)
            return Check("reachable", True, f"{quantum.provider}: runs in this process, free")
        else:
            connected = vendors.build_user_provider(host, quantum)
    except ShotclockError as error:
        return Check("reachable", False, str(error), fix)
    device = getattr(connected, "device", None)
    return _Connection(connected, device.backend if device is not None else connected.name)


def _fix_for(name: str) -> str:
    if name == "ibm":
        return "check the network, quantum.instance and quantum.backend; `shotclock emulate` needs no account"
    if name == "qrmi":
        return "set the resource's QRMI_IBM_… variables, or run inside an allocation with --qpu"
    return "install the provider's extra"


def _describe_emulated(provider: Provider) -> str:
    return " (EMULATED)" if provider.limits.emulated else ""


def _takes_jobs(host: Host, provider: Provider) -> Check:
    try:
        host.run(_within(provider.ping))
    except (ProviderError, TimeoutError) as error:
        what = str(error) or f"no answer within {ANSWER_LIMIT_S:g} s"
        return Check("takes jobs", False, what, "wait, or choose another back end with quantum.backend")
    return Check("takes jobs", True, "now")


def _usage(host: Host, provider: Provider) -> Check:
    ask = getattr(provider, "usage", None)
    if ask is None:
        return Check("usage left", True, "not metered")
    try:
        usage = host.run(_within(ask))
    except (ProviderError, TimeoutError) as error:
        return Check("usage left", False, str(error), "check the key's rights on the instance")
    if usage.exhausted:
        fix = "wait for the next period, raise the instance's limit, or use another quantum.instance"
        consumed = "" if usage.consumed_s is None else f"{number(usage.consumed_s)} s consumed, "
        return Check("usage left", False, f"{consumed}none left", fix)
    if usage.consumed_s is None:
        return Check("usage left", True, "not reported by this provider")
    allowance = "no limit reported" if usage.limit_s is None else f"of {limit(usage.limit_s)} s"
    return Check("usage left", True, f"{number(usage.consumed_s)} s consumed, {allowance}")


def _limits(provider: Provider, settings: Settings) -> Check:
    limits, quantum = provider.limits, settings.quantum
    rate = limits.submissions_per_minute
    described = (
        f"{limits.max_qubits} qubits, {limits.max_shots} shots, {limits.max_pubs} PUBs a job, "
        f"{limits.lanes} lanes, {'no rate limit' if rate is None else f'{rate:g} submits a minute'}, "
        f"rep_delay {limits.rep_delay_default_s * 1e6:g} us"
    )
    if quantum.shots != "fit" and quantum.shots > limits.max_shots:
        return Check("limits", False, described, f"set quantum.shots to at most {limits.max_shots}")
    return Check("limits", True, described)


def _price(host: Host, provider: Provider, settings: Settings) -> Check:
    quantum = settings.quantum
    if not provider.limits.paid:
        return Check("price", True, "free")
    expected, most = estimate(host, settings), quantum.max_money_per_run
    described = f"{expected}; a run may spend {limit(most)} {expected.currency}"
    if most < expected.money:
        return Check("price", False, described, "set quantum.max_money_per_run to what a run may spend")
    jobs = f"{int(most / expected.money)}" if expected.money else "any number of"
    return Check("price", True, f"{described}: {jobs} jobs")


async def _within(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer within the limit. Raises ProviderError, whatever the provider raises, or TimeoutError."""
    async with asyncio.timeout(ANSWER_LIMIT_S):
        with translate_errors(lambda error: ProviderError(FaultKind.PERMANENT, describe(error))):
            return await ask()
