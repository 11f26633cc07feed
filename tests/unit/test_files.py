"""Writing follows no link and leaves whole files; reading ends at a limit."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import shotclock
from shotclock.bench.history.store import History
from shotclock.bench.report.kit.sheet import draw_all
from shotclock.domain import files
from shotclock.domain.errors import MachineError
from shotclock.domain.outcome import Decision, Winner
from shotclock.training.audit import AuditEntry, AuditFile

SOURCES = Path(shotclock.__file__).parent
WRITING = {
    "write_text",
    "write_bytes",
    "mkstemp",
    "mkdtemp",
    "NamedTemporaryFile",
    "TemporaryFile",
    "symlink_to",
}
OTHERS = {
    ("cli/__init__.py", "mkdtemp"),  # of a working directory that was deleted
    ("app/doctor.py", "NamedTemporaryFile"),  # under a unique name
    ("orchestrator/ledger/file.py", "open"),  # with O_NOFOLLOW
}


def calls_that_write(path: Path) -> set[str]:
    """Names of the calls in a module that write a file by a name, in some way."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [
            arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
        ]
        on_files = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "files"
        if name in WRITING and not on_files:
            names.add(name)
        if name == "open" and any(len(mode) <= 3 and set(mode) & set("wax+") for mode in modes):
            names.add(name)
    return names


def test_every_writer_goes_through_one_module() -> None:
    writers = {
        (str(path.relative_to(SOURCES)), name)
        for path in SOURCES.rglob("*.py")
        if path != SOURCES / "domain" / "files.py"
        for name in calls_that_write(path)
    }
    assert writers == OTHERS


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file of the user's, to which `link` leads."""
    file = tmp_path / "secret"
    file.write_text("kept", encoding="utf-8")
    (tmp_path / "link").symlink_to(file)
    return file


def test_a_link_is_replaced_and_its_target_kept(target: Path, tmp_path: Path) -> None:
    files.write_text(tmp_path / "link", "new")
    with files.create(tmp_path / "other") as file:
        file.write(b"log")
    (tmp_path / "other").unlink()
    (tmp_path / "other").symlink_to(target)
    with files.create(tmp_path / "other") as file:
        file.write(b"log")
    assert target.read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text(encoding="utf-8") == "new"
    assert (tmp_path / "other").read_bytes() == b"log"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "other", "secret"]


def test_a_link_is_neither_appended_to_nor_taken_as_a_folder(target: Path, tmp_path: Path) -> None:
    entry = AuditEntry("a", Decision.APPLIED, Winner.CLASSICAL, 0, 0, 1)
    with pytest.raises(MachineError, match="is a symbolic link; remove it"):
        AuditFile(tmp_path / "link").append(entry)
    with pytest.raises(MachineError, match="is a symbolic link; name the file"):
        History(tmp_path / "link")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "charts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a symbolic link; remove it"):
        draw_all([], tmp_path)
    assert target.read_text(encoding="utf-8") == "kept"
    assert not any((tmp_path / "elsewhere").iterdir())


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    files.write_text(path, "old")

    def fail() -> None:
        with files.replace(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_the_umasks_and_stay(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "new", "")
        with files.replace(tmp_path / "private", mode=0o600) as file:
            file.write(b"1")
    finally:
        os.umask(before)
    files.write_text(tmp_path / "private", "2")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == {"new": "0o640", "private": "0o600"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("pipe", "device", "."):
        with pytest.raises(OSError, match=r"is not a regular file|is a link to something else"):
            files.write_text(tmp_path / name, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device", "pipe"]


def test_reading_ends_at_its_limit(tmp_path: Path) -> None:
    (tmp_path / "four").write_bytes(b"1234")
    os.mkfifo(tmp_path / "pipe")
    assert files.read_bytes(tmp_path / "four", 4) == b"1234"
    with pytest.raises(OSError, match="the most that is read"):
        files.read_bytes(tmp_path / "four", 3)
    with pytest.raises(OSError, match="the most that is read"):
        files.read_bytes(Path("/dev/zero"), 100)
    with pytest.raises(OSError, match="is not a regular file"):
        files.read_regular(tmp_path / "pipe", 100)
    with pytest.raises(OSError, match="No such file"):
        files.read_regular(tmp_path / "none", 100)
