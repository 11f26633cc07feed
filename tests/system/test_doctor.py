"""`shotclock doctor --provider NAME`: what it finds, what it advises, and that it submits nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from certificates import SERVER, Site
from ibm_endpoint import TOKEN, IbmEndpoint, start_endpoint
from shotclock.app.doctor import Check, environment
from shotclock.cli.doctor import doctor
from shotclock.providers import ibm, qrmi, registry
from shotclock.settings import PlacementSettings, Settings
from tampering import NONSENSE, tampering
from topology_trees import build

Ran = tuple[int, Any]
Doctor = Callable[..., Ran]
CODES = {"environment": 3, "well": 0}

RAISING = """
from shotclock.providers.scripted import ScriptedProvider


class Raising(ScriptedProvider):
    async def ping(self):
        raise KeyError("status")
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint(profile="public-cloud", speed=1.0) as started:
        yield started


@pytest.fixture
def run_doctor(
    endpoint: IbmEndpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Doctor:
    """Runs the command in this process; exit code and its document. Nothing of it may show the key."""
    endpoint.heal()
    builds: dict[str, Any] = {"ibm": ibm.build, "qrmi": qrmi.build}
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: builds.get(name) or load(name))
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(doctor)

    def ran(settings: str, *arguments: str) -> Ran:
        file = tmp_path / "settings.toml"
        file.write_text(settings)
        monkeypatch.setattr(sys, "argv", ["doctor", "--config", str(file), "--json", *arguments])
        with pytest.raises(SystemExit) as ended:
            app()
        out, err = capsys.readouterr()
        assert TOKEN not in out + err
        return int(ended.value.code or 0), json.loads(out)

    return ran


def check(document: Any, name: str) -> Any:
    (check_found,) = [check for check in document["checks"] if check["name"] == name]
    return check_found


def test_all_is_well_and_nothing_was_submitted(run_doctor: Doctor, endpoint: IbmEndpoint) -> None:
    code, document = run_doctor("[quantum]\nprofile = 'public-cloud'", "--provider", "ibm")
    assert code == CODES["well"], document
    assert document["ok"]
    assert "ibm_torino (EMULATED)" in check(document, "reachable")["said"]
    assert "5 submits a minute" in check(document, "limits")["said"]
    assert endpoint.account["charges"] == []


def test_a_price_is_shown_before_anything_is_paid(run_doctor: Doctor) -> None:
    settings = (
        "[quantum]\nprofile = 'public-cloud'\nshots = 1000\nmax_money_per_run = {}\n[cost]\nqpu_second = 1.6"
    )
    code, document = run_doctor(settings.format(100.0), "--provider", "ibm")
    assert code == CODES["well"], document
    # 2 s of loading and 1,000 shots of some 250 us, at the device's efficiency
    assert 2.3 < float(check(document, "price")["said"].split()[0]) < 2.7
    code, document = run_doctor(settings.format(1.0), "--provider", "ibm")
    assert code == CODES["environment"]
    assert "max_money_per_run" in check(document, "price")["fix"]


@pytest.mark.parametrize(
    ("fault", "failing"), [("maintenance", "reachable"), ("exhausted", "usage left"), ("401/1", "reachable")]
)
def test_each_failure_has_its_fix(
    fault: str, failing: str, run_doctor: Doctor, endpoint: IbmEndpoint
) -> None:
    endpoint.fault(fault)
    code, document = run_doctor("", "--provider", "ibm")
    assert code == CODES["environment"]
    assert not document["ok"]
    assert not check(document, failing)["ok"]
    assert all(check["fix"] for check in document["checks"] if not check["ok"])
    assert all("\n" not in check["said"] for check in document["checks"])


@pytest.mark.parametrize("what", NONSENSE)
def test_answers_that_make_no_sense_are_a_line_each(
    what: str, run_doctor: Doctor, endpoint: IbmEndpoint
) -> None:
    reads = ["/backends$", "/backends/[^/]+/configuration$", "/backends/[^/]+/status$", "/instances/usage$"]
    # every other one of them, so that each read has answers of three kinds or four
    for read in reads[list(NONSENSE).index(what) % 2 :: 2]:
        with tampering(endpoint) as proxy:
            proxy.answer(f"GET {read}", NONSENSE[what])
            code, document = run_doctor("", "--provider", "ibm")
        failed = [check for check in document["checks"] if not check["ok"]]
        assert code == CODES["environment" if failed else "well"]
        assert all("\n" not in check["said"] and check["fix"] for check in failed)
        # an empty document is a usage of which nothing is reported
        assert failed or (what, read) == ("empty", "/instances/usage$")


