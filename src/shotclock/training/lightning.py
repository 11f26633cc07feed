"""Shotclock in a Lightning trainer; needs `shotclock[lightning]`.

    def attach(optimizer, module):
        return shotclock.attach(optimizer, model=module.net, kernel=make_kernel(module.net), run="night-7")

    Trainer(callbacks=[ShotclockCallback(attach, monitor="val_loss")]).fit(module, data)

The optimizer's state carries the counters and the calls in flight, so Lightning's checkpoints do too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import lightning.pytorch as pl
import torch

from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import CallCounts


class Handle(Protocol):
    """What `shotclock.attach` returns, as far as a trainer uses it."""

    def flush(self) -> None:
        """Waits for calls in flight and applies their answers."""

    def summary(self) -> CallCounts:
        """How many calls fell due, and how many of them were made."""

    def report_validation(self, value: float) -> None:
        """Reports a value of the validation metric to the service."""

    def detach(self) -> None:
        """Removes every hook and ends the rest."""


class ShotclockCallback(pl.Callback):
    """Attaches when a fit begins, and detaches when it ends, fails or is interrupted.

    Answers that are on their way are applied before each validation and at the fit's end. After each epoch of
    training the counts of calls are logged as `shotclock/due`, `shotclock/asked` and `shotclock/skipped`.

    attach: from the optimizer and the module to what `shotclock.attach` returns; every rank calls it.
    monitor: the validation metric, lower is better, that is reported to the service for a canary; "" reports
        nothing.
    optimizer: which of the module's optimizers, from 0.
    """

    def __init__(
        self,
        attach: Callable[[torch.optim.Optimizer, pl.LightningModule], Handle],
        *,
        monitor: str = "",
        optimizer: int = 0,
    ) -> None:
        self._attach = attach
        self._monitor = monitor
        self._optimizer = optimizer
        self._handle: Handle | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Attaches. Raises SettingsError where the module has no such optimizer."""
        optimizers = trainer.optimizers
        if not 0 <= self._optimizer < len(optimizers):
            raise SettingsError(
                f"ShotclockCallback: optimizer must be below {len(optimizers)}, the number of optimizers "
                f"that the module configures (got {self._optimizer})"
            )
        self._handle = self._attach(optimizers[self._optimizer], pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the counts of calls."""
        if self._handle is None or trainer.logger is None:
            return
        counts = self._handle.summary()
        figures = {"due": counts.due, "asked": counts.asked, "skipped": counts.skipped}
        named = {f"shotclock/{name}": float(value) for name, value in figures.items()}
        trainer.logger.log_metrics(named, step=trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Applies what is on its way, so that the validation sees it."""
        if self._handle is not None:
            self._handle.flush()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports the metric. Raises SettingsError where the module does not log it."""
        if self._handle is None or not self._monitor or trainer.sanity_checking:
            return
        metrics: Mapping[str, Any] = trainer.callback_metrics
        if self._monitor not in metrics:
            raise SettingsError(
                f"ShotclockCallback: monitor={self._monitor!r} is not among the metrics that the module logs "
                f"({', '.join(sorted(metrics)) or 'none'}); log it in validation_step"
            )
        self._handle.report_validation(float(metrics[self._monitor]))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Applies what is on its way, and detaches."""
        if self._handle is not None:
            self._handle.flush()
        self._end()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Detaches: the model stays as the last step left it."""
        self._end()

    def _end(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.detach()
