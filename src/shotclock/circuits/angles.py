"""Angles for a subproblem without a search on the QPU: fixed after scaling, or from a closed form."""

from __future__ import annotations

import math

import numpy as np

from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.jit import jit
from shotclock.domain.subproblem import Bits, Float64s, Subproblem

# Tuned once on all three reference kernels; minimising needs β < 0 with γ > 0.
WARM_GAMMA = 0.75
WARM_BETA = -0.3
# Probability of measuring the opposite of the incumbent's bit before the circuit (Egger et al.,
# Quantum 5, 479 (2021), eq. 9).
WARM_EPSILON = 0.25

# γσ up to π/2: after scaling, a mean-field optimum lies at ½ (every local field normal) and at π/4
# (fields alone), a lone coupling's below both.
GAMMA_STEPS, GAMMA_END = 32, 0.5 * math.pi
# E has period π in β, and (−γ, −β) mirrors (γ, β); with γ > 0 small, lower energies lie at β < 0.
BETA_STEPS, BETA_END = 64, -0.5 * math.pi


# γ = 0.75/σ would overflow at smaller coefficients, which are those of a constant.
SMALLEST = 1e-300


@jit
def coefficient_scale(coupling: Float64s, field: Float64s) -> float:
    """σ = sqrt((2Σ_{i<j} J² + Σ h²) / n); J of shape (n, n) symmetric, h of shape (n,).

    0 where no coefficient is above `SMALLEST`.
    """
    largest = max(np.abs(coupling).max(), np.abs(field).max())
    if largest < SMALLEST:
        return 0.0
    # Divided by the largest first, so that squares neither overflow nor vanish. J holds each pair twice.
    squares = ((coupling / largest) ** 2).sum() + ((field / largest) ** 2).sum()
    scale: float = largest * np.sqrt(squares / field.shape[0])
    return scale


def parameters(subproblem: Subproblem, incumbent: Bits, layers: int = 1) -> QaoaParameters:
    """Warm-started angles around an incumbent, shape (n,): the default.

    One layer: γ = 0.75/σ, β = −0.3; θ = 2·asin√ε where the incumbent's bit is 0 and π − that where it
    is 1. More layers ramp linearly with the same means, γ upwards and β downwards, as annealing does
    (Sack and Serbyn, Quantum 5, 491 (2021)). They are not tuned: under noise more layers gain nothing.
    A subproblem without coefficients gets γ = 0.
    """
    coupling, field = subproblem.ising()
    return QaoaParameters(*_warm(coupling, field, incumbent, layers))


@jit
def _warm(
    coupling: Float64s, field: Float64s, incumbent: Bits, layers: int
) -> tuple[Float64s, Float64s, Float64s, Float64s]:
    """The four arrays of `QaoaParameters`, see `parameters`."""
    n, scale = field.shape[0], coefficient_scale(coupling, field)
    mean_gamma = WARM_GAMMA / scale if scale > 0.0 else 0.0
    away = 2.0 * np.arcsin(np.sqrt(WARM_EPSILON))
    warm = np.where(incumbent == 1, np.pi - away, away)
    fields, couplings = np.empty((layers, n)), np.empty((layers, n, n))
    mixer = np.empty(layers)
    for layer in range(layers):
        gamma = mean_gamma * (2.0 * layer + 1.0) / layers
        fields[layer] = gamma * field
        couplings[layer] = gamma * coupling
        mixer[layers - 1 - layer] = WARM_BETA * (2.0 * layer + 1.0) / layers
    return warm, fields, couplings, mixer


def cold(subproblem: Subproblem) -> QaoaParameters:
    """One layer from the uniform superposition (θ = π/2), at the lowest point of a grid of `expectation`.

    γσ takes 32 values in (0, π/2], β 64 in [−π/2, 0). A subproblem without coefficients gets γ = 0.
    """
    coupling, field = subproblem.ising()
    scale = coefficient_scale(coupling, field)
    warm = np.full(subproblem.n, 0.5 * math.pi)
    if scale == 0.0:
        return QaoaParameters(warm, field[None], coupling[None], np.array([WARM_BETA]))
    # Search the scaled problem, so that the choice does not depend on the objective's scale.
    gamma, beta = _lowest(coupling / scale, field / scale)
    phases = gamma / scale
    return QaoaParameters(warm, phases * field[None], phases * coupling[None], np.array([beta]))


