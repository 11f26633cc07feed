"""The emulated QPU's samples: a state vector of the warm-started QAOA, then surrogate noise.

Imports only numpy, numba and the domain, so that a worker process starts fast. Conventions are
Qiskit's: RZ(φ) = exp(−iφZ/2), RZZ(φ) = exp(−iφZZ/2), RY(φ) = exp(−iφY/2); bit i of a basis index is
variable i, and z = 1 − 2b.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shotclock.domain.circuit import STATE_VECTOR, QaoaParameters, Samples, Simulation
from shotclock.domain.errors import SubproblemError
from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Float64s
from shotclock.emulator.sampling import Counts, sample

MAX_QUBITS = 26
"""Of a state vector of one layer, 1.8 GiB with its work arrays; more layers take 24."""
MAX_QUBITS_LAYERED = 24

# Rows of a work array of shape (3, 2ⁿ), or (5, 2ⁿ) with several layers: the state, two half-length tables of
# ratios, later layers' phases.
REAL, IMAGINARY, RATIOS, PHASE_REAL, PHASE_IMAGINARY = range(5)


def load_kernels() -> None:
    """Loads the compiled functions, so that no job waits for them."""
    execute(QaoaParameters.idle(2), 1, 0.0, 0)


def execute(parameters: QaoaParameters, shots: int, flip_probability: float, seed: int) -> Samples:
    """Samples of one circuit, deterministic for a seed.

    flip_probability: the probability λ that a measured bit is replaced by a random one.
    """
    return execute_all((parameters,), shots, (flip_probability,), (seed,))[0]


def execute_all(
    parameters: tuple[QaoaParameters, ...],
    shots: int,
    flip_probabilities: tuple[float, ...],
    seeds: tuple[int, ...],
) -> tuple[Samples, ...]:
    """Samples of all circuits of a job, in order, in one call of the worker; each equals `execute`'s.

    Circuits of one size share memory: at n = 16 the page faults of a new state cost as much as the gates of
    several qubits. Those too wide for a state vector are sampled from a matrix product state.
    """
    buffers: dict[tuple[int, int], tuple[Float64s, Counts]] = {}
    results = []
    for circuit, flip, seed in zip(parameters, flip_probabilities, seeds, strict=True):
        if not fits(circuit):
            results.append(_sample_wide(circuit, shots, flip, seed))
            continue
        rows = _rows(circuit)
        if (circuit.n, rows) not in buffers:
            buffers[circuit.n, rows] = _allocate(circuit.n, rows)
        work, histogram = buffers[circuit.n, rows]
        evolve(circuit.warm, circuit.field, circuit.coupling, circuit.mixer, work)
        pool, counts = sample(work[REAL], work[IMAGINARY], shots, flip, np.uint64(seed), histogram)
        results.append(Samples(pool, counts, EXACT))
    return tuple(results)


def fits(parameters: QaoaParameters) -> bool:
    """Whether the state vector takes this circuit."""
    return parameters.n <= (MAX_QUBITS if parameters.layers == 1 else MAX_QUBITS_LAYERED)


def _sample_wide(parameters: QaoaParameters, shots: int, flip_probability: float, seed: int) -> Samples:
    # SciPy's sparse graphs take a quarter of a second to import, which only wide circuits need.
    from shotclock.emulator.matrix_product import sample_wide  # noqa: PLC0415

    return sample_wide(parameters, shots, flip_probability, seed)


def _rows(parameters: QaoaParameters) -> int:
    return 3 if parameters.layers == 1 else 5


def _allocate(n: int, rows: int) -> tuple[Float64s, Counts]:
    """The work array and the histogram; 32-bit counts where they would take a quarter of the memory."""
    histogram: Any = np.zeros(1 << n, np.int64 if n <= MAX_QUBITS_LAYERED else np.int32)
    return np.empty((rows, 1 << n)), histogram


def probabilities(parameters: QaoaParameters) -> Float64s:
    """The ideal probability of every basis state, shape (2ⁿ,); SubproblemError beyond `MAX_QUBITS`."""
    _check_size(parameters.n)
    work = np.empty((_rows(parameters), 1 << parameters.n))
    evolve(parameters.warm, parameters.field, parameters.coupling, parameters.mixer, work)
    exact: Float64s = work[REAL] ** 2 + work[IMAGINARY] ** 2
    return exact


def _check_size(n: int) -> None:
    """Checks n before arrays of 2ⁿ entries are allocated: n = 30 takes 48 GiB."""
    if n > MAX_QUBITS:
        raise SubproblemError(
            "n", f"{n} variables, but the state vector takes at most {MAX_QUBITS}; use a smaller subproblem"
        )


EXACT = Simulation(STATE_VECTOR)


@jit
def evolve(warm: Float64s, field: Float64s, coupling: Float64s, mixer: Float64s, work: Float64s) -> None:
    """Writes the amplitudes after the whole circuit to the first two rows of `work`."""
    n = warm.shape[0]
    real, imaginary = work[REAL], work[IMAGINARY]
    _warm_start_and_phases(warm, field[0], coupling[0], real, imaginary, work[RATIOS])
    for qubit in range(n):
        _mix(real, imaginary, qubit, warm[qubit], mixer[0])
    for layer in range(1, mixer.shape[0]):
        _phases(field[layer], coupling[layer], work)
        for qubit in range(n):
            _mix(real, imaginary, qubit, warm[qubit], mixer[layer])


@jit
def _phases(field: Float64s, coupling: Float64s, work: Float64s) -> None:
    """Multiplies the state by exp(−iΣ f z − iΣ_{i<j} c z z), in place."""
    n = field.shape[0]
    # at θ = π/2 every product-state amplitude is 2^(−n/2), which `scale` removes
    level = np.full(n, 0.5 * np.pi)
    _warm_start_and_phases(level, field, coupling, work[PHASE_REAL], work[PHASE_IMAGINARY], work[RATIOS])
    scale = 2.0 ** (0.5 * n)
    for index in range(work.shape[1]):
        a, b = work[REAL, index], work[IMAGINARY, index]
        c, d = work[PHASE_REAL, index] * scale, work[PHASE_IMAGINARY, index] * scale
        work[REAL, index] = a * c - b * d
        work[IMAGINARY, index] = a * d + b * c


@jit
def _warm_start_and_phases(
    warm: Float64s,
    field: Float64s,
    coupling: Float64s,
    real: Float64s,
    imaginary: Float64s,
    ratios: Float64s,
) -> None:
    """Product state times exp(−iΣ f z − iΣ_{i<j} c z z), both by doubling: two products per amplitude.

    Setting bit k rotates an amplitude by ratio_k(b) = exp(2i f_k + 2iΣ_{j≠k} c_kj z_j), and setting an
    earlier bit j rotates ratio_k by exp(−4i c_kj), so one sine and cosine per pair are enough. Omits the
    global phase. Overwrites `ratios`, shape (2ⁿ,).
    """
    ratio_real, ratio_imaginary = ratios[: ratios.shape[0] // 2], ratios[ratios.shape[0] // 2 :]
    real[0], imaginary[0] = 1.0, 0.0
    for k in range(warm.shape[0]):
        angle = 2.0 * field[k]
        for j in range(warm.shape[0]):
            if j != k:
                angle += 2.0 * coupling[k, j]
        amplitude_1 = np.sin(0.5 * warm[k])
        amplitude_0 = np.cos(0.5 * warm[k])
        ratio_real[0], ratio_imaginary[0] = amplitude_1 * np.cos(angle), amplitude_1 * np.sin(angle)
        for j in range(k):
            _turn(ratio_real, ratio_imaginary, 1 << j, -4.0 * coupling[k, j])
        half = 1 << k
        for index in range(half):
            a, b = real[index], imaginary[index]
            c, d = ratio_real[index], ratio_imaginary[index]
            real[index + half] = a * c - b * d
            imaginary[index + half] = a * d + b * c
            real[index] = a * amplitude_0
            imaginary[index] = b * amplitude_0


@jit
def _turn(real: Float64s, imaginary: Float64s, size: int, angle: float) -> None:
    """Doubles a table: entry i + size is entry i times exp(i·angle)."""
    c, s = np.cos(angle), np.sin(angle)
    for index in range(size):
        a, b = real[index], imaginary[index]
        real[index + size] = a * c - b * s
        imaginary[index + size] = a * s + b * c


@jit
def _mix(real: Float64s, imaginary: Float64s, qubit: int, theta: float, beta: float) -> None:
    """RY(−θ)·RZ(2β)·RY(θ) in circuit order is cos β − i sin β (cos θ Z + sin θ X), in place."""
    p = np.cos(beta)
    q = np.sin(beta) * np.cos(theta)
    r = np.sin(beta) * np.sin(theta)
    # The lowest two qubits pair entries too close for slices; separate loops vectorise too.
    if qubit == 0:
        _mix_neighbours(real, imaginary, p, q, r)
    elif qubit == 1:
        _mix_next_but_one(real, imaginary, p, q, r)
    else:
        _mix_runs(real, imaginary, 1 << qubit, p, q, r)


@jit
def _mix_runs(real: Float64s, imaginary: Float64s, stride: int, p: float, q: float, r: float) -> None:
    for start in range(0, real.shape[0], 2 * stride):
        # Slices let the compiler see four disjoint runs and vectorise the loop.
        zero_real, one_real = real[start : start + stride], real[start + stride : start + 2 * stride]
        zero_imag = imaginary[start : start + stride]
        one_imag = imaginary[start + stride : start + 2 * stride]
        for i in range(stride):
            a, b, c, d = zero_real[i], zero_imag[i], one_real[i], one_imag[i]
            zero_real[i] = p * a + q * b + r * d
            zero_imag[i] = p * b - q * a - r * c
            one_real[i] = p * c - q * d + r * b
            one_imag[i] = p * d + q * c - r * a


@jit
def _mix_neighbours(real: Float64s, imaginary: Float64s, p: float, q: float, r: float) -> None:
    for half in range(real.shape[0] // 2):
        i = 2 * half
        a, b, c, d = real[i], imaginary[i], real[i + 1], imaginary[i + 1]
        real[i] = p * a + q * b + r * d
        imaginary[i] = p * b - q * a - r * c
        real[i + 1] = p * c - q * d + r * b
        imaginary[i + 1] = p * d + q * c - r * a


@jit
def _mix_next_but_one(real: Float64s, imaginary: Float64s, p: float, q: float, r: float) -> None:
    for quarter in range(real.shape[0] // 4):
        i = 4 * quarter
        a, b, c, d = real[i], imaginary[i], real[i + 2], imaginary[i + 2]
        e, f, g, h = real[i + 1], imaginary[i + 1], real[i + 3], imaginary[i + 3]
        real[i], real[i + 1] = p * a + q * b + r * d, p * e + q * f + r * h
        real[i + 2], real[i + 3] = p * c - q * d + r * b, p * g - q * h + r * f
        imaginary[i], imaginary[i + 1] = p * b - q * a - r * c, p * f - q * e - r * g
        imaginary[i + 2], imaginary[i + 3] = p * d + q * c - r * a, p * h + q * g - r * e
