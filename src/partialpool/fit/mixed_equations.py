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
#: Numbers of the rows by effects that are worked on at a time.
BLOCK = 2_000_000


class Equations:
    """The mixed-model equations of a design.

    Parameters
    ----------
    design : Design
        With two groupings or more, whose rows are all there.
    nested : bool
        Whether factors nested in each other may be eliminated level by level.
    """

    def __init__(self, design: Design, *, nested: bool = True) -> None:
        self.design, self.nested = design, nested
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
            rows = eliminate(design.y, design.X, factors, weights, small=0, nested=self.nested)
            p = len(design.x_names)
            self._known = key, Reduced(rows, InnerPrior(np.zeros(p), np.zeros((p, p)), 0.0))
        return self._known[1]


def affordable(design: Design, most: int, rows: int = 0, *, nested: bool = True) -> int:
    """Draws, `most` at most, at which the equations are solved in reasonable time.

    `rows` are those at which `group_part`, or without `nested` `log_density_of_groups`, is wanted.
    """
    finer = sorted(design.groupings, key=lambda grouping: -grouping.n_levels)
    sizes = [grouping.n_levels * len(grouping.z_names) for grouping in finer]
    n = sum(sizes) - max(sizes)
    if nested and parents([g.codes for g in finer], [g.n_levels for g in finer]):
        n = 0
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
    Z = [grouping.Z[rows] for grouping in design.groupings]
    draws = Equations(design).effects(sigma, roots, beta)
    found = [effects.at_rows(Z, codes) for effects in draws]
    mean, variance = (np.concatenate(parts) for parts in zip(*found, strict=True))
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
    found = np.empty((len(sigma), len(groups)))
    sizes = [grouping.n_levels * len(grouping.z_names) for grouping in design.groupings]
    of_block = np.cumsum([len(rows) for rows in groups]) * (sum(sizes) - max(sizes)) // BLOCK
    blocks = [np.flatnonzero(of_block == b).tolist() for b in np.unique(of_block)]
    draws = Equations(design, nested=False).given(sigma, roots, beta)
    for s, (likelihood, solved, weights, noise) in enumerate(draws):
        reduced, line = likelihood.rows, design.X @ beta[s]
        every = reduced.inside([grouping.Z for grouping in design.groupings])
        for f, effects in reduced.effects(solved).items():
            b = effects @ weights @ solved.ratios[f].T * reduced.y_scale
            line += (every[f] * b[design.groupings[f].codes]).sum(1)
        scale = np.hypot(sigma[s], np.zeros(len(line)) if design.se is None else design.se)
        u = (design.y - line) / scale
        for block in blocks:
            rows = np.concatenate([groups[j] for j in block])
            ends = np.cumsum([len(groups[j]) for j in block])
            codes = [grouping.codes[rows] for grouping in design.groupings]
            Z = reduced.inside([grouping.Z[rows] for grouping in design.groupings])
            covariances = reduced.line_covariances(solved, codes, Z, ends)
            for j, of_effects in zip(block, covariances, strict=True):
                own = groups[j]
                Q = np.eye(len(own)) - noise**2 * of_effects / np.outer(scale[own], scale[own])
                root = np.linalg.cholesky(Q)
                half = np.linalg.solve(root, u[own])
                found[s, j] = np.log(np.diag(root)).sum() - 0.5 * half @ half
                found[s, j] -= np.log(scale[own]).sum() + 0.5 * len(own) * np.log(2 * np.pi)
    return found


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
