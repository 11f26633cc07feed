"""TensorBoard hears of calls: read back from the event file that its own reader opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch.utils.tensorboard import SummaryWriter

from scripted_answers import FakeCaller, StepClock
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.host_figures import AroundCall
from shotclock.domain.iteration import FinishedCall
from shotclock.training.calls import CallPolicy
from shotclock.training.hook import attach
from shotclock.training.loops.digits_mlp import build_gated
from shotclock.training.tensorboard import TensorBoard


def test_calls_become_scalars_marked_emulated(tmp_path: Path) -> None:
    workload, calls = build_gated(0), list[FinishedCall]()
    with SummaryWriter(str(tmp_path)) as writer:
        attach(
            workload.optimizer,
            model=workload.model,
            kernel=workload.kernel("prune_mask", 8),
            caller=FakeCaller(),
            clock=StepClock(),
            policy=CallPolicy(every=2, mode="inline", budget_ns=NS_PER_MS),
            observers=[TensorBoard(writer), calls.append],
            environ={},
        )
        for _ in range(4):
            workload.step()
        TensorBoard(writer)(replace(calls[0], around=AroundCall(hbm_used_peak_bytes=3, ecc_errors=0)))
    event_accumulator = EventAccumulator(str(tmp_path))
    event_accumulator.Reload()
    tags = event_accumulator.Tags()["scalars"]
    host = {tag for tag in tags if not tag.startswith("shotclock-EMULATED/")}
    assert host == {"shotclock-host/hbm_used_peak_bytes", "shotclock-host/ecc_errors"}
    assert [event.value for event in event_accumulator.Scalars("shotclock-host/hbm_used_peak_bytes")] == [3.0]
    applied = event_accumulator.Scalars("shotclock-EMULATED/decided/applied")
    assert (applied[0].step, applied[0].value) == (2, 1.0)
    answered = event_accumulator.Scalars("shotclock-EMULATED/answered")
    assert [event.step for event in answered] == [2, 4, 2]
    assert np.all(np.array([event.value for event in answered]) == 1.0)
