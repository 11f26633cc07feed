"""The emulated QPU's samples: a state vector of the warm-started QAOA, then surrogate noise.

Imports numpy, numba and the domain alone, so that a worker process starts fast. Conventions are
Qiskit's: RZ(φ) = exp(−iφZ/2), RZZ(φ) = exp(−iφZZ/2), RY(φ) = exp(−iφY/2); bit i of a basis index is
variable i, and z = 1 − 2b.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from shotclock.domain.circuit import QaoaParameters, Samples
from shotclock.domain.subproblem import Bits, Float64s

MAX_QUBITS = 24

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


def execute(parameters: QaoaParameters, shots: int, flip_probability: float, seed: int) -> Samples:
    """Samples of one circuit, the same for the same seed.

    flip_probability: the chance λ that a measured bit is replaced by a random one.
    """
    real, imaginary = evolve(parameters.warm, parameters.field, parameters.coupling, parameters.mixer)
    pool, counts = sample(real, imaginary, shots, flip_probability, np.uint64(seed))
    return Samples(pool, counts)


def execute_all(
    parameters: tuple[QaoaParameters, ...],
    shots: int,
    flip_probabilities: tuple[float, ...],
    seeds: tuple[int, ...],
) -> tuple[Samples, ...]:
    """`execute` for every PUB of a job, in order: one trip to the worker."""
    arguments = zip(parameters, flip_probabilities, seeds, strict=True)
    return tuple(execute(one, shots, flip, seed) for one, flip, seed in arguments)


def probabilities(parameters: QaoaParameters) -> Float64s:
    """The ideal probability of every basis state, shape (2ⁿ,)."""
    real, imaginary = evolve(parameters.warm, parameters.field, parameters.coupling, parameters.mixer)
    return real**2 + imaginary**2


@njit(cache=True, nogil=True)
def sample(
    real: Float64s, imaginary: Float64s, shots: int, flip_probability: float, seed: np.uint64
) -> tuple[Bits, Counts]:
    """Distinct bit strings, shape (m, n), in ascending order, and counts, (m,). Overwrites `real`."""
    n = 0
    while 1 << n < real.shape[0]:
        n += 1
    cumulative = real
    total = 0.0
    for index in range(real.shape[0]):
        total += real[index] ** 2 + imaginary[index] ** 2
        cumulative[index] = total
    state = np.array([seed], np.uint64)
    histogram = np.zeros(cumulative.shape[0], np.int64)
    for _ in range(shots):
        index = _find(cumulative, _uniform(state) * total)
        histogram[_disturb(index, n, 0.5 * flip_probability, state)] += 1
    return _unpack(histogram, n)


@njit(cache=True, nogil=True)
def evolve(warm: Float64s, field: Float64s, coupling: Float64s, mixer: Float64s) -> tuple[Float64s, Float64s]:
    """Real and imaginary amplitudes after the whole circuit, each of shape (2ⁿ,)."""
    size = 1 << warm.shape[0]
    real = np.empty(size)
    imaginary = np.empty(size)
    _warm_start_and_phases(warm, field[0], coupling[0], real, imaginary)
    for qubit in range(warm.shape[0]):
        _mix(real, imaginary, qubit, warm[qubit], mixer[0])
    for layer in range(1, mixer.shape[0]):
        _phases(field[layer], coupling[layer], real, imaginary)
        for qubit in range(warm.shape[0]):
            _mix(real, imaginary, qubit, warm[qubit], mixer[layer])
    return real, imaginary


@njit(cache=True, nogil=True)
def _phases(field: Float64s, coupling: Float64s, real: Float64s, imaginary: Float64s) -> None:
    """exp(−iΣ f z − iΣ_{i<j} c z z), in place: the phases of a product state of ones, multiplied in."""
    n = field.shape[0]
    phase_real, phase_imaginary = np.empty_like(real), np.empty_like(imaginary)
    # at θ = π/2 every product-state amplitude is 2^(−n/2), which is taken out again
    _warm_start_and_phases(np.full(n, 0.5 * np.pi), field, coupling, phase_real, phase_imaginary)
    scale = 2.0 ** (0.5 * n)
    for index in range(real.shape[0]):
        a, b = real[index], imaginary[index]
        c, d = phase_real[index] * scale, phase_imaginary[index] * scale
        real[index] = a * c - b * d
        imaginary[index] = a * d + b * c


@njit(cache=True, nogil=True)
def _warm_start_and_phases(
    warm: Float64s, field: Float64s, coupling: Float64s, real: Float64s, imaginary: Float64s
) -> None:
    """Product state times exp(−iΣ f z − iΣ_{i<j} c z z), both by doubling: two products an amplitude.

    Setting bit k turns an amplitude by ratio_k(b) = exp(2i f_k + 2iΣ_{j≠k} c_kj z_j), and setting an
    earlier bit j turns ratio_k by exp(−4i c_kj); so one sine and cosine a pair are all it takes. The
    global phase is left out.
    """
    ratio_real = np.empty(max(1, real.shape[0] // 2))
    ratio_imaginary = np.empty_like(ratio_real)
    real[0], imaginary[0] = 1.0, 0.0
    for k in range(warm.shape[0]):
        angle = 2.0 * field[k]
        for j in range(warm.shape[0]):
            if j != k:
                angle += 2.0 * coupling[k, j]
        one = np.sin(0.5 * warm[k])
        zero = np.cos(0.5 * warm[k])
        ratio_real[0], ratio_imaginary[0] = one * np.cos(angle), one * np.sin(angle)
        for j in range(k):
            _turn(ratio_real, ratio_imaginary, 1 << j, -4.0 * coupling[k, j])
        half = 1 << k
        for index in range(half):
            a, b = real[index], imaginary[index]
            c, d = ratio_real[index], ratio_imaginary[index]
            real[index + half] = a * c - b * d
            imaginary[index + half] = a * d + b * c
            real[index] = a * zero
            imaginary[index] = b * zero


@njit(cache=True, nogil=True)
def _turn(real: Float64s, imaginary: Float64s, size: int, angle: float) -> None:
    """Doubles a table: entry i + size is entry i times exp(i·angle)."""
    c, s = np.cos(angle), np.sin(angle)
    for index in range(size):
        a, b = real[index], imaginary[index]
        real[index + size] = a * c - b * s
        imaginary[index + size] = a * s + b * c


@njit(cache=True, nogil=True)
def _mix(real: Float64s, imaginary: Float64s, qubit: int, theta: float, beta: float) -> None:
    """RY(−θ)·RZ(2β)·RY(θ) in circuit order is cos β − i sin β (cos θ Z + sin θ X), in place."""
    p = np.cos(beta)
    q = np.sin(beta) * np.cos(theta)
    r = np.sin(beta) * np.sin(theta)
    stride = 1 << qubit
    for start in range(0, real.shape[0], 2 * stride):
        # Slices, so that the compiler sees four disjoint runs and vectorises the loop.
        zero_real, one_real = real[start : start + stride], real[start + stride : start + 2 * stride]
        zero_imag = imaginary[start : start + stride]
        one_imag = imaginary[start + stride : start + 2 * stride]
        for i in range(stride):
            a, b, c, d = zero_real[i], zero_imag[i], one_real[i], one_imag[i]
            zero_real[i] = p * a + q * b + r * d
            zero_imag[i] = p * b - q * a - r * c
            one_real[i] = p * c - q * d + r * b
            one_imag[i] = p * d + q * c - r * a


@njit(cache=True, nogil=True)
def _find(cumulative: Float64s, threshold: float) -> int:
    """The first index whose cumulative probability exceeds the threshold."""
    low, high = 0, cumulative.shape[0] - 1
    while low < high:
        middle = (low + high) >> 1
        if cumulative[middle] > threshold:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def _disturb(index: int, n: int, probability: float, state: Words) -> int:
    """Flips each bit with this probability; replacing it by a random bit flips it half the time."""
    if probability > 0.0:
        for bit in range(n):
            if _uniform(state) < probability:
                index ^= 1 << bit
    return index


@njit(cache=True, nogil=True)
def _unpack(histogram: Counts, n: int) -> tuple[Bits, Counts]:
    """The occupied entries of a histogram over 2ⁿ indices, as bit strings and counts."""
    distinct = np.count_nonzero(histogram)
    pool = np.empty((distinct, n), np.uint8)
    counts = np.empty(distinct, np.int64)
    row = 0
    for index in range(histogram.shape[0]):
        if histogram[index] > 0:
            counts[row] = histogram[index]
            for bit in range(n):
                pool[row, bit] = (index >> bit) & 1
            row += 1
    return pool, counts


@njit(cache=True, nogil=True)
def _uniform(state: Words) -> float:
    """A double in [0, 1) from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
