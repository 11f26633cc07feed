"""MLflow hears of calls: read back by its own client from its own store."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.training.calls import CallPolicy
from shotclock.training.hook import attach
from shotclock.training.loops.digits_mlp import build_gated
from shotclock.training.mlflow import MlflowMetrics


def test_calls_become_metrics_marked_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path}/mlruns")
    mlflow.set_experiment("shotclock")
    workload, observer = build_gated(0), MlflowMetrics()
    with mlflow.start_run() as run:
        attached = attach(
            workload.optimizer,
            model=workload.model,
            kernel=workload.kernel("prune_mask", 8),
            caller=FakeCaller(),
            clock=StepClock(),
            policy=CallPolicy(every=2, mode="inline", budget_ns=NS_PER_MS),
            observers=[observer],
            environ={},
        )
        for _ in range(4):
            workload.step()
        attached.detach()
        observer.flush()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "shotclock-EMULATED/answered")
    assert [(metric.step, metric.value) for metric in history] == [(2, 1.0), (4, 1.0)]
    names = {
        name.removeprefix("shotclock-EMULATED/") for name in mlflow.get_run(run.info.run_id).data.metrics
    }
    assert names >= {"added_latency_ms", "raw_gain", "decided/applied"}
