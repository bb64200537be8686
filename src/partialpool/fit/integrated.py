"""The posterior of generalized models, group effects integrated out (docs/method.md, eq. (59)).

`IntegratedPosterior` is the log density of all parameters but the effects, with its gradient, its
mode, and the certificate of the integral in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import gammaln

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.coordinates import Coordinates, block_eta, prior_sizes
from partialpool.fit.counted_rows import CountedRows, counted_rows
from partialpool.fit.group_integral import AIM, LIMIT, GroupIntegral, group_integral

#: Step of the differences of what is known in closed form, and of the gradient.
FINE, WIDE = 1e-5, 0.05
#: Draws at which the integral is certified: those with the largest weights, and others.
HEAVY, DRAWN = 20, 180
#: Nodes with which the mode is first looked for; spreads from it at which lattices must fit, and at
#: which they must be good enough: a few draws are so far away.
FIRST_NODES, FAR, FARTHER = 25, 3.0, 6.0


class Values(NamedTuple):
    """Parameters in the user's units.

    Attributes
    ----------
    shape : (S,) array
        Of the negative binomial; else one.
    sds : (S, q) array
    L : (S, q, q) array
        Lower triangular, ``L Lᵀ`` is the covariance of the effects.
    coefficients : (S, p + t) array
        With the thresholds of an ordered response at the end.
    """

    shape: np.ndarray
    sds: np.ndarray
    L: np.ndarray
    coefficients: np.ndarray

    @property
    def place(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, L and shape: the arguments of a `GroupIntegral`."""
        return self.coefficients, self.L, self.shape


