"""`digits-mlp`: scikit-learn's 8×8 digits and a ternary 64-32-32-10 perceptron, trained by SGD."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from shotclock.domain.delta import Delta
from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Kernel
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.ternary import TernaryLinear

BATCH = 64


@lru_cache(maxsize=1)
def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train inputs (1347, 64) and targets, held-out inputs (450, 64) and targets; one split for all."""
    images, targets = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16.0).astype(np.float32), targets, test_size=450, random_state=0, stratify=targets
    )
    train_x, held_x, train_y, held_y = (torch.from_numpy(part) for part in parts)
    return train_x, train_y, held_x, held_y


class DigitsMlp:
    """A Workload; everything random in it comes from the seed."""

    name = "digits-mlp"
    samples_per_step = BATCH

    def __init__(self, seed: int) -> None:
        self._train_x, self._train_y, self._held_x, self._held_y = _digits()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = nn.Sequential(
                TernaryLinear(64, 32), nn.ReLU(), TernaryLinear(32, 32), nn.ReLU(), TernaryLinear(32, 10)
            )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self._batches = torch.Generator().manual_seed(seed)
        self._seed = seed
        self._batch = self._next_batch()

    def step(self) -> float:
        """See `Workload.step`."""
        x, y = self._batch
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for layer in self.model:
            if isinstance(layer, TernaryLinear):
                layer.clip()
        self._batch = self._next_batch()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self) -> float:
        """See `Workload.evaluate`: mean cross-entropy over the held-out digits."""
        return float(nn.functional.cross_entropy(self.model(self._held_x), self._held_y))

    @torch.no_grad()
    def probe(self, delta: Delta) -> float:
        """See `Workload.probe`; the present batch is the one the next step trains on."""
        x, y = self._batch
        weight = self.model.get_parameter(delta.parameter)
        flat, indices = weight.view(-1), torch.from_numpy(delta.indices)
        kept = flat[indices].clone()
        before = float(nn.functional.cross_entropy(self.model(x), y))
        flat[indices] += torch.from_numpy(delta.values)
        after = float(nn.functional.cross_entropy(self.model(x), y))
        flat[indices] = kept
        return after - before

    @torch.no_grad()
    def apply(self, delta: Delta) -> None:
        """See `Workload.apply`."""
        weight = self.model.get_parameter(delta.parameter)
        weight.view(-1)[torch.from_numpy(delta.indices)] += torch.from_numpy(delta.values)

    def kernel(self, name: str, n: int) -> Kernel:
        """See `Workload.kernel`."""
        if name != QatFlip.name:
            raise SettingsError(f"kernel.name: workload 'digits-mlp' has no kernel '{name}'; known: qat_flip")
        return QatFlip(self.model, self._train_x, self._train_y, n, self._seed)

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(self._train_y), (BATCH,), generator=self._batches)
        return self._train_x[chosen], self._train_y[chosen]


def build(seed: int) -> DigitsMlp:
    """The entry point: a fresh model of this seed."""
    return DigitsMlp(seed)
