"""`medium`: one classical iteration takes about 120 ms of one core, so that a call of 20–50 ms can hide.

It is sized for its time, not for accuracy: a 64-W-W-10 perceptron on the digits costs about
6·B·(64W + 10W) + 4·B·W² floating-point operations an iteration of B samples, for the middle layer, rounded
and out of training, takes no gradient. W = 1,280 and B = 2,048 make 14.6 GFLOP. `rounding` serves it, on what
training's own forward pass showed the layer, so that a proposal costs no pass of its own.
"""

from __future__ import annotations

from shotclock.training.layers.activations import Caught
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops.classifier import Classifier, plain
from shotclock.training.loops.digits_mlp import digits

WIDTH, BATCH = 1280, 2048


def build(seed: int, device: str = "cpu") -> Classifier:
    """The entry point: rounded to nearest at its first weights, everything else trained for one step."""
    widths = (64, WIDTH, WIDTH, 10)
    workload = Classifier("medium", digits(), lambda: plain(*widths), seed, batch=BATCH, device=device)
    workload.round(bits=2)
    rounded = [name for name, found in workload.model.named_modules() if isinstance(found, RoundedLinear)]
    workload.activations = Caught(workload.model, rounded)
    workload.step()
    return workload
