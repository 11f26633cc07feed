"""Shotclock's IBM provider compared with IBM's own clients, all over one local, EMULATED endpoint.

The delay between a finished job and the caller's answer; whether the metered usage agrees with the formula;
the cost of job, batch and session mode; the time that recognising a template saves.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass

import _extras
from _options import make_parser

QUEUE = "20,120"


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds of each waiter, of the slow ones, calls a mode and how fast the modes' endpoint runs."""

    rounds: int
    few: int
    calls: int
    speed: float


QUICK, FULL = Effort(12, 2, 3, 40.0), Effort(100, 20, 5, 10.0)


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under a minute")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.ERROR)
    lines, metrics = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps({key: round(value, 9) for key, value in metrics.items()}, indent=2))
    else:
        print("\n".join(lines))


def measure(effort: Effort) -> tuple[list[str], dict[str, float]]:
    """The page's lines and the figures others read."""
    import _ibm_delay  # noqa: PLC0415
    import _ibm_modes  # noqa: PLC0415
    import _ibm_templates  # noqa: PLC0415
    import _ibm_usage  # noqa: PLC0415
    from _ibm_endpoint import start_endpoint  # noqa: PLC0415

    _tell("answer delay")
    with start_endpoint("colocated", 1.0) as endpoint:
        waiters = _ibm_delay.measure(endpoint, effort.rounds, effort.few)
    _tell("usage")
    with start_endpoint("onprem-today", 100.0) as endpoint:
        metered = _ibm_usage.measure(endpoint)
    _tell("modes")
    with start_endpoint("public-cloud", effort.speed, "--queue", QUEUE) as endpoint:
        modes = _ibm_modes.measure(endpoint, effort.calls)
    _tell("templates")
    templates = _ibm_templates.measure((8, 12, 16), effort.few + 3)
    lines = ["## IBM's clients", "", *_ibm_delay.markdown(waiters), "", *_ibm_usage.markdown(metered)]
    lines += ["", *_ibm_modes.markdown(modes, QUEUE), "", *_ibm_templates.markdown(templates)]
    metrics = {
        "answer_delay_p50_ms": waiters[0].delay_p50_ms,
        "stock_client_answer_delay_p50_ms": waiters[1].delay_p50_ms,
        "stock_client_session_answer_delay_p50_ms": waiters[2].delay_p50_ms,
        "qrmi_answer_delay_p50_ms": waiters[3].delay_p50_ms,
        "usage_model_max_error_ratio": max(row.error_ratio for row in metered),
    }
    metrics |= {f"endpoint_template_speedup_n{template.n}": template.ratio for template in templates}
    for mode in modes:
        metrics[f"{mode.mode}_mode_latency_s"] = sum(mode.latencies_s) / len(mode.latencies_s)
        metrics[f"{mode.mode}_mode_billed_s"] = mode.billed_s
        metrics[f"{mode.mode}_mode_money_usd"] = mode.money
    return lines, metrics


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
