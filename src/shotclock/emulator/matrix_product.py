"""Samples of QAOA circuits too wide for a state vector: a matrix product state, truncated where it must be.

Site k holds variable order[k] as an array of shape (left bond, 2, right bond). A layer's phases that begin at
variable i are one operator: the bonds from i to its last partner carry a copy of bit i, which doubles them.
Bonds beyond `BOND_DIMENSION` are cut by singular values with the orthogonality centre at the cut, so that
what is lost is known: the sum of the weights cut off is returned with the samples. One layer on a patch of a
heavy-hex lattice needs a bond dimension of 32 at most and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee
from threadpoolctl import threadpool_limits

from shotclock.domain.circuit import MATRIX_PRODUCT_STATE, QaoaParameters, Samples, Simulation
from shotclock.domain.subproblem import Bits, Float64s
from shotclock.emulator.noise import flip_bits

BOND_DIMENSION = 64
MOST_OPEN = 60
"""Open variables at a bond beyond which one order is as bad as another."""
Z = np.array([1.0, -1.0])

Tensor = NDArray[np.complex128]
Order = NDArray[np.int64]


def sample_wide(parameters: QaoaParameters, shots: int, flip_probability: float, seed: int) -> Samples:
    """Samples of one circuit, deterministic for a seed; see `statevector.execute` for the arguments."""
    order = choose_order(np.any(parameters.coupling != 0.0, axis=0))
    rng = np.random.default_rng(seed)
    bits = np.empty((shots, parameters.n), np.uint8)
    # More threads than free cores make these small matrices up to forty times slower.
    with threadpool_limits(1):
        state = MatrixProduct.evolve(parameters, order)
        bits[:, order] = state.sample(shots, rng)
    pool, counts = flip_bits(bits, flip_probability, rng)
    return Samples(pool, counts, Simulation(MATRIX_PRODUCT_STATE, state.bond_dimension, state.lost))


def choose_order(coupled: NDArray[np.bool_]) -> Order:
    """The variables in an order that few couplings cross: as they come, or by reverse Cuthill–McKee."""
    n = len(coupled)
    orders = [np.arange(n), reverse_cuthill_mckee(csr_matrix(coupled), symmetric_mode=True).astype(np.int64)]
    return min(orders, key=lambda order: _cost(coupled[np.ix_(order, order)]))


def _cost(coupled: NDArray[np.bool_]) -> float:
    """The sum of the bonds' dimensions of one exact layer: each variable open at a bond doubles it."""
    opened = [int(coupled[:bond, bond:].any(axis=1).sum()) for bond in range(1, len(coupled))]
    return float(sum(2.0 ** min(count, MOST_OPEN) for count in opened))


