"""Reading a tree from elsewhere: within limits, and with a reason for whatever is not read."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies

from amd_tree import amd_host
from shotclock.placement.accelerators.discover import read_accelerators
from shotclock.placement.tree import MOST_BYTES, MOST_NAMES, MOST_STUCK, Tree
from shotclock.placement.values import Absent, describe, parse_fields, parse_integer, parse_text, pick_integer


def why(value: object) -> str:
    assert isinstance(value, Absent), value
    return value.because


def make_socket(path: Path) -> None:
    """By the folder's descriptor: the path of a test's folder is too long for an address."""
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is not a regular file"),
    "socket": (make_socket, "is not a regular file"),
    "folder": (Path.mkdir, "is not a regular file"),
    "loop": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "link out of the tree": (lambda path: path.symlink_to("/etc/hostname"), "leaves the tree"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "leaves the tree"),
    "huge file": (make_huge, f"has more than {MOST_BYTES} bytes"),
    "binary": (lambda path: path.write_bytes(b"\x00\x01\x02"), "is not text"),
    "bytes that are not UTF-8": (lambda path: path.write_bytes(b"12\xff"), "is not text"),
    "terminal control": (lambda path: path.write_bytes(b"\x1b[31mred"), "is not text"),
    "nothing": (lambda path: None, "No such file"),
}


TEXT = strategies.binary(max_size=30).map(lambda content: content.decode("latin-1"))
"""Of 256 characters: preparing all of Unicode's takes seconds."""


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_read_is_absent_with_its_reason(tmp_path: Path, kind: str) -> None:
    make, reason = HOSTILE[kind]
    make(tmp_path / "file")
    because = why(Tree(tmp_path).integer("file"))
    assert because.startswith("/file: ")
    assert reason in because


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_device_with_hostile_files_is_listed_with_the_others_figures(tmp_path: Path, kind: str) -> None:
    """Each file and folder of the device in turn is replaced, and no reader raises."""
    make, _ = HOSTILE[kind]
    amd_host(tmp_path)
    device = tmp_path / "sys/devices/pci0000:00/0000:00:00.0"
    (device / "mem_info_vram_total").unlink()
    make(device / "mem_info_vram_total")
    for name in ("ras", "hwmon", "unique_id", "driver"):
        make(device / name)
    (accelerator,) = read_accelerators(Tree(tmp_path))
    assert why(accelerator.memory_total_bytes)
    assert accelerator.device.vbios == "113-M3000100-102"


def test_the_kernel_s_refusals_are_reasons(tmp_path: Path) -> None:
    """Real ones: a file that may only be written, even by root, and memory that cannot be read."""
    tree = Tree(Path("/proc"))
    assert "Permission denied" in why(tree.text("sys/vm/compact_memory"))
    assert "Input/output error" in why(tree.text("self/mem"))


@pytest.mark.parametrize("code", ["ENXIO", "EINVAL", "ENODEV", "EAGAIN"])
def test_a_driver_s_refusal_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """No file of a folder refuses so; those of an idle or absent device do."""
    import errno

    number = getattr(errno, code)

    def refuse(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    (tmp_path / "speed").write_text("1000\n")
    monkeypatch.setattr(os, "read", refuse)
    assert why(Tree(tmp_path).integer("speed")) == f"/speed: {os.strerror(number)}"


def test_a_read_that_does_not_end_is_abandoned_and_so_is_the_tree_after_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pcie_bw", "vendor"):
        (tmp_path / name).write_text("1\n")
    ended = threading.Event()
    read = os.read

    def hang(descriptor: int, size: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "pcie_bw":
            ended.wait()
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", hang)
    before = set(threading.enumerate())
    tree = Tree(tmp_path, wait_s=0.01)
    try:
        assert why(tree.integer("pcie_bw")) == "/pcie_bw: did not answer within 0.01 s"
        for _ in range(MOST_STUCK - 1):
            tree.integer("pcie_bw")
        assert "4 earlier reads have not ended" in why(tree.integer("vendor"))
    finally:
        ended.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert Tree(tmp_path).integer("vendor") == 1
    assert "4 earlier reads" not in str(tree.integer("vendor"))


def test_the_thread_of_a_tree_ends_with_it(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    tree = Tree(tmp_path)
    tree.text("file")
    (reader,) = set(threading.enumerate()) - before
    del tree
    reader.join(10)
    assert not reader.is_alive()


def test_links_inside_the_tree_are_followed(tmp_path: Path) -> None:
    (tmp_path / "devices/gpu").mkdir(parents=True)
    (tmp_path / "devices/gpu/vendor").write_text("0x1002\n")
    (tmp_path / "card0").symlink_to("devices/gpu")
    tree = Tree(tmp_path)
    assert tree.integer("card0/vendor") == 0x1002
    assert tree.resolve("card0") == "devices/gpu"


def test_names_are_matched_wholly_and_sorted_by_number(tmp_path: Path) -> None:
    for name in ("mem10", "mem2", "pmem0", "mem2.0", "memory", "root0"):
        (tmp_path / name).touch()
    assert Tree(tmp_path).names("", r"mem[0-9]+") == ("mem2", "mem10")
    assert Tree(tmp_path).names("missing", r".*") == ()


def test_a_folder_of_any_size_is_listed_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_NAMES > 64 * 64
    monkeypatch.setattr("shotclock.placement.tree.MOST_NAMES", 3)
    for number in range(5):
        (tmp_path / f"mem{number}").touch()
    assert len(Tree(tmp_path).names("", r"mem[0-9]+")) == 3


@given(TEXT)
def test_any_text_is_a_number_that_is_not_negative_or_absent(text: str) -> None:
    value = parse_integer(text)
    assert isinstance(value, Absent) or 0 <= value < 2**64 - 1
    parse_text(text)
    assert all(name and not name.isspace() for name in parse_fields(text) if name)


@given(strategies.dictionaries(strategies.sampled_from(["type", "flags", "hive_id"]), TEXT))
def test_fields_of_any_value_are_numbers_or_absent(pairs: dict[str, str]) -> None:
    fields = parse_fields("\n".join(f"{name} {value}" for name, value in pairs.items()))
    for name in (*pairs, "missing"):
        value = pick_integer(fields, name)
        assert isinstance(value, Absent) or 0 <= value < 2**64 - 1


@given(strategies.integers(0, 2**64 - 2))
def test_a_number_is_read_in_both_bases(number: int) -> None:
    unknown = number in {0xFFFF, 0xFFFFFFFF}
    assert parse_integer(f"{number:#x}\n") == number or unknown
    assert parse_integer(f" {number}") == number or number == 0xFFFFFFFF


def test_a_record_is_described_with_its_reasons_apart(tmp_path: Path) -> None:
    amd_host(tmp_path)
    (accelerator,) = read_accelerators(Tree(tmp_path))
    description = describe(accelerator)
    assert isinstance(description, dict)
    assert description["memory_total_bytes"] == 206_141_652_992
    assert "memory_used_bytes" not in description
    assert "No such file" in description["absent"]["memory_used_bytes"]
