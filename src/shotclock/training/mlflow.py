"""Finished calls as metrics of an MLflow run; needs `shotclock[mlflow]`."""

from __future__ import annotations

import mlflow

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Decision, Degraded, Done


class MlflowMetrics:
    """A CallObserver. Metrics of an emulated QPU begin with `shotclock-EMULATED/`.

    They are sent by MLflow's own thread, so that a slow tracking server delays no step; `flush` waits for it.
    Under torchrun only rank zero makes calls, so that only its run has them.

    run_id: the run that they belong to; "" is the one that is active at each call.
    """

    def __init__(self, run_id: str = "") -> None:
        self._run_id = run_id
        self._decided = dict.fromkeys(Decision, 0)

    def __call__(self, call: FinishedCall) -> None:
        """See `CallObserver`; the step is the one that the call was scheduled for."""
        provenance, decision = call.outcome.provenance, call.applied.decision
        self._decided[decision] += 1
        figures = {
            "added_latency_ms": call.blocked_ns / NS_PER_MS,
            "answered": float(isinstance(call.outcome, Done | Degraded)),
            "raw_gain": provenance.raw_gain,
            "classical_gain": provenance.classical_gain,
            f"decided/{decision}": float(self._decided[decision]),
        }
        group = "shotclock-EMULATED" if provenance.emulated else "shotclock"
        mlflow.log_metrics(
            {f"{group}/{name}": value for name, value in figures.items()},
            step=call.step,
            run_id=self._run_id or None,
            synchronous=False,
        )

    def flush(self) -> None:
        """Waits until everything is sent."""
        mlflow.flush_async_logging()
