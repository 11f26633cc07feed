"""`shotclock.attach` in programs that end as users' programs do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import shotclock
from mtls_loopback import ScriptedDispatcher, ScriptedOperations
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.host_figures import NOT_READ
from shotclock.domain.iteration import FinishedCall
from shotclock.runtime.loop_thread import LoopThread
from shotclock.training.calls import CallPolicy
from shotclock.training.loops.digits_mlp import build_rounded
from shotclock.wire.server import serve
from shotclock.wire.tls import Insecure

HBM_USED_BYTES = 8 * 10_737_418_240 + sum(range(8))

LOOP = """
import torch
from torch import nn

import shotclock
from shotclock.training.layers.activations import Calibrated
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.rounded import round_layers


def attached():
    model = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))
    round_layers(model)
    inputs = torch.randn(32, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kernel = Rounding(model, Calibrated(model, inputs), n=12, seed=0)
    return optimizer, shotclock.attach(optimizer, model=model, kernel=kernel)
"""
TWICE = """

if __name__ == "__main__":
    optimizer, quantum = attached()
    for _ in range(20):
        optimizer.step()
    quantum.detach()
    quantum.flush()
    quantum.detach()
    print("detached")
    attached()[0].step()
    raise ValueError("the user's own")
"""


def run(program: str, to: Path) -> subprocess.CompletedProcess[str]:
    to.write_text(program, encoding="utf-8")
    return subprocess.run([sys.executable, to], capture_output=True, text=True, check=False)


def test_detaching_twice_does_nothing_and_an_error_without_detaching_is_the_users_own(tmp_path: Path) -> None:
    ended = run(LOOP + TWICE, tmp_path / "loop.py")
    assert ended.stdout == "detached\n"
    assert ended.stderr.endswith("ValueError: the user's own\n"), ended.stderr


def test_a_program_needs_no_guard_against_its_own_import(tmp_path: Path) -> None:
    ended = run(LOOP + "\nattached()[1].detach()\nprint('detached')\n", tmp_path / "unguarded.py")
    assert (ended.returncode, ended.stdout) == (0, "detached\n"), ended.stderr


def test_observers_get_what_was_read_around_a_call_where_there_is_something_to_read(
    tmp_path: Path, shared_machine: Callable[[str], Path]
) -> None:
    settings, calls = tmp_path / "settings.toml", list[FinishedCall]()
    settings.write_text(f'[placement]\nroot = "{shared_machine("mi300x-spx")}"\n')
    thread = LoopThread()
    server = thread.run(serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", Insecure()))
    workload = build_rounded(0)
    quantum = shotclock.attach(
        workload.optimizer,
        model=workload.model,
        kernel=workload.kernel("rounding", 6),
        settings=settings,
        target=f"127.0.0.1:{server.port}",
        policy=CallPolicy(1, "inline", 60 * NS_PER_S),
        observers=[calls.append],
        run="night-7",
    )
    try:
        # a call that is shorter than the first reading has no figures
        while not calls or calls[-1].around == NOT_READ:
            assert len(calls) < 1_000
            workload.step()
    finally:
        quantum.detach()
        thread.run(server.stop(0))
        thread.close()
    around = calls[-1].around
    assert around.hbm_used_before_bytes == around.hbm_used_peak_bytes == HBM_USED_BYTES
    assert (around.ecc_errors, around.rdma_bytes) == (0, None)
