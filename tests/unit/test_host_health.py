"""Policy on a host's health: what is wrong by each cause, and what each action does with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shotclock.app.host_health import HostHealth, check_host
from shotclock.app.host_report import HostReport
from shotclock.domain.errors import MachineError
from shotclock.domain.hosts import Endpoint, HostState
from shotclock.domain.status import BreakerState, Phase, Status
from shotclock.placement.health import Cause
from shotclock.placement.policy import choose_host
from shotclock.placement.topology import read_host
from shotclock.placement.tree import Tree
from shotclock.settings import PlacementSettings, Settings
from topology_trees import build

PORT = "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error"
CAUSES: tuple[Cause, ...] = ("ecc_off", "unpinned", "change", "transfer_errors")
LOCKED = "Limit                     Soft Limit           Hard Limit           Units\n"


@pytest.fixture
def rdma(tmp_path: Path) -> Path:
    return build("rdma", tmp_path / "tree")


def write_lock_limit(root: Path, soft: str) -> None:
    file = root / "proc/self/limits"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{LOCKED}Max locked memory         {soft:<20} unlimited            bytes\n")


def ualink_without_ecc(folder: Path) -> Path:
    root = build("ualink", folder)
    mask = root / "sys/bus/pci/devices/0000:25:00.0/ras/features"
    mask.write_text("feature mask: 0x3e\n")  # bit 0 is the memory controllers'
    return root


class Host:
    """A service's view of the host of a tree, on a clock that the test moves."""

    def __init__(self, root: Path, **actions: object) -> None:
        self.root = root
        file = root.parent / "components.json"
        self.settings = Settings(placement=PlacementSettings(acknowledged=str(file), **actions))  # type: ignore[arg-type]
        self.health = HostHealth(self.settings, root)
        self.report = HostReport(self.settings, read_idle_status, self.health.problems, self.health.refusals)

    def read(self) -> HostState:
        view = read_host(Tree(self.root))
        self.report.observe(view)
        self.health.observe(view)
        return asyncio.run(read_report(self.report))


def read_idle_status() -> Status:
    return Status(Phase.READY, "emulated", True, BreakerState.CLOSED, 0, 0, 1, 0.1, 0, 0)


async def read_report(report: HostReport) -> HostState:
    return report.read()[0]


@pytest.mark.parametrize("action", ["warn", "degrade", "refuse"])
def test_each_action_on_ecc_that_is_off(tmp_path: Path, action: str) -> None:
    host = Host(ualink_without_ecc(tmp_path / "tree"), on_ecc_off=action)
    text = "0000:25:00.0: ECC of HBM is off; errors of memory are not seen"
    state = host.read()
    assert (text in state.problems) is (action != "warn")
    assert state.refusals == ((text,) if action == "refuse" else ())
    refused = host.health.refuse()
    assert (refused is not None) is (action == "refuse")
    assert refused is None or str(refused).startswith("host_health: 1 problem of the host against a limit of")
    assert any(text in each for each in host.health.warnings()) is (action != "refuse")
    assert any(text in each for each in host.health.impediments()) is (action == "refuse")
    if action == "refuse":
        with pytest.raises(MachineError, match=r"^placement\.on_ecc_off: 0000:25:00\.0: ECC.*; enable ECC"):
            check_host(host.settings, host.root)
    else:
        assert len(check_host(host.settings, host.root)) == 1


def test_placement_prefers_another_host_while_one_is_degraded(tmp_path: Path) -> None:
    host = Host(ualink_without_ecc(tmp_path / "tree"))
    state, endpoint = host.read(), Endpoint("QPU")
    healthy = replace(state, problems=())
    other = replace(healthy, name="zz")
    assert choose_host([healthy, other], endpoint).host == state.name
    choice = choose_host([state, other], endpoint)
    assert choice.host == "zz"
    assert "1 healthy" in choice.because


def test_a_host_that_does_not_tell_is_not_judged(shared_machine: Callable[[str], Path]) -> None:
    for machine in ("cpu", "cxl", "mi300x-spx"):
        refusing = dict.fromkeys(("on_ecc_off", "on_unpinned", "on_transfer_errors"), "refuse")
        assert check_host(Settings(placement=PlacementSettings(**refusing)), shared_machine(machine)) == ()  # type: ignore[arg-type]


def test_buffers_that_cannot_be_locked(rdma: Path) -> None:
    host = Host(rdma)
    for soft, is_wrong in (("65536", True), ("unlimited", False), (str(64 * 2**20), False)):
        write_lock_limit(rdma, soft)
        host.read()
        (*texts,) = (each for each in host.health.warnings() if "pinned" in each)
        assert bool(texts) is is_wrong
    write_lock_limit(rdma, "65536")
    refusing = Settings(placement=PlacementSettings(on_unpinned="refuse"))
    with pytest.raises(MachineError, match=r"on_unpinned: buffers are not pinned: 65,536 bytes may be"):
        check_host(refusing, rdma)


@pytest.mark.parametrize("action", ["warn", "degrade", "refuse"])
def test_a_burst_of_transfer_errors_is_wrong_until_it_is_quiet(rdma: Path, action: str) -> None:
    now = 0.0
    host = Host(rdma, on_transfer_errors=action)
    host.health._judge._clock = lambda: now

    def read_at(second: float, errors: int) -> list[int]:
        nonlocal now
        now = second
        (rdma / PORT).write_text(f"{errors}\n")
        state = host.read()
        lists = (state.problems, *(each() for each in readers))
        return [sum("symbol_error" in text for text in texts) for texts in lists]

    readers = (host.health.warnings, host.health.degradations, host.health.impediments)
    assert read_at(0.0, 1_000) == [0, 0, 0, 0]  # what was counted before is not rising
    assert read_at(15.0, 1_099) == [0, 0, 0, 0]
    expected = {"warn": [0, 1, 0, 0], "degrade": [1, 1, 1, 0], "refuse": [1, 0, 0, 1]}[action]
    assert read_at(30.0, 1_100) == expected
    assert read_at(45.0, 5) == expected  # the driver was reloaded
    assert read_at(345.0, 5) == [0, 0, 0, 0]


def test_a_running_service_is_not_ready_until_a_change_is_acknowledged(tmp_path: Path) -> None:
    root = build("ualink", tmp_path / "tree")
    host = Host(root, on_change="refuse")
    with pytest.raises(MachineError, match="never acknowledged"):
        check_host(host.settings, root)
    host.read()
    assert host.health.impediments() == ()
    Path(host.settings.placement.acknowledged).write_text(
        '{"schema": 1, "acknowledged_at": "", "components": {"ifoe": "1.3.0, srcversion 9F3C2B1"}}'
    )
    host.read()
    (text,) = host.health.impediments()
    assert "not acknowledged" in text
    assert "then run `shotclock topology acknowledge`" in text
