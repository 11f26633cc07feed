"""`shotclock bench --hardware`: what it takes to be called hardware, and the dry run with real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import base_environment
from amd_tree import amd_host
from ibm_endpoint import IbmEndpoint, start_endpoint
from shotclock import cli
from shotclock.app import hardware
from shotclock.app.host import WallHost
from shotclock.app.main_job import MainJob
from shotclock.app.site import Site, TorchBuild
from shotclock.cli import hardware as command
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.providers import device_facts, ibm_cloud
from shotclock.settings import Settings, load

CI = Path(__file__).parents[2] / ".ci"
SHOTCLOCK = [sys.executable, "-W", "ignore", "-c", "from shotclock import cli; cli.main()"]
SETTINGS = """
schema = 1
[bench]
seeds = 1
steps = 15
[quantum]
provider = "ibm"
backend = "ibm_torino"
"""
Find = Callable[[Settings, Site], hardware.Preflight]
ROCM = TorchBuild("2.13.0+rocm7.0", "7.0.51831", ("AMD Instinct MI300X",))
CUDA = TorchBuild("2.13.0+cu130", "", ("NVIDIA H200",))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint(profile="colocated", speed=50.0) as started:
        yield started


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "site.toml").write_text(SETTINGS, encoding="utf-8")
    return load(tmp_path / "site.toml", {})


@pytest.fixture
def amd(tmp_path: Path) -> Site:
    """A host on which nothing of AMD's is missing."""
    return Site(amd_host(tmp_path / "root"), ROCM, on_gpu=lambda workload: True)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the endpoint passes for a device: it is not known by its plan, nor by its address."""
    monkeypatch.setattr(ibm_cloud, "EMULATED_PLAN", "another")
    monkeypatch.setattr(device_facts, "HERE", frozenset())


@pytest.fixture(scope="module")
def host() -> Iterator[WallHost]:
    started = WallHost()
    yield started
    started.close()


@pytest.fixture
def find(host: WallHost) -> Find:
    return lambda settings, site: hardware.preflight(host, hardware.for_hardware(settings), site)


def missing(preflight: hardware.Preflight) -> set[str]:
    assert all(piece.fix for piece in preflight.missing)
    return {piece.name for piece in preflight.missing}


def test_a_dry_run_is_marked_verified_and_gives_nothing_away(endpoint: IbmEndpoint, tmp_path: Path) -> None:
    key, folder = "canary-4c81d0aa7b", tmp_path / "run"
    (tmp_path / "key").write_text(key, encoding="utf-8")
    (tmp_path / "key").chmod(0o600)
    text = f'{SETTINGS}credentials_file = "{tmp_path / "key"}"\ninstance = "{instance(endpoint)}"\n'
    (tmp_path / "site.toml").write_text(text, encoding="utf-8")
    arguments = ["bench", "--hardware", "--dry-run", "--config", "site.toml", "--out", str(folder), "--json"]
    ran = subprocess.run([*SHOTCLOCK, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "✗" in ran.stderr
    assert "EMULATED: a dry run" in ran.stderr
    checked = subprocess.run([*SHOTCLOCK, "verify", str(folder)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout.strip()) == (0, f"{folder}: no fault")

    summary = json.loads(ran.stdout)
    assert summary["emulated"] is True
    assert set(summary["arms"]) == {"classical-only", "classical-control", "hybrid-colocated"}
    assert summary["arms"]["hybrid-colocated"]["calls"] == 3
    machine = json.loads((folder / "machine.json").read_text())
    assert machine["hardware"] == hardware.DRY_RUN
    assert machine["qpu_backend"] == "ibm_torino"
    assert machine["qpu_calibration"]
    assert machine["qpu_client"].startswith("qiskit-ibm-runtime ")
    record = json.loads((folder / "hardware.json").read_text())
    assert (record["hardware"], record["emulated"], record["expected"]["calls"]) == (False, True, 3)
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for secret in (key, instance(endpoint), str(tmp_path)):
                assert secret.encode() not in content, f"{file.name} shows {secret}"


def instance(endpoint: IbmEndpoint) -> str:
    return endpoint.environment["QISKIT_IBM_INSTANCE"]


def test_without_hardware_it_refuses_and_leaves_nothing(
    endpoint: IbmEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text(SETTINGS, encoding="utf-8")
    folder = tmp_path / "run"
    arguments = [
        "bench",
        "--hardware",
        "--yes",
        "--config",
        str(tmp_path / "site.toml"),
        "--out",
        str(folder),
    ]
    code, err = run_refused(arguments, monkeypatch, capsys)
    assert code == 3
    (line,) = [text for text in err.splitlines() if text.startswith("shotclock: ")]
    assert "real device" in line
    assert "--dry-run" in line
    assert err.count("do: ") == err.count("✗") >= 4
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--dry-run"], 2, "--hardware"),
        (["--hardware", "--clock", "virtual"], 2, "--clock virtual"),
        (["--hardware", "--dry-run", "--clock", "virtual"], 2, "--clock virtual"),
        (["--hardware", "--arms", "classical-only"], 3, "provider"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    code: int,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    exit_code, err = run_refused(["bench", *arguments], monkeypatch, capsys)
    assert exit_code == code, err
    (line,) = [text for text in err.splitlines() if text.startswith("shotclock: ")]
    assert word in line


def run_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[Any, str]:
    monkeypatch.setattr(sys, "argv", ["shotclock", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.usefixtures("real")
def test_it_is_hardware_only_with_every_piece(
    endpoint: IbmEndpoint, settings: Settings, amd: Site, find: Find
) -> None:
    paid = settings.model_copy(update={"quantum": spending(settings, 100.0)})
    whole = find(paid, amd)
    assert missing(whole) == set()
    assert not whole.emulated
    environment = whole.environment()
    assert environment["hardware"] == hardware.HARDWARE
    assert environment["gpu"] == "AMD Instinct MI300X"
    assert instance(endpoint) not in str(environment)

    trained_elsewhere = find(paid, replace(amd, on_gpu=lambda workload: False))
    assert missing(trained_elsewhere) == {"training on the GPU"}
    assert trained_elsewhere.environment()["hardware"] == hardware.DRY_RUN


def spending(settings: Settings, money: float) -> Any:
    return settings.quantum.model_copy(update={"max_money_per_run": money})


@pytest.mark.parametrize(
    ("build", "lacking"),
    [
        (
            TorchBuild("2.13.0+cpu", "", ()),
            {"ROCm build of torch", "GPU visible to torch", "training on the GPU"},
        ),
        (CUDA, {"ROCm build of torch", "GPU visible to torch", "training on the GPU"}),
        (replace(ROCM, devices=()), {"GPU visible to torch", "training on the GPU"}),
    ],
)
def test_what_of_amd_is_missing_is_named(build: TorchBuild, lacking: set[str], amd: Site, find: Find) -> None:
    emulated = load(None, {"bench": {"seeds": 1, "steps": 5}})
    assert missing(find(emulated, replace(amd, torch=build))) == lacking | {"provider"}
    assert missing(find(emulated, replace(amd, root=Path("/nowhere")))) == {"amdgpu driver", "provider"}


def test_an_emulated_endpoint_is_no_device_whatever_stands_beside_it(
    endpoint: IbmEndpoint, settings: Settings, amd: Site, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing(find(settings, amd)) == {"real device"}
    monkeypatch.setattr(ibm_cloud, "EMULATED_PLAN", "another")
    by_address = find(settings.model_copy(update={"quantum": spending(settings, 100.0)}), amd)
    assert missing(by_address) == {"real device"}
    assert by_address.emulated


def test_an_instance_without_usage_stops_even_a_dry_run(
    endpoint: IbmEndpoint, settings: Settings, amd: Site, find: Find
) -> None:
    endpoint.fault("exhausted")
    try:
        stopped = find(settings, amd)
    finally:
        endpoint.heal()
    assert {piece.name for piece in stopped.stopping} == missing(stopped)
    assert missing(stopped) & {"takes jobs", "usage left"}


@pytest.mark.usefixtures("real")
def test_a_real_qpu_is_asked_for_with_its_price_and_never_for_a_dry_run(
    endpoint: IbmEndpoint, settings: Settings, amd: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotclock.app.site.Site", lambda: amd)
    job, heard = MainJob(tmp_path / "run", False, "wall", None), list[str]()
    paid = settings.model_copy(update={"quantum": spending(settings, 100.0)})
    console = Console(file=(tmp_path / "table").open("w"))

    ready, setup = command.admit(paid, job, False, heard.append, console)
    assert len(heard) == 1
    assert "3 calls" in heard[0]
    assert "USD" in heard[0]
    assert ready.bench.workload == "shotclock.app.on_gpu:digits_quantized"
    assert setup.surroundings["hardware"] == hardware.HARDWARE
    assert json.loads(setup.beside["hardware.json"])["hardware"] is True

    with pytest.raises(SettingsError, match="real and would be paid"):
        command.admit(paid, job, True, heard.append, console)
    tight = paid.model_copy(update={"quantum": spending(settings, 0.3)})
    with pytest.raises(
        SettingsError, match=r"max_money_per_run: must be at least the expected .* USD per arm \(got 0\.3\)"
    ):
        command.admit(tight, job, False, heard.append, console)
    unpaid = paid.model_copy(update={"quantum": spending(settings, 0.0)})
    with pytest.raises(MachineError, match="missing: price"):
        command.admit(unpaid, job, False, heard.append, console)
    assert len(heard) == 1


def test_the_estimate_is_calls_times_metered_seconds_times_the_price(host: WallHost) -> None:
    three = {"arms": ("classical-only", "hybrid-public-cloud", "quantum-raw"), "seeds": 3, "steps": 150}
    flags = {"bench": three, "quantum": {"profile": "public-cloud"}, "cost": {"qpu_second": 2.0}}
    whole = hardware.expect_cost(host, load(None, flags), quick=False)
    quick = hardware.expect_cost(host, load(None, flags), quick=True)
    assert whole.calls == 2 * 3 * 30
    assert whole.money == pytest.approx(whole.qpu_s * 2.0)
    assert whole.qpu_s / whole.calls > 2.0  # loading a sub-job takes two seconds
    assert whole.at_least_s == whole.calls * 60 / 5  # five submits a minute
    assert quick.calls == 2 * 3 * 2
    assert quick.money / quick.calls == pytest.approx(whole.money / whole.calls)


def test_both_clients_tell_calibration_and_that_they_are_emulated(endpoint: IbmEndpoint) -> None:
    for provider in (endpoint.ibm(), endpoint.qrmi()):
        device = device_facts.identify(provider)
        assert (device.backend, bool(device.calibration)) == ("ibm_torino", True)
        assert "emulated" in device.unreal


def run_smoke(folder: Path, variables: dict[str, str], ci: Path = CI) -> subprocess.CompletedProcess[str]:
    """The smoke job as a runner starts it; IBM's variables are those given and no others."""
    theirs = ("QISKIT", "IAM", "QRMI")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    surroundings = {
        "PATH": f"{base_environment.scripts()}:{os.environ['PATH']}",  # as the nightly job installs it
        "XDG_STATE_HOME": str(folder / "state"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    return subprocess.run(
        [str(ci / "smoke"), str(folder / "smoke")],
        cwd=folder,
        env=bare | surroundings | variables,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_smoke_job_without_credentials_says_so_and_runs_emulated(tmp_path: Path) -> None:
    ran = run_smoke(tmp_path, {"QISKIT_IBM_TOKEN": ""})
    assert ran.returncode == 0, ran.stderr
    assert "::warning title=Hardware smoke::EMULATED: there are no IBM credentials" in ran.stdout
    text = (tmp_path / "summary.md").read_text()
    assert "no hardware was tested" in text
    assert "EMULATED: the smoke job ran, and its folder has no fault" in text
    assert json.loads((tmp_path / "smoke/run/summary.json").read_text())["emulated"] is True


def test_the_smoke_job_with_an_emulations_credentials_says_so_and_fails_where_it_is_slow(
    tmp_path: Path,
) -> None:
    ci = tmp_path / "ci"
    shutil.copytree(CI, ci)
    limits = (ci / "smoke.toml").read_text()
    assert "max = 20000" in limits
    (ci / "smoke.toml").write_text(limits.replace("max = 20000", "max = 1"))
    # At a QPU's own speed the emulation keeps its time: where it overruns, no threshold is decided.
    with start_endpoint(profile="public-cloud", speed=1.0) as endpoint:
        for attempt in range(3):  # on a busy machine it may
            folder = tmp_path / str(attempt)
            folder.mkdir()
            ran = run_smoke(folder, endpoint.environment, ci)
            if "the emulation computed for longer" not in ran.stdout:
                break
    assert ran.returncode == 99, ran.stdout + ran.stderr
    assert "these credentials lead to an emulated endpoint" in ran.stdout
    assert "::error title=Hardware smoke::latency or queueing" in ran.stdout
    assert not list(tmp_path.rglob("endpoint.txt"))
