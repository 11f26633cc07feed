"""What a user names as "module:factory": every way it can be wrong is one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shotclock.app.arms import workload_factory
from shotclock.domain import plugin
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ports import Provider
from shotclock.providers.scripted import ScriptedProvider
from shotclock.settings import load
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


def test_a_users_kernel_gets_the_model_its_data_n_and_the_seed() -> None:
    workload = digits_mlp.build(3)
    kernel = workload.kernel("shotclock.training.kernels.qat_flip:QatFlip", 6)
    same = workload.kernel("qat_flip", 6)
    subproblem, expected = (each.propose(0, 0).subproblem for each in (kernel, same))
    assert subproblem.linear.tolist() == expected.linear.tolist()
