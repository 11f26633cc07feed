"""From the device to a subproblem: what proposing costs a training loop on a processor or an accelerator.

CPU, CUDA and ROCm take one path (torch names both accelerators `cuda`): coefficients are computed where the
model lies and cross to the host in one copy, through pinned memory where there is a bus to cross.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

import _extras
from _options import make_parser
from shotclock.bench.stats.statistics import Sample, percentile
from shotclock.domain.ports import Kernel
from shotclock.training.kernels.to_host import to_host
from shotclock.training.loops import medium
from shotclock.training.loops.classifier import Classifier, build_gated, ternary
from shotclock.training.loops.digits_mlp import digits

N, WIDTH = 16, 256


@dataclass(frozen=True, slots=True)
class Timed:
    """Durations of one thing, ns, the device waited for on both sides."""

    key: str
    words: str
    durations: list[int]

    @property
    def p50_ms(self) -> float:
        """The median, milliseconds."""
        return float(np.median(self.durations)) * 1e-6

    @property
    def p95_ms(self) -> float | None:
        """Milliseconds; None where there are too few."""
        bounded = percentile(Sample.of(self.durations), 0.95)
        return bounded.value if bounded else None


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "some seconds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    timings = measure(arguments.device, 20 if arguments.quick else 100)
    print(
        json.dumps(metrics(timings), indent=2)
        if arguments.json
        else "\n".join(_page(arguments.device, timings))
    )


def measure(device: str, times: int) -> list[Timed]:
    """Every way in turn, so that all of them meet the same machine."""
    calling, plain = medium.build(0, device), medium.build(0, device)
    rounding = calling.kernel("rounding", N)
    proposal = rounding.propose(0, 1)
    parts = [torch.randn(shape, device=device) for shape in ((N, N), (N,), (N,), ())]
    prune, flip = _kernel("prune_mask", build_gated, device), _kernel("qat_flip", ternary, device)
    ways: list[tuple[str, str, Callable[[], object]]] = [
        ("step", "optimizer step, medium", plain.step),
        (
            "carrying_step",
            "the same, with a K1 proposal in it",
            lambda: (rounding.propose(0, 1), calling.step()),
        ),
        ("rounding_propose", "K1 propose, medium", lambda: rounding.propose(0, 1)),
        ("rounding_rebuild", "K1 rebuild, medium", lambda: rounding.rebuild(proposal, 1)),
        ("prune_mask_propose", f"K2 propose, {WIDTH} units", lambda: prune.propose(0, 1)),
        ("qat_flip_propose", f"K3 propose, {WIDTH} × {WIDTH} weights", lambda: flip.propose(0, 1)),
        ("packed", f"{N}² + {2 * N} + 1 coefficients to the host, one copy", lambda: to_host(*parts)),
        ("one_by_one", "the same, a copy each", lambda: [_plainly(part) for part in parts]),
    ]
    durations: dict[str, list[int]] = {key: [] for key, _, _ in ways}
    for turn in range(-3, times):  # the first are warm-up
        for key, _, way in ways:
            _synchronise(device)
            began = time.perf_counter_ns()
            way()
            _synchronise(device)
            if turn >= 0:
                durations[key].append(time.perf_counter_ns() - began)
    return [Timed(key, words, durations[key]) for key, words, _ in ways]


def metrics(timings: list[Timed]) -> dict[str, float | None]:
    """Metric → milliseconds; stall: how much longer a step with a proposal is, as a share of a plain one."""
    by_key = {timed.key: timed for timed in timings}
    figures: dict[str, float | None] = {}
    for key, timed in by_key.items():
        figures[f"{key}_p50_ms"], figures[f"{key}_p95_ms"] = timed.p50_ms, timed.p95_ms
    plain = by_key["step"].p50_ms
    figures["stall_of_carrying_steps"] = by_key["carrying_step"].p50_ms / plain - 1.0
    return figures


def _kernel(name: str, layers: Callable[..., torch.nn.Module], device: str) -> Kernel:
    make_layers = partial(layers, 64, WIDTH, WIDTH, 10)
    return Classifier(name, digits(), make_layers, 0, batch=2048, device=device).kernel(name, N)


def _plainly(part: Tensor) -> np.ndarray:
    return part.double().cpu().numpy()


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _page(device: str, timings: list[Timed]) -> list[str]:
    accelerated = torch.device(device).type == "cuda"
    kind = "ROCm" if torch.version.hip else "CUDA"
    where = f"{torch.cuda.get_device_name(device)} ({kind})" if accelerated else "a processor, one thread"
    rows = [
        f"| {timed.words} | {timed.p50_ms:.3f} | "
        f"{'too few' if timed.p95_ms is None else f'{timed.p95_ms:.3f}'} | {len(timed.durations)} |"
        for timed in timings
    ]
    stall = 100 * (metrics(timings)["stall_of_carrying_steps"] or 0.0)
    return [
        "## The device path",
        "",
        f"Coefficients are computed on the device and cross in one copy. Device: {where}; n = {N}, "
        "milliseconds, the device waited for before and after, all ways in turn.",
        "",
        "| what | p50 | p95 | times |",
        "|---|---|---|---|",
        *rows,
        "",
        f"A step that carries a proposal is {stall:+.1f} % longer than a plain one (medians).",
        "",
    ]


if __name__ == "__main__":
    _extras.run(main)
