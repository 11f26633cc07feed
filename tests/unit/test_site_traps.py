"""The doctor finds what a site set up so that it fails or costs without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shotclock.app.doctor import environment
from shotclock.app.site_traps import find_traps
from shotclock.settings import load

ENDPOINT = {"ibm_torino_QRMI_IBM_QCS_ENDPOINT": "https://example.invalid"}


def names(root: Path, words: dict[str, str], backend: str = "ibm_torino") -> list[str]:
    return [trap.name for trap in find_traps(words, root, backend)]


def configure(root: Path, content: str, path: str = "etc/slurm/qrmi_config.json") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def test_old_names_are_found_unless_the_new_ones_are_set_too(tmp_path: Path) -> None:
    old = {"ibm_torino_QRMI_IBM_QRS_IAM_APIKEY": "secret", "QRMI_IBM_QRS_ENDPOINT": "x"}
    (trap,) = find_traps(old, tmp_path, "")
    assert "QRMI_IBM_QRS_ENDPOINT, ibm_torino_QRMI_IBM_QRS_IAM_APIKEY" in trap.details
    assert "secret" not in trap.details
    assert names(tmp_path, old | {name.replace("QRS", "QCS"): "" for name in old}, "") == []


def test_a_qpu_that_the_plugin_would_ignore_is_found(tmp_path: Path) -> None:
    assert names(tmp_path, {}) == []  # no plugin
    configure(tmp_path, json.dumps({"resources": [{"name": "ibm_fez", "type": "x"}]}))
    (trap,) = find_traps({}, tmp_path, "ibm_torino")
    assert "has no 'ibm_torino' (it has ibm_fez): --qpu=ibm_torino is ignored" in trap.details
    assert names(tmp_path, {}, "ibm_fez") == []
    configure(tmp_path, "optional /usr/lib/spank_qrmi.so /opt/qrmi.json\n", "etc/slurm/plugstack.conf")
    configure(tmp_path, json.dumps({"resources": [{"name": "ibm_torino"}]}), "opt/qrmi.json")
    assert names(tmp_path, {}) == []


@pytest.mark.parametrize("content", ["", "[" * 99_999, "[]", '{"resources": [1]}', "\udcff"])
def test_a_configuration_that_cannot_be_read_is_a_trap_and_no_crash(tmp_path: Path, content: str) -> None:
    path = tmp_path / "etc/slurm/qrmi_config.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert names(tmp_path, {}) == ["QRMI configuration"]


@pytest.mark.parametrize(
    ("mode", "ttl", "is_trap"),
    [
        ("", "", True),
        ("dedicated", "28800", True),
        ("dedicated", "nan", True),
        ("dedicated", "soon", True),
        ("dedicated", "3600", False),
        ("batch", "", False),
    ],
)
def test_a_dedicated_session_of_eight_hours_is_found(
    tmp_path: Path, mode: str, ttl: str, is_trap: bool
) -> None:
    prefix = "ibm_torino_QRMI_IBM_QCS_SESSION"
    words = ENDPOINT | {f"{prefix}_MODE": mode, f"{prefix}_MAX_TTL": ttl}
    assert names(tmp_path, words) == (["QRMI session"] if is_trap else [])


def test_aer_without_the_gpu_of_an_amd_host_says_how_to_build_it(tmp_path: Path) -> None:
    (trap,) = find_traps({}, tmp_path, "", has_amd=True, list_aer_devices=lambda: ("CPU",))
    assert "AER_THRUST_BACKEND=ROCM" in trap.fix
    assert not [*find_traps({}, tmp_path, "", has_amd=True, list_aer_devices=lambda: ("CPU", "GPU"))]
    assert not [*find_traps({}, tmp_path, "", has_amd=True)]
    assert not [*find_traps({}, tmp_path, "", list_aer_devices=lambda: ("CPU",))]


def test_the_doctor_shows_them_as_warnings_with_their_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QRMI_IBM_QRS_ENDPOINT", "x")
    settings = load(None, {"placement": {"root": str(tmp_path)}})
    (check,) = [check for check in environment(settings) if check.name == "QRMI variables"]
    assert check.ok
    assert check.fix == "rename QRMI_IBM_QRS_ to QRMI_IBM_QCS_ in each"
