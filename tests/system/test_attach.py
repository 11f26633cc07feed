"""`shotclock.attach` in programs that end as users' programs do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
