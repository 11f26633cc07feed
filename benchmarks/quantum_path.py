"""The quantum path, side by side with its peers and its controls in one run.

Where a QPU could matter at all; one warm call's software compared with other simulators and the
specification's example code; what the circuits take on a chip; what the samples are worth. Software time and
emulated QPU time are stated apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass

import _extras
from _options import make_parser

SIZES = (12, 16)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: rounds of calls, instances a family, instances of the break-even table."""

    rounds: int
    instances: int
    solved: int


QUICK, FULL = Effort(30, 20, 11), Effort(200, 60, 51)


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under a minute")
    arguments = parser.parse_args()
    # Read once, when a simulator's library loads: hence before the imports below.
    os.environ.update(OMP_NUM_THREADS="1", QULACS_NUM_THREADS="1")
    lines, metrics = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps({key: round(value, 5) for key, value in metrics.items()}, indent=2))
    else:
        print("\n".join(lines))


def measure(effort: Effort) -> tuple[list[str], dict[str, float]]:
    """The page's lines and the figures others read, percentiles without enough calls left out."""
    import _break_even  # noqa: PLC0415
    import _calls  # noqa: PLC0415
    import _hardware  # noqa: PLC0415
    import _quality  # noqa: PLC0415
    from shotclock.emulator import device  # noqa: PLC0415

    facts = device.describe(_calls.DEVICE)
    _tell("break-even")
    solved = [_break_even.classical(n, effort.solved) for n in _break_even.SIZES]
    lines = _break_even.markdown(solved, _break_even.latencies(facts))
    calls = []
    for n in SIZES:
        _tell(f"calls at n = {n}: {effort.rounds} rounds")
        calls.append(asyncio.run(_calls.measure(n, effort.rounds)))
    _tell("transpiler and packing")
    compared = [_hardware.compare(name, n) for n in SIZES for name in _hardware.DEVICES]
    packed = _hardware.pack(12, facts)
    _tell(f"quality: {effort.instances} instances a family and size")
    rows = _quality.table(effort.instances, facts, SIZES)
    lines += ["", "## The quantum path", "", *_calls.markdown(tuple(calls))]
    lines += ["", *_hardware.markdown(compared, packed), "", *_quality.markdown(rows)]
    figures = _calls.metrics(tuple(calls)) | _hardware.metrics(compared, packed) | _quality.metrics(rows)
    return lines, {key: value for key, value in figures.items() if value is not None}


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
