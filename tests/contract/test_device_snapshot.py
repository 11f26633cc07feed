"""`shotclock profile snapshot` against `shotclock emulate`, and the device that it writes."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from ibm_endpoint import start_endpoint
from shotclock.circuits import line_sets
from shotclock.circuits.templates import compile_template
from shotclock.cli.profile import profile
from shotclock.domain.errors import SettingsError
from shotclock.emulator import device
from shotclock.emulator.rest import targets

SECRETS = ("emulated", "crn:", "token", "apikey")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device file of the emulated Boston."""
    folder = tmp_path_factory.mktemp("site")
    with start_endpoint("--device", "heron-boston", speed=100.0):
        arguments = ["snapshot", "--backend", "ibm_boston", "--out", str(folder / "lab.toml")]
        result = CliRunner().invoke(profile, [*arguments, "--json"], catch_exceptions=False)
        assert json.loads(result.output)["backend"] == "ibm_boston"
        with pytest.raises(SettingsError, match="no back end 'ibm_bostn'; it has: ibm_boston") as caught:
            CliRunner().invoke(profile, ["snapshot", "--backend", "ibm_bostn"], catch_exceptions=False)
        assert "\n" not in str(caught.value)
    return folder / "lab.toml"


def test_a_sites_device_is_the_one_that_was_read(written: Path) -> None:
    site, boston = device.describe(str(written)), device.describe("fake:FakeBoston")
    assert (
        replace(site, name=boston.name, components=boston.components, calibration_id=boston.calibration_id)
        == boston
    )
    tags = {named.name: named.figure.tag for named in site.components}
    assert (tags["device.reset"], tags["device.efficiency"]) == ("published", "published")
    assert (tags["device.lanes"], tags["device.noise.base"]) == ("assumed", "assumed")
    assert targets.target_of(str(written)).num_qubits == 156


def test_templates_compile_for_it_and_its_line_sets_are_stored(written: Path, tmp_path: Path) -> None:
    template = compile_template(3, str(written), device.target)
    assert template.duration_s == pytest.approx(
        compile_template(3, "heron-boston", device.target, line=template.line).duration_s
    )
    assert line_sets.path_of(tmp_path, str(written), 3).parent == tmp_path


def test_nothing_of_the_account_is_written(written: Path) -> None:
    text = written.read_text("utf-8") + written.with_suffix(".json").read_text("utf-8")
    assert not [secret for secret in SECRETS if secret in text.lower()]
    assert sorted(path.name for path in written.parent.iterdir()) == ["lab.json", "lab.toml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": "absent.json"}, r"documents .*absent\.json: .*No such file"),
        ({"documents": "../lab.json"}, "documents must be the name of a file in the same folder"),
        ({"fake_backend": "FakeBoston"}, "needs either fake_backend or documents"),
        ({"documents": "broken.json"}, r"broken\.json: is not valid JSON"),
        ({"documents": "empty.json"}, r"empty\.json: must be an object with `configuration`"),
        ({"documents": "wrong.json"}, r"wrong\.json: not a back end's configuration and properties"),
        ({"lanes": {"value": 5}}, r"lanes\.unit: Field required"),
    ],
)
def test_a_damaged_device_file_is_refused_in_one_line(
    written: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    (tmp_path / "broken.json").write_text("{", "utf-8")
    (tmp_path / "empty.json").write_text("{}", "utf-8")
    (tmp_path / "wrong.json").write_text('{"configuration": {}, "properties": {}}', "utf-8")
    file = tmp_path / "lab.toml"
    file.write_text(tomli_w.dumps(tomllib.loads(written.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(SettingsError, match=message) as caught:
        device.describe(str(file))
    assert "\n" not in str(caught.value)


def test_a_new_snapshot_in_the_same_place_is_read_again(written: Path, tmp_path: Path) -> None:
    file, documents = tmp_path / "lab.toml", tmp_path / "lab.json"
    file.write_bytes(written.read_bytes())
    both = json.loads(written.with_suffix(".json").read_text("utf-8"))
    documents.write_text(json.dumps(both), "utf-8")
    assert device.describe(str(file)).clops_h == 340_000
    both["configuration"]["clops_h"] = 350_000
    documents.write_text(json.dumps(both), "utf-8")
    os.utime(documents, ns=(0, 1))
    assert device.describe(str(file)).clops_h == 350_000


def test_out_must_be_a_toml_file() -> None:
    with pytest.raises(SettingsError, match=r"--out lab\.json: must end in \.toml"):
        CliRunner().invoke(profile, ["snapshot", "--out", "lab.json"], catch_exceptions=False)