def expectation(coupling: Float64s, field: Float64s, gamma: float, beta: float) -> float:
    """⟨Σ h Z + Σ_{i<j} J ZZ⟩ after one cold-started layer; J of shape (n, n), h of shape (n,).

    The mixer takes Z to cos 2β Z + sin 2β Y, hence

        ⟨Z_i⟩ = sin 2β · sin 2γh_i · Π_{k≠i} cos 2γJ_ik
        ⟨Z_i Z_j⟩ = ½ sin 4β · sin 2γJ_ij · (cos 2γh_i Π_{k≠i,j} cos 2γJ_ik + the same with i ↔ j)
                    + ½ sin² 2β · (cos 2γ(h_i − h_j) Π_{k≠i,j} cos 2γ(J_ik − J_jk)
                                   − cos 2γ(h_i + h_j) Π_{k≠i,j} cos 2γ(J_ik + J_jk))

    (Ozaeta, van Dam and McMahon, Quantum Sci. Technol. 7, 045036 (2022), arXiv 2012.03421;
    signs as in `QaoaParameters`).
    """
    fields, singles, doubles = _terms(coupling, field, gamma)
    return _energy(fields, singles, doubles, beta)


@jit
def _lowest(coupling: Float64s, field: Float64s) -> tuple[float, float]:
    """(γ, β) of the grid's lowest energy, the first of equal ones; O(32·n³ + 32·64)."""
    lowest, best_gamma, best_beta = np.inf, 0.0, 0.0
    for row in range(1, GAMMA_STEPS + 1):
        gamma = GAMMA_END * row / GAMMA_STEPS
        fields, singles, doubles = _terms(coupling, field, gamma)
        for column in range(1, BETA_STEPS + 1):
            beta = BETA_END * column / BETA_STEPS
            energy = _energy(fields, singles, doubles, beta)
            if energy < lowest:
                lowest, best_gamma, best_beta = energy, gamma, beta
    return best_gamma, best_beta


@jit
def _energy(fields: float, singles: float, doubles: float, beta: float) -> float:
    """E(β) from the sums of `_terms`."""
    turn = np.sin(2.0 * beta)
    energy: float = turn * fields + 0.5 * np.sin(4.0 * beta) * singles + turn * turn * doubles
    return energy


@jit
def _terms(coupling: Float64s, field: Float64s, gamma: float) -> tuple[float, float, float]:
    """(Σ h⟨Y⟩, Σ J(⟨YZ⟩ + ⟨ZY⟩), Σ J⟨YY⟩) after the phases, before the mixer; sums over pairs i < j."""
    n = field.shape[0]
    cosine, sine = np.cos(2.0 * gamma * coupling), np.sin(2.0 * gamma * coupling)
    fields, singles, doubles = 0.0, 0.0, 0.0
    for i in range(n):
        product = np.sin(2.0 * gamma * field[i])
        for k in range(n):
            if k != i:
                product *= cosine[i, k]
        fields += field[i] * product
        for j in range(i + 1, n):
            if coupling[i, j] != 0.0:
                single, double = _pair(cosine, sine, field, gamma, i, j)
                singles += coupling[i, j] * single
                doubles += coupling[i, j] * double
    return fields, singles, doubles


@jit
def _pair(
    cosine: Float64s, sine: Float64s, field: Float64s, gamma: float, i: int, j: int
) -> tuple[float, float]:
    """(⟨Y_i Z_j⟩ + ⟨Z_i Y_j⟩, ⟨Y_i Y_j⟩); cosines of sums and differences by the addition theorem."""
    first, second = np.cos(2.0 * gamma * field[i]), np.cos(2.0 * gamma * field[j])
    minus, plus = np.cos(2.0 * gamma * (field[i] - field[j])), np.cos(2.0 * gamma * (field[i] + field[j]))
    for k in range(field.shape[0]):
        if k not in (i, j):
            a, b = cosine[i, k], cosine[j, k]
            crossed = sine[i, k] * sine[j, k]
            first *= a
            second *= b
            minus *= a * b + crossed
            plus *= a * b - crossed
    return sine[i, j] * (first + second), 0.5 * (minus - plus)
