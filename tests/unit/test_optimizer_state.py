"""What an applied delta does to the state of every optimizer of torch, and of those torch does not ship."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import Decision
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.calls import CallPolicy
from shotclock.training.hook import Attached, attach
from shotclock.training.layers.parameters import add
from shotclock.training.loops.classifier import plain
from shotclock.training.optimizer_state import STATE, StateRule

STEPS = 12
POLICY = CallPolicy(every=3, mode="inline", budget_ns=NS_PER_MS)
WEIGHT = "2.weight"

Make = Callable[[Any], Any]

MAKE: dict[type[Optimizer], Make] = {
    optim.Adadelta: lambda p: optim.Adadelta(p, lr=1.0),
    optim.Adafactor: lambda p: optim.Adafactor(p, lr=0.01),
    optim.Adagrad: lambda p: optim.Adagrad(p, lr=0.01),
    optim.Adam: lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    optim.AdamW: lambda p: optim.AdamW(p, lr=0.01),
    optim.Adamax: lambda p: optim.Adamax(p, lr=0.01),
    optim.ASGD: lambda p: optim.ASGD(p, lr=0.01, t0=4),
    optim.LBFGS: lambda p: optim.LBFGS(p, lr=0.1, max_iter=4),
    optim.Muon: lambda p: optim.Muon([parameter for parameter in p if parameter.ndim == 2], lr=0.01),
    optim.NAdam: lambda p: optim.NAdam(p, lr=0.01),
    optim.RAdam: lambda p: optim.RAdam(p, lr=0.01),
    optim.RMSprop: lambda p: optim.RMSprop(p, lr=0.001, momentum=0.9, centered=True),
    optim.Rprop: lambda p: optim.Rprop(p, lr=0.01),
    optim.SGD: lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    optim.SparseAdam: lambda p: optim.SparseAdam(p, lr=0.01),
}

FUSED = (optim.Adagrad, optim.Adam, optim.AdamW, optim.SGD)
FOREACH = [kind for kind in MAKE if kind not in (optim.LBFGS, optim.SparseAdam, optim.Muon)]

VARIANTS: list[tuple[str, Make]] = [
    *((kind.__name__, make) for kind, make in MAKE.items()),
    ("LBFGS-wolfe", lambda p: optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe")),
    *((f"{kind.__name__}-foreach", lambda p, kind=kind: kind(p, lr=0.01, foreach=True)) for kind in FOREACH),
    *((f"{kind.__name__}-fused", lambda p, kind=kind: kind(p, lr=0.01, fused=True)) for kind in FUSED),
]
EACH = pytest.mark.parametrize("make", [make for _, make in VARIANTS], ids=[name for name, _ in VARIANTS])


class Shift:
    """A Kernel that adds `by` to two weights, whatever the bits."""

    name = "shift"
    loss_check = False

    def __init__(self, by: float, parameter: str = WEIGHT) -> None:
        self.by, self.parameter = by, parameter

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        subproblem = Subproblem(np.zeros((2, 2)), -np.ones(2), base_version=base_version, budget_ns=budget_ns)
        return Proposal(subproblem, None)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return proposal.subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        return Delta(version, self.parameter, np.array([1, 4]), np.full(2, self.by, np.float32))


class Run:
    """A loop of one optimizer with Shotclock in it where `by` is given."""

    def __init__(self, make: Make, by: float | None, parameter: str = WEIGHT, every: int = 3) -> None:
        self.model, self.inputs, self.targets = build_model(make)
        self.optimizer = make(self.model.parameters())
        self.losses: list[float] = []
        self.decisions: list[Decision] = []
        if by is not None:
            self.handle = self.attach(Shift(by, parameter), every)

    def attach(self, kernel: Shift, every: int) -> Attached:
        return attach(
            self.optimizer,
            model=self.model,
            kernel=kernel,
            caller=FakeCaller(),
            clock=StepClock(),
            policy=CallPolicy(every=every, mode="inline", budget_ns=NS_PER_MS),
            observers=[lambda call: self.decisions.append(call.applied.decision)],
            environ={},
        )

    def loss(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(self.inputs), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def train(self, steps: int = STEPS) -> Run:
        for _ in range(steps):
            self.losses.append(float(self.optimizer.step(self.loss).detach()))
        return self

    def values(self) -> list[Tensor]:
        return [*self.model.state_dict().values(), *flatten(self.optimizer.state_dict()["state"])]


def build_model(make: Make) -> tuple[nn.Module, Tensor, Tensor]:
    """SparseAdam's gradients are sparse, as an embedding makes them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        targets = torch.randint(3, (64,))
        if make is MAKE[optim.SparseAdam]:
            bag = nn.Sequential(nn.Identity(), nn.Flatten(), nn.EmbeddingBag(9, 3, sparse=True))
            return bag, torch.randint(9, (64, 6)), targets
        return plain(6, 8, 3), torch.randn(64, 6), targets


