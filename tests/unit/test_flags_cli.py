"""`shotclock flags`: what is set is what a service reads; a mistake changes nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flag_files import NO_PROFILES
from shotclock.cli.flags import flags
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import FlagDecision, FlagRequest
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.file_source import FileSource
from shotclock.runtime.loop_thread import SystemClock


class Silent:
    def record_flag(self, flag: str, reason: str) -> None:
        """Not counted here."""


def run(path: Path, *words: str) -> dict[str, str]:
    ran = CliRunner().invoke(flags, [*words, "--file", str(path), "--json"])
    if ran.exception is not None:
        raise ran.exception
    settings: dict[str, str] = json.loads(ran.stdout)
    return settings


def decide(path: Path, kernel: str = "rounding", key: str = "a") -> FlagDecision:
    return DocumentFlags(FileSource(path), Silent(), lambda _: None, SystemClock(), NO_PROFILES).decide(
        FlagRequest(key, kernel, "trainer")
    )


@pytest.mark.parametrize(
    ("flag", "setting", "decision"),
    [
        ("quantum_path", "off", FlagDecision("quantum_path")),
        ("quantum_path", "on", FlagDecision()),
        ("quantum_share", "0", FlagDecision("quantum_share")),
        ("quantum_share", "100", FlagDecision()),
        ("quantum_kernels", "off:qat_flip,rounding", FlagDecision("quantum_kernels")),
        ("quantum_kernels", "off:qat_flip", FlagDecision()),
        ("quantum_clients", "off:trainer", FlagDecision("quantum_clients")),
        ("shots", "32", FlagDecision(most_shots=32)),
        ("shots", "any", FlagDecision()),
    ],
)
def test_what_is_set_is_shown_and_decides(
    flag: str, setting: str, decision: FlagDecision, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    assert run(path, "set", flag, setting)[flag] == setting
    assert run(path, "get")[flag] == setting
    assert decide(path) == decision


def test_setting_one_flag_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    run(path, "set", "quantum_share", "25")
    settings = run(path, "set", "shots", "64")
    assert Counter(settings.values()) == {"on": 3, "25": 1, "64": 1, "settings": 1}


@pytest.mark.parametrize(
    ("flag", "setting", "message"),
    [
        ("quantum_paht", "off", "is not a flag; use quantum_path"),
        ("quantum_path", "25", "quantum_path must be on or off"),
        ("quantum_share", "101", "from 0 to 100"),
        ("quantum_kernels", "off:a,,b", "off:NAME,NAME"),
        ("shots", "0", "from 1 on"),
        ("profile", "public", "flags set: profile must be one of colocated, onprem-today, public-cloud"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    flag: str, setting: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    with pytest.raises(SettingsError, match=message):
        run(path, "set", flag, setting)
    assert not path.exists()


def test_a_profile_is_set_beside_its_settings_and_refused_for_another_provider(tmp_path: Path) -> None:
    path, config = tmp_path / "flags.json", tmp_path / "settings.toml"
    config.write_text("[quantum]\nprovider = 'aer'\n")
    with pytest.raises(SettingsError, match=r"flags set: profile needs quantum\.provider = 'emulated'"):
        run(path, "set", "profile", "colocated", "--config", str(config))
    assert not path.exists()
    assert run(path, "set", "profile", "colocated")["profile"] == "colocated"
    assert run(path, "set", "profile", "settings", "--config", str(config))["profile"] == "settings"


def test_a_file_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_text("{")
    with pytest.raises(SettingsError, match="is not valid JSON"):
        run(path, "set", "shots", "64")
    assert path.read_text() == "{"


def test_the_commands_of_the_docs_write_the_file_of_the_docs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text("utf-8")
    path = tmp_path / "flags.json"
    for line in re.findall(r"^\$ shotclock flags (set .*) --file flags.json$", page, re.MULTILINE):
        run(path, *line.split())
    assert json.loads(path.read_text()) == json.loads(page.split("```json\n")[1].split("```")[0])
