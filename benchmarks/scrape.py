"""What a scrape of /metrics costs a service that records 1,000 calls a second, and what recording costs.

One process with the real families: a thread records calls of several callers at the rate, and the registry is
formatted meanwhile, as the HTTP application does it.
"""

from __future__ import annotations

import argparse
import json
import threading
import time

import numpy as np
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import Executed, Provenance
from shotclock.domain.stages import Stage, StageTiming
from shotclock.telemetry.metrics import STAGE_NAMES, Metrics, PrometheusRecorder

RATE = 1_000
CALLERS = tuple(f"spiffe://site/trainer-{number}" for number in range(8))
STAGES = tuple(StageTiming(stage, 0, 5 * NS_PER_MS) for stage in STAGE_NAMES if stage is not Stage.PROPOSE)
OUTCOME = Executed(
    Samples(np.zeros((1, 1), np.uint8), np.ones(1, np.int64)),
    Provenance("benchmark", emulated=True, base_version=0, stages=STAGES),
)


def record(recorder: PrometheusRecorder, until: threading.Event, durations_s: list[float]) -> None:
    """Records calls at the rate until the event is set."""
    due = time.perf_counter()
    number = 0
    while not until.is_set():
        began = time.perf_counter()
        recorder.record_outcome(OUTCOME, 40 * NS_PER_MS, 200 * NS_PER_MS, CALLERS[number % len(CALLERS)])
        durations_s.append(time.perf_counter() - began)
        number += 1
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))


def main() -> None:
    """Prints one object, metric → number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 scrapes instead of 200")
    parser.add_argument("--json", action="store_true", help="one object on stdout, which is the only format")
    arguments = parser.parse_args()
    metrics, stop = Metrics((0.2, 30.0)), threading.Event()
    recorder = PrometheusRecorder(metrics, "unnamed", clients=CALLERS)
    recorded: list[float] = []
    thread = threading.Thread(target=record, args=(recorder, stop, recorded))
    thread.start()
    figures: dict[str, float] = {"callers": len(CALLERS), "calls_per_s": RATE}
    try:
        for name, encode in (("text", generate_latest), ("openmetrics", generate_openmetrics)):
            scrapes, cpu = [], []
            for _ in range(20 if arguments.quick else 200):
                began, began_cpu = time.perf_counter(), time.thread_time()
                text = encode(metrics.registry)
                scrapes.append(time.perf_counter() - began)
                cpu.append(time.thread_time() - began_cpu)
                time.sleep(0.02)
            figures[f"{name}_scrape_p50_ms"] = float(np.percentile(scrapes, 50)) * 1e3
            figures[f"{name}_scrape_max_ms"] = max(scrapes) * 1e3
            figures[f"{name}_scrape_cpu_p50_ms"] = float(np.percentile(cpu, 50)) * 1e3
            figures[f"{name}_lines"] = text.count(b"\n")
    finally:
        stop.set()
        thread.join()
    figures["record_p50_us"] = float(np.percentile(recorded, 50)) * 1e6
    figures["recorded_calls"] = len(recorded)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