def test_a_provider_that_raises_anything_is_a_line(
    run_doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_provider.py").write_text(RAISING)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, document = run_doctor("", "--provider", "raising_provider:Raising")
    assert code == CODES["environment"]
    assert "KeyError: 'status'" in check(document, "takes jobs")["said"]


def test_qrmi_outside_an_allocation_says_how_to_get_one(run_doctor: Doctor) -> None:
    code, document = run_doctor("", "--provider", "qrmi")
    assert code == CODES["environment"]
    assert "--qpu" in check(document, "reachable")["said"]


def test_a_sampler_of_ones_own_is_reachable(run_doctor: Doctor) -> None:
    code, document = run_doctor("", "--provider", "qiskit.primitives:StatevectorSampler")
    assert code == CODES["well"], document
    code, document = run_doctor("", "--provider", "decimal:Decimal")
    assert code == CODES["environment"]
    assert "must return a Provider" in check(document, "reachable")["said"]


def test_a_hosts_health_is_shown_with_what_follows(
    tmp_path: Path, shared_machine: Callable[[str], Path]
) -> None:
    def find(root: Path, **actions: Any) -> dict[str, Check]:
        record = str(tmp_path / "components.json")
        placement = PlacementSettings(root=str(root), acknowledged=record, **actions)
        return {each.name: each for each in environment(Settings(placement=placement))}

    assert find(shared_machine("cpu"))["host"] == Check("host", True, "nothing wrong is known")
    root = build("ualink", tmp_path / "tree")
    (root / "sys/bus/pci/devices/0000:25:00.0/ras/features").write_text("feature mask: 0x3e\n")
    text = "0000:25:00.0: ECC of HBM is off; errors of memory are not seen"
    fix = "enable ECC and load the driver again"
    for action, ok in (("degrade", True), ("refuse", False)):
        key = "placement.on_ecc_off"
        assert find(root, on_ecc_off=action)[key] == Check(key, ok, f"{text}: {action}", fix)
    assert "never acknowledged in" in find(root, on_change="refuse")["placement.on_change"].said
    assert not find(tmp_path / "missing")["placement.root"].ok
    others = find(shared_machine("cxl"))["host"]
    assert (others.ok, others.fix) == (True, "see `shotclock topology`")
    assert others.said.startswith("1 problem: CXL pci:0000:36:00.0: the memory of dax1.0")


def test_a_template_store_that_cannot_be_written_is_a_warning(run_doctor: Doctor) -> None:
    code, document = run_doctor("[circuits]\ntemplate_store = '/proc/none'", "--provider", "emulated")
    check_found = check(document, "template store")
    assert (code, document["ok"], check_found["ok"]) == (CODES["well"], True, True)
    assert "/proc/none: cannot be written: " in check_found["said"]
    assert "circuits.template_store" in check_found["fix"]


@pytest.mark.parametrize(
    ("hours", "code", "ok", "says"),
    [((-1, 24), 0, True, "valid"), ((-23, 1), 0, True, "expires on"), ((-9, -1), 3, False, "expired on")],
)
def test_the_services_certificate_is_checked(
    hours: tuple[int, int], code: int, ok: bool, says: str, run_doctor: Doctor, tmp_path: Path
) -> None:
    files = Site.at(tmp_path).issue(SERVER, hours=hours)
    settings = (
        f'[serve]\ncertificate = "{files.certificate}"\nprivate_key = "{files.private_key}"\n'
        f'authorities = "{files.authorities}"'
    )
    ended, document = run_doctor(settings, "--provider", "emulated")
    check_found = check(document, "certificate")
    assert (ended, check_found["ok"]) == (code, ok)
    assert f"{files.certificate}: {says}" in check_found["said"]
    assert (check_found["fix"] == "") == (says == "valid")
