"""The closed form of the Gaussian model (docs/method.md, eq. (6) to (9)).

Given ``theta = (sigma, standard deviations, correlations)`` the coefficients are Gaussian and
integrate out; `ThetaPosterior` is the log density of what is left and draws the coefficients;
`conditional_effects` draws the effects. The symbols are those of that document.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.coordinates import Coordinates, block_eta, prior_sizes
from partialpool.fit.crossproducts import CrossProducts
from partialpool.fit.elimination import Elimination
from partialpool.fit.kernels import LANES, WORTH_THREADS, draw_effects, sum_effects, threads
from partialpool.fit.likelihoods import Likelihood, OneFactor, Reduced, inner_prior

#: Random streams of the group effects, filled by as many threads as there are; the draws depend on
#: this number, so it is not the machine's.
STREAMS = 4


@dataclass(frozen=True)
class ThetaPosterior(Coordinates):
    """Log density of theta given y, for any number of grouping factors (docs/method.md, eq. (16)).

    What the rows say of theta is `likelihood`; all else is a matter of coordinates.
    """

    likelihood: Likelihood

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood at coordinates (S, d), with the Jacobian: shape (S,)."""
        return self._evaluate(u, np.empty((0, self.likelihood.n_drawn)))

    def with_coefficients(
        self, u: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same, and a draw of beta (S, p) given each theta (docs/method.md, eq. (21)).

        With several factors the effects of small ones, drawn with it, follow.
        """
        z = rng.standard_normal((len(u), self.likelihood.n_drawn))
        value = self._evaluate(u, z)
        with np.errstate(over="ignore", invalid="ignore"):  # draws where there is no density
            return value, self.likelihood.in_units(z)

    def _evaluate(self, u: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Log density (S,); z (S, n) turns from standard normals into draws."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            theta, log_prior = self.theta(np.atleast_2d(u))
            value = log_prior + self.likelihood(theta, z)
        # Where a scale under- or overflows the density is zero, whatever came of the arithmetic.
        return np.where(np.isfinite(value), value, -np.inf)


def theta_posterior(
    design: Design, rows: CrossProducts | Elimination, priors: dict[str, Prior]
) -> ThetaPosterior:
    """The posterior of theta for a design under resolved priors."""
    scales = (priors["sigma"], *(priors[name] for name in design.sd_names))
    coefficients = [priors[name] for name in design.x_names]
    eta = tuple(block_eta(design, priors, block) for block in design.blocks)
    if isinstance(rows, Elimination):
        return of_factors(rows, coefficients, scales, design.blocks, eta)
    return ThetaPosterior(
        blocks=design.blocks,
        scales=scales,
        widths=np.minimum(_resolution(design, rows), prior_sizes(scales)),
        eta=eta,
        likelihood=OneFactor(rows, inner_prior(coefficients, rows)),
    )


def of_factors(
    rows: Elimination,
    coefficients: Sequence[Prior],
    scales: Sequence[Prior],
    blocks: Sequence[tuple[int, ...]],
    eta: Sequence[float],
) -> ThetaPosterior:
    """The posterior of theta for reduced rows of several grouping factors.

    Parameters
    ----------
    rows : Elimination
    coefficients : sequence of Prior
        One for each column of X.
    scales : sequence of Prior
        Of sigma, then of the standard deviation of every varying column, factor by factor.
    blocks : sequence of tuples of int
        Columns, counted over all factors, that are correlated with each other; every one is in a
        block.
    eta : sequence of float
        Of the LKJ prior of each block; plays no part where a column is alone.
    """
    noise = rows.y_scale * _noise_within(rows.E, rows.n_rows)
    if rows.log_weight is not None:
        noise = float(np.exp(-rows.log_weight / rows.n_rows))  # the rows' own, known
    noise = noise if noise > 1e-12 * rows.y_scale else rows.y_scale
    told = np.array([noise / 10, *(noise / np.sqrt(np.concatenate(rows.squares)))])
    return ThetaPosterior(
        blocks=tuple(blocks),
        scales=tuple(scales),
        widths=np.minimum(told, prior_sizes(scales)),
        eta=tuple(eta),
        likelihood=Reduced(rows, inner_prior(coefficients, rows)),
    )


def _resolution(design: Design, cross: CrossProducts) -> np.ndarray:
    """What the data can tell from zero (1 + q,): standard deviations of an average group."""
    noise = cross.y_scale * _noise_within(cross.E, cross.n_rows)
    if cross.log_weight is not None:
        noise = np.exp(-cross.log_weight / cross.n_rows)  # the rows' own, known
    noise = noise if noise > 1e-12 * cross.y_scale else cross.y_scale
    rows = cross.n_rows / len(cross.counts)
    return np.array([noise / 10, *(noise / design.totals[1].rms / np.sqrt(rows))])


def _noise_within(E: np.ndarray, n_rows: int) -> float:
    """Standard deviation of what is left of y beside the groups and the columns of X, inside."""
    within = E[-1, -1] - E[-1, :-1] @ np.linalg.pinv(E[:-1, :-1], hermitian=True) @ E[:-1, -1]
    rounding = within < 1e-12 * E[-1, -1]  # the columns explain all of it
    return 0.0 if rounding else float(np.sqrt(max(within, 0.0) / n_rows))


def _at(posterior: ThetaPosterior, values: np.ndarray) -> np.ndarray:
    """Coordinates (d,) of standard deviations (1 + q,), moved inside the priors' bounds."""
    bounds = [(prior.lower, prior.upper) for prior in posterior.scales]
    for k, (lower, upper) in enumerate(bounds):
        if np.isfinite(upper):
            margin = 0.01 * (upper - lower)
            values[k] = np.clip(values[k], lower + margin, upper - margin)
    return posterior.coordinates(values)


def starts(design: Design, posterior: ThetaPosterior) -> np.ndarray:
    """Places (K, d) from which to look for modes: see `starting_places`."""
    return starting_places(posterior, design.totals[1].rms)


def starting_places(posterior: ThetaPosterior, rms: np.ndarray) -> np.ndarray:
    """Places (K, d) from which to look for modes: where data, priors and the boundary would be.

    `rms` (q,) are the root mean squares of the varying columns. The first place shares the spread
    of y between noise and group effects; in the others one standard deviation after the other, and
    all, are barely different from zero, and some are as their priors have them.
    """
    spread, q = posterior.likelihood.y_scale, len(posterior.widths) - 1
    data = np.array([0.7 * spread, *(0.3 * spread / rms)])
    prior = np.where(np.isfinite(sizes := prior_sizes(posterior.scales)), sizes, data)
    edge = np.array([data[0], *(0.3 * posterior.widths[1:])])
    effects = np.arange(1 + q) > 0
    places = [data, *(np.where(np.arange(1 + q) == k, edge, data) for k in range(1, 1 + q))]
    places += [edge] if q > 1 else []
    places += [np.where(effects, prior, data), np.where(effects, data, prior)]
    return np.array([_at(posterior, place) for place in places])


def scattered(near: np.ndarray, rng: np.random.Generator, n: int = 12) -> np.ndarray:
    """Other places (n, d) to look from: a Latin hypercube around all of `starts` (K, d)."""
    low, high = near.min(0) - 1, near.max(0) + 1
    cells = rng.permuted(np.tile(np.arange(n), (len(low), 1)), axis=1).T
    return low + (high - low) * (cells + rng.uniform(size=cells.shape)) / n


def log_likelihood_given(
    cross: CrossProducts, sigma: np.ndarray, L: np.ndarray, beta: np.ndarray
) -> np.ndarray:
    """``log p(y | theta, beta)`` (S,), group effects integrated out (docs/method.md, eq. (11)).

    Parameters
    ----------
    cross : CrossProducts
    sigma : (S,) array
    L : (S, q, q) array
        Any square root of the covariance of the effects.
    beta : (S, p) array
    """
    J, q, _ = cross.G.shape
    c = np.hstack([(cross.a - beta @ cross.A.T) / cross.y_scale, np.ones((len(sigma), 1))])
    value = np.full(len(sigma), -0.5 * cross.n_rows * np.log(2 * np.pi))
    value -= cross.n_rows * np.log(cross.y_scale)
    for some, noise, part, log_weight in cross.by_sigma(sigma):
        inside = cross.T @ L[some] / cross.y_scale
        square = np.einsum("si,ij,sj->s", c[some], part.E, c[some]) / noise**2
        value[some] += log_weight - (cross.n_rows - J * q) * np.log(noise) - 0.5 * square
        for first in range(0, J if q else 0, LANES):
            groups = slice(first, first + LANES)
            root = part.R[groups] @ inside[:, None]
            V = noise[:, None, None, None] ** 2 * np.eye(q) + root @ np.swapaxes(root, -1, -2)
            h = np.einsum("jim,sm->sji", part.G[groups], c[some])
            w = np.linalg.solve(V, h[..., None])[..., 0]
            value[some] -= 0.5 * (np.linalg.slogdet(V)[1] + (h * w).sum(-1)).sum(-1)
    return value


def conditional_effects(
    cross: CrossProducts,
    sigma: np.ndarray,
    L: np.ndarray,
    beta: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One draw of the group effects for each draw of everything else, in the user's units.

    They are those of docs/method.md, eq. (22).

    Parameters
    ----------
    cross : CrossProducts
    sigma : (S,) array
    L : (S, q, q) array
        Any square root of the covariance of the effects.
    beta : (S, p) array
    rng : numpy.random.Generator

    Returns
    -------
    (q, S, J) array
    """
    b = np.empty((len(cross.T), len(sigma), len(cross.counts)))
    pieces = np.array_split(b.reshape(-1), STREAMS)
    streams = rng.spawn(STREAMS)
    if b.size > WORTH_THREADS:
        with ThreadPoolExecutor() as pool:
            for stream, piece in zip(streams, pieces, strict=True):
                pool.submit(stream.standard_normal, out=piece)
    else:
        for stream, piece in zip(streams, pieces, strict=True):
            stream.standard_normal(out=piece)
    inside = np.ascontiguousarray(cross.T @ L / cross.y_scale)
    beta_inside = (beta @ cross.A.T - cross.a) / cross.y_scale
    with threads(b.size):
        for some, noise, part, _ in cross.by_sigma(sigma):
            drawn = np.ascontiguousarray(b[:, some])  # a copy only where there are several parts
            draw_effects(
                noise,
                inside[some],
                np.ascontiguousarray(L[some]),
                *part.lanes,
                beta_inside[some],
                drawn,
            )
            if drawn.base is not b and drawn is not b:
                b[:, some] = drawn
    return b


def effect_moments(
    cross: CrossProducts, sigma: np.ndarray, L: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means (J, q) and standard deviations (J, q) of the group effects.

    From the Gaussians given each draw (Rao & Blackwell), so without noise of their own; the
    arguments are those of `conditional_effects`.
    """
    J, q, _ = cross.G.shape
    mean, square = np.zeros((J, q)), np.zeros((J, q))
    inside = np.ascontiguousarray(cross.T @ L / cross.y_scale)
    beta_inside = (beta @ cross.A.T - cross.a) / cross.y_scale
    with threads(J * len(sigma)):
        for some, noise, part, _ in cross.by_sigma(sigma):
            one, variance = np.empty((J, q)), np.empty((J, q))
            own = np.ascontiguousarray(L[some])
            sum_effects(noise, inside[some], own, *part.lanes, beta_inside[some], one, variance)
            share = len(noise) / len(sigma)
            mean += share * one
            square += share * (variance + one**2)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))
