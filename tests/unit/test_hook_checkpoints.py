"""Checkpoints: a resumed run is the uninterrupted one, and no answer outlives the model it was for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Decision
from shotclock.domain.ports import Kernel
from shotclock.training.audit import AuditFile, find_violations
from shotclock.training.calls import CallPolicy
from shotclock.training.hook import KEY, attach
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.rounded import round_layers
from shotclock.training.loops.classifier import build_gated, plain, ternary

N = 6
INLINE = CallPolicy(every=2, mode="inline", budget_ns=NS_PER_MS)
OVERLAP = CallPolicy(every=2, mode="overlap", budget_ns=NS_PER_MS, at_once=2)

Made = tuple[nn.Module, Callable[[nn.Module, Tensor, Tensor], Kernel]]


def make_rounded() -> Made:
    model = plain(6, 8, 9, 3)
    round_layers(model)
    return model, lambda model, x, _: Rounding(model, Calibrated(model, x), N, 3)


def make_pruned() -> Made:
    return build_gated(6, 8, 9, 3), lambda model, x, y: PruneMask(model, x, y, N, 3)


def make_flipped() -> Made:
    return ternary(6, 8, 9, 3), lambda model, x, y: QatFlip(model, x, y, N, 3)


class Loop:
    """A loop whose data come from nothing but the seed, with one of the kernels attached."""

    def __init__(self, make: Callable[[], Made], *, policy: CallPolicy = INLINE, **options: Any) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model, kernel_of = make()
            self.inputs, self.targets = torch.randn(64, 6), torch.randint(3, (64,))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.caller = FakeCaller(at_once=policy is INLINE)
        self.calls: list[FinishedCall] = []
        self.handle = attach(
            self.optimizer,
            model=self.model,
            kernel=kernel_of(self.model, self.inputs, self.targets),
            caller=self.caller,
            clock=StepClock(),
            policy=policy,
            observers=[self.calls.append],
            environ={},
            **options,
        )

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(self.inputs), self.targets)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def save(self, to: Path) -> Path:
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, to)
        return to

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def list_requests(self) -> list[tuple[str, int, list[float]]]:
        subproblems = [call.subproblem for call in self.caller.calls]
        return [
            (subproblem.request_id, subproblem.base_version, subproblem.linear.tolist())
            for subproblem in subproblems
        ]


@pytest.mark.parametrize("make", [make_rounded, make_pruned, make_flipped])
@pytest.mark.parametrize("before", [6, 16, 48])  # rounding's sweep ends after 48 steps
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    make: Callable[[], Made], before: int, tmp_path: Path
) -> None:
    uninterrupted, first = Loop(make), Loop(make)
    uninterrupted.train(before + 20)
    first.train(before)
    resumed = Loop(make)
    resumed.load(first.save(tmp_path / "at"))
    resumed.train(20)
    assert first.list_requests() + resumed.list_requests() == uninterrupted.list_requests()
    assert resumed.handle.version == uninterrupted.handle.version
    for name, value in uninterrupted.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_without_its_state_the_kernel_would_have_asked_something_else(tmp_path: Path) -> None:
    uninterrupted, first, resumed = Loop(make_flipped), Loop(make_flipped), Loop(make_flipped)
    uninterrupted.train(20)
    first.train(10)
    state = torch.load(first.save(tmp_path / "at"), weights_only=True)
    del state["optimizer"][KEY]
    torch.save(state, tmp_path / "plain")
    resumed.load(tmp_path / "plain")
    resumed.train(10)
    assert [request[2] for request in first.list_requests() + resumed.list_requests()] != [
        request[2] for request in uninterrupted.list_requests()
    ]


def test_what_is_under_way_when_a_checkpoint_comes_is_dropped_and_counted(tmp_path: Path) -> None:
    audit = AuditFile(tmp_path / "audit")
    loop = Loop(make_rounded, policy=OVERLAP, audit=audit)
    loop.train(3)
    path = loop.save(tmp_path / "at")
    loop.load(path)
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    for call in loop.caller.calls:
        call.arrived = True
    loop.handle.flush()
    assert [call.applied.decision for call in loop.calls] == [Decision.DROPPED] * 2
    assert loop.caller.list_decisions() == [(Decision.DROPPED, True)] * 2
    assert [decision for _, decision in loop.caller.decisions] == [Decision.DROPPED] * 2
    assert all(torch.equal(value, before[name]) for name, value in loop.model.state_dict().items())
    assert [entry.decision for entry in audit.entries()] == [Decision.DROPPED] * 2
    assert find_violations(audit.entries()) == []


def test_calls_of_a_process_that_is_gone_are_counted_where_its_checkpoint_is_loaded(tmp_path: Path) -> None:
    gone, resumed = Loop(make_rounded, policy=OVERLAP), Loop(make_rounded, policy=OVERLAP)
    gone.train(3)
    resumed.load(gone.save(tmp_path / "at"))
    assert resumed.caller.list_decisions() == [(Decision.DROPPED, True)] * 2
    # dropped calls are not made again; the rows after them are, under new names
    resumed.train(1)
    names = [call.subproblem.request_id for call in gone.caller.calls + resumed.caller.calls]
    assert names == [f"rounding-{number}" for number in range(1, 5)]


def test_calls_that_were_dropped_once_are_not_reported_again(tmp_path: Path) -> None:
    loop = Loop(make_rounded, policy=OVERLAP)
    loop.train(3)
    loop.load(loop.save(tmp_path / "at"))
    assert loop.optimizer.state_dict()[KEY]["in_flight"] == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "KeyError: 'left'"),
        ({"left": 10_000, "asked": 1}, "ValueError: left: must be from 0 to 24 blocks"),
        ({"random": {"bit_generator": "MT19937"}}, r"cannot load its state \(ValueError"),
    ],
)
def test_a_kernels_state_that_does_not_fit_changes_nothing(state: Mapping[str, Any], message: str) -> None:
    loop, twin = Loop(make_rounded), Loop(make_rounded)
    for each in (loop, twin):
        each.train(4)
    broken = loop.optimizer.state_dict()
    broken[KEY]["kernel"]["state"] = {**broken[KEY]["kernel"]["state"], **state} if state else {}
    broken["param_groups"][0]["lr"] = 7.0
    with pytest.raises(SettingsError, match=message):
        loop.optimizer.load_state_dict(broken)
    for each in (loop, twin):
        each.train(8)
    assert loop.list_requests() == twin.list_requests()
    assert loop.optimizer.state_dict()[KEY] == twin.optimizer.state_dict()[KEY]
    for name, value in twin.model.state_dict().items():
        assert torch.equal(loop.model.state_dict()[name], value), name


def test_another_kernel_starts_where_it_is() -> None:
    flips, prunes = Loop(make_flipped), Loop(make_flipped)
    flips.train(4)
    state = flips.optimizer.state_dict()
    state[KEY]["kernel"]["name"] = "another"
    prunes.optimizer.load_state_dict(state)
    assert prunes.handle.steps == 4
    prunes.train(2)
    assert prunes.list_requests()[0][0] == "qat_flip-1"


@pytest.mark.parametrize("make", [make_rounded, make_flipped])
def test_a_distributed_checkpoint_of_the_handle_goes_on_where_it_was(
    make: Callable[[], Made], tmp_path: Path
) -> None:
    """Of an optimizer it keeps what torch knows, so the handle is saved beside it."""
    gone, resumed = Loop(make, policy=OVERLAP), Loop(make, policy=OVERLAP)
    gone.train(3)
    for loop, transfer in ((gone, save), (resumed, load)):
        _, optimizer = get_state_dict(loop.model, loop.optimizer)
        assert KEY not in optimizer
        transfer({"model": loop.model, "shotclock": loop.handle}, checkpoint_id=tmp_path / "at", no_dist=True)
    assert resumed.handle.steps == 3
    assert resumed.caller.list_decisions() == [(Decision.DROPPED, True)] * 2
    assert resumed.handle.state_dict()["kernel"] == gone.handle.state_dict()["kernel"]
    resumed.train(1)
    names = [call.subproblem.request_id for call in gone.caller.calls + resumed.caller.calls]
    assert [name.rpartition("-")[2] for name in names] == ["1", "2", "3", "4"]
