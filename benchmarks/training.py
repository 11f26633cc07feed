"""Training with calls: the cost of overlap, the effect of a late answer, the gain of each kernel by arm."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import _extras
import _training_charts as charts
import _training_kernels as kernels
import _training_lab as lab
import _training_overlap as overlap
import _training_page as page
import _training_stale as stale
from _options import make_parser
from _training_arms import arms
from shotclock.emulator import device

CHARTS = Path(__file__).parents[1] / "docs" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much: seeds, rows and proposals of the late answers; the kernels.

    overlap_steps: steps with calls.
    overlap_every: steps from one call to the next.
    settled: steps of SGD before K3's late answers.
    """

    overlap_steps: int
    overlap_every: int
    stale_seeds: int
    rows: int
    proposals: int
    settled: int
    kernels: kernels.Effort


QUICK = Effort(
    overlap_steps=20,
    overlap_every=2,
    stale_seeds=2,
    rows=2,
    proposals=2,
    settled=1000,
    kernels=kernels.Effort(seeds=2, more=2, sweeps=1, before=100, steps=40, requests=10, mnist=False),
)
FULL = Effort(
    overlap_steps=300,
    overlap_every=5,
    stale_seeds=8,
    rows=8,
    proposals=6,
    settled=3000,
    kernels=kernels.Effort(seeds=6, more=10, sweeps=8, before=1000, steps=400, requests=200, mnist=True),
)


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "about a minute")
    parser.add_argument("--charts", type=Path, default=CHARTS, help="folder of the markdown's charts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the other core is the emulated QPU's
    effort = QUICK if arguments.quick else FULL
    _tell("overlap on the medium workload")
    hidden = overlap.measure(effort.overlap_steps, effort.overlap_every)
    _tell("calls in flight and stale steps")
    in_flight = stale.in_flight(effort.stale_seeds, effort.rows)
    settled = stale.Training(effort.settled, 0.01, 0.9)
    after_steps = stale.stale_steps(effort.stale_seeds, settled, effort.proposals, stale.POLICIES)
    _tell("kernels by arm")
    asking = arms(device.describe("heron-torino"))
    rows = list(kernels.rows(asking, effort.kernels))
    _tell("beside the lab")
    steps = lab.ladders(in_flight, after_steps, settled, asking, effort.stale_seeds, effort.rows)
    if arguments.json:
        figures = page.metrics(hidden, in_flight, after_steps, rows, steps)
        print(json.dumps({key: round(value, 5) for key, value in figures.items()}, indent=2))
    else:
        charts.write(in_flight, after_steps, arguments.charts)
        print("\n".join(page.markdown(hidden, in_flight, after_steps, rows, steps)))


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
