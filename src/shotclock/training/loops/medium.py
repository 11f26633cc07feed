"""`medium`: one classical iteration takes about 120 ms of one core, longer than a call of 20–50 ms.

It is sized for its time, not for accuracy: a 64-W-W-10 perceptron on the digits costs about
6·B·(64W + 10W) + 4·B·W² floating-point operations per iteration of B samples, because the middle layer is
rounded and takes no gradient. W = 1,280 and B = 2,048 make 14.6 GFLOP. Its kernel is `rounding`, on the
activations of training's forward pass, so that a proposal needs no additional pass.
"""

from __future__ import annotations

from shotclock.training.layers.activations import CapturedActivations
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops.classifier import Classifier, plain
from shotclock.training.loops.digits_mlp import digits

WIDTH, BATCH = 1280, 2048


def build(seed: int, device: str = "cpu") -> Classifier:
    """The entry point: a model of this seed with a rounded middle layer, trained for one step."""
    widths = (64, WIDTH, WIDTH, 10)
    workload = Classifier("medium", digits(), lambda: plain(*widths), seed, batch=BATCH, device=device)
    workload.round(bits=2)
    rounded = [name for name, module in workload.model.named_modules() if isinstance(module, RoundedLinear)]
    workload.activations = CapturedActivations(workload.model, rounded)
    workload.step()
    return workload
