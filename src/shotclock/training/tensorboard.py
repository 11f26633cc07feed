"""Finished calls as TensorBoard scalars; needs `shotclock[tensorboard]`."""

from __future__ import annotations

from dataclasses import asdict

from torch.utils.tensorboard import SummaryWriter

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Decision, Degraded, Done


class TensorBoard:
    """A CallObserver. Figures of an emulated QPU have a separate tag, `shotclock-EMULATED/`.

    Those of the host around a call are in `shotclock-host/`, each where it is known.

    writer: the caller chooses its folder and closes it.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer
        self._decided = dict.fromkeys(Decision, 0)

    def __call__(self, call: FinishedCall) -> None:
        """See `CallObserver`; the step on the axis is the one the call was scheduled for."""
        outcome = call.outcome
        group = "shotclock-EMULATED" if outcome.provenance.emulated else "shotclock"
        blocked_ms = call.blocked_ns / NS_PER_MS
        self._scalar(f"{group}/added_latency_ms", blocked_ms, call.step)
        self._scalar(f"{group}/answered", float(isinstance(outcome, Done | Degraded)), call.step)
        self._scalar(f"{group}/raw_gain", outcome.provenance.raw_gain, call.step)
        self._scalar(f"{group}/classical_gain", outcome.provenance.classical_gain, call.step)
        self._decided[call.applied.decision] += 1
        for name, value in asdict(call.around).items():
            if isinstance(value, int | float):
                self._scalar(f"shotclock-host/{name}", value, call.step)
        count = self._decided[call.applied.decision]
        self._scalar(f"{group}/decided/{call.applied.decision}", count, call.step)

    def _scalar(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)
