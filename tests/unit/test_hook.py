"""The hook fits any loop: steps are counted as torch takes them, checkpoints load with it and without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scripted_answers import FakeCaller, StepClock, answer_optimum, late
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import RunError, SettingsError
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Decision, Outcome
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.domain.trace_context import TraceContext
from shotclock.training.calls import CallPolicy
from shotclock.training.hook import KEY, Attached, attach
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.loops.classifier import ternary
from spans import context_of, parent_id, span_id, trace_in_memory

EVERY = CallPolicy(every=2, mode="inline", budget_ns=NS_PER_MS)
N = 6


def network(*widths: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ternary(*(widths or (6, 8, 3)))
        inputs = torch.randn(64, 6)
        targets = torch.randint(3, (64,))
    return model, inputs, targets


class AddOne:
    """A Kernel that adds 1 to the first bias, whatever the bits; counts the versions it proposed on."""

    name = "nudge"
    loss_check = False

    def __init__(self) -> None:
        self.versions: list[int] = []

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        self.versions.append(base_version)
        subproblem = Subproblem(np.zeros((2, 2)), -np.ones(2), base_version=base_version, budget_ns=budget_ns)
        return Proposal(subproblem, None)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return proposal.subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        return Delta(version, "0.bias", np.zeros(1, np.int64), np.ones(1, np.float32))


class Loop:
    """A user's own loop on SGD, with Shotclock in it where `kernel` is given."""

    def __init__(self, **options: Any) -> None:
        self.model, self.inputs, self.targets = network()
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.caller = options.pop("caller", FakeCaller())
        self.calls: list[FinishedCall] = []
        self.kernel = options.pop("kernel", AddOne())
        self.handle = self.attach(**options)

    def attach(self, **options: Any) -> Attached:
        arguments: dict[str, Any] = {
            "policy": EVERY,
            "observers": [self.calls.append],
            "environ": {},
        } | options
        return attach(
            self.optimizer,
            model=self.model,
            kernel=self.kernel,
            caller=self.caller,
            clock=StepClock(),
            **arguments,
        )

    def loss(self) -> Tensor:
        return nn.functional.cross_entropy(self.model(self.inputs), self.targets)

    def step(self, backward_passes: int = 1) -> None:
        self.optimizer.zero_grad()
        for _ in range(backward_passes):
            (self.loss() / backward_passes).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def weights(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(tensors: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors, other, strict=True))


def test_every_second_step_asks_and_the_answer_moves_the_model() -> None:
    loop = Loop()
    bias = loop.model.get_parameter("0.bias").detach()
    for step in range(1, 7):
        loop.step()
        assert len(loop.calls) == step // 2
    assert [call.step for call in loop.calls] == [2, 4, 6]
    assert {call.applied.decision for call in loop.calls} == {Decision.APPLIED}
    assert [decision for _, decision in loop.caller.decisions] == [Decision.APPLIED] * 3
    # each applied delta is a separate version, in addition to the six steps
    assert loop.handle.version == 6 + 3
    assert float(bias[0]) > 2.0
    assert loop.kernel.versions == [2, 5, 8]


def test_a_call_is_traced_from_its_proposal_to_its_answer_or_to_the_detach() -> None:
    tracer, spans = trace_in_memory(StepClock())
    loop = Loop(tracer=tracer)
    loop.step()
    loop.step()
    call = spans.one("training_call")
    assert spans.names() == ["propose", "apply", "training_call"]
    assert {parent_id(spans.one(stage)) for stage in ("propose", "apply")} == {span_id(call)}
    assert loop.calls[0].subproblem.trace == TraceContext(context_of(call).trace_id, span_id(call), True)
    attributes = call.attributes or {}
    assert (attributes["shotclock.step"], attributes["shotclock.decision"]) == (2, "applied")
    loop.handle.detach()

    overlapped = Loop(tracer=tracer, policy=replace(EVERY, mode="overlap"), caller=FakeCaller(at_once=False))
    overlapped.step()
    overlapped.step()
    assert len(spans.ended) == 4  # the proposal's, while the answer is awaited
    overlapped.handle.detach()
    assert spans.of("training_call")[-1].status.description == "abandoned"
    assert spans.begun == len(spans.ended) == 5


