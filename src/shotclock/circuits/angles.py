"""Angles for a subproblem without any search on the QPU: fixed, after scaling, from a warm start."""

from __future__ import annotations

import math

import numpy as np

from shotclock.domain.circuit import QaoaParameters
from shotclock.domain.subproblem import Bits, Float64s, Subproblem

# Tuned once in the lab on all three reference kernels; minimising needs β < 0 with γ > 0.
WARM_GAMMA = 0.75
WARM_BETA = -0.3
# Probability of measuring the opposite of the incumbent's bit before the circuit (Egger et al.,
# Quantum 5, 479 (2021), eq. 9).
WARM_EPSILON = 0.25


def coefficient_scale(coupling: Float64s, field: Float64s) -> float:
    """σ = sqrt((2Σ_{i<j} J² + Σ h²) / n); J of shape (n, n) symmetric, h of shape (n,)."""
    largest = max(float(np.abs(coupling).max()), float(np.abs(field).max()))
    if largest == 0.0:
        return 0.0
    # Divided by the largest first, so that squares neither overflow nor vanish. J holds each pair twice.
    squares = float(((coupling / largest) ** 2).sum() + ((field / largest) ** 2).sum())
    return largest * math.sqrt(squares / field.shape[0])


def parameters(subproblem: Subproblem, incumbent: Bits) -> QaoaParameters:
    """Warm-started angles of one layer around an incumbent, shape (n,).

    γ = 0.75/σ, β = −0.3; θ = 2·asin√ε where the incumbent's bit is 0 and π − that where it is 1. A
    subproblem without coefficients gets γ = 0.
    """
    coupling, field = subproblem.ising()
    scale = coefficient_scale(coupling, field)
    gamma = WARM_GAMMA / scale if scale > 0.0 else 0.0
    away = 2.0 * math.asin(math.sqrt(WARM_EPSILON))
    warm = np.where(incumbent == 1, math.pi - away, away)
    return QaoaParameters(warm, gamma * field[None], gamma * coupling[None], np.array([WARM_BETA]))
