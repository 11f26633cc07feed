"""The overhead of the orchestrator: calls against a provider that answers at once.

From the same process, during a training loop and over gRPC with mutual TLS; many calls, with memory growth;
with a ledger on disk; each with its control: an echo RPC, a bare fsync, a bare round trip.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import _extras
from _options import make_parser

if TYPE_CHECKING:
    from _orchestrator_page import Measured


@dataclass(frozen=True, slots=True)
class Effort:
    """How many calls: one at a time; beside training; many at once; over gRPC; paid; bare round trips."""

    single: int
    training: int
    sustained: int
    wire: int
    rated: int
    paid: int
    trips: int


QUICK = Effort(3_500, 700, 10_000, 2_000, 3_000, 300, 4_000)
FULL = Effort(20_000, 4_000, 100_000, 20_000, 20_000, 2_000, 20_000)


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under a minute")
    arguments = parser.parse_args()
    # The server process imports this module too, and needs none of it: hence the imports in functions.
    import _orchestrator_page  # noqa: PLC0415

    measured = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        figures = _orchestrator_page.metrics(measured)
        print(json.dumps({key: round(value, 5) for key, value in figures.items()}, indent=2))
    else:
        print("\n".join(_orchestrator_page.markdown(measured)))


def measure(effort: Effort) -> Measured:
    """Everything, one after the other; what shares a table is interleaved."""
    import _orchestrator_inprocess as inprocess  # noqa: PLC0415
    import _orchestrator_paid  # noqa: PLC0415
    import _orchestrator_payload  # noqa: PLC0415
    import _orchestrator_wire  # noqa: PLC0415
    from _orchestrator_page import Measured  # noqa: PLC0415
    from _orchestrator_system import system  # noqa: PLC0415

    _tell(f"over gRPC: {effort.wire} calls, then {effort.rated} at once")
    wired = _orchestrator_wire.measure(effort.wire, effort.rated)
    _tell("bare round trips")
    sizes = _orchestrator_payload.Sizes(wired.messages.request_bytes, wired.messages.answer_bytes)
    carried = _orchestrator_payload.measure(sizes, effort.trips)
    with system() as running:
        _tell(f"in process: {effort.single} calls, two ways")
        awaited, unawaited = inprocess.single_stream(running, effort.single)
        _tell(f"sustained: {effort.sustained} calls")
        sustained = inprocess.sustain(running, effort.sustained)
        _tell(f"paid: {effort.paid} calls")
        durable = _orchestrator_paid.measure(running, effort.paid)
        _tell(f"beside training: {effort.training} calls")
        beside = inprocess.beside_training(running, effort.training)
    measured = Measured(awaited, unawaited, beside, sustained, wired, durable, carried)
    measured.check()
    return measured


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
