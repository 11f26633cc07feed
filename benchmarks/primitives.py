"""Qiskit's primitives through Shotclock: as exact as the reference, in fewer jobs than IBM's client alone.

Four trainers of a quantum network over one local, EMULATED endpoint; deviations from exact figures; and the
software time of a call beside a direct local sampler.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass

import _extras
from _options import make_parser

PROFILE = "colocated"


@dataclass(frozen=True, slots=True)
class Effort:
    """Circuits that are compared with exact figures, timed calls, and steps of each trainer."""

    circuits: int
    calls: int
    steps: int


QUICK, FULL = Effort(8, 40, 2), Effort(40, 300, 20)


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under a minute")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    for name in ("qiskit_ibm_runtime", "qiskit_machine_learning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    lines, metrics = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps({key: round(value, 9) for key, value in metrics.items()}, indent=2))
    else:
        print("\n".join(lines))


def measure(effort: Effort) -> tuple[list[str], dict[str, float]]:
    """The page's lines and the figures others read."""
    import _primitives_accuracy as exact  # noqa: PLC0415
    import _primitives_trainers as trainers  # noqa: PLC0415
    from _ibm_endpoint import start_endpoint  # noqa: PLC0415

    _tell("accuracy")
    with exact.connect_to_aer() as connection:
        accuracy = exact.measure_accuracy(connection, effort.circuits)
        _tell("overhead")
        times = exact.measure_overhead(connection, effort.calls)
    _tell("trainers")
    with start_endpoint(PROFILE, 1.0) as endpoint:
        alone, together, beside = trainers.measure(endpoint, effort.steps)
    lines = ["## Qiskit's primitives", "", *trainers.markdown(PROFILE, (alone, together, beside)), ""]
    lines += exact.markdown(accuracy, times)
    return lines, {
        "sampler_tvd_max": accuracy.tvd,
        "reference_sampler_tvd_max": accuracy.reference_tvd,
        "estimator_error_max_sigma": accuracy.sigma,
        "reference_estimator_error_max_sigma": accuracy.reference_sigma,
        "qnn_jobs_ratio_vs_ibm_client": alone.jobs / together.jobs,
        "qnn_qpu_s_ratio_vs_ibm_client": alone.qpu_s / together.qpu_s,
        "qnn_step_p95_ms": together.step_p95_ms,
        "qnn_side_by_side_qpu_s_ratio_vs_ibm_client": alone.qpu_s / beside.qpu_s,
        "qnn_side_by_side_step_p95_ms": beside.step_p95_ms,
        "ibm_client_qnn_step_p95_ms": alone.step_p95_ms,
        "qnn_in_time_ratio": together.in_time / together.calls,
        "overhead_p50_ms": times[0].p50_ms - exact.find_direct(times).p50_ms,
        "call_p50_ms": times[0].p50_ms,
    }


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
