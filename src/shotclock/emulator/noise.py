"""The noise surrogate on samples that are bits already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shotclock.domain.subproblem import Bits

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]


def flip_bits(
    drawn: Bits,
    flip_probability: float,
    rng: np.random.Generator,
    columns: Sequence[int] | slice = slice(None),
) -> tuple[Bits, Counts]:
    """Flips bits of every shot, shape (shots, n), in place; returns the distinct rows and their counts.

    Half of flip_probability each: replacing a bit by a random one changes it half the time.
    """
    part = drawn[:, columns]
    drawn[:, columns] ^= (rng.random(part.shape) < 0.5 * flip_probability).astype(np.uint8)
    distinct, occurrences = np.unique(drawn, axis=0, return_counts=True)
    return distinct, occurrences.astype(np.int64)
