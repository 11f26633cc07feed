"""Ranks in one process: what is written on one is written on the other, and a difference is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist
from torch import nn

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import RunError, SettingsError
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training import hook
from shotclock.training.calls import CallPolicy
from shotclock.training.distributed import (
    SINGLE_PROCESS,
    GlooRanks,
    RefusingCaller,
    checksum,
    is_calling_rank,
    join_ranks,
)

UNDER_TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2"}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool)


def model() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


@given(
    size=st.integers(1, 2000),
    at=st.integers(0, 1999),
    bit=st.integers(0, 31),
    seed=st.integers(0, 100),
)
def test_one_changed_bit_changes_the_checksum(size: int, at: int, bit: int, seed: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    before = int(checksum(values))
    bits = values.view(torch.int32).numpy().view(np.uint32)
    bits[at % size] ^= np.uint32(1 << bit)
    assert int(checksum(values)) != before


def test_the_checksum_sees_order_and_reads_every_kind_of_tensor() -> None:
    values = torch.tensor([1.0, 2.0, 3.0])
    assert int(checksum(values)) != int(checksum(values.flip(0)))
    assert int(checksum(torch.tensor(0.0))) != int(checksum(torch.tensor(-0.0)))
    assert int(checksum(torch.full((2,), torch.nan))) == int(checksum(torch.full((2,), torch.nan)))
    for dtype in DTYPES:
        assert int(checksum(torch.ones(2, 3, dtype=dtype).T)) != int(checksum(torch.zeros(3, 2, dtype=dtype)))


def test_a_checksum_changes_nothing_and_takes_a_transposed_view_as_it_reads() -> None:
    values = torch.arange(6.0).reshape(2, 3)
    before = values.clone()
    assert int(checksum(values.T)) == int(checksum(values.T.contiguous()))
    assert torch.equal(values, before)


def test_without_torchrun_no_rank_is_informed() -> None:
    delta = Delta(0, "0.bias", np.zeros(1, np.int64), np.ones(1, np.float32))
    assert join_ranks(model(), {}) is SINGLE_PROCESS
    assert join_ranks(model(), {"RANK": "0", "WORLD_SIZE": "1"}) is SINGLE_PROCESS
    assert SINGLE_PROCESS.share([delta]) == [delta]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (UNDER_TORCHRUN, "WORLD_SIZE is 2, but no process group exists; call torch.distributed.init_proc"),
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE: must be a positive number \(got 'two'\)"),
        ({"WORLD_SIZE": "0"}, r"WORLD_SIZE: must be a positive number \(got '0'\)"),
    ],
)
def test_an_environment_that_does_not_fit_is_said(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        join_ranks(model(), environ)


def test_rank_zero_alone_asks() -> None:
    assert is_calling_rank({})
    assert is_calling_rank({"RANK": "0", "WORLD_SIZE": "2"})
    assert not is_calling_rank(UNDER_TORCHRUN)
    with pytest.raises(RuntimeError, match="only rank zero makes calls"):
        RefusingCaller().ask(Subproblem(np.zeros((2, 2)), np.zeros(2), request_id="a"))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of one, so that the collectives are real."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_a_group_is_left_in_either_order() -> None:
    ranks = GlooRanks(0, ["0.bias"], timeout_s=5.0)
    ranks.check_same(model(), "a test")
    ranks.close()
    assert dist.is_initialized()
    other = GlooRanks(0, ["0.bias"], timeout_s=5.0)
    dist.destroy_process_group()
    other.close()


@dataclass
class Wire:
    """What goes from rank zero to the others, in the order of the boundaries."""

    sent: list[Sequence[Delta]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)


@dataclass
class LinkedRanks:
    """A Ranks: rank zero's boundary comes first, and the other one hears it."""

    rank: int
    wire: Wire

    def share(self, written: Sequence[Delta]) -> Sequence[Delta]:
        if self.rank == 0:
            self.wire.sent.append(written)
            return written
        return self.wire.sent.pop(0)

    def check_same(self, model: nn.Module, when: str) -> None:
        self.wire.looked.append(f"{self.rank}: {when}")

    def close(self) -> None:
        pass


class AddOne:
    """A Kernel that adds 1 to the first bias."""

    name = "nudge"
    loss_check = False

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        subproblem = Subproblem(np.zeros((2, 2)), -np.ones(2), base_version=base_version, budget_ns=budget_ns)
        return Proposal(subproblem, None)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return proposal.subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        return Delta(version, "0.bias", np.zeros(1, np.int64), np.ones(1, np.float32))


class Rank:
    """One rank's model, optimizer and hook."""

    def __init__(self, rank: int, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hook, "join_ranks", lambda *_: LinkedRanks(rank, wire))
        self.model = model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.caller = FakeCaller()
        self.handle = hook.attach(
            self.optimizer,
            model=self.model,
            kernel=AddOne(),
            caller=self.caller,
            clock=StepClock(),
            policy=CallPolicy(2, "inline", NS_PER_MS),
            environ={"RANK": str(rank), "WORLD_SIZE": "2"},
        )

    def bias(self) -> float:
        return float(self.model.get_parameter("0.bias").detach()[0])


def test_what_rank_zero_applies_is_applied_by_the_other_at_the_same_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire()
    first, second = Rank(0, wire, monkeypatch), Rank(1, wire, monkeypatch)
    began = second.bias()
    for step in range(1, 5):
        first.optimizer.step()
        second.optimizer.step()
        assert second.bias() == pytest.approx(began + step // 2)
        assert first.bias() == second.bias()
        assert first.handle.version == second.handle.version
    assert (len(first.caller.calls), len(second.caller.calls)) == (2, 0)
    # compared where something was applied, and only there
    assert wire.looked == ["0: step 2", "1: step 2", "0: step 4", "1: step 4"]
    for rank in (first, second):
        rank.handle.flush()
    assert wire.looked[4:] == ["0: the flush after step 4", "1: the flush after step 4"]


def test_a_rank_at_another_version_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    first, second = Rank(0, wire, monkeypatch), Rank(1, wire, monkeypatch)
    first.optimizer.step()
    second.optimizer.step()
    # a checkpoint loaded on one rank alone
    second.optimizer.load_state_dict(second.optimizer.state_dict())
    first.optimizer.step()
    before = second.bias()
    with pytest.raises(RunError, match="at step 2, rank 1 is at version 3 and rank zero changed version 2"):
        second.optimizer.step()
    assert second.bias() == before