@dataclass(frozen=True, eq=False)
class IntegratedPosterior:
    """Log density of coordinates u: of shape and effects' covariance, then of coefficients.

    The first are those of `Coordinates`, with the shape in the place of sigma, so a standard
    deviation may have either sign (`mirrors`). Coefficients are their own coordinates; of the
    thresholds the first is, and the others are told by logarithms of their distances.

    Attributes
    ----------
    scales : Coordinates
    priors : tuple of Prior
        Of coefficients and thresholds.
    integral : GroupIntegral
    """

    scales: Coordinates
    priors: tuple[Prior, ...]
    integral: GroupIntegral

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return self.scales.dimension + len(self.priors)

    @cached_property
    def mirrors(self) -> np.ndarray:
        """Signs by which coordinates turn with a standard deviation; see `Coordinates.mirrors`."""
        own = self.scales.mirrors
        return np.hstack([own, np.ones((len(own), len(self.priors)))])

    @property
    def _thresholds(self) -> slice:
        """Places of the thresholds but the first among the coefficients."""
        p = len(self.priors)
        return slice(p - max(self.integral.rows.n_thresholds - 1, 0), p)

    def values(self, u: np.ndarray) -> Values:
        """Parameters at coordinates (S, d)."""
        return self._values(u)[0]

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood, with the Jacobian: (S,)."""
        with np.errstate(all="ignore"):
            values, value = self._values(np.atleast_2d(u))
            value += self.integral(*values.place)
        return np.where(np.isfinite(value), value, -np.inf)

    def _values(self, u: np.ndarray) -> tuple[Values, np.ndarray]:
        """Parameters, and the log prior with the Jacobian."""
        k = self.scales.dimension
        theta, log_prior = self.scales.theta(u[:, :k])
        coefficients, later = np.array(u[:, k:]), self._thresholds
        with np.errstate(over="ignore"):
            coefficients[:, later] = np.exp(u[:, k:][:, later])
        log_prior = log_prior + u[:, k:][:, later].sum(1)
        if later.start < later.stop:
            from_first = slice(later.start - 1, later.stop)
            coefficients[:, from_first] = np.cumsum(coefficients[:, from_first], axis=1)
        for c, prior in enumerate(self.priors):
            log_prior += prior.logpdf(coefficients[:, c])
        log_prior += gammaln(later.stop - later.start + 2)  # they share a prior, and come in order
        return Values(theta.sigma, theta.sds, theta.L, coefficients), log_prior

    def gradient(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density (S,) and its derivatives (S, d)."""
        S, d = u.shape
        with np.errstate(all="ignore"):
            values, value = self._values(u)
            here = values.place
            log_likelihood, by_coefficients, by_L = self.integral.gradient(*here)
            # how the parameters and the prior hang on u costs nothing beside the integral
            near = (u[:, None, None] + FINE * np.stack([np.eye(d), -np.eye(d)], 1)).reshape(-1, d)
            moved, prior = self._values(near)

            def slope(figures: np.ndarray) -> np.ndarray:
                pairs = figures.reshape(S, d, 2, *figures.shape[1:])
                return (pairs[:, :, 0] - pairs[:, :, 1]) / (2 * FINE)

            found = slope(prior)
            found += np.einsum("sdij,sij->sd", slope(moved.L), by_L)
            found += np.einsum("sdc,sc->sd", slope(moved.coefficients), by_coefficients)
            if self.integral.rows.family == "negbinomial":
                h = 1e-3 * values.shape
                up, down = (self.integral(*here[:2], values.shape + s * h) for s in (1, -1))
                found += slope(moved.shape) * ((up - down) / (2 * h))[:, None]
        return value + log_likelihood, found

    def certificate(self, u: np.ndarray) -> np.ndarray:
        """Error of the log likelihood at coordinates (S, d) (docs/method.md, eq. (58)): (S,)."""
        return self.integral.errors(*self.values(u).place).sum(1)

    def adapted(self, u: np.ndarray, aim: float | np.ndarray = AIM) -> "IntegratedPosterior":
        """With lattices that are fit for some coordinates (S, d), the first the reference.

        `aim` is the error that is aimed at, at all or at each of them.
        """
        return replace(self, integral=self.integral.adapted(*self.values(u).place, aim))

    def climb(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mode (d,) and root (d, d) of the inverse curvature there, from a start (d,).

        BFGS in coordinates that the curvature at the start has made round; the curvature is that of
        differences of the gradient. Without dimensions, as where each group is alone, there is
        nothing to look for.
        """
        if not len(start):
            return start, np.empty((0, 0))
        root = self._root(start)

        def minus(v: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self.gradient((start + root @ v)[None])
            if not np.isfinite(value[0]):
                return np.inf, np.zeros_like(v)
            return -float(value[0]), -(root.T @ slope[0])

        options = {"gtol": 1e-2, "maxiter": 200}
        found = optimize.minimize(minus, np.zeros(len(start)), jac=True, options=options)
        mode = start + root @ found.x
        return mode, self._root(mode)

    def _root(self, u: np.ndarray) -> np.ndarray:
        """Root of the inverse curvature at u (d,), which is made positive where it is not.

        Steps are a twentieth of the spread that the first, rough curvature gives.
        """
        d = len(u)
        square = (self.integral.rows.X**2).mean(0)
        size = 1 / np.sqrt(np.where(square > 0, square, 1.0))  # no answer may be at a threshold
        later = self._thresholds
        size[later.start :] = 1.0  # logarithms
        root = np.diag([*np.ones(self.scales.dimension), *size])
        for step in (FINE * 100, WIDE):
            steps = step * root.T
            _, slopes = self.gradient(np.vstack([u + steps, u - steps]))
            curvature = -(slopes[:d] - slopes[d:]) @ root / (2 * step)
            bends, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
            bends = np.clip(np.abs(bends), 0.01 if step == WIDE else 0.0625, np.inf)
            root = root @ vectors / np.sqrt(bends)
        return np.asarray(root)


class Prepared(NamedTuple):
    """A posterior whose lattices fit it, its mode (d,), and a root of the inverse curvature."""

    posterior: IntegratedPosterior
    mode: np.ndarray
    root: np.ndarray

    @property
    def around(self) -> Values:
        """Parameters at the mode, and at the places on every side where lattices must fit."""
        return self.posterior.values(_around(self.mode, self.root))


def prepared(posterior: IntegratedPosterior, first: np.ndarray) -> Prepared:
    """Look for the mode from a place (d,), fit the lattices around it, and look again."""
    mode, root = posterior.adapted(first[None]).climb(first)
    places = np.vstack([_around(mode, root), _around(mode, FARTHER / FAR * root)])
    aims = np.repeat([AIM, LIMIT / 10], len(places) // 2)
    posterior = posterior.adapted(places, aims)
    return Prepared(posterior, *posterior.climb(mode))


def _around(mode: np.ndarray, root: np.ndarray) -> np.ndarray:
    return np.vstack([mode, mode + FAR * root.T, mode - FAR * root.T])


def certified_at(log_weights: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Indices of the draws at which the integral is certified.

    Parameters
    ----------
    log_weights : (n,) array
    resampled : (m,) int array
        Draws that are kept, in a random order.
    """
    return np.unique(np.concatenate([np.argsort(-log_weights)[:HEAVY], resampled[:DRAWN]]))


def integrated_posterior(
    family: str, design: Design, priors: Mapping[str, Prior], thresholds: Sequence[str] = ()
) -> IntegratedPosterior:
    """The posterior of a design of one grouping factor or none, its lattices not fitted yet.

    Parameters
    ----------
    family : str
        With a link; see `design.families`.
    design : Design
    priors : mapping of str to Prior
        One for every parameter.
    thresholds : sequence of str
        Names of the thresholds of an ordered response; they share one prior.
    """
    fixed, grouping = Prior("Fixed", (1.0,)), design.only
    rows = counted_rows(
        family,
        design.y,
        design.X,
        grouping.Z,
        grouping.codes,
        grouping.n_levels,
        trials=design.trials,
        offset=design.offset,
        n_thresholds=len(thresholds),
    )
    sds, blocks = tuple(priors[name] for name in design.sd_names), design.blocks
    eta = tuple(block_eta(design, priors, block) for block in blocks)
    if not sds:  # one column of zeros, whose coefficient plays no part
        sds, blocks, eta = (fixed,), ((0,),), (1.0,)
    scales = (priors.get("shape", fixed), *sds)
    told = _information(rows) ** -0.5
    widths = np.minimum(np.array([0.1, *told]), prior_sizes(scales))
    place = Coordinates(blocks=blocks, scales=scales, widths=widths, eta=eta)
    coefficients = tuple(priors[name] for name in (*design.x_names, *thresholds))
    return IntegratedPosterior(place, coefficients, group_integral(rows, FIRST_NODES))


def _information(rows: CountedRows) -> np.ndarray:
    """What an average group tells of its effects (q,): weights of the rows at their mean."""
    if rows.poisson:
        weight = np.full(len(rows.y), rows.y.mean())
    else:
        m = rows.trials + rows.count
        share = np.clip(rows.y.sum() / max(m.sum(), 1), 0.02, 0.98)
        weight = m * share * (1 - share)
    told = (weight @ rows.Z**2) / rows.n_groups
    return np.where(told > 0, told, 1.0)


def start(posterior: IntegratedPosterior) -> np.ndarray:
    """Coordinates (d,) from which the mode is looked for.

    Standard deviations of one half for a usual value of their column, coefficients from a few steps
    of Fisher's scoring without effects, thresholds from the shares of the categories.
    """
    rows, scales = posterior.integral.rows, posterior.scales
    rms = np.sqrt(np.maximum((rows.Z**2).mean(0), 1e-12))
    sizes = np.array([2.0, *np.minimum(0.5 / rms, prior_sizes(scales.scales)[1:])])
    for k, prior in enumerate(scales.scales):
        if np.isfinite(prior.upper):
            room = 0.05 * (prior.upper - prior.lower)
            sizes[k] = np.clip(sizes[k], prior.lower + room, prior.upper - room)
    first = scales.coordinates(sizes)
    if rows.n_thresholds:
        totals = np.maximum(rows.totals, 0.5)  # nobody need be left who gave an answer
        below = np.cumsum(totals)[:-1] / totals.sum()
        below = np.log(below) - np.log1p(-below)
        gaps = np.log(np.maximum(np.diff(below), 1e-3))
        at = np.zeros(len(posterior.priors) - rows.n_thresholds)
        return np.concatenate([first, at, below[:1], gaps])
    return np.concatenate([first, _scored(rows, posterior.priors)])


def _scored(rows: CountedRows, priors: tuple[Prior, ...], steps: int = 12) -> np.ndarray:
    """Coefficients (p,) by Fisher's scoring under their priors, at least weak ones."""
    mean, precision = np.zeros(len(priors)), np.full(len(priors), 1e-6)
    for c, prior in enumerate(priors):
        if prior.family == "Normal":
            mean[c], precision[c] = prior.arguments[0], prior.arguments[1] ** -2.0
    m = rows.trials + 2.0 * rows.count
    offset = rows.offset - (np.log(2.0) if rows.family == "negbinomial" else 0.0)
    beta = np.array(mean)
    for _ in range(steps):
        eta = np.clip(offset + rows.X @ beta, -30, 30)
        if rows.poisson:
            expected = weight = np.exp(eta)
        else:
            p = 1 / (1 + np.exp(-eta))
            expected, weight = m * p, m * p * (1 - p)
        H = (rows.X.T * weight) @ rows.X + np.diag(precision)
        step = np.linalg.solve(H, rows.X.T @ (rows.y - expected) - precision * (beta - mean))
        largest = np.abs(rows.X @ step).max(initial=0.0)
        beta += step * min(1.0, 3 / max(largest, 1e-300))
    return beta
