"""A user's DistributedDataParallel loop under torchrun or Ray Train: python ddp_loop.py FOLDER TARGET HOW.

HOW: "well"; "tampered", rank one moves a weight on its own; "lost", rank one dies. Rank zero prints a line a
call; at half-way the ranks wait for the file FOLDER/killed, and at the end each says its parameters' hash.
Where they diverge, each reports the error it got, and ends after the other one.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import shotclock
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import RunError
from shotclock.domain.iteration import FinishedCall
from shotclock.training.calls import CallPolicy
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.rounded import round_layers
from shotclock.training.loops.classifier import plain

N, EVERY, STEPS = 6, 2, 16
POLICY = CallPolicy(EVERY, "inline", budget_ns=300 * NS_PER_S)


def report(*words: object) -> None:
    # one write: the two ranks share the pipe
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def receive(call: FinishedCall) -> None:
    report("call", call.step, type(call.outcome).__name__, call.applied.decision)


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)


def part(folder: Path, error: RunError) -> None:
    """torchrun ends a rank as soon as the other one has failed: neither fails before both have spoken."""
    rank = int(os.environ["RANK"])
    report("parted", rank, error)
    (folder / f"parted-{rank}").touch()
    wait_for(folder / f"parted-{1 - rank}")


def parameters_of(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def main(folder: Path, target: str, how: str) -> None:
    if not dist.is_initialized():  # Ray Train has done it
        dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    model = plain(8, 12, 8, 3)
    round_layers(model)
    inputs, targets = torch.randn(128, 8), torch.randint(3, (128,))
    kernel = Rounding(model, Calibrated(model, inputs), N, 0)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.05, momentum=0.9)
    quantum = shotclock.attach(
        optimizer,
        model=model,
        kernel=kernel,
        target=target,
        policy=POLICY,
        observers=[receive],
        ranks_timeout_s=300.0,
    )
    torch.manual_seed(1 + rank)
    for step in range(1, STEPS + 1):
        mine = torch.randperm(len(inputs))[:16]
        optimizer.zero_grad()
        nn.functional.cross_entropy(parallel(inputs[mine]), targets[mine]).backward()  # type: ignore[no-untyped-call]
        if rank == 1 and step == EVERY + 1 and how == "lost":
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 1 and step == EVERY + 1 and how == "tampered":
            model.get_parameter("2.weight")[0, 0] += 1.0
        try:
            optimizer.step()
        except RunError as error:
            if how == "tampered":
                part(folder, error)
            raise
        if step == STEPS // 2:
            quantum.flush()
            report("half-way", rank)
            wait_for(folder / "killed")
    quantum.flush()
    counted = sum(
        int(sample.value)
        for family in quantum.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "shotclock_decisions_total"
    )
    report("end", rank, parameters_of(model), quantum.training.version, "ray" in sys.modules, counted)
    quantum.detach()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    dist.destroy_process_group()
