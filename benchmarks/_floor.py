"""Bare kernels that the emulator's execution is compared with.

`bare` is the emulator's own, on memory kept between calls and without noise. `plain` is the lab's earlier
floor, written the obvious way: all 2ⁿ energies, a sine and a cosine of each, gate after gate, shots.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.subproblem import Float64s
from shotclock.emulator.sampling import Counts, sample
from shotclock.emulator.statevector import IMAGINARY, REAL, evolve

Complexes = np.ndarray[tuple[int], np.dtype[np.complex128]]


class Bare:
    """The emulator's kernels on memory kept between calls."""

    def __init__(self, n: int, shots: int) -> None:
        self._work = np.empty((5, 1 << n))
        self._histogram = np.zeros(1 << n, np.int64)
        self._shots = shots

    def __call__(self, angles: QaoaParameters) -> None:
        """State vector and shots."""
        work = self._work
        evolve(angles.warm, angles.field, angles.coupling, angles.mixer, work)
        sample(work[REAL], work[IMAGINARY], self._shots, 0.0, np.uint64(1), self._histogram)


def plain(angles: QaoaParameters, shots: int) -> Counts:
    """Sampled basis states, shape (shots,)."""
    uniforms = np.random.default_rng(1).random(shots)
    return _plain(angles.warm, angles.field[0], angles.coupling[0], float(angles.mixer[0]), uniforms)


@njit(cache=True, nogil=True)
def _plain(warm: Float64s, field: Float64s, coupling: Float64s, beta: float, uniforms: Float64s) -> Counts:
    n = warm.shape[0]
    state = np.empty(1 << n, np.complex128)
    _start(warm, _energies(field, coupling), state)
    for qubit in range(n):
        _mix(state, 1 << qubit, warm[qubit], beta)
    cumulative = np.cumsum(state.real**2 + state.imag**2)
    drawn: Counts = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    return drawn


@njit(cache=True, nogil=True)
def _energies(field: Float64s, coupling: Float64s) -> Float64s:
    """Σ f z + Σ_{i<j} c z z of every basis state, by doubling: setting bit k changes the sign of z_k."""
    n = field.shape[0]
    energies, slopes = np.empty(1 << n), np.empty(1 << n)
    energies[0] = field.sum() + 0.5 * coupling.sum()
    for k in range(n):
        slopes[0] = field[k] + coupling[k].sum()
        for j in range(k):
            for index in range(1 << j):
                slopes[index + (1 << j)] = slopes[index] - 2.0 * coupling[k, j]
        for index in range(1 << k):
            energies[index + (1 << k)] = energies[index] - 2.0 * slopes[index]
    return energies


@njit(cache=True, nogil=True)
def _start(warm: Float64s, energies: Float64s, state: Complexes) -> None:
    state[0] = 1.0
    for k in range(warm.shape[0]):
        amplitude_1, amplitude_0 = np.sin(0.5 * warm[k]), np.cos(0.5 * warm[k])
        for index in range(1 << k):
            state[index + (1 << k)] = state[index] * amplitude_1
            state[index] *= amplitude_0
    for index in range(state.shape[0]):
        state[index] *= complex(np.cos(energies[index]), -np.sin(energies[index]))


@njit(cache=True, nogil=True)
def _mix(state: Complexes, stride: int, theta: float, beta: float) -> None:
    z, x = np.sin(beta) * np.cos(theta), np.sin(beta) * np.sin(theta)
    zero_zero, one_one, cross = complex(np.cos(beta), -z), complex(np.cos(beta), z), complex(0.0, -x)
    for start in range(0, state.shape[0], 2 * stride):
        for index in range(start, start + stride):
            a, b = state[index], state[index + stride]
            state[index] = zero_zero * a + cross * b
            state[index + stride] = cross * a + one_one * b
