"""What a host says of the ways its payloads could take."""

from __future__ import annotations

from pathlib import Path

import pytest

from shotclock.placement.same_host import CXL_DEVICES, RDMA_DEVICES, same_host


def describe(root: Path) -> dict[str, str]:
    return {fabric.name: str(fabric) for fabric in same_host(root)}


def test_a_host_without_special_fabrics_says_what_it_lacks(tmp_path: Path) -> None:
    by_name = describe(tmp_path)
    assert by_name["RDMA"] == "unavailable, because this host has no RDMA device"
    assert by_name["CXL"] == "unavailable, because this host has no CXL device"
    assert by_name["in process"].startswith("available, because")


@pytest.mark.parametrize(("name", "folder"), [("RDMA", RDMA_DEVICES), ("CXL", CXL_DEVICES)])
def test_a_host_with_one_says_why_it_is_not_taken(tmp_path: Path, name: str, folder: Path) -> None:
    bare = describe(tmp_path)[name]
    (tmp_path / folder).mkdir(parents=True)
    assert describe(tmp_path)[name] == bare
    (tmp_path / folder / "mlx5_0").mkdir()
    assert describe(tmp_path)[name].startswith("unavailable, because")
    assert describe(tmp_path)[name] != bare
