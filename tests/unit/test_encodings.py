"""Text in any encoding: what we print, the files we read, names of files that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from shotclock.bench.history.store import History
from shotclock.bench.load import records
from shotclock.bench.load.circuit import CircuitFile
from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError
from shotclock.emulator import fit, profile
from shotclock.providers import credentials
from shotclock.settings import load

WORDS = "import sys; from shotclock.cli.streams import *; prepare_streams(); "
ODD = os.fsdecode(b"run-\xff")


def print_words(code: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", f"{WORDS}{code}"],
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("ascii", b"+ <= 200 u e ?"),
        ("latin-1", b"+ <= 200 \xb5 \xe9 ?"),
        ("cp1252", b"+ <= 200 \xb5 \xe9 ?"),
        ("utf-8", "✓ ≤ 200 µ é 界".encode()),
    ],
)
def test_a_character_that_an_encoding_lacks_is_printed_plainly(stream: str, expected: bytes) -> None:
    for how in ("print({0!r})", "import typer; typer.echo({0!r})", "print({0!r}, file=sys.stderr)"):
        ran = print_words(how.format("✓ ≤ 200 µ é 界"), PYTHONIOENCODING=stream)
        assert ran.returncode == 0, ran.stderr
        assert (ran.stdout + ran.stderr).rstrip() == expected


def test_json_reads_back_as_it_was_in_ascii() -> None:
    document = json.dumps({"limit": "≤ 200 µs 😀"}, ensure_ascii=False)
    ran = print_words(f"echo_json({document!r})", PYTHONIOENCODING="ascii")
    assert json.loads(ran.stdout.decode("ascii")) == {"limit": "≤ 200 µs 😀"}


def test_a_name_that_is_not_utf8_is_printed_as_it_is() -> None:
    assert print_words(f"print({ODD!r})", PYTHONIOENCODING="utf-8").stdout.rstrip() == b"run-\xff"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_settings_may_have_a_byte_order_mark_and_windows_line_ends(
    mark: bytes, end: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(mark + end.join([b"schema = 1", b"[bench]", b"seeds = 3", b""]))
    assert load(file, {}).bench.seeds == 3


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(codec: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes("schema = 1\n".encode(codec))
    with pytest.raises(SettingsError, match=r"is UTF-16 text.*save it as UTF-8"):
        load(file, {})


def test_a_circuit_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "bell.qasm"
    file.write_bytes(b"\xef\xbb\xbfOPENQASM 3.0;\r\n")
    assert CircuitFile.read(file, [], 1).spec.source == "OPENQASM 3.0;\n"
    file.write_bytes("OPENQASM 3.0;".encode("utf-16"))
    with pytest.raises(SettingsError, match="is UTF-16 text"):
        CircuitFile.read(file, [], 1)


JOBS = "\n".join(
    [
        "created,running,finished,usage_s",
        *(
            f"2026-11-01T00:{at:02}:00Z,2026-11-01T00:{at:02}:05Z,2026-11-01T00:{at:02}:09Z,2"
            for at in range(20)
        ),
    ]
)
PROFILE = (resources.files("shotclock.emulator") / "profiles" / "colocated.toml").read_text("utf-8")
KEY = '{\n"apikey": "abcd1234"}\n'
FILES: dict[str, tuple[str, Callable[[Path], object], object]] = {
    "job-records": (JOBS, lambda file: len(fit.read(file)), 20),
    "profile.toml": (PROFILE, lambda file: profile.load(str(file)).name, "colocated"),
    "key": (KEY.split('"')[3] + "\n", lambda file: credentials.read(file).token.reveal(), "abcd1234"),
    "key.json": (KEY, lambda file: credentials.read(file).token.reveal(), "abcd1234"),
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_that_a_person_writes_may_come_from_windows(name: str, tmp_path: Path) -> None:
    text, read, expected = FILES[name]
    file = tmp_path / name
    file.touch(0o600)
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + text.replace("\n", "\r\n").encode())
        assert read(file) == expected
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        file.write_bytes(text.encode(codec))
        with pytest.raises(SettingsError, match=r"is UTF-16 text.*save it as UTF-8") as refused:
            read(file)
        assert "\n" not in str(refused.value)
        assert "abcd1234" not in str(refused.value)


def test_rows_and_history_are_kept_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    records.write([], folder / "calls.parquet")
    assert records.read(folder / "calls.parquet") == []
    History(folder / f"{ODD}.db").__exit__(None, None, None)
    assert {os.fsencode(file.name) for file in folder.iterdir()} == {b"calls.parquet", b"run-\xff.db"}
    assert encoding.show_path(ODD) == "run-\\xff"