def test_accumulated_gradients_count_as_one_step() -> None:
    loop = Loop()
    for _ in range(4):
        loop.step(backward_passes=8)
    assert loop.handle.steps == 4
    assert len(loop.calls) == 2


def test_a_closure_is_one_step_however_often_it_is_evaluated() -> None:
    loop = Loop()
    optimizer = torch.optim.LBFGS(loop.model.parameters(), max_iter=5)
    loop.optimizer = optimizer
    handle = loop.attach()
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(2):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert evaluations > 2
    assert handle.steps == 2
    assert len(loop.calls) == 1


def test_parameter_groups_and_a_schedule_stay_the_users() -> None:
    loop = Loop()
    groups: list[dict[str, Any]] = [{"params": list(loop.model[0].parameters())}]
    groups.append({"params": list(loop.model[2].parameters()), "lr": 0.01})
    optimizer = torch.optim.SGD(groups, lr=0.1)
    loop.optimizer = optimizer
    handle = loop.attach()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for _ in range(2):
        loop.step()
        schedule.step()
    assert handle.steps == 2
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.0025])


def test_gradients_and_modes_are_as_the_loop_left_them() -> None:
    model, inputs, targets = network()
    kernel = QatFlip(model, inputs, targets, N, 0)
    loop = Loop()
    loop.model = model
    loop.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop.kernel = kernel
    loop.inputs, loop.targets = inputs, targets
    loop.attach(loss=loop.loss)
    for _ in range(2):
        loop.step()
    assert len(loop.calls) == 1
    assert all(module.training for module in model.modules())
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    assert len(expected) == len(list(model.parameters()))


def test_the_loss_check_refuses_what_raises_the_loss() -> None:
    refused = Loop(loss=lambda: 0.0)
    accepted = Loop()
    for loop in (refused, accepted):
        loop.step()
        loop.step()
    assert refused.calls[0].applied.decision is Decision.REJECTED
    assert accepted.calls[0].applied.decision is Decision.APPLIED


def test_detached_the_loop_is_what_it_was() -> None:
    loop, plain = Loop(), Loop()
    for either in (loop, plain):
        either.handle.detach()
        either.handle.detach()
        for _ in range(4):
            either.step()
    assert (loop.calls, loop.caller.calls) == ([], [])
    assert KEY not in loop.optimizer.state_dict()
    optimizer = loop.optimizer
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_state_dict_post_hooks
    assert not optimizer._optimizer_load_state_dict_pre_hooks
    assert not optimizer._optimizer_load_state_dict_post_hooks


def test_what_is_in_flight_at_detaching_is_not_applied() -> None:
    policy = CallPolicy(every=2, mode="overlap", budget_ns=1)
    loop = Loop(caller=FakeCaller(at_once=False), policy=policy)
    loop.step()
    loop.step()
    loop.handle.detach()
    loop.caller.calls[0].arrived = True
    before = float(loop.model.get_parameter("0.bias").detach()[0])
    loop.step()
    assert abs(float(loop.model.get_parameter("0.bias").detach()[0]) - before) < 0.5
    assert loop.calls == []


def test_a_checkpoint_goes_on_where_it_was(tmp_path: Path) -> None:
    loop = Loop()
    for _ in range(4):
        loop.step()
    torch.save({"model": loop.model.state_dict(), "optimizer": loop.optimizer.state_dict()}, tmp_path / "at")
    saved = torch.load(tmp_path / "at", weights_only=True)
    again = Loop()
    again.model.load_state_dict(saved["model"])
    again.optimizer.load_state_dict(saved["optimizer"])
    assert again.handle.steps == 4
    # the model has moved by the loading, so whatever is in flight is stale
    assert again.handle.version >= loop.handle.version
    for either in (loop, again):
        either.step()
        either.step()
    assert same(weights(loop.model), weights(again.model))
    assert [call.step for call in again.calls] == [6]


