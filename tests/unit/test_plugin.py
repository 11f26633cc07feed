"""What a user names as "module:factory": every way it can be wrong is one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotclock.app.arms import workload_factory
from shotclock.domain import plugin
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ports import Provider
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.providers.scripted import ScriptedProvider
from shotclock.settings import load
from shotclock.training.checked import rehearse
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.kernels.task_rounding import TaskRounding
from shotclock.training.loops import digits_mlp

MODULES = {
    "mine_raises": "'''A module that breaks.'''\nraise RuntimeError('no QPU\\nin this room')\n",
    "mine_garbled": "x = 1\ndef build(:\n",
    "mine_exits": "import sys\nsys.exit(7)\n",
    "mine_old": "from math import no_such_function\n",
    "mine_wants": "import a_package_nobody_has\n",
    "mine": (
        "number = 3\n"
        "def nothing(seed): return None\n"
        "def two(a, b): return None\n"
        "def five(model, inputs, targets, n, seed): return 0\n"
        "def refuses(seed):\n    raise ValueError('seed is odd')\n"
    ),
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nowhere:build", SettingsError, "module 'nowhere' was not found"),
        ("mine.inner:build", SettingsError, "module 'mine.inner' was not found"),
        ("mine:build", SettingsError, "mine has no 'build'"),
        ("mine:number", SettingsError, r"must be a function \(got int\)"),
        ("mine:", SettingsError, "must be module:factory"),
        (":build", SettingsError, "must be module:factory"),
        (".mine:two", SettingsError, "must be module:factory"),
        ("./mine.py:two", SettingsError, "must be module:factory"),
        ("a:b:c", SettingsError, "must be module:factory"),
        ("mine_raises:build", SettingsError, r"RuntimeError: no QPU \(.*mine_raises\.py:2\)"),
        ("mine_garbled:build", SettingsError, r"SyntaxError: .* \(.*mine_garbled\.py:2\)"),
        ("mine_exits:build", SettingsError, r"SystemExit: 7 \(.*mine_exits\.py:2\)"),
        ("mine_old:build", SettingsError, r"ImportError: .*no_such_function.* \(.*mine_old\.py:1\)"),
        ("mine_wants:build", MachineError, "needs the package 'a_package_nobody_has': install"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(name: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        plugin.load("quantum.provider", name)
    assert str(caught.value).startswith(f"quantum.provider: {name!r}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:two", "TypeError: two() missing 1 required positional argument: 'b'"),
        ("mine:refuses", "ValueError: seed is odd ("),
        (
            "mine:nothing",
            "returned a NoneType, which is not a Workload: it lacks name, samples_per_step, step, ",
        ),
        ("os:getcwd", "TypeError"),
    ],
)
def test_a_workload_of_the_users_that_does_not_work_is_one_line(name: str, message: str) -> None:
    build = workload_factory(name)
    with pytest.raises(SettingsError) as caught:
        build(0)
    assert str(caught.value).startswith(f"bench.workload: {name!r}: ")
    assert message in str(caught.value)


def test_settings_errors_of_the_users_code_keep_their_words() -> None:
    with pytest.raises(SettingsError, match="unknown key"):
        plugin.call_plugin("bench.workload", "mine:two", lambda: load(None, {"quantum": {"shotz": 1}}))


def test_what_has_every_member_of_a_port_passes() -> None:
    class Clock:
        def now_ns(self) -> int:
            return 0

    plugin.check("quantum.provider", "scripted", ScriptedProvider(Clock()), Provider)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mine:nothing", SettingsError, r"TypeError: nothing\(\) takes 1 positional argument"),
        ("mine:five", SettingsError, "which is not a Kernel: it lacks name, loss_check, propose"),
        ("nowhere:build", SettingsError, "module 'nowhere' was not found"),
    ],
)
def test_a_users_kernel_that_is_wrong_is_one_line(name: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        digits_mlp.build(0).kernel(name, 4)
    assert str(caught.value).startswith(f"kernel.name: {name!r}")


class Mine:
    """A kernel that returns what it is given; an exception is raised."""

    name, loss_check = "mine", False

    def __init__(self, proposed: object = None, changed: object = None) -> None:
        self.proposed, self.changed = proposed, changed

    def propose(self, base_version: int, budget_ns: int) -> Any:
        if isinstance(self.proposed, Exception):
            raise self.proposed
        if isinstance(self.proposed, int):
            n = self.proposed
            return Proposal(Subproblem(np.zeros((n, n)), np.ones(n), budget_ns=budget_ns), None)
        if isinstance(self.proposed, np.ndarray):
            return Proposal(Subproblem(np.zeros((2, 2)), self.proposed, budget_ns=budget_ns), None)
        return self.proposed

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return proposal.subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Any:
        return self.changed


def change(parameter: str) -> Delta:
    return Delta(0, parameter, np.zeros(1, np.int64), np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Mine(KeyError("layer3")), "kernel.name: 'm:f': propose on version 0 raised KeyError: 'layer3' ("),
        (Mine(RuntimeError("no\nlayers")), "raised RuntimeError: no ("),
        (Mine(None), "kernel.name: 'm:f': propose returned NoneType, not a Proposal"),
        (Mine(Proposal(None, None)), "Proposal.subproblem must be a Subproblem (got a NoneType)"),  # type: ignore[arg-type]
        (Mine(np.ones(3)), "kernel.name: 'm:f': subproblem.quadratic: must have shape (3, 3) (got (2, 2))"),
        (Mine(np.array([1.0, np.nan])), "subproblem.linear: has NaN or infinite coefficients"),
        (
            Mine(Proposal(Subproblem(np.zeros((1, 1)), np.ones(1)), None)),
            "subproblem.budget_ns must be 5 (got 0)",
        ),
        (Mine(5), "kernel.n: must be at least the 5 variables that 'm:f' proposes (got 4)"),
        (Mine(4, 3), "kernel.name: 'm:f': delta returned int, not a Delta"),
        (Mine(4, change("nope.weight")), "kernel.name: 'm:f': delta"),
    ],
)
def test_a_users_kernel_that_makes_a_mistake_is_one_line_before_the_run(kernel: Mine, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        rehearse(digits_mlp.build(0), kernel, "m:f", 4, 5)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_users_kernel_that_works_is_rehearsed_in_silence() -> None:
    workload = digits_mlp.build(0)
    before = workload.evaluate()
    rehearse(workload, workload.kernel("qat_flip", 6), "qat_flip", 6, 5)
    assert workload.evaluate() == before


@pytest.mark.parametrize("kernel", [TaskRounding, QatFlip, PruneMask])
def test_a_kernel_needs_a_torch_model(kernel: Any) -> None:
    with pytest.raises(SettingsError, match=r"model: must be a torch.nn.Module \(got a str\)"):
        kernel("model", None, None, 4, 0)


def test_a_users_kernel_gets_the_model_its_data_n_and_the_seed() -> None:
    workload = digits_mlp.build(3)
    kernel = workload.kernel("shotclock.training.kernels.qat_flip:QatFlip", 6)
    same = workload.kernel("qat_flip", 6)
    subproblem, expected = (each.propose(0, 0).subproblem for each in (kernel, same))
    assert subproblem.linear.tolist() == expected.linear.tolist()
