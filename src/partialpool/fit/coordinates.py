"""Coordinates of theta without bounds, and the priors over them (docs/method.md, eq. (12) to (15)).

Columns of all grouping factors stand side by side; correlations are within blocks of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import betaln

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.modes import folded


class Theta(NamedTuple):
    """Values of theta in the user's units.

    Attributes
    ----------
    sigma : (S,) array
    sds : (S, q) array
    partial : (S, c) array
        Canonical partial correlations, block by block, row by row.
    L : (S, q, q) array
        Lower triangular, ``L Lᵀ`` is the covariance of the effects.
    """

    sigma: np.ndarray
    sds: np.ndarray
    partial: np.ndarray
    L: np.ndarray


@dataclass(frozen=True)
class Coordinates:
    """Coordinates without bounds of sigma, standard deviations and correlations.

    A coordinate is a standard deviation on a scale that is linear up to `widths` and logarithmic
    beyond, or ``atanh`` of a canonical partial correlation; the order is sigma, standard
    deviations, correlations. A standard deviation lives on the whole line, where its sign only
    turns the signs of its correlations: zero is no edge (`mirrors`). `blocks` are the columns that
    are correlated with each other.
    """

    blocks: tuple[tuple[int, ...], ...]
    scales: tuple[Prior, ...]
    widths: np.ndarray
    eta: tuple[float, ...]

    @cached_property
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
            values[:, k], own = self.scale(k, u[:, at])
            jacobian += own
        return values, jacobian

    def scale(self, k: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (S,) of scale k at coordinates that are not negative, and the log Jacobian."""
        prior, power = self.scales[k], _power(self.scales[k])
        value = self.widths[k] * np.sinh(x) ** power
        jacobian = np.log(self.widths[k] * power) + np.log(np.cosh(x))
        if power != 1:
            jacobian += (power - 1) * np.log(np.sinh(x))
        if np.isfinite(prior.upper):
            room = prior.upper - prior.lower
            share = room / (value + room)
            value = prior.lower + value * share
            jacobian += 2 * np.log(share)
        return value, jacobian

    def coordinate(self, k: int, values: np.ndarray) -> np.ndarray:
        """Coordinates of values of scale k; NaN beyond its bounds."""
        prior = self.scales[k]
        values = values - prior.lower
        values = values / (1 - values / (prior.upper - prior.lower))
        return np.arcsinh((values / self.widths[k]) ** (1 / _power(prior)))

    def coordinates(self, values: np.ndarray) -> np.ndarray:
        """Coordinates (d,) of standard deviations (1 + q,) within bounds; correlations zero."""
        u = np.zeros(self.dimension)
        for at, k in enumerate(self.free):
            u[at] = self.coordinate(k, values[k])
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

    def theta(self, u: np.ndarray) -> tuple[Theta, np.ndarray]:
        """Theta at coordinates (S, d), and the log prior with Jacobian (S,)."""
        u = folded(u, self.mirrors)
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            values, log_prior = self.scale_values(u)
            for k, prior in enumerate(self.scales):
                log_prior += prior.logpdf(values[:, k])
            factors, log_cor = self.correlation_factors(u)
        sds, partial = values[:, 1:], np.tanh(u[:, len(self.free) :])
        return Theta(values[:, 0], sds, partial, sds[:, :, None] * factors), log_prior + log_cor

    def parameters(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations (S, 1 + q), sigma first, and correlation matrices (S, q, q)."""
        u = folded(u, self.mirrors)
        values, _ = self.scale_values(u)
        factors, _ = self.correlation_factors(u)
        return values, factors @ np.swapaxes(factors, 1, 2)


def block_eta(design: Design, priors: Mapping[str, Prior], block: tuple[int, ...]) -> float:
    """Eta of the LKJ prior of a block of columns; one where a column is alone."""
    for name, (i, _) in zip(design.cor_names, design.correlated_pairs, strict=True):
        if i in block:
            return priors[name].arguments[0]
    return 1.0


def _power(prior: Prior) -> float:
    """Power of a coordinate near zero that leaves no pole in the density there."""
    return max(1.0, 1 / prior.arguments[0]) if prior.family == "Gamma" else 1.0


def prior_sizes(scales: Sequence[Prior]) -> np.ndarray:
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