def test_checkpoints_load_with_and_without_shotclock() -> None:
    attached = Loop()
    attached.step()
    with_it = attached.optimizer.state_dict()
    plain = Loop()
    plain.handle.detach()
    plain.step()
    without_it = plain.optimizer.state_dict()
    assert set(with_it) - set(without_it) == {KEY}
    plain.optimizer.load_state_dict(with_it)
    assert KEY not in plain.optimizer.state_dict()
    version = attached.handle.version
    attached.optimizer.load_state_dict(without_it)
    assert attached.handle.version > version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, r"'shotclock\.schema' is 1, this version reads 2"),
        ({"model": "other"}, "written for another model"),
        ({"version": "x"}, r"'shotclock\.version' is 'x', not a count"),
        ({"step": -1}, r"'shotclock\.step' is -1, not a count"),
        ({"kernel": "nudge"}, r"'shotclock\.kernel' is 'nudge', not a kernel's name and state"),
        ({"in_flight": [3]}, r"'shotclock\.in_flight' is \[3\], not calls and their versions"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(change: dict[str, Any], message: str) -> None:
    loop = Loop()
    for _ in range(3):
        loop.step()
    state = loop.optimizer.state_dict()
    state[KEY] |= change
    state["param_groups"][0]["lr"] = 7.0
    weights_before, version, steps = weights(loop.model), loop.handle.version, loop.handle.steps
    with pytest.raises(SettingsError, match=message):
        loop.optimizer.load_state_dict(state)
    assert same(weights(loop.model), weights_before)
    assert loop.optimizer.param_groups[0]["lr"] == 0.1
    assert (loop.handle.version, loop.handle.steps) == (version, steps)


def test_a_checkpoint_of_another_model_is_refused() -> None:
    loop = Loop()
    other, _, _ = network(6, 9, 3)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    attach(optimizer, model=other, kernel=AddOne(), caller=FakeCaller(), clock=StepClock(), environ={})
    with pytest.raises(SettingsError, match="written for another model"):
        loop.optimizer.load_state_dict(optimizer.state_dict())
    state = loop.optimizer.state_dict()
    state[KEY] = [1]
    with pytest.raises(SettingsError, match="'shotclock' is list"):
        loop.optimizer.load_state_dict(state)


def test_only_rank_zero_is_heard() -> None:
    first, second = Loop(environ={"RANK": "0"}), Loop(environ={"RANK": "1"})
    for loop in (first, second):
        loop.step()
        loop.step()
    assert (len(first.calls), len(second.calls)) == (1, 0)
    assert len(second.caller.calls) == 1
    with pytest.raises(SettingsError, match="RANK: 'one' is not a rank"):
        Loop(environ={"RANK": "one"})


def test_a_second_attach_is_refused_until_the_first_is_detached() -> None:
    loop = Loop()
    with pytest.raises(SettingsError, match="attached to this optimizer already; detach that one first"):
        loop.attach()
    loop.step()
    loop.step()
    assert len(loop.calls) == 1
    loop.handle.detach()
    loop.attach()


def test_only_an_optimizer_of_torch_is_attached_to() -> None:
    model, _, _ = network()
    with pytest.raises(SettingsError, match=r"attach: list is not a torch\.optim\.Optimizer"):
        attach([], model=model, kernel=AddOne(), caller=FakeCaller(), clock=StepClock())  # type: ignore[arg-type]


def test_once_detached_a_flush_waits_for_nothing_and_applies_nothing() -> None:
    policy = CallPolicy(every=2, mode="overlap", budget_ns=1)
    loop = Loop(caller=FakeCaller(at_once=False), policy=policy)
    loop.step()
    loop.step()
    loop.handle.detach()
    weights_before = weights(loop.model)
    loop.handle.flush()
    assert (loop.calls, loop.caller.calls[0].waited_for) == ([], False)
    assert same(weights(loop.model), weights_before)


def test_a_call_whose_wait_was_interrupted_is_still_in_flight() -> None:
    def interrupt(_: Subproblem) -> Outcome:
        raise KeyboardInterrupt

    loop = Loop(caller=FakeCaller(interrupt))
    loop.step()
    with pytest.raises(KeyboardInterrupt):
        loop.step()
    assert loop.optimizer.state_dict()[KEY]["in_flight"] == [["", 2]]
    loop.caller.calls[0].answer = answer_optimum
    loop.handle.flush()
    assert [call.step for call in loop.calls] == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": None}, "NoneType is not a Kernel: it lacks name, loss_check"),
        ({"loss": 3}, r"loss must be .*\(got int\)"),
    ],
)
def test_what_is_no_kernel_and_no_loss_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Loop(**options)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [(torch.ones(3), r"got a tensor of shape \(3,\)"), ("low", "got str")],
)
def test_a_loss_that_is_no_number_is_said_and_the_model_stays(returned: object, reason: str) -> None:
    loop, plain = Loop(loss=lambda: returned), Loop()
    plain.handle.detach()
    for either in (loop, plain):
        either.step()
    plain.step()
    with pytest.raises(RunError, match=rf"attach: loss must return one number \({reason}\)"):
        loop.step()
    assert same(weights(loop.model), weights(plain.model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"mode": "sometimes"},
            r"policy\.mode: invalid value 'sometimes'; expected one of inline, overlap, offline, auto",
        ),
        ({"every": 0}, r"policy\.every: must be at least 1 \(got 0\)"),
        ({"budget_ns": 0}, r"policy\.budget_ns: must be at least 1 \(got 0\)"),
        ({"at_once": 0}, r"policy\.at_once: must be at least 1 \(got 0\)"),
        ({"epoch": 0}, r"policy\.epoch: must be at least 1 \(got 0\)"),
        ({"wait_limit_ns": -1}, r"policy\.wait_limit_ns: must be at least 0 \(got -1\)"),
    ],
)
def test_a_policy_that_no_loop_can_keep_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(EVERY, **change)


