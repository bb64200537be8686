"""Coordinates in which a skew density of one mode is nearly normal, and proposals in them.

Where a group of predictors meets one kind of answer alone, the likelihood is a wall on one side of
a coefficient and only the prior ends the other; no mixture of round kernels follows that in twenty
dimensions. What does is a spread of its own on either side (Geweke 1989), here taken to any shape:
each coordinate is bent so that the slice through the mode along it is normal (docs/method.md, below
eq. (60)).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from partialpool.fit.proposals import Proposal

#: Standard normal values at which a bent coordinate is known; straight between them and beyond.
KNOTS = np.linspace(-5, 5, 81)
#: Points of a slice, the fall of the log density at which it ends, and how far it goes at most.
POINTS, FALL, FARTHEST = 201, 18.0, 60.0
#: Spreads to either side at which the density is compared, to tell which coordinates are skew.
ASIDE = 1.5


@dataclass(frozen=True)
class Bend:
    """From standard normal coordinates z to u = mode + root v, each v_k a rising function of z_k.

    Attributes
    ----------
    mode : (d,) array
    root : (d, d) array
        A root of the inverse curvature: lower triangular in some order of the coordinates u.
    knots : (d, n) array
        v_k at `KNOTS`.
    """

    mode: np.ndarray
    root: np.ndarray
    knots: np.ndarray

    def out(self, z: np.ndarray) -> np.ndarray:
        """Coordinates u (n, d) of z (n, d)."""
        at = np.clip(np.searchsorted(KNOTS, z) - 1, 0, len(KNOTS) - 2)
        which = np.arange(z.shape[1])
        v = self.knots[which, at] + (z - KNOTS[at]) * self._slopes[which, at]
        return np.asarray(self.mode + v @ self.root.T)

    def back(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates z (n, d) of u (n, d), and the log of |dz / du| (n,)."""
        v = np.linalg.solve(self.root, (u - self.mode).T).T
        z, slopes = np.empty_like(v), self._slopes
        log_slope = np.full(len(u), np.linalg.slogdet(self.root)[1])
        for k, knots in enumerate(self.knots):
            at = np.clip(np.searchsorted(knots, v[:, k]) - 1, 0, len(KNOTS) - 2)
            z[:, k] = KNOTS[at] + (v[:, k] - knots[at]) / slopes[k, at]
            log_slope += np.log(slopes[k, at])
        return z, -log_slope

    @property
    def _slopes(self) -> np.ndarray:
        return np.asarray(np.diff(self.knots) / np.diff(KNOTS))


@dataclass(frozen=True)
class Bent(Proposal):
    """A mixture of kernels in the coordinates z of a bend."""

    bend: Bend | None = None

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws u (n, d), and the groups (n,) of their kernels."""
        assert self.bend is not None
        z, group = super().draw(rng, n)
        return self.bend.out(z), group

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Log density at points u (n, d): shape (n,)."""
        assert self.bend is not None
        z, log_slope = self.bend.back(u)
        return super().log_density(z) + log_slope

    def distances(self, n: int) -> np.ndarray:
        """As of other proposals: the first coordinates are straight."""
        assert self.bend is not None
        straight = Proposal(
            self.bend.mode + self.centres @ self.bend.root.T,
            self.scales,
            self.weights,
            self.bend.root @ self.roots,
            self.group,
        )
        return straight.distances(n)


def bend(
    log_density: Callable[[np.ndarray], np.ndarray], mode: np.ndarray, root: np.ndarray, first: int
) -> Bend:
    """Make slices through the mode normal.

    Parameters
    ----------
    log_density : callable
        From points (n, d) to (n,).
    mode : (d,) array
    root : (d, d) array
        Of the inverse curvature there.
    first : int
        Number of coordinates, the first, that stay straight, for they may be mirrored.

    Notes
    -----
    Along a slice the coordinates that come later in an order follow as the curvature says. The skew
    ones come last, so that little follows them.
    """
    d, covariance = len(mode), root @ root.T
    spread = np.diag(np.linalg.inv(covariance)) ** -0.5  # given all others
    up, down = (log_density(mode + s * ASIDE * np.diag(spread)) for s in (1, -1))
    with np.errstate(invalid="ignore"):
        skew = np.nan_to_num(np.abs(up - down), nan=np.inf)
    skew[:first] = -np.arange(first, 0, -1)
    order = np.argsort(skew, kind="stable")
    ordered = np.zeros((d, d))
    ordered[order] = np.linalg.cholesky(covariance[np.ix_(order, order)])
    knots = np.tile(KNOTS, (d, 1))
    for k in range(first, d):
        knots[k] = _normal_scores(log_density, mode, ordered[:, k])
    return Bend(mode, ordered, knots)


def _normal_scores(
    log_density: Callable[[np.ndarray], np.ndarray], mode: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Places along a slice (n,) whose normal scores are `KNOTS`."""
    top = log_density(mode[None])[0]
    reach = 4.0 * 1.3 ** np.arange(1 + int(np.log(FARTHEST / 4) / np.log(1.3)))

    def end(side: float) -> float:
        fall = top - log_density(mode + side * reach[:, None] * step)
        low = np.flatnonzero(~(fall < FALL))
        return float(side * reach[low[0] if len(low) else -1])

    at = np.linspace(end(-1.0), end(1.0), POINTS)
    height = log_density(mode + at[:, None] * step)
    density = np.exp(height - height.max())
    areas = (density[1:] + density[:-1]) / 2 * np.diff(at)
    below = np.concatenate([[0.0], np.cumsum(areas)])
    above = np.concatenate([np.cumsum(areas[::-1])[::-1], [0.0]])
    # each tail from its own end, where its area is told to all digits
    scores = np.where(below < above, ndtri(below / below[-1]), -ndtri(above / above[0]))
    told = np.flatnonzero(np.isfinite(scores))
    scores, which = np.unique(scores[told], return_index=True)
    at = at[told[which]]
    found = np.interp(KNOTS, scores, at)
    for beyond, a, b in ((scores[0] > KNOTS, 0, 1), (scores[-1] < KNOTS, -1, -2)):
        slope = (at[a] - at[b]) / (scores[a] - scores[b])  # straight on
        found[beyond] = at[a] + (KNOTS[beyond] - scores[a]) * slope
    return np.asarray(found)
