"""Effects of several grouping factors given theta and beta: the mixed-model equations.

Given theta and beta the effects b of all groups are Gaussian with precision ``Wᵀ S⁻¹ W + Sigma⁻¹``
(Henderson 1950), W being the columns of all groups side by side and S the variances of the noise.
The grouping of most effects is eliminated level by level, so that only the effects of the others
are in a dense system; where standard deviations are zero nothing is singular.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse import block_diag, bsr_array, csr_array, hstack

from partialpool.design.matrices import Design, Grouping
from partialpool.fit.elimination import one_thread

#: Products that a figure of all draws may cost, fewest draws that it is made of, and what the
#: equations of a draw cost however few they are.
WORK, FEWEST, LEAST = 2e11, 100, 1e8
#: Numbers of the rows by effects that are worked on at a time.
BLOCK = 2_000_000


@dataclass(frozen=True)
class Given:
    """The Gaussian of all effects at one theta and beta, a first grouping's and the others'.

    Attributes
    ----------
    H : (m, m) sparse array
        Covariance of the first grouping's effects given the others'; block diagonal.
    root : (m, m) sparse array
        ``root rootᵀ = H``.
    mixed : (m, n) sparse array
        What the rows say of first and other effects together, ``W_1ᵀ S⁻¹ W_2``.
    L : (n, n) sparse array
        Root of the prior covariance of the others' effects.
    U : (n, n) array
        Upper triangular: ``Uᵀ U`` is the precision of the others' effects in units of `L`.
    about : (m,) array
        Mean of the first grouping's effects where the others' are zero.
    means : pair of arrays, (m,) and (n,)
    log_det : float
        ``log|V|``, of the covariance of the rows.
    square : float
        ``rᵀ V⁻¹ r`` for ``r = y - X beta``.
    """

    H: bsr_array
    root: bsr_array
    mixed: csr_array
    L: csr_array
    U: np.ndarray
    about: np.ndarray
    means: tuple[np.ndarray, np.ndarray]
    log_det: float
    square: float

    def draw(self, z_first: np.ndarray, z_others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Effects (m,) and (n,) that standard normals of these shapes give."""
        others = self.means[1] + self.L @ dtrsm(1.0, self.U, z_others[:, None])[:, 0]
        return self.about - self.H @ (self.mixed @ others) + self.root @ z_first, others

    def variance(self, first: csr_array, others: csr_array) -> np.ndarray:
        """Variance (k,) of combinations ``first b_1 + others b_2`` of the effects."""
        through, spread = self._parts(first, others)
        return through.multiply(first).sum(1) + (spread**2).sum(0)

    def covariances(
        self, first: csr_array, others: csr_array, ends: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Covariance of the first combinations, of those up to the next end, and so on."""
        through, spread = self._parts(first, others)
        for start, end in pairwise([0, *ends]):
            own = spread[:, start:end]
            yield (through[start:end] @ first[start:end].T).toarray() + own.T @ own

    def _parts(self, first: csr_array, others: csr_array) -> tuple[csr_array, np.ndarray]:
        through = first @ self.H
        rest = (others - through @ self.mixed).toarray()
        return through, dtrsm(1.0, self.U, self.L.T @ rest.T, trans_a=1)


class Equations:
    """The mixed-model equations of a design.

    Parameters
    ----------
    design : Design
        With two groupings or more, whose rows are all there.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        sizes = [grouping.n_levels * len(grouping.z_names) for grouping in design.groupings]
        self.first = int(np.argmax(sizes))
        self.others = [f for f in range(len(sizes)) if f != self.first]
        columns = [_columns(grouping) for grouping in design.groupings]
        self.W = columns[self.first], hstack([columns[f] for f in self.others], format="csr")
        self._known: tuple[float, tuple[np.ndarray, csr_array, np.ndarray]] | None = None

    def given(
        self, sigma: np.ndarray, roots: Sequence[np.ndarray], beta: np.ndarray
    ) -> Iterator[Given]:
        """The Gaussian at each of some draws.

        Parameters
        ----------
        sigma : (S,) array
        roots : sequence of (S, q, q) arrays
            Of the covariance of each grouping's effects.
        beta : (S, p) array
        """
        for s, noise in enumerate(sigma):
            with one_thread():
                given = self._at(float(noise), [root[s] for root in roots], beta[s])
            yield given

    def _at(self, sigma: float, roots: Sequence[np.ndarray], beta: np.ndarray) -> Given:
        design, root = self.design, roots[self.first]
        scale = np.hypot(sigma, np.zeros(len(design.y)) if design.se is None else design.se)
        own, mixed, dense = self._products(sigma)
        J, q = len(own), len(root)
        R = np.linalg.cholesky(np.eye(q) + root.T @ own @ root)
        half = _diagonal(np.swapaxes(np.linalg.solve(R, np.tile(root.T, (J, 1, 1))), 1, 2))
        H = half @ half.T
        L = block_diag([_repeated(roots[f], design.groupings[f]) for f in self.others], "csr")
        left = dense - (mixed.T @ (H @ mixed)).toarray()
        U, failed = dpotrf(np.eye(len(left)) + L.T @ left @ L)
        if failed:
            raise np.linalg.LinAlgError("the equations of the effects are not definite")
        residual = (design.y - design.X @ beta) / scale
        g_first, g_others = (W.T @ (residual / scale) for W in self.W)
        about = H @ g_first
        mean = L @ dpotrs(U, L.T @ (g_others - mixed.T @ about))[0]
        means = about - H @ (mixed @ mean), mean
        log_det = 2 * (
            np.log(scale).sum()
            + np.log(np.diagonal(R, axis1=1, axis2=2)).sum()
            + np.log(np.diagonal(U)).sum()
        )
        square = residual @ residual - g_first @ means[0] - g_others @ means[1]
        return Given(H, half, mixed, L, U, about, means, float(log_det), float(square))

    def _products(self, sigma: float) -> tuple[np.ndarray, csr_array, np.ndarray]:
        """``Wᵀ S⁻¹ W``: the first grouping's blocks (J, q, q), mixed (m, n), and the others'."""
        if self.design.se is None:
            own, mixed, dense = self._weighted(1.0)
            return own / sigma**2, mixed / sigma**2, dense / sigma**2
        return self._weighted(sigma)

    def _weighted(self, sigma: float) -> tuple[np.ndarray, csr_array, np.ndarray]:
        if self._known is None or self._known[0] != sigma:
            design, (first, others) = self.design, self.W
            variance = np.full(len(design.y), sigma**2)
            variance += 0 if design.se is None else design.se**2
            light = others.multiply(1 / variance[:, None]).tocsr()
            products = first.T @ light, (others.T @ light).toarray()
            own = _blocks(design.groupings[self.first], 1 / variance)
            self._known = sigma, (own, *products)
        return self._known[1]


def affordable(design: Design, most: int, rows: int = 0) -> int:
    """Draws, `most` at most, at which the equations are solved in reasonable time.

    `rows` are those at which `group_part` is wanted.
    """
    sizes = [grouping.n_levels * len(grouping.z_names) for grouping in design.groupings]
    n = sum(sizes) - max(sizes)
    return int(np.clip(WORK / (n**3 + rows * n**2 + LEAST), FEWEST, most))


def effect_draws(
    design: Design,
    sigma: np.ndarray,
    roots: Sequence[np.ndarray],
    beta: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """One draw of all groups' effects for each draw of everything else: (q, S, J) by grouping."""
    equations = Equations(design)
    found = [
        np.empty((len(grouping.z_names), len(sigma), grouping.n_levels))
        for grouping in design.groupings
    ]
    ends = np.cumsum([found[f][:, 0].size for f in equations.others])[:-1]
    for s, given in enumerate(equations.given(sigma, roots, beta)):
        z = (rng.standard_normal(len(mean)) for mean in given.means)
        first, others = given.draw(*z)
        for f, b in zip(
            (equations.first, *equations.others), (first, *np.split(others, ends)), strict=True
        ):
            found[f][:, s] = b.reshape(-1, len(found[f])).T
    return found


def group_part(
    design: Design,
    sigma: np.ndarray,
    roots: Sequence[np.ndarray],
    beta: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (S, n), given y, of what the effects add to the line at some rows (n,)."""
    equations = Equations(design)
    first, others = (W[rows] for W in equations.W)
    mean, variance = np.empty((2, len(sigma), len(rows)))
    for s, given in enumerate(equations.given(sigma, roots, beta)):
        mean[s] = first @ given.means[0] + others @ given.means[1]
        variance[s] = given.variance(first, others)
    return mean, variance


def log_density_of_groups(
    design: Design,
    sigma: np.ndarray,
    roots: Sequence[np.ndarray],
    beta: np.ndarray,
    groups: Sequence[np.ndarray],
) -> np.ndarray:
    """Log density of the rows of each group given all other rows, theta and beta: (S, groups).

    ``y_R | y_-R ~ N(y_R - Q⁻¹ u, Q⁻¹)``, where Q are the rows and columns of the group in ``V⁻¹``
    and u its part of ``V⁻¹ (y - X beta)``.

    Parameters
    ----------
    groups : sequence of int arrays
        Rows of each group.
    """
    equations = Equations(design)
    width = equations.W[1].shape[1]
    found = np.empty((len(sigma), len(groups)))
    of_block = np.cumsum([len(rows) for rows in groups]) * width // BLOCK
    blocks = [np.flatnonzero(of_block == b).tolist() for b in np.unique(of_block)]
    for s, given in enumerate(equations.given(sigma, roots, beta)):
        fitted = design.X @ beta[s] + sum(
            W @ mean for W, mean in zip(equations.W, given.means, strict=True)
        )
        scale = np.hypot(sigma[s], np.zeros(len(fitted)) if design.se is None else design.se)
        u = (design.y - fitted) / scale
        for block in blocks:
            rows = np.concatenate([groups[j] for j in block])
            ends = np.cumsum([len(groups[j]) for j in block])
            first, others = (W[rows] for W in equations.W)
            for j, of_effects in zip(block, given.covariances(first, others, ends), strict=True):
                own = groups[j]
                Q = np.eye(len(own)) - of_effects / np.outer(scale[own], scale[own])
                root = np.linalg.cholesky(Q)
                half = np.linalg.solve(root, u[own])
                found[s, j] = np.log(np.diag(root)).sum() - 0.5 * half @ half
                found[s, j] -= np.log(scale[own]).sum() + 0.5 * len(own) * np.log(2 * np.pi)
    return found


def log_likelihood(
    design: Design, sigma: np.ndarray, roots: Sequence[np.ndarray], beta: np.ndarray
) -> np.ndarray:
    """``log p(y | theta, beta)`` (S,), the effects of all groupings integrated out."""
    constant = len(design.y) * np.log(2 * np.pi)
    return np.array(
        [
            -0.5 * (constant + given.log_det + given.square)
            for given in Equations(design).given(sigma, roots, beta)
        ]
    )


def _columns(grouping: Grouping) -> csr_array:
    """Columns (N, J q) of the effects of all groups, those of a group side by side."""
    N, q = grouping.Z.shape
    at = grouping.codes[:, None] * q + np.arange(q)
    shape = (N, grouping.n_levels * q)
    return csr_array((grouping.Z.ravel(), at.ravel(), np.arange(N + 1) * q), shape=shape)


def _blocks(grouping: Grouping, weights: np.ndarray) -> np.ndarray:
    """``Z_jᵀ S⁻¹ Z_j`` of each group for weights (N,), the diagonal of ``S⁻¹``: (J, q, q)."""
    Z, q = grouping.Z, len(grouping.z_names)
    found = np.empty((grouping.n_levels, q, q))
    for a, b in np.ndindex(q, q):
        products = weights * Z[:, a] * Z[:, b]
        found[:, a, b] = np.bincount(grouping.codes, products, grouping.n_levels)
    return found


def _repeated(root: np.ndarray, grouping: Grouping) -> bsr_array:
    return _diagonal(np.tile(root, (grouping.n_levels, 1, 1)))


def _diagonal(blocks: np.ndarray) -> bsr_array:
    """Block diagonal matrix of blocks (J, q, q)."""
    J = len(blocks)
    return bsr_array((blocks, np.arange(J), np.arange(J + 1)))
