"""The preflight of a hardware run: the components a result on AMD and IBM hardware needs, and its cost.

Everything here is free: nothing is submitted to a QPU.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal

from shotclock.app import doctor
from shotclock.app import remote_providers as vendors
from shotclock.app.arms import workload_factory
from shotclock.app.host import Host
from shotclock.app.main_job import parse_arms, quick_cadence
from shotclock.app.site import Site
from shotclock.bench.numbers import limit, money, span
from shotclock.bench.record.arm_runs import BASELINE, CONTROL, HYBRID
from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.plural import count
from shotclock.emulator import profile as profiles
from shotclock.providers.device_facts import DeviceIdentity, identify
from shotclock.settings import DEFAULT_ARMS, QuantumSettings, Settings

HARDWARE = "AMD GPU and IBM QPU"
DRY_RUN = "none: a dry run, EMULATED"
ON_GPU = {
    "digits-quantized": "shotclock.app.on_gpu:digits_quantized",
    "digits-mlp": "shotclock.app.on_gpu:digits_mlp",
    "medium": "shotclock.app.on_gpu:medium",
}
CLIENTS = {"ibm": "qiskit-ibm-runtime", "qrmi": "qrmi"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A component of a hardware run.

    side: whose hardware it belongs to.
    name: the component.
    ok: whether it is available.
    said: what was found.
    fix: what to do if it is missing.
    rehearsable: a dry run does not need it.
    """

    side: Literal["AMD", "IBM"]
    name: str
    ok: bool
    said: str
    fix: str = ""
    rehearsable: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run is expected to consume.

    calls: calls to the QPU.
    qpu_s: QPU time, seconds.
    money: price of the QPU time.
    currency: of the price.
    at_least_s: shortest duration by QPU time and submission limit, seconds.
    """

    calls: int
    qpu_s: float
    money: float
    currency: str
    at_least_s: float

    def __str__(self) -> str:
        return (
            f"{count(self.calls, 'call')}, {span(self.qpu_s)} on the QPU, "
            f"{money(self.money, self.currency)}, at least {math.ceil(self.at_least_s / 60)} min"
        )


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of the checks. facts: for the run's environment."""

    pieces: tuple[Piece, ...]
    emulated: bool = True
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[Piece, ...]:
        """The components that a hardware run lacks."""
        return tuple(piece for piece in self.pieces if not piece.ok)

    @property
    def stopping(self) -> tuple[Piece, ...]:
        """The components that even a dry run lacks."""
        return tuple(piece for piece in self.missing if not piece.rehearsable)

    def environment(self) -> dict[str, str]:
        """The facts, with what kind of run it is."""
        return {"hardware": DRY_RUN if self.missing else HARDWARE, **self.facts}

    def record(self, expected: Expected, site: Site) -> str:
        """`hardware.json`, schema 1."""
        document: dict[str, Any] = {
            "schema": 1,
            "hardware": not self.missing,
            "emulated": self.emulated,
            "pieces": [asdict(piece) for piece in self.pieces],
            "firmware": site.firmware(),
            "expected": asdict(expected),
        }
        return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


def for_hardware(settings: Settings) -> Settings:
    """The settings with the reference workload on the GPU.

    If no arms were chosen, they have only one quantum arm, the profile's, because each one costs money.
    """
    bench = settings.bench
    arms = (BASELINE, CONTROL, f"{HYBRID}{profiles.load(settings.quantum.profile).name}")
    chosen = {
        "workload": ON_GPU.get(bench.workload, bench.workload),
        "arms": arms if bench.arms == DEFAULT_ARMS else bench.arms,
    }
    return settings.model_copy(update={"bench": bench.model_copy(update=chosen)})


def preflight(host: Host, settings: Settings, site: Site) -> Preflight:
    """Checks every component. Raises SettingsError on settings that no run could use."""
    quantum = _quantum(settings)
    amd = _accelerator(settings, site)
    names = sorted({branch.provider for branch in quantum})
    is_single = len(names) == 1 and names[0] in CLIENTS
    fix = "" if is_single else "set quantum.provider to ibm or qrmi, one for all arms"
    provider = Piece("IBM", "provider", is_single, ", ".join(names) or "no arm calls a QPU", fix)
    if not is_single:
        return Preflight((*amd, provider), facts=site.facts())
    settings = settings.model_copy(update={"quantum": quantum[0]})
    checks: list[doctor.Check] = []
    doctor.provider(host, settings, checks.append)
    checked = [
        Piece("IBM", check.name, check.ok, _redact_check(check, settings), check.fix) for check in checks
    ]
    if not all(piece.ok for piece in checked):
        return Preflight((*amd, provider, *checked), facts=site.facts())
    device = _device(host, settings)
    if isinstance(device, Piece):
        return Preflight((*amd, provider, *checked, device), facts=site.facts())
    facts = site.facts() | _qpu_facts(settings, device)
    return Preflight((*amd, provider, *checked, *_describe_device(device)), bool(device.unreal), facts)


