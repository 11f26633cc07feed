"""Versions of drivers and firmware against those that a person acknowledged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shotclock.domain.errors import ShotclockError
from shotclock.placement.components import (
    Change,
    Component,
    Record,
    find_changes,
    needs_acknowledgement,
    read_record,
    write_record,
)
from shotclock.placement.topology import read_host
from shotclock.placement.tree import Tree
from topology_trees import build

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)


def components_of(root: Path) -> tuple[Component, ...]:
    return read_host(Tree(root)).host.components


def test_drivers_and_firmware_have_their_versions(tmp_path: Path) -> None:
    versions = {component.key: str(component) for component in components_of(build("rdma", tmp_path))}
    assert versions == {
        "kernel": "6.12.0-1-amd64",
        "bnxt_re": "233.0.152.2, srcversion AA01BB02CC",
        "mlx5_core": "srcversion 5A2C9B0E1F",
        "mlx5_ib": "srcversion 7C1D2E3F40",
        "rdma_rxe": "srcversion 0C0D0E0F10",
        "bnxt_en.firmware 0000:81:00.0": "229.2.52.0",
        "mlx5_core.firmware 0000:c1:00.0": "28.39.1002",
    }


def test_a_swapped_driver_and_firmware_are_changes_until_they_are_acknowledged(tmp_path: Path) -> None:
    root, file = build("ualink", tmp_path / "tree"), tmp_path / "state" / "components.json"
    assert read_record(file) is None
    write_record(file, components_of(root), AT)
    record = read_record(file)
    assert record is not None
    assert record.at == "2026-11-30T09:00:00+00:00"
    assert find_changes(record, components_of(root)) == ()
    (root / "sys/module/ifoe/srcversion").write_text("00000F\n")
    (root / "sys/bus/pci/devices/0000:05:00.0/fw_version/smc_fw_version").write_text("0x00556001\n")
    (root / "sys/module/amdgpu/version").unlink()
    changes = find_changes(record, components_of(root))
    assert [str(change) for change in changes] == [
        "amdgpu changed from 6.12.12, srcversion 533BB7E to srcversion 533BB7E",
        "amdgpu.smc 0000:05:00.0 changed from 0x00556000 to 0x00556001",
        "ifoe changed from 1.4.0, srcversion 9F3C2B1 to 1.4.0, srcversion 00000F",
    ]
    write_record(file, components_of(root), AT)
    record = read_record(file)
    assert record is not None
    assert find_changes(record, components_of(root)) == ()


def test_what_is_not_reported_any_more_brings_no_version_to_acknowledge() -> None:
    record = Record("", {"amdgpu": "1", "ionic": "1"})
    components = [Component("amdgpu", "", "2"), Component("ifoe", "", "1"), Component("x", "", "")]
    changes = find_changes(record, components)
    assert changes == (Change("amdgpu", "1", "2"), Change("ifoe", "", "1"), Change("ionic", "1", ""))
    assert [change.component for change in needs_acknowledgement(changes)] == ["amdgpu", "ifoe"]
    assert str(changes[1]) == "ifoe is new (1)"
    assert str(changes[2]) == "ionic is not reported any more (was 1)"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "[" * 100_000, '{"schema": 1}'),
        '{"schema": 2, "components": {}, "acknowledged_at": ""}',
        '{"schema": 1, "acknowledged_at": "", "components": {"a": 1}}',
    ],
)
def test_a_file_that_is_not_a_record_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "components.json"
    file.write_text(text)
    with pytest.raises(ShotclockError, match=r"components\.json: is not a record .*acknowledge"):
        read_record(file)


def test_a_record_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ShotclockError, match="cannot be written"):
        write_record(tmp_path / "file" / "components.json", [], AT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ShotclockError, match="cannot be read"):
        read_record(tmp_path / "folder")
