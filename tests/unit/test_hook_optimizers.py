"""Compiled, wrapped and sharded optimizers, and layers that torch treats specially."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from test_hook import EVERY, AddOne, Loop
from torch import distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.errors import SettingsError
from shotclock.training.hook import KEY, attach
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.rounded import RoundedLinear, round_layers


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def attach_to(optimizer: Any) -> tuple[Loop, Any]:
    loop = Loop()
    loop.handle.detach()
    loop.optimizer = optimizer(loop.model.parameters())
    return loop, loop.attach()


def test_a_compiled_step_asks_as_a_plain_one_does() -> None:
    loop = Loop()
    loop.optimizer.step = torch.compile(loop.optimizer.step, backend="eager")  # type: ignore[method-assign, assignment]
    for _ in range(12):
        loop.step()
    assert (loop.handle.steps, [call.step for call in loop.calls]) == (12, [2, 4, 6, 8, 10, 12])


class Clipped(torch.optim.SGD):
    """Raises on request, after the inherited step and before it returns."""

    fails = False

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        if self.fails:
            raise RuntimeError("after the inner step")
        return loss


def test_a_step_that_calls_the_inherited_one_is_one_step() -> None:
    loop, handle = attach_to(lambda parameters: Clipped(parameters, lr=0.1, momentum=0.9))
    assert hasattr(torch.optim.SGD.step, "hooked")  # by the loop's first optimizer: both steps call the hooks
    for _ in range(4):
        loop.step()
    assert (handle.steps, [call.step for call in loop.calls]) == (4, [2, 4])
    loop.optimizer.fails = True  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="after the inner step"):
        loop.step()
    loop.optimizer.fails = False  # type: ignore[attr-defined]
    for _ in range(2):
        loop.step()
    assert (handle.steps, [call.step for call in loop.calls]) == (6, [2, 4, 6])


def test_accelerates_wrapper_is_attached_to_through_its_optimizer() -> None:
    def wrap_optimizer(parameters: Any) -> Any:
        return Accelerator(cpu=True).prepare(torch.optim.Adam(parameters))

    loop, handle = attach_to(wrap_optimizer)
    for _ in range(4):
        loop.step()
    assert (handle.steps, len(loop.calls), KEY in loop.optimizer.state_dict()) == (4, 2, True)


def test_zero_redundancy_needs_no_consolidated_state(process_group: None) -> None:
    loop, handle = attach_to(lambda parameters: ZeroRedundancyOptimizer(parameters, torch.optim.Adam, lr=0.1))
    for _ in range(4):
        loop.step()
    assert (handle.steps, len(loop.calls)) == (4, 2)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_the_step_by_which_a_distributed_checkpoint_fills_the_state_is_none(kind: Any) -> None:
    loop, handle = attach_to(lambda parameters: kind(parameters, lr=0.1))
    for _ in range(2):
        get_optimizer_state_dict(loop.model, loop.optimizer)
    assert (handle.steps, handle.version, loop.caller.calls) == (0, 0, [])


def test_the_handles_own_state_goes_on_where_a_checkpoint_dropped_the_key() -> None:
    first, second = Loop(), Loop()
    for _ in range(4):
        first.step()
    second.handle.load_state_dict(first.handle.state_dict())
    assert second.handle.steps == 4


def test_sharded_parameters_are_refused_with_what_to_do(process_group: None) -> None:
    model = nn.Linear(4, 4)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SettingsError, match=r"'weight' is sharded .* use DistributedDataParallel"):
        attach(optimizer, model=model, kernel=AddOne(), caller=FakeCaller(), clock=StepClock(), environ={})


def test_a_transformer_encoder_is_rounded_and_asked() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(40, 3))
    round_layers(model)
    inputs = torch.randn(8, 5, 8)
    kernel = Rounding(model, Calibrated(model, inputs), 4, 0)
    assert list(kernel.layers) == ["0.layers.0.linear2", "0.layers.1.linear1", "0.layers.1.linear2", "2"]
    for name in kernel.layers:
        rows = 8 if name == "2" else 40
        assert len(Calibrated(model, inputs).inputs(name)) == rows
    assert torch.backends.mha.get_fastpath_enabled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    caller = FakeCaller()
    attach(optimizer, model=model, kernel=kernel, caller=caller, clock=StepClock(), policy=EVERY, environ={})
    for _ in range(4):
        optimizer.zero_grad()
        model(inputs).sum().backward()
        optimizer.step()
    assert len(caller.calls) == 2


def test_layers_whose_weight_is_not_their_own_are_refused_and_the_model_stays() -> None:
    normed = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    nn.utils.parametrizations.weight_norm(normed[2])
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    tied[2].weight = tied[1].weight
    for model, message in ((normed, "remove_parametrizations"), (tied, "shares its weight with '2.weight'")):
        with pytest.raises(SettingsError, match=message):
            round_layers(model)
        assert not any(isinstance(module, RoundedLinear) for module in model.modules())
