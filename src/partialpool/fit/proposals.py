"""Mixtures of Student t kernels: what importance sampling draws from."""

from dataclasses import dataclass

import numba
import numpy as np
from scipy.special import gammaln

from partialpool.fit.kernels import threads

#: Degrees of freedom of every proposal kernel: tails heavier than any posterior on these scales.
NU = 4.0


@dataclass(frozen=True)
class Proposal:
    """Mixture of Student t kernels: centres (M, d), scales (M,), weights (M,).

    Kernel m has the shape ``roots[group[m]]`` (K, d, d), one group for each mode, and `nus[m]`
    degrees of freedom, whole numbers; `NU` where they are not given.
    """

    centres: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    roots: np.ndarray
    group: np.ndarray
    nus: np.ndarray | None = None

    @property
    def degrees(self) -> np.ndarray:
        """Degrees of freedom (M,) of each kernel."""
        return np.full(len(self.scales), NU) if self.nus is None else self.nus

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws (n, d), independent, and the groups (n,) of their kernels."""
        d = self.centres.shape[1]
        at = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        nu = self.degrees[at]
        t = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu) / nu)[:, None]
        for k, root in enumerate(self.roots):
            mine = self.group[at] == k
            t[mine] = t[mine] @ root.T
        return self.centres[at] + self.scales[at, None] * t, self.group[at]

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Log density at points (n, d): shape (n,)."""
        d = u.shape[1]
        total, degrees = np.full(len(u), -np.inf), self.degrees
        for k, root in enumerate(self.roots):
            inverse = np.linalg.inv(root).T
            log_root = np.linalg.slogdet(root)[1]
            for nu in np.unique(degrees[self.group == k]):
                mine = (self.group == k) & (degrees == nu)
                constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * np.pi)
                centres, scales = self.centres[mine] @ inverse, self.scales[mine]
                with threads(len(u) * mine.sum()):
                    value = _mixture(u @ inverse, centres, scales, self.weights[mine], int(nu))
                total = np.logaddexp(total, constant + value - log_root)
        return total

    def distances(self, n: int) -> np.ndarray:
        """How far the first coordinates (n,) are from zero, in spreads of the nearest kernel."""
        spread = np.sqrt((self.roots**2).sum(2))[self.group]  # of every kernel and coordinate
        return np.asarray((self.centres / spread)[:, :n].min(0))


def around(
    centres: np.ndarray,
    covariances: np.ndarray,
    shares: np.ndarray,
    scales: tuple[float, ...],
    weights: tuple[float, ...],
    nus: tuple[float, ...] | None = None,
) -> Proposal:
    """Student kernels of several widths, and tails, at each of some centres (K, d)."""
    K, each = len(centres), len(scales)
    return Proposal(
        np.repeat(centres, each, 0),
        np.tile(scales, K),
        np.outer(shares, weights).reshape(-1),
        np.linalg.cholesky(covariances),
        np.repeat(np.arange(K), each),
        None if nus is None else np.tile(nus, K),
    )


@numba.njit(cache=True, error_model="numpy", parallel=True)
def _mixture(u, centres, scales, weights, nu):
    """Log of a mixture of standard t kernels, without the constant they share."""
    n, d = u.shape
    out = np.empty(n)
    power = nu + d
    log_height = np.log(weights) - d * np.log(scales)
    height = np.exp(log_height - log_height.max())
    for i in numba.prange(n):
        total = 0.0
        for m in range(len(scales)):
            distance = 0.0
            for c in range(d):
                z = (u[i, c] - centres[m, c]) / scales[m]
                distance += z * z
            base = 1 / (1 + distance / nu)
            value = height[m]
            for _ in range(power // 2):  # base ** (power / 2), without the slow pow
                value *= base
            if power % 2:
                value *= np.sqrt(base)
            total += value
        out[i] = np.log(total) + log_height.max()
    return out