class MatrixProduct:
    """The state of a chain of qubits. lost: the sum of the weights cut off so far."""

    def __init__(self, amplitudes: Sequence[tuple[float, float]]) -> None:
        self._sites: list[Tensor] = [np.array(pair, np.complex128).reshape(1, 2, 1) for pair in amplitudes]
        self.lost = 0.0

    @classmethod
    def evolve(cls, parameters: QaoaParameters, order: Order) -> MatrixProduct:
        """The state after the whole circuit; see `QaoaParameters` for the angles' conventions."""
        warm = parameters.warm[order]
        state = cls([(float(np.cos(0.5 * theta)), float(np.sin(0.5 * theta))) for theta in warm])
        for layer in range(parameters.layers):
            state._centre_first()
            coupling = parameters.coupling[layer][np.ix_(order, order)]
            state._phases(parameters.field[layer][order], coupling)
            state._mix(warm, float(parameters.mixer[layer]))
        return state

    @property
    def bond_dimension(self) -> int:
        """The largest bond's."""
        return max(int(site.shape[2]) for site in self._sites)

    def sample(self, shots: int, rng: np.random.Generator) -> Bits:
        """Independent samples, shape (shots, n), all shots at once along the sites.

        With the centre at the first site everything to the right of a site contracts to 1, so a bit's
        probability is the norm of what is left of it (Ferris and Vidal, Phys. Rev. B 85, 165146 (2012)).
        """
        self._centre_first()
        bits = np.empty((shots, len(self._sites)), np.uint8)
        contracted: Tensor = np.ones((shots, 1), np.complex128)
        for at, site in enumerate(self._sites):
            if_zero, if_one = contracted @ site[:, 0], contracted @ site[:, 1]
            weight_zero, weight_one = _norms(if_zero), _norms(if_one)
            is_one = rng.random(shots) * (weight_zero + weight_one) >= weight_zero
            bits[:, at] = is_one
            weight = np.where(is_one, weight_one, weight_zero)
            contracted = (np.where(is_one[:, None], if_one, if_zero) / np.sqrt(weight)[:, None]).astype(
                np.complex128
            )
        return bits

    def _phases(self, field: Float64s, coupling: Float64s) -> None:
        """exp(−iΣ f z − iΣ_{i<j} c z z); the centre goes from the first site to the last."""
        last = len(self._sites) - 1
        for i in range(last + 1):
            self._sites[i] = self._sites[i] * np.exp(-1j * field[i] * Z)[None, :, None]
            partners = np.flatnonzero(coupling[i, i + 1 :]) + i + 1
            if len(partners):
                self._couple(i, coupling[i], int(partners[-1]))
            if i < last:
                self._move_right(i)

    def _couple(self, i: int, coupling: Float64s, end: int) -> None:
        """The phases of variable i, at the centre, with those up to `end`, which carry a copy of its bit."""
        left, _, right = self._sites[i].shape
        copied = np.zeros((left, 2, right, 2), np.complex128)
        for bit in (0, 1):
            copied[:, bit, :, bit] = self._sites[i][:, bit]
        self._sites[i] = copied.reshape(left, 2, 2 * right)
        for at in range(i + 1, end + 1):
            site = self._sites[at]
            left, _, right = site.shape
            phase = np.exp(-1j * coupling[at] * np.outer(Z, Z))  # bit of i, bit of this one
            turned = site[:, None] * phase[None, :, :, None]
            if at < end:
                wide = np.zeros((left, 2, 2, right, 2), np.complex128)
                for bit in (0, 1):
                    wide[:, bit, :, :, bit] = turned[:, bit]
                self._sites[at] = wide.reshape(2 * left, 2, 2 * right)
            else:
                self._sites[at] = turned.reshape(2 * left, 2, right)
        for at in range(end, i, -1):
            self._move_left(at)
        if max(site.shape[2] for site in self._sites[i:end]) > BOND_DIMENSION:
            for at in range(i, end):
                self._move_right(at)
            for at in range(end, i, -1):
                self._move_left(at)

    def _mix(self, warm: Float64s, beta: float) -> None:
        """cos β − i sin β (cos θ Z + sin θ X) on every site, which leaves the centre where it is."""
        for at, theta in enumerate(warm):
            off = -1j * np.sin(beta) * np.sin(theta)
            zero = np.cos(beta) - 1j * np.sin(beta) * np.cos(theta)
            mixer = np.array([[zero, off], [off, zero.conjugate()]])
            self._sites[at] = np.einsum("st,ltr->lsr", mixer, self._sites[at])

    def _centre_first(self) -> None:
        for at in range(len(self._sites) - 1, 0, -1):
            self._move_left(at)

    def _move_left(self, at: int) -> None:
        """Moves the centre from a site to the one on its left."""
        left, _, right = self._sites[at].shape
        q, r = np.linalg.qr(self._sites[at].reshape(left, 2 * right).conj().T)
        self._sites[at] = q.conj().T.reshape(-1, 2, right)
        self._sites[at - 1] = self._sites[at - 1] @ r.conj().T

    def _move_right(self, at: int) -> None:
        """Moves the centre from a site to the one on its right and cuts the bond between them."""
        left, _, right = self._sites[at].shape
        matrix = self._sites[at].reshape(left * 2, right)
        if right <= BOND_DIMENSION:
            q, remainder = np.linalg.qr(matrix)
        else:
            q, weights, rows = np.linalg.svd(matrix, full_matrices=False)
            largest = weights[:BOND_DIMENSION]
            total, norm = float(weights @ weights), float(largest @ largest)
            self.lost += 1.0 - norm / total
            q = q[:, : len(largest)]
            remainder = (largest * np.sqrt(total / norm))[:, None] * rows[: len(largest)]
        self._sites[at] = q.reshape(left, 2, -1)
        self._sites[at + 1] = np.einsum("kl,lsr->ksr", remainder, self._sites[at + 1])


def _norms(rows: Tensor) -> Float64s:
    norms: Float64s = (rows.real**2 + rows.imag**2).sum(axis=1)
    return norms