def test_an_optimizer_of_another_model_is_refused() -> None:
    model, _, _ = network()
    other = torch.optim.SGD(network()[0].parameters(), lr=0.1)
    with pytest.raises(SettingsError, match="steps no parameter of this model"):
        attach(other, model=model, kernel=AddOne(), caller=FakeCaller(), clock=StepClock())


class Broken(AddOne):
    """Breaks one of a kernel's promises at its first call, and keeps them afterwards."""

    def __init__(self, how: str, parameter: str = "0.bias") -> None:
        super().__init__()
        self.how, self.parameter = how, parameter

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        proposal = super().propose(base_version + (self.how == "another version"), budget_ns)
        subproblem = proposal.subproblem
        match self.break_once("raises", "returns nothing", "another version", "NaN coefficients", "too many"):
            case "raises":
                raise ValueError("no luck")
            case "returns nothing":
                return None  # type: ignore[return-value]
            case "NaN coefficients":
                return Proposal(replace(subproblem, linear=np.full(2, np.nan)), None)
            case "too many":
                return Proposal(
                    replace(subproblem, quadratic=np.zeros((300, 300)), linear=np.zeros(300)), None
                )
            case _:
                return proposal

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        delta = super().delta(proposal, bits, version)
        match self.break_once("delta raises", "no such parameter", "outside", "wrong shape", "NaN"):
            case "delta raises":
                raise KeyError("row")
            case "no such parameter":
                return Delta(version, "9.bias", delta.indices, delta.values)
            case "outside":
                return Delta(version, delta.parameter, np.array([10_000]), delta.values)
            case "wrong shape":
                return Delta(version, delta.parameter, delta.indices, np.ones(3, np.float32))
            case "NaN":
                return Delta(version, delta.parameter, delta.indices, np.full(1, np.nan, np.float32))
            case _:
                return delta

    def break_once(self, *here: str) -> str:
        how = self.how if self.how in here else ""
        self.how = "" if how else self.how
        return how


