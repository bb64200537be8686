"""The posterior of generalized models, group effects integrated out (docs/method.md, eq. (59)).

`IntegratedPosterior` is the log density of all parameters but the effects, with its gradient, its
mode, and the certificate of the integral in it.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import gammaln

from partialpool.design.priors import Prior
from partialpool.fit.coordinates import Coordinates, Theta
from partialpool.fit.integral import AIM, Integral
from partialpool.fit.small_factors import Placed, SmallFactors, working

#: Step of the differences of what is known in closed form, and of the gradient.
FINE, WIDE = 1e-5, 0.05
#: Draws at which the integral is certified: those with the largest weights, and others.
HEAVY, DRAWN = 20, 180
#: Spreads from the mode at which lattices must fit, and at which they must be good enough: a few
#: draws are so far away.
FAR, FARTHER = 3.0, 6.0


class Values(NamedTuple):
    """Parameters in the user's units.

    Attributes
    ----------
    shape : (S,) array
        Of the negative binomial; else one.
    sds : (S, Q) array
        Of all factors side by side.
    L : (S, n, n) array
        Lower triangular, ``L Lᵀ`` is the covariance of the effects that are integrated out, those
        of the innermost factor first.
    coefficients : (S, p + M + t) array
        With the effects of small factors, and then the thresholds of an ordered response, after
        those of X.
    """

    shape: np.ndarray
    sds: np.ndarray
    L: np.ndarray
    coefficients: np.ndarray

    @property
    def place(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, L and shape: the arguments of an `Integral`."""
        return self.coefficients, self.L, self.shape


