"""One training process of `trainers.py`: a model that asks at each step, and steps on a schedule.

`python _trainer.py TARGETS STEPS_PER_S STEPS SEED` says "ready", waits for a line with the instant of its
first step (CLOCK_MONOTONIC, ns), and prints its latencies and how its calls ended as one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

import torch
from torch import nn

import shotclock
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.iteration import FinishedCall
from shotclock.training.calls import CallPolicy
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.rounded import round_layers
from shotclock.training.loops.classifier import plain

N = 6
BUDGET_MS = 200


def main(targets: str, steps_per_s: float, steps: int, seed: int) -> None:
    """Latency of a step: from its scheduled instant until the optimizer has the answer's delta."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = plain(8, 12, 8, 3)
    round_layers(model)
    inputs, labels = torch.randn(128, 8), torch.randint(3, (128,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    endings: Counter[str] = Counter()

    def count(call: FinishedCall) -> None:
        endings[type(call.outcome).__name__] += 1

    quantum = shotclock.attach(
        optimizer,
        model=model,
        kernel=Rounding(model, Calibrated(model, inputs), N, seed),
        target=targets,
        placement="round-robin",
        policy=CallPolicy(1, "inline", budget_ns=BUDGET_MS * NS_PER_MS),
        observers=[count],
    )
    print("ready", flush=True)
    start_ns = int(sys.stdin.readline())
    latencies_ns = []
    for step in range(steps):
        due_ns = start_ns + round(step * NS_PER_S / steps_per_s)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
        rows = torch.randperm(len(inputs))[:16]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        latencies_ns.append(time.monotonic_ns() - due_ns)
    ended_ns = time.monotonic_ns()
    quantum.flush()
    quantum.detach()
    print(json.dumps({"latencies_ns": latencies_ns, "ended_ns": ended_ns, "endings": endings}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