def flatten(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    for part in state.values() if isinstance(state, dict) else state if isinstance(state, list) else ():
        yield from flatten(part)


def test_the_table_has_every_optimizer_of_torch() -> None:
    shipped = {
        variable
        for variable in vars(optim).values()
        if isinstance(variable, type) and issubclass(variable, Optimizer)
    }
    assert set(STATE) == set(MAKE) == shipped - {Optimizer}


@EACH
def test_the_table_has_every_entry_of_the_state(make: Make) -> None:
    run = Run(make, None).train(3)
    keys = {key for state in run.optimizer.state.values() for key in state}
    assert keys <= set(STATE[type(run.optimizer)])


@EACH
def test_deltas_of_zero_change_no_bit(make: Make) -> None:
    base, zero = Run(make, None).train(), Run(make, 0.0).train()
    assert zero.decisions == [Decision.APPLIED] * 4
    assert zero.losses == base.losses
    assert all(torch.equal(a, b) for a, b in zip(zero.values(), base.values(), strict=True))


@EACH
def test_deltas_leave_every_run_finite(make: Make) -> None:
    base, moved = Run(make, None).train(), Run(make, 0.5).train()
    assert moved.decisions == [Decision.APPLIED] * 4
    assert moved.losses != base.losses
    assert all(bool(torch.isfinite(value).all()) for run in (base, moved) for value in run.values())
    assert max(moved.losses) < 2 * max(base.losses)


def test_lbfgs_converges_after_a_delta() -> None:
    """Least squares. With its history kept, the loss after the delta grows from 43 to 1,120."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 3))
        inputs = torch.randn(64, 6) * torch.tensor([1.0, 1.0, 0.3, 0.3, 0.1, 3.0])
        torch.manual_seed(1)
        targets = torch.randn(64, 3)
    optimizer = optim.LBFGS(model.parameters(), lr=1.0, max_iter=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def train(steps: int) -> list[float]:
        return [float(optimizer.step(closure).detach()) for _ in range(steps)]  # type: ignore[no-untyped-call]

    handle = attach(
        optimizer,
        model=model,
        kernel=Shift(10.0, "0.weight"),
        caller=FakeCaller(),
        clock=StepClock(),
        policy=CallPolicy(every=10, mode="inline", budget_ns=NS_PER_MS),
        environ={},
    )
    before = train(10)
    handle.detach()
    after = train(12)
    assert after[0] > 20 * before[-1]
    assert max(after) < 1.5 * after[0]
    assert after[-1] == pytest.approx(before[-1], rel=0.1)


def test_lbfgs_starts_again_whatever_parameter_moved() -> None:
    run = Run(lambda p: optim.LBFGS(list(p)[:2], lr=0.1, max_iter=4), 0.5, every=4)
    run.train(3)
    (state,) = run.optimizer.state.values()
    evaluations = state["func_evals"]
    assert state["old_dirs"]
    run.train(1)
    assert set(state) == {"func_evals"}
    assert state["func_evals"] > evaluations


def test_the_average_of_asgd_moves_with_the_parameter() -> None:
    base, moved = Run(MAKE[optim.ASGD], None).train(3), Run(MAKE[optim.ASGD], 0.5).train(3)
    averages = [run.optimizer.state[run.model.get_parameter(WEIGHT)]["ax"] for run in (base, moved)]
    assert (averages[1] - averages[0]).flatten()[[0, 1, 4]].tolist() == pytest.approx([0.0, 0.5, 0.5])


def test_rprop_compares_no_gradient_across_a_delta() -> None:
    base, moved = Run(MAKE[optim.Rprop], None).train(3), Run(MAKE[optim.Rprop], 0.5).train(3)
    gradients = [run.optimizer.state[run.model.get_parameter(WEIGHT)]["prev"] for run in (base, moved)]
    assert (gradients[0] != gradients[1]).flatten().nonzero().flatten().tolist() == [1, 4]
    assert gradients[1].flatten()[[1, 4]].tolist() == [0.0, 0.0]


class Lookahead(Optimizer):
    """As several packages write it: a separate state, and no call of Optimizer.__init__."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups
        self.state: Any = {}
        self.steps = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        parameters = [param for group in self.param_groups for param in group["params"]]
        if not self.state:
            self.state = {parameter: {"slow": parameter.detach().clone()} for parameter in parameters}
        loss = self.optimizer.step(closure)
        self.steps += 1
        if self.steps % 4 == 0:
            for parameter in parameters:
                parameter.copy_(self.state[parameter]["slow"].lerp_(parameter, 0.5))
        return loss


class Descent(Optimizer):
    """Gradient descent that torch does not ship; subclasses keep more."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        for param_group in self.param_groups[0]["params"]:
            self.descend(param_group)
        return loss

    def descend(self, tensor: Tensor) -> None:
        assert tensor.grad is not None
        tensor.sub_(0.1 * tensor.grad)


class Listed(Descent):
    """A copy of all parameters as an attribute."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.slow = [[param.detach().clone() for param in group["params"]] for group in self.param_groups]


class MasterWeights(Descent):
    """float64 parameters, of which the model's are made after each step."""

    def descend(self, tensor: Tensor) -> None:
        assert tensor.grad is not None
        master = self.state[tensor].setdefault("master", tensor.detach().double().clone())
        tensor.copy_(master.sub_(0.1 * tensor.grad))


class Trend(Descent):
    """An average of gradients under a separate name."""

    def descend(self, tensor: Tensor) -> None:
        super().descend(tensor)
        self.state[tensor].setdefault("trend", torch.zeros_like(tensor)).lerp_(tensor.grad, 0.1)


class QuasiNewton(Descent):
    """A history as torch's LBFGS has it, under no parameter of the model."""

    def descend(self, tensor: Tensor) -> None:
        self.state[torch.zeros(0)] = {"old_dirs": [torch.ones(3)]}


@pytest.mark.parametrize(
    ("make", "copy"),
    [
        (lambda p: Lookahead(optim.SGD(p, lr=0.1, momentum=0.9)), lambda o, w: o.state[w]["slow"]),
        (
            Listed,
            lambda o, w: next(
                parameter for parameter in o.slow[0] if parameter.shape == w.shape and parameter.ndim == 2
            ),
        ),
        (MasterWeights, lambda o, w: o.state[w]["master"]),
    ],
    ids=["Lookahead", "attribute", "master weights"],
)
def test_a_copy_that_torch_does_not_know_moves_too(
    make: Make, copy: Callable[[Any, Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    base, moved = Run(make, None).train(3), Run(make, 0.5).train(3)
    copies = [copy(run.optimizer, run.model.get_parameter(WEIGHT)) for run in (base, moved)]
    assert (copies[1] - copies[0]).flatten()[[0, 1, 4]].tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert [
        record.getMessage()
        for record in caplog.records
        if "keeps a copy of the parameters" in record.getMessage()
    ]
    # nothing takes a part of the delta back
    weights = [run.train(1).model.get_parameter(WEIGHT).detach() for run in (base, moved)]
    assert (weights[1] - weights[0]).flatten()[[1, 4]].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_statistics_that_torch_does_not_know_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    base, moved = Run(Trend, None).train(3), Run(Trend, 0.5).train(3)
    trends = [run.optimizer.state[run.model.get_parameter(WEIGHT)]["trend"] for run in (base, moved)]
    assert torch.equal(*trends)
    assert moved.decisions == [Decision.APPLIED]
    assert caplog.records == []


def test_a_history_that_cannot_be_restarted_is_refused_at_the_first_step() -> None:
    run = Run(QuasiNewton, 0.5)
    with pytest.raises(SettingsError, match=r"QuasiNewton keeps a history .* use torch\.optim\.LBFGS"):
        run.train(1)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_gradient_scaling_and_a_schedule_go_on_across_deltas(kind: Any) -> None:
    def train(by: float | None) -> list[Tensor]:
        run = Run(lambda p: kind(p, lr=0.01), by)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        schedule = optim.lr_scheduler.OneCycleLR(run.optimizer, 0.05, total_steps=STEPS + 1)
        average = optim.swa_utils.AveragedModel(run.model)
        for _ in range(STEPS):
            run.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(run.model(run.inputs), run.targets)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(run.optimizer)
            scaler.update()
            schedule.step()
            average.update_parameters(run.model)
        return [*run.values(), *average.state_dict().values()]

    base, zero, moved = train(None), train(0.0), train(0.5)
    assert all(torch.equal(a, b) for a, b in zip(base, zero, strict=True))
    assert all(bool(torch.isfinite(value).all()) for value in moved)


def test_adding_0_keeps_the_sign_of_a_0() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, -0.0)
    add(model, Delta(0, "weight", np.array([0, 1]), np.array([0.0, -0.0], np.float32)))
    assert bool(model.weight.signbit().all())


def test_every_rule_of_the_table_is_used() -> None:
    assert {rule for rules in STATE.values() for rule in rules.values()} == set(StateRule)
