"""The closed form of the Gaussian model (docs/method.md, eq. (6) to (9)).

Given ``theta = (sigma, standard deviations, correlations)`` the coefficients are Gaussian and
integrate out; `ThetaPosterior` is the log density of what is left and draws the coefficients;
`conditional_effects` draws the effects. The symbols are those of that document.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betaln

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.crossproducts import CrossProducts
from partialpool.fit.kernels import (
    LANES,
    WORTH_THREADS,
    draw_effects,
    log_likelihood,
    threads,
)
from partialpool.fit.modes import folded

#: Random streams of the group effects, filled by as many threads as there are; the draws depend on
#: this number, so it is not the machine's.
STREAMS = 4


@dataclass(frozen=True)
class ThetaPosterior:
    """Log density of theta given y, on coordinates without bounds (docs/method.md, eq. (16)).

    A coordinate is a standard deviation on a scale that is linear up to `widths` and logarithmic
    beyond, or ``atanh`` of a canonical partial correlation; the order is sigma, standard
    deviations, correlations. A standard deviation lives on the whole line, where its sign only
    turns the signs of its correlations: zero is no edge (`mirrors`). `blocks` are the columns that
    are correlated with each other.
    """

    cross: CrossProducts
    blocks: tuple[tuple[int, ...], ...]
    scales: tuple[Prior, ...]
    widths: np.ndarray
    eta: tuple[float, ...]
    mean: np.ndarray
    precision: np.ndarray
    constant: float

    @property
    def free(self) -> list[int]:
        """Indices of the scales that are not fixed: one coordinate each, before correlations."""
        return [k for k, prior in enumerate(self.scales) if not prior.fixed]

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return len(self.free) + sum(len(b) * (len(b) - 1) // 2 for b in self.blocks)

    @cached_property
    def mirrors(self) -> np.ndarray:
        """Signs (free scales, d) by which coordinates turn with a free scale, one row for each."""
        pairs = [(i, j) for b in self.blocks for at, i in enumerate(b) for j in b[:at]]
        signs = np.ones((len(self.free), self.dimension))
        for row, k in enumerate(self.free):
            signs[row, row] = -1
            for at, pair in enumerate(pairs, start=len(self.free)):
                signs[row, at] = -1 if k - 1 in pair else 1
        return signs

    def scale_values(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations (S, 1 + q) in the user's units, and the log Jacobian (S,).

        At coordinates that are `modes.folded`; docs/method.md, eq. (12) and (13).
        """
        values = np.empty((len(u), len(self.scales)))
        jacobian = np.zeros(len(u))
        for k, prior in enumerate(self.scales):
            if prior.fixed:
                values[:, k] = prior.arguments[0]
        for at, k in enumerate(self.free):
            prior, power = self.scales[k], _power(self.scales[k])
            x = u[:, at]
            values[:, k] = self.widths[k] * np.sinh(x) ** power
            jacobian += np.log(self.widths[k] * power) + np.log(np.cosh(x))
            if power != 1:
                jacobian += (power - 1) * np.log(np.sinh(x))
            if np.isfinite(prior.upper):
                room = prior.upper - prior.lower
                share = room / (values[:, k] + room)
                values[:, k] = prior.lower + values[:, k] * share
                jacobian += 2 * np.log(share)
        return values, jacobian

    def coordinates(self, values: np.ndarray) -> np.ndarray:
        """Coordinates (d,) of standard deviations (1 + q,) within bounds; correlations zero."""
        u = np.zeros(self.dimension)
        for at, k in enumerate(self.free):
            prior = self.scales[k]
            value = values[k] - prior.lower
            value /= 1 - value / (prior.upper - prior.lower)
            u[at] = np.arcsinh((value / self.widths[k]) ** (1 / _power(prior)))
        return u

    def correlation_factors(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factors (S, q, q) of the correlation matrix, and the log density over `u`.

        From partial correlations ``tanh(u)``, row by row (docs/method.md, eq. (14) and (15);
        Lewandowski, Kurowicka & Joe 2009, section 2.4).
        """
        q = len(self.scales) - 1
        factors = np.zeros((len(u), q, q))
        log_density = np.zeros(len(u))
        at = len(self.free)
        for block, eta in zip(self.blocks, self.eta, strict=True):
            for i, row in enumerate(block):
                log_left = np.zeros(len(u))
                for j in range(i):
                    log_rest = 2 * (np.log(2) - np.logaddexp(u[:, at], -u[:, at]))  # log(1 - z²)
                    factors[:, row, block[j]] = np.tanh(u[:, at]) * np.exp(log_left / 2)
                    alpha = eta + (len(block) - 2 - j) / 2
                    log_density += alpha * log_rest
                    log_density -= (2 * alpha - 1) * np.log(2) + betaln(alpha, alpha)
                    log_left = log_left + log_rest
                    at += 1
                factors[:, row, row] = np.exp(log_left / 2)
        return factors, log_density

    def covariance_factor(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sigma (S,), L (S, q, q) inside, and the log prior with Jacobian (S,)."""
        u = folded(u, self.mirrors)
        values, log_prior = self.scale_values(u)
        for k, prior in enumerate(self.scales):
            log_prior += prior.logpdf(values[:, k])
        factors, log_cor = self.correlation_factors(u)
        L = self.cross.T @ (values[:, 1:, None] * factors) / self.cross.y_scale
        return values[:, 0], L, log_prior + log_cor

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood at coordinates (S, d), with the Jacobian: shape (S,)."""
        return self._evaluate(u, np.empty((0, len(self.mean))))

    def with_coefficients(
        self, u: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same, and a draw of beta (S, p) given each theta (docs/method.md, eq. (21))."""
        beta = rng.standard_normal((len(u), len(self.mean)))
        value = self._evaluate(u, beta)
        cross = self.cross
        return value, np.linalg.solve(cross.A, (beta * cross.y_scale + cross.a).T).T

    def _evaluate(self, u: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Log density (S,); `beta` (S, p) turns from standard normals into draws."""
        u = np.atleast_2d(u)
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            sigma, L, log_prior = self.covariance_factor(u)
            value = log_prior + self.constant
            with threads(len(u) * len(self.cross.counts)):
                for some, noise, cross, log_weight in self.cross.by_sigma(sigma):
                    value[some] += log_weight + log_likelihood(
                        noise,
                        np.ascontiguousarray(L[some]),
                        *cross.lanes,
                        cross.E,
                        cross.n_rows,
                        self.mean,
                        self.precision,
                        beta[some],
                    )
        # Where a scale under- or overflows the density is zero, whatever came of the arithmetic.
        return np.where(np.isfinite(value), value, -np.inf)

    def parameters(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations (S, 1 + q), sigma first, and correlation matrices (S, q, q)."""
        u = folded(u, self.mirrors)
        values, _ = self.scale_values(u)
        factors, _ = self.correlation_factors(u)
        return values, factors @ np.swapaxes(factors, 1, 2)


def _power(prior: Prior) -> float:
    """Power of a coordinate near zero that leaves no pole in the density there."""
    return max(1.0, 1 / prior.arguments[0]) if prior.family == "Gamma" else 1.0


def theta_posterior(
    design: Design, cross: CrossProducts, priors: dict[str, Prior]
) -> ThetaPosterior:
    """The posterior of theta for a design under resolved priors.

    A flat prior on a coefficient enters as precision zero; then `constant` leaves its
    normalization out, and there is no evidence.
    """
    p = len(design.x_names)
    mean, precision = np.zeros(p), np.zeros(p)
    log_sd = 0.0
    for k, name in enumerate(design.x_names):
        if priors[name].family == "Normal":
            mean[k], sd = priors[name].arguments
            precision[k] = sd**-2
            log_sd += np.log(sd)
    scales = (priors["sigma"], *(priors[name] for name in design.sd_names))
    # beta_inside = (A beta - a) / y_scale takes the prior along.
    back = np.linalg.inv(cross.A)
    constant = (
        -0.5 * cross.n_rows * np.log(2 * np.pi)
        - cross.n_rows * np.log(cross.y_scale)
        - log_sd
        - np.linalg.slogdet(cross.A)[1]
        + p * np.log(cross.y_scale)
    )
    return ThetaPosterior(
        cross=cross,
        blocks=design.blocks,
        scales=scales,
        widths=np.minimum(_resolution(design, cross), _prior_sizes(scales)),
        eta=tuple(_eta(design, priors, block) for block in design.blocks),
        mean=(cross.A @ mean - cross.a) / cross.y_scale,
        precision=cross.y_scale**2 * back.T @ (precision[:, None] * back),
        constant=constant,
    )


def _eta(design: Design, priors: dict[str, Prior], block: tuple[int, ...]) -> float:
    for name, (i, _) in zip(design.cor_names, design.correlated_pairs, strict=True):
        if i in block:
            return priors[name].arguments[0]
    return 1.0


def _resolution(design: Design, cross: CrossProducts) -> np.ndarray:
    """What the data can tell from zero (1 + q,): standard deviations of an average group."""
    E = cross.E
    within = E[-1, -1] - E[-1, :-1] @ np.linalg.pinv(E[:-1, :-1], hermitian=True) @ E[:-1, -1]
    noise = cross.y_scale * np.sqrt(max(within / cross.n_rows, 0.0))
    if cross.log_weight is not None:
        noise = np.exp(-cross.log_weight / cross.n_rows)  # the rows' own, known
    noise = noise if noise > 1e-12 * cross.y_scale else cross.y_scale
    rows = cross.n_rows / len(cross.counts)
    return np.array([noise / 10, *(noise / design.totals[1].rms / np.sqrt(rows))])


def _prior_sizes(scales: Sequence[Prior]) -> np.ndarray:
    """Where the priors of standard deviations would have them; infinite where they do not say."""
    sizes: dict[str, Callable[..., float]] = {
        "HalfStudentT": lambda nu, sigma: sigma,
        "Exponential": lambda lam: 1 / lam,
        "Gamma": lambda alpha, beta: alpha / beta,
        "Uniform": lambda lower, upper: (upper - lower) / 2,
        "HalfFlat": lambda: np.inf,
        "Fixed": lambda value: np.inf,
    }
    return np.array([sizes.get(s.family, lambda scale: scale)(*s.arguments) for s in scales])


def _at(posterior: ThetaPosterior, values: np.ndarray) -> np.ndarray:
    """Coordinates (d,) of standard deviations (1 + q,), moved inside the priors' bounds."""
    bounds = [(prior.lower, prior.upper) for prior in posterior.scales]
    for k, (lower, upper) in enumerate(bounds):
        if np.isfinite(upper):
            margin = 0.01 * (upper - lower)
            values[k] = np.clip(values[k], lower + margin, upper - margin)
    return posterior.coordinates(values)


def starts(design: Design, posterior: ThetaPosterior) -> np.ndarray:
    """Places (K, d) from which to look for modes: where data, priors and the boundary would be.

    The first shares the spread of y between noise and group effects; in the others one standard
    deviation after the other, and all, are barely different from zero, and some are as their
    priors have them.
    """
    spread, q = posterior.cross.y_scale, len(posterior.widths) - 1
    data = np.array([0.7 * spread, *(0.3 * spread / design.totals[1].rms)])
    prior = np.where(np.isfinite(sizes := _prior_sizes(posterior.scales)), sizes, data)
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