@pytest.mark.parametrize(
    ("how", "message", "proposed"),
    [
        ("raises", "propose on version 2 raised ValueError: no luck", False),
        ("returns nothing", "propose returned NoneType, not a Proposal", False),
        ("another version", "subproblem.base_version must be 2 (got 3)", False),
        ("NaN coefficients", "subproblem.linear: has NaN or infinite coefficients", False),
        ("too many", "subproblem.linear: ", False),
        ("delta raises", "delta on version 2 raised KeyError: 'row'", True),
        ("no such parameter", "delta.parameter '9.bias' is", True),
        ("outside", "delta.indices must be below 8, the entries of '0.bias'", True),
        ("wrong shape", "delta.values has shape (3,) for indices of shape (1,)", True),
        ("NaN", "delta.values has NaN", True),
    ],
)
@pytest.mark.parametrize("loss", [{}, {"loss": lambda: 0.0}], ids=["", "loss"])
def test_a_kernel_that_fails_is_named_and_counted_and_training_goes_on(
    how: str, message: str, proposed: bool, loss: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    plain = Loop()
    plain.handle.detach()
    loop = Loop(kernel=Broken(how), **loss)
    for either in (plain, loop):
        either.step()
        either.step()
    assert same(weights(loop.model), weights(plain.model))
    assert [call.applied.decision for call in loop.calls] == [Decision.REJECTED] * proposed
    assert [decision for _, decision in loop.caller.decisions] == [Decision.REJECTED] * proposed
    counts = loop.handle.summary()
    assert (counts.asked, counts.no_proposal, counts.failed_answers) == (proposed, not proposed, proposed)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"attach: kernel 'nudge': {message}")
    assert "\n" not in line
    for _ in range(2):
        loop.step()
    assert loop.handle.summary().asked == 1 + proposed
    assert loop.handle.summary().due == 2


def test_a_kernel_that_always_fails_is_logged_ever_less_often(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(kernel=AddOne())
    loop.kernel.propose = lambda *_: None
    for _ in range(40):
        loop.step()
    assert len(caplog.records) == 5
    loop.handle.detach()
    assert "20 because the kernel failed" in caplog.records[-1].getMessage()


def test_a_model_that_turned_to_nan_is_logged_and_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    plain, loop = Loop(), Loop()
    for either in (plain, loop):
        either.handle.detach()
    loop.kernel = QatFlip(loop.model, loop.inputs, loop.targets, N, 0)
    handle = loop.attach(loss=loop.loss)
    for either in (plain, loop):
        either.step()
        with torch.no_grad():
            either.model.get_parameter("2.bias").fill_(torch.nan)
        either.step()
    for one_value, other in zip(weights(loop.model), weights(plain.model), strict=True):
        torch.testing.assert_close(one_value, other, rtol=0, atol=0, equal_nan=True)
    assert (handle.version, loop.caller.calls, handle.summary().no_proposal) == (2, [], 1)
    assert "kernel 'qat_flip': subproblem." in caplog.text
    # the loop's own remedy: back to numbers, and calls go on
    with torch.no_grad():
        for value in loop.model.parameters():
            value.copy_(torch.nan_to_num(value))
    for state in loop.optimizer.state.values():
        state["momentum_buffer"].zero_()
    loop.step()
    loop.step()
    assert handle.summary().asked == 1


def test_calls_without_an_answer_leave_training_running() -> None:
    loop = Loop(caller=FakeCaller(late))
    for _ in range(6):
        loop.step()
    assert [call.applied.decision for call in loop.calls] == [Decision.ABANDONED] * 3


def test_by_default_nothing_is_waited_for_before_it_was_measured() -> None:
    model, _, _ = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = attach(
        optimizer, model=model, kernel=AddOne(), caller=FakeCaller(), clock=StepClock(), environ={}
    )
    assert handle.mode == "overlap"
    assert handle.mode_changes == []