def expect_cost(host: Host, settings: Settings, *, quick: bool) -> Expected:
    """Calls × metered seconds × price, over all quantum arms; jobs that the system fails are free."""
    job = doctor.estimate(host, settings)
    calls, at_least_s = 0, 0.0
    for arm in (arm for arm in parse_arms(settings) if arm.quantum):
        quantum = settings.quantum_for(arm.name)
        table = settings.arm.get(arm.name)
        slow = not arm.protected and job.qpu_s * 1e3 > quantum.budget_ms
        every = quick_cadence(settings) if quick and slow else settings.kernel.every
        every = table.every if table is not None and table.every is not None else every
        arm_calls = settings.bench.seeds * -(-settings.bench.steps // every)
        rate = profiles.load(quantum.profile).submissions_per_minute
        calls += arm_calls
        at_least_s += max(arm_calls * job.qpu_s, arm_calls * 60 / rate.value if rate else 0.0)
    return Expected(calls, calls * job.qpu_s, calls * job.money, job.currency, at_least_s)


def refuse_overspending(settings: Settings, run: Expected) -> None:
    """Raises SettingsError if the money would not last for the run, whose last calls would then fail."""
    quantum = _quantum(settings)
    per_arm = run.money / max(1, len(quantum))
    most = min((branch.max_money_per_run for branch in quantum), default=0.0)
    if most < per_arm:
        raise SettingsError(
            f"quantum.max_money_per_run: must be at least the expected {money(per_arm, run.currency)} "
            f"per arm (got {limit(most)}); raise it, or lower bench.seeds or bench.steps"
        )


def _quantum(settings: Settings) -> list[QuantumSettings]:
    return [settings.quantum_for(arm.name) for arm in parse_arms(settings) if arm.quantum]


def _accelerator(settings: Settings, site: Site) -> tuple[Piece, ...]:
    build, cards, loaded = site.torch, site.amd_devices(), site.amdgpu()
    devices = ", ".join(build.devices) or "none"
    visible = bool(build.hip and build.devices)
    cards_found = (
        f"{len(cards)} cards, amdgpu {loaded}" if cards and loaded else "no AMD card under /sys/class/drm"
    )
    trains = visible and site.on_gpu(workload_factory(settings.bench.workload)(0))
    pieces = (
        Piece(
            "AMD",
            "ROCm build of torch",
            bool(build.hip),
            f"torch {build.version}" + (f", ROCm {build.hip}" if build.hip else " was built without ROCm"),
            "install the ROCm build that pytorch.org names for this host's ROCm",
        ),
        Piece(
            "AMD",
            "GPU visible to torch",
            visible,
            devices,
            "join the groups render and video, and check ROCR_VISIBLE_DEVICES; `rocminfo` must list it",
        ),
        Piece(
            "AMD",
            "amdgpu driver",
            bool(cards and loaded),
            cards_found,
            "load the module amdgpu; in a container, mount /sys and pass /dev/kfd and /dev/dri",
        ),
        Piece(
            "AMD",
            "training on the GPU",
            trains,
            f"{settings.bench.workload} " + ("allocates on it" if trains else "allocates nothing on a GPU"),
            "set bench.workload to one whose model is on the GPU, as in docs/hardware-run.md",
        ),
    )
    return tuple(_mark_rehearsable(piece) for piece in pieces)


def _mark_rehearsable(piece: Piece) -> Piece:
    fix = "" if piece.ok else piece.fix
    return Piece(piece.side, piece.name, piece.ok, piece.said, fix, rehearsable=True)


def _redact_check(check: doctor.Check, settings: Settings) -> str:
    """The check's text without the key's path: the record is shared, and the path names a user's folder."""
    if not check.ok or check.name != "credentials":
        return check.said
    has_file = bool(settings.quantum.credentials_file)
    return "in quantum.credentials_file" if has_file else "from the client's variables or saved account"


def _device(host: Host, settings: Settings) -> DeviceIdentity | Piece:
    fix = "run `shotclock doctor --provider` with these settings"
    try:
        quantum = settings.quantum
        provider = vendors.remote(host, settings, quantum, profiles.load(quantum.profile))
        try:
            return identify(provider)
        finally:
            host.run(provider.close())
    except ShotclockError as error:
        return Piece("IBM", "device", False, str(error), fix)


def _describe_device(device: DeviceIdentity) -> tuple[Piece, ...]:
    return (
        Piece(
            "IBM",
            "real device",
            not device.unreal,
            f"{device.backend}: {device.unreal} (EMULATED)" if device.unreal else device.backend,
            "unset QISKIT_IBM_URL and IAM_URL, and name a real quantum.backend" if device.unreal else "",
            rehearsable=True,
        ),
        Piece(
            "IBM",
            "calibration",
            bool(device.calibration),
            device.calibration or "not reported",
            "" if device.calibration else "request read access to the back end's properties",
        ),
    )


def _qpu_facts(settings: Settings, device: DeviceIdentity) -> dict[str, str]:
    quantum = settings.quantum
    client = CLIENTS[quantum.provider]
    facts = {
        "qpu_provider": quantum.provider,
        "qpu_backend": device.backend,
        "qpu_backend_version": device.version,
        "qpu_calibration": device.calibration,
        "qpu_client": f"{client} {metadata.version(client)}",
        "qpu_plan": device.plan,
        "qpu_instance": device.instance,
        "qpu_execution_mode": quantum.execution_mode,
        "qpu_profile": profiles.load(quantum.profile).name,
    }
    return {name: value for name, value in facts.items() if value}
