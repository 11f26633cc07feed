"""Templates on disk: they survive a restart, and a file that is not what it says is never used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shotclock.circuits import store
from shotclock.circuits.cache import Disk, ObtainedTemplate, TemplateSpec
from shotclock.circuits.store import TemplateStore, parse, serialise
from shotclock.circuits.templates import TemplateIdentity, identify
from shotclock.domain.circuit import Template
from shotclock.emulator import device

DEVICE = "heron-torino"
Spoil = Callable[[bytes], bytes]


def obtain(folder: Path | None, n: int = 3) -> ObtainedTemplate:
    return store.obtain(TemplateSpec(n), DEVICE, device.target, folder)


def identity_of(n: int = 3) -> TemplateIdentity:
    return identify(TemplateSpec(n), DEVICE, device.target(DEVICE))


def rewrite_header(content: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """The file with another header and a checksum that holds: a file someone made, not a torn one."""
    header, _, body = content.partition(b"\n")
    payload = body.partition(b"\n")[2]
    fields = json.loads(header)
    change(fields)
    header = json.dumps(fields).encode()
    return b"\n".join((header, hashlib.sha256(header + b"\n" + payload).hexdigest().encode(), payload))


def other_qiskit(fields: dict[str, object]) -> None:
    identity = fields["identity"]
    assert isinstance(identity, dict)
    identity["qiskit"] = "1.0.0"


def without_qpy(template: Template) -> Template:
    """Two compiles differ in the parameters' random ids, and so in their bytes."""
    return replace(template, qpy=b"")


def flip_byte(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def with_payload(content: bytes, payload: bytes) -> bytes:
    header = content.partition(b"\n")[0]
    return b"\n".join((header, hashlib.sha256(header + b"\n" + payload).hexdigest().encode(), payload))


SPOILED: list[tuple[Disk, Spoil]] = [
    (Disk.FORMAT, lambda content: b""),
    (Disk.FORMAT, lambda content: b"\xff\xfe" + content),
    (Disk.FORMAT, lambda content: b"[" * 100_000),
    (Disk.FORMAT, lambda content: b"[1, 2]\n"),
    (Disk.FORMAT, lambda content: rewrite_header(content, lambda fields: fields.update(format=2))),
    (
        Disk.FORMAT,
        lambda content: rewrite_header(content, lambda fields: fields.update(facts={"line": "all"})),
    ),
    (Disk.FORMAT, lambda content: rewrite_header(content, lambda fields: fields.pop("facts"))),
    (Disk.IDENTITY, lambda content: rewrite_header(content, other_qiskit)),
    (Disk.IDENTITY, lambda content: rewrite_header(content, lambda fields: fields.update(identity={}))),
    (Disk.QPY, lambda content: rewrite_header(content, lambda fields: fields.update(qpy=9))),
    (Disk.QPY, lambda content: with_payload(content, b"cos\nsystem\n(S'false'\ntR.")),
    (Disk.QPY, lambda content: with_payload(content, b"QISKIT\x01")),
    (Disk.DAMAGED, lambda content: content[:-1]),
    (Disk.DAMAGED, lambda content: content[: len(content) // 2]),
    (Disk.DAMAGED, lambda content: flip_byte(content, len(content) - 40)),
    (Disk.DAMAGED, lambda content: content.replace(b'"two_qubit_gates": 9', b'"two_qubit_gates": 8')),
    (Disk.DAMAGED, lambda content: content.partition(b"\n")[0]),
]


def test_a_template_survives_a_restart(tmp_path: Path) -> None:
    first, second = obtain(tmp_path), obtain(tmp_path)
    assert (first.disk, second.disk) == (Disk.ABSENT, Disk.LOADED)
    assert first.template == second.template
    assert first.calibration == second.calibration
    assert first.compile_s > 0.0 == second.compile_s
    assert obtain(tmp_path, n=4).disk is Disk.ABSENT
    assert obtain(None).disk is Disk.OFF


def test_a_file_can_be_read_by_a_person(tmp_path: Path) -> None:
    obtain(tmp_path)
    (file,) = tmp_path.iterdir()
    header = json.loads(file.read_bytes().splitlines()[0])
    assert header["identity"] == json.loads(identity_of().json)
    assert file.stem == identity_of().key


@pytest.mark.parametrize(("reason", "spoil"), SPOILED)
def test_a_spoiled_file_is_refused_for_its_reason_and_compiled_again(
    tmp_path: Path, reason: Disk, spoil: Spoil
) -> None:
    good = obtain(tmp_path)
    file = TemplateStore(tmp_path).path(identity_of())
    content = spoil(file.read_bytes())
    file.write_bytes(content)
    again = obtain(tmp_path)
    assert again.disk is reason
    assert reason.is_refused
    assert without_qpy(again.template) == without_qpy(good.template)
    assert file.with_suffix(".refused").read_bytes() == content
    assert obtain(tmp_path).disk is Disk.LOADED


def test_no_single_flipped_bit_gets_through(tmp_path: Path) -> None:
    template = obtain(None).template
    identity = identity_of()
    content = serialise(identity, template)
    assert parse(content, identity) == template
    for at in range(0, len(content), 7):
        assert isinstance(parse(flip_byte(content, at), identity), Disk), at


def test_a_file_that_cannot_be_read_or_written_is_reported_and_costs_only_a_compile(tmp_path: Path) -> None:
    TemplateStore(tmp_path).path(identity_of()).mkdir()
    assert obtain(tmp_path).disk is Disk.UNREADABLE
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    obtained = obtain(occupied)
    assert obtained.disk is Disk.UNWRITABLE
    assert isinstance(obtained.template, Template)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    template, identity = obtain(None).template, identity_of()
    TemplateStore(tmp_path).path(identity).mkdir()
    with pytest.raises(OSError, match=str(tmp_path)):
        TemplateStore(tmp_path).write(identity, template)
    assert [file.suffix for file in tmp_path.iterdir()] == [".template"]
