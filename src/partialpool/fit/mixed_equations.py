"""Effects of several grouping factors given theta and beta, and what the rows say of these.

Given theta and beta the effects of all groups are Gaussian (Henderson 1950): the elimination of
docs/method.md, eq. (42) to (45), with the effects of every factor in it, draw by draw.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from partialpool.design.matrices import Design
from partialpool.fit.coordinates import Theta
from partialpool.fit.elimination import Solved
from partialpool.fit.group_effects import GroupEffects
from partialpool.fit.likelihoods import InnerPrior, Reduced
from partialpool.fit.nested import parents
from partialpool.fit.reduction import Factor, eliminate

#: Products that a figure of all draws may cost, fewest draws that it is made of, and what the
#: equations of a draw cost however few they are.
WORK, FEWEST, LEAST = 2e11, 100, 1e8


class Equations:
    """The mixed-model equations of a design.

    Parameters
    ----------
    design : Design
        With two groupings or more, whose rows are all there.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._known: tuple[float, Reduced] | None = None

    def effects(
        self, sigma: np.ndarray, roots: Sequence[np.ndarray], beta: np.ndarray
    ) -> Iterator[GroupEffects]:
        """The effects given some draws, as many at once as have the same weights.

        Parameters
        ----------
        sigma : (S,) array
        roots : sequence of (S, q, q) arrays
            Of the covariance of each grouping's effects.
        beta : (S, p) array
        """
        ends = np.cumsum([0, *(root.shape[1] for root in roots)])
        L = np.zeros((len(sigma), ends[-1], ends[-1]))
        for root, start, stop in zip(roots, ends, ends[1:], strict=False):
            L[:, start:stop, start:stop] = root
        none = np.empty((len(sigma), 0))
        alike = self.design.se is None
        for s in (slice(None),) if alike else (slice(s, s + 1) for s in range(len(sigma))):
            theta = Theta(sigma[s], none[s], none[s], L[s])
            yield GroupEffects(self._reduced(sigma[s]), theta, beta[s], None, None)

    def given(
        self, sigma: np.ndarray, roots: Sequence[np.ndarray], beta: np.ndarray
    ) -> Iterator[tuple[Reduced, Solved, np.ndarray, float]]:
        """For each draw the rows, what they say, the columns' weights (m,) and the noise's sd."""
        for effects in self.effects(sigma, roots, beta):
            weights, noise = effects.columns(), effects.likelihood.noise(effects.theta)
            for s in range(len(noise)):
                solved = effects.likelihood.solve(effects.theta, s)
                yield effects.likelihood, solved, weights[s], float(noise[s])

    def _reduced(self, sigma: np.ndarray) -> Reduced:
        """The rows, with the effects of all groupings eliminated, at some draws' sigma."""
        design, key = self.design, float(sigma[0])
        if self._known is None or (design.se is not None and self._known[0] != key):
            factors = [Factor(g.codes, g.Z, g.n_levels) for g in design.groupings]
            weights = None if design.se is None else 1 / np.hypot(design.se, key)
            rows = eliminate(design.y, design.X, factors, weights, small=0)
            p = len(design.x_names)
            self._known = key, Reduced(rows, InnerPrior(np.zeros(p), np.zeros((p, p)), 0.0))
        return self._known[1]


def affordable(design: Design, most: int, rows: int = 0) -> int:
    """Draws, `most` at most, at which the equations are solved in reasonable time.

    `rows` are those at which `group_part` is wanted.
    """
    finer = sorted(design.groupings, key=lambda grouping: -grouping.n_levels)
    sizes = [grouping.n_levels * len(grouping.z_names) for grouping in finer]
    nested = parents([g.codes for g in finer], [g.n_levels for g in finer]) is not None
    n = 0 if nested else sum(sizes) - max(sizes)
    return int(np.clip(WORK / (n**3 + rows * n**2 + LEAST), FEWEST, most))


def effect_draws(
    design: Design,
    sigma: np.ndarray,
    roots: Sequence[np.ndarray],
    beta: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """One draw of all groups' effects for each draw of everything else: (q, S, J) by grouping."""
    every = [*range(len(roots))]
    drawn = [effects.draw(rng, every) for effects in Equations(design).effects(sigma, roots, beta)]
    return [np.moveaxis(np.concatenate(parts), 2, 0) for parts in zip(*drawn, strict=True)]


def group_part(
    design: Design,
    sigma: np.ndarray,
    roots: Sequence[np.ndarray],
    beta: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (S, n), given y, of what the effects add to the line at some rows (n,)."""
    codes = [grouping.codes[rows] for grouping in design.groupings]
    mean, variance = np.zeros((2, len(sigma), len(rows)))
    draws = Equations(design).given(sigma, roots, beta)
    for s, (likelihood, solved, weights, noise) in enumerate(draws):
        reduced = likelihood.rows
        Z = [g.Z[rows] @ np.linalg.inv(T) for g, T in zip(design.groupings, reduced.T, strict=True)]
        for f, effects in reduced.effects(solved).items():
            b = effects @ weights @ solved.ratios[f].T * reduced.y_scale
            mean[s] += (Z[f] * b[codes[f]]).sum(1)
        variance[s] = noise**2 * reduced.line_variances(solved, codes, Z)
    return mean, variance


def log_likelihood(
    design: Design, sigma: np.ndarray, roots: Sequence[np.ndarray], beta: np.ndarray
) -> np.ndarray:
    """``log p(y | theta, beta)`` (S,), the effects of all groupings integrated out."""
    N, found = len(design.y), []
    for likelihood, solved, weights, noise in Equations(design).given(sigma, roots, beta):
        rows = likelihood.rows
        square = weights @ solved.C @ weights * (rows.y_scale / noise) ** 2
        log_det = solved.log_det + 2 * N * np.log(noise) - 2 * (rows.log_weight or 0.0)
        found.append(-0.5 * (N * np.log(2 * np.pi) + log_det + square))
    return np.array(found)
