"""Samples a state vector and applies a surrogate of a QPU's noise to the bits. Numba, nogil, seeded."""

from __future__ import annotations

import numpy as np

from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


@jit
def sample(
    real: Float64s,
    imaginary: Float64s,
    shots: int,
    flip_probability: float,
    seed: np.uint64,
    histogram: Counts,
) -> tuple[Bits, Counts]:
    """Distinct bit strings, shape (m, n), in ascending order, and counts, (m,). Overwrites `real`.

    histogram: shape (2ⁿ,), all zero before and after.
    """
    n = 0
    while 1 << n < real.shape[0]:
        n += 1
    cumulative = real
    total = 0.0
    for index in range(real.shape[0]):
        total += real[index] ** 2 + imaginary[index] ** 2
        cumulative[index] = total
    state = np.array([seed], np.uint64)
    # Replacing a bit by a random one flips it half the time. Jump from flip to flip instead of bit by bit.
    log_spared = np.log1p(-0.5 * flip_probability)
    spared = _gap(log_spared, state) if flip_probability > 0.0 else n * shots
    distinct, basis, last = 0, 0, cumulative.shape[0] - 1
    for threshold in _thresholds(shots, total, state):
        while basis < last and cumulative[basis] <= threshold:
            basis += 1
        index = basis
        while spared < n:
            index ^= 1 << spared
            spared += 1 + _gap(log_spared, state)
        spared -= n
        distinct += histogram[index] == 0
        histogram[index] += 1
    return _unpack(histogram, n, distinct)


@jit
def _thresholds(shots: int, total: float, state: Words) -> Float64s:
    """Independent uniforms on [0, total) in ascending order, shape (shots,), without sorting.

    Order statistics of uniforms are partial sums of exponentials over their whole sum (Devroye,
    Non-Uniform Random Variate Generation, 1986, theorem V.2.2). A binary search per shot would be slower:
    the processor mispredicts half of its branches.
    """
    sums = np.empty(shots)
    position = 0.0
    for shot in range(shots):
        position -= np.log(1.0 - _uniform(state))
        sums[shot] = position
    position -= np.log(1.0 - _uniform(state))
    ascending: Float64s = sums * (total / position)
    return ascending


@jit
def _gap(log_spared: float, state: Words) -> int:
    """Number of bits before the next flip: geometric, by inversion. log_spared: ln(1 − p), below 0."""
    return int(min(np.log(1.0 - _uniform(state)) / log_spared, 1e18))


@jit
def _unpack(histogram: Counts, n: int, distinct: int) -> tuple[Bits, Counts]:
    """The non-zero entries of a histogram over 2ⁿ indices as bit strings and counts; clears the histogram."""
    pool = np.empty((distinct, n), np.uint8)
    counts = np.empty(distinct, np.int64)
    row = 0
    for index in range(histogram.shape[0]):
        if histogram[index] > 0:
            counts[row] = histogram[index]
            histogram[index] = 0
            for bit in range(n):
                pool[row, bit] = (index >> bit) & 1
            row += 1
    return pool, counts


@jit
def _uniform(state: Words) -> float:
    """A double in [0, 1) from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
