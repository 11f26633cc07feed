"""A real Lightning trainer with Shotclock in it: calls, checkpoints, validation, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from test_hook import EVERY, AddOne, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from scripted_answers import FakeCaller, StepClock
from shotclock.app.attach import Quantum
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.ports import Kernel
from shotclock.telemetry.metrics import Metrics
from shotclock.training.hook import attach
from shotclock.training.layers.rounded import round_layers
from shotclock.training.lightning import ShotclockCallback


class Module(pl.LightningModule):
    """A classifier that may fail at a step."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self.net, self.inputs, self.targets = network()
        self.fails_at = fails_at

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        if self.global_step == self.fails_at:
            raise RuntimeError("diverged")
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Site:
    """What the callback attaches to: calls, reported values and ends are kept."""

    def __init__(self) -> None:
        self.calls: list[FinishedCall] = []
        self.values: list[float] = []
        self.ends = 0

    def attach(self, optimizer: torch.optim.Optimizer, module: pl.LightningModule) -> Quantum:
        training = attach(
            optimizer,
            model=module.get_submodule("net"),
            kernel=AddOne(),
            caller=FakeCaller(),
            clock=StepClock(),
            policy=EVERY,
            observers=[self.calls.append],
            environ={},
        )
        return Quantum(training, Metrics(), self.end, self.values.append)

    def end(self) -> None:
        self.ends += 1


def fit(folder: Path, callback: ShotclockCallback, module: Module, epochs: int, **options: Any) -> pl.Trainer:
    """Four steps an epoch, on the processor."""
    data = DataLoader(TensorDataset(module.inputs, module.targets), batch_size=len(module.inputs) // 4)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[callback],
        logger=CSVLogger(str(folder)),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )
    trainer.fit(module, data, data, **options)
    return trainer


def test_a_fit_makes_calls_reports_its_metric_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    site = Site()
    trainer = fit(tmp_path, ShotclockCallback(site.attach, monitor="val_loss"), Module(), 2)
    assert [call.step for call in site.calls] == [2, 4, 6, 8]
    assert (len(site.values), site.ends) == (2, 1)
    assert site.values[-1] == pytest.approx(float(trainer.callback_metrics["val_loss"]))
    logged = next(tmp_path.rglob("metrics.csv")).read_text()
    assert "shotclock/asked" in logged.splitlines()[0]

    (checkpoint,) = tmp_path.rglob("*.ckpt")  # Lightning's own, of the last epoch
    resumed = Site()
    fit(tmp_path / "b", ShotclockCallback(resumed.attach), Module(), 3, ckpt_path=str(checkpoint))
    assert [call.step for call in resumed.calls] == [10, 12]


def test_the_callback_of_the_page_is_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    source = page.partition("# lightning_callback.py\n")[2].partition("```")[0]
    site, kernels, names = Site(), list[Kernel](), dict[str, Any]()

    def attach_without_orchestrator(optimizer: Any, *, kernel: Kernel, **options: Any) -> Quantum:
        kernels.append(kernel)
        return site.attach(optimizer, module)

    monkeypatch.setattr("shotclock.attach", attach_without_orchestrator)
    exec(compile(source, "training.md", "exec"), names)
    module = Module()
    module.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    round_layers(module.net, bits=2)
    fit(tmp_path, names["callback"], module, 1)
    assert [kernel.name for kernel in kernels] == ["rounding"]
    assert ([call.step for call in site.calls], len(site.values)) == ([2, 4], 1)


def test_a_failed_fit_detaches(tmp_path: Path) -> None:
    site, module = Site(), Module(fails_at=3)
    with pytest.raises(RuntimeError, match="diverged"):
        fit(tmp_path, ShotclockCallback(site.attach), module, 1)
    assert (site.ends, [call.step for call in site.calls]) == (1, [2])


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"optimizer must be below 1, .* \(got 1\)"):
        fit(tmp_path, ShotclockCallback(Site().attach, optimizer=1), Module(), 1)
    site = Site()
    with pytest.raises(SettingsError, match=r"monitor='loss' is not among the metrics .*val_loss"):
        fit(tmp_path, ShotclockCallback(site.attach, monitor="loss"), Module(), 1)
    assert site.ends == 1