@dataclass(frozen=True, eq=False)
class IntegratedPosterior:
    """Log density of coordinates u: of shape and effects' covariances, then of coefficients.

    The first are those of `Coordinates`, with the shape in the place of sigma, so a standard
    deviation may have either sign (`mirrors`). Coefficients are their own coordinates; of the
    thresholds the first is, and the others are told by logarithms of their distances. Where effects
    of small factors stand beside them, all have the coordinates of `SmallFactors`.

    Attributes
    ----------
    scales : Coordinates
    priors : tuple of Prior
        Of coefficients and thresholds.
    integral : Integral
    own : slice
        Columns of the factor that is integrated out, or of the innermost one, among those of all.
    small : SmallFactors
    around : tuple of int
        Columns of the factors in which that is nested and that are integrated out too.
    """

    scales: Coordinates
    priors: tuple[Prior, ...]
    integral: Integral
    own: slice
    small: SmallFactors
    around: tuple[int, ...] = ()

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return self.scales.dimension + len(self.priors) + self.small.number

    @cached_property
    def mirrors(self) -> np.ndarray:
        """Signs by which coordinates turn with a standard deviation; see `Coordinates.mirrors`."""
        own = self.scales.mirrors
        return np.hstack([own, np.ones((len(own), self.dimension - own.shape[1]))])

    @property
    def _thresholds(self) -> slice:
        """Places of the thresholds but the first among the coefficients without small effects."""
        p = len(self.priors)
        return slice(p - max(self.integral.rows.n_thresholds - 1, 0), p)

    @property
    def effects(self) -> slice:
        """Places of the effects of small factors among the coefficients of `Values`."""
        p = len(self.priors) - self.integral.rows.n_thresholds
        return slice(p, p + self.small.number)

    def values(self, u: np.ndarray) -> Values:
        """Parameters at coordinates (S, d)."""
        return self._values(u)[0]

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood, with the Jacobian: (S,)."""
        with np.errstate(all="ignore"):
            values, value = self._values(np.atleast_2d(u))
            value += self.integral(*values.place)
        return np.where(np.isfinite(value), value, -np.inf)

    def log_prior(self, u: np.ndarray) -> np.ndarray:
        """The part of the log density that is not the likelihood's, Jacobian included: (S,)."""
        return self._values(u)[1]

    def _values(self, u: np.ndarray) -> tuple[Values, np.ndarray]:
        """Parameters, and the log prior with the Jacobian."""
        return self._made(*self._placed(u))

    def _made(
        self, theta: Theta, log_prior: np.ndarray, placed: Placed
    ) -> tuple[Values, np.ndarray]:
        coefficients, own = self._coefficients(placed.x, placed.effects)
        L = integrated_root(theta.L, self.own, self.around)
        return Values(theta.sigma, theta.sds, L, coefficients), log_prior + placed.log_density + own

    def _placed(self, u: np.ndarray) -> tuple[Theta, np.ndarray, Placed]:
        """Theta, its log prior, and coefficients with the effects of small factors."""
        k = self.scales.dimension
        theta, log_prior = self.scales.theta(u[:, :k])
        return theta, log_prior, self.small.place(theta.L, self.own, u[:, k:])

    def _coefficients(self, x: np.ndarray, effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (S, p + M + t) from their coordinates x, and their log prior (S,)."""
        found, later = np.array(x), self._thresholds
        with np.errstate(over="ignore"):
            found[:, later] = np.exp(x[:, later])
        log_prior = x[:, later].sum(1)
        if later.start < later.stop:
            from_first = slice(later.start - 1, later.stop)
            found[:, from_first] = np.cumsum(found[:, from_first], axis=1)
        for c, prior in enumerate(self.priors):
            log_prior += prior.logpdf(found[:, c])
        log_prior += gammaln(later.stop - later.start + 2)  # they share a prior, and come in order
        p = self.effects.start
        return np.hstack([found[:, :p], effects, found[:, p:]]), log_prior

    def gradient(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density (S,) and its derivatives (S, d)."""
        S, k = len(u), self.scales.dimension
        with np.errstate(all="ignore"):
            theta, log_prior, placed = self._placed(u)
            values, value = self._made(theta, log_prior, placed)
            here = values.place
            log_likelihood, by_coefficients, by_L = self.integral.gradient(*here)
            found, by_effects = np.empty_like(u), by_coefficients[:, self.effects]
            by_x = self._by_coordinates(placed.x, placed.effects, by_coefficients)
            found[:, k:] = self.small.gradient(theta.L, placed, by_x, by_effects)
            if not k:
                return value + log_likelihood, found
            # how the parameters and the prior hang on theta costs nothing beside the integral
            steps = FINE * np.stack([np.eye(u.shape[1]), -np.eye(u.shape[1])], 1)[:k]
            moved, prior = self._values((u[:, None, None] + steps).reshape(-1, u.shape[1]))

            def slope(figures: np.ndarray) -> np.ndarray:
                pairs = figures.reshape(S, k, 2, *figures.shape[1:])
                return (pairs[:, :, 0] - pairs[:, :, 1]) / (2 * FINE)

            by_theta = slope(prior) + np.einsum("sdij,sij->sd", slope(moved.L), by_L)
            by_theta += np.einsum("sdc,sc->sd", slope(moved.coefficients), by_coefficients)
            if self.integral.rows.family == "negbinomial":
                h = 1e-3 * values.shape
                up, down = (self.integral(*here[:2], values.shape + s * h) for s in (1, -1))
                by_theta += slope(moved.shape) * ((up - down) / (2 * h))[:, None]
            found[:, :k] = by_theta
        return value + log_likelihood, found

    def _by_coordinates(
        self, x: np.ndarray, effects: np.ndarray, by_coefficients: np.ndarray
    ) -> np.ndarray:
        """Derivatives (S, P) of likelihood and prior by the coordinates of the coefficients."""
        S, P = x.shape
        steps = FINE * np.stack([np.eye(P), -np.eye(P)], 1)
        near = (x[:, None, None] + steps).reshape(2 * S * P, P)
        moved, prior = self._coefficients(near, np.repeat(effects, 2 * P, axis=0))
        moved = moved.reshape(S, P, 2, moved.shape[1])
        slope = (moved[:, :, 0] - moved[:, :, 1]) / (2 * FINE)
        prior = prior.reshape(S, P, 2)
        found = (prior[..., 0] - prior[..., 1]) / (2 * FINE)
        return np.asarray(found + np.einsum("sdc,sc->sd", slope, by_coefficients))

    def about(self, u: np.ndarray) -> tuple["IntegratedPosterior", np.ndarray]:
        """The same with coordinates beside small factors that suit a place u (d,), and that place.

        See docs/method.md, eq. (64); without small factors nothing is changed.
        """
        if not self.small.number:
            return self, u
        theta, log_prior, placed = self._placed(u[None])
        values, _ = self._made(theta, log_prior, placed)
        rows, at, x, v = self.integral.rows, self.effects, placed.x[0], placed.effects[0]
        ((_, moments),) = self.integral.moments(*values.place)
        (effects, *around), path = (mean[0] for mean, _ in moments), self.integral.path
        line = (rows.Z * effects[path[0]]).sum(1)
        line += sum(effect[groups, 0] for effect, groups in zip(around, path[1:], strict=True))
        eta = rows.offset + rows.X @ values.coefficients[0] + line
        weight, left = rows.weights(eta, values.shape[0])
        size, P = self._sizes, len(x)
        step = 0.01 * size
        near = x + np.vstack([np.zeros(P), np.diag(step), -np.diag(step)])
        coefficients, prior = self._coefficients(near, np.tile(v, (len(near), 1)))
        up, down = slice(1, P + 1), slice(P + 1, None)
        rise = (prior[up] - prior[down]) / (2 * step)
        bend = (2 * prior[0] - prior[up] - prior[down]) / step**2
        bend = np.maximum(bend, 0.05 / size**2)  # neither rows nor prior need tell a threshold
        # columns by which coordinates move the line; those of logarithms hang on where they are
        moves = (coefficients[up] - coefficients[down]).T / (2 * step)
        both = np.hstack([rows.X @ moves, rows.X[:, at]])
        response = left + weight * (both @ np.concatenate([x, v]) + line)
        known = working(both, weight, response, rows.Z, rows.groups, bend, rise + bend * x)
        small = replace(self.small, working=known)
        place = small.coordinates(theta.L, self.own, placed)[0]
        return replace(self, small=small), np.concatenate([u[: self.scales.dimension], place])

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
        d, k = len(u), self.scales.dimension
        root = np.eye(d)
        if self.small.working is None:
            root[k:, k:] = np.diag(self._sizes)
        for step in (FINE * 100, WIDE):
            steps = step * root.T
            _, slopes = self.gradient(np.vstack([u + steps, u - steps]))
            curvature = -(slopes[:d] - slopes[d:]) @ root / (2 * step)
            bends, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
            bends = np.clip(np.abs(bends), 0.01 if step == WIDE else 0.0625, np.inf)
            root = root @ vectors / np.sqrt(bends)
        return np.asarray(root)

    @property
    def _sizes(self) -> np.ndarray:
        """What of the coefficients' coordinates (P,) moves the line by about one."""
        square = (np.delete(self.integral.rows.X, self.effects, axis=1) ** 2).mean(0)
        size = 1 / np.sqrt(np.where(square > 0, square, 1.0))  # no answer may be at a threshold
        size[self._thresholds] = 1.0  # logarithms
        return np.asarray(size)


def integrated_root(L: np.ndarray, own: slice, around: tuple[int, ...]) -> np.ndarray:
    """Roots (S, n, n) of the integrated factors' covariances, of those of all factors."""
    if not around:
        return L[:, own, own]
    columns = [*range(own.start, own.stop), *around]
    return np.ascontiguousarray(L[:, columns][:, :, columns])


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
    aims = posterior.integral.aims
    posterior, first = posterior.adapted(first[None], aims[0]).about(first)
    mode, root = posterior.climb(first)
    places = np.vstack([_around(mode, root), _around(mode, FARTHER / FAR * root)])
    posterior, mode = posterior.adapted(places, np.repeat(aims, len(places) // 2)).about(mode)
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
