"""What the rows say of theta, the rest integrated out (docs/method.md, eq. (9) and (41)).

`OneFactor` has one grouping factor or none; `Reduced` several, or one whose ratios are all that
matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from partialpool.design.priors import Prior
from partialpool.fit import given_ratios
from partialpool.fit.coordinates import Theta
from partialpool.fit.crossproducts import CrossProducts
from partialpool.fit.dense import over_threads
from partialpool.fit.elimination import Elimination, Solved
from partialpool.fit.kernels import log_likelihood, threads


class Likelihood(Protocol):
    """Log likelihood of theta."""

    @property
    def n_drawn(self) -> int:
        """Coefficients, and effects beside them, that are drawn with each theta."""

    @property
    def y_scale(self) -> float:
        """Unit of the response inside."""

    def __call__(self, theta: Theta, z: np.ndarray) -> np.ndarray:
        """Values (S,); z (S, n), unless it is empty, turns from normals into draws, inside."""

    def in_units(self, z: np.ndarray) -> np.ndarray:
        """Those draws (S, n) in the user's units."""


class InnerPrior(NamedTuple):
    """The prior of the coefficients inside: mean (p,), precision (p, p); constant of a density."""

    mean: np.ndarray
    precision: np.ndarray
    constant: float


def inner_prior(priors: Sequence[Prior], rows: CrossProducts | Elimination) -> InnerPrior:
    """Mean and precision of the coefficients in the units of some reduced rows.

    A flat prior enters as precision zero; then the constant leaves its normalization out, and
    there is no evidence.
    """
    p = len(priors)
    mean, precision = np.zeros(p), np.zeros(p)
    log_sd = 0.0
    for k, prior in enumerate(priors):
        if prior.family == "Normal":
            mean[k], sd = prior.arguments
            precision[k] = sd**-2
            log_sd += np.log(sd)
    # beta_inside = (A beta - a) / y_scale takes the prior along.
    back = np.linalg.inv(rows.A)
    constant = (
        -0.5 * rows.n_rows * np.log(2 * np.pi)
        - rows.n_rows * np.log(rows.y_scale)
        - log_sd
        - np.linalg.slogdet(rows.A)[1]
        + p * np.log(rows.y_scale)
    )
    return InnerPrior(
        (rows.A @ mean - rows.a) / rows.y_scale,
        rows.y_scale**2 * back.T @ (precision[:, None] * back),
        constant,
    )


@dataclass(frozen=True)
class OneFactor:
    """One grouping factor, level by level; also exact where sigma is zero."""

    cross: CrossProducts
    prior: InnerPrior

    @property
    def n_drawn(self) -> int:
        """Number of coefficients p."""
        return len(self.prior.mean)

    @property
    def y_scale(self) -> float:
        """Unit of the response inside."""
        return self.cross.y_scale

    def __call__(self, theta: Theta, z: np.ndarray) -> np.ndarray:
        """Values (S,); z (S, p), unless it is empty, turns from normals into draws, inside."""
        L = self.cross.T @ theta.L / self.cross.y_scale
        value = np.full(len(L), self.prior.constant)
        with threads(len(L) * len(self.cross.counts)):
            for some, noise, cross, log_weight in self.cross.by_sigma(theta.sigma):
                value[some] += log_weight + log_likelihood(
                    noise,
                    np.ascontiguousarray(L[some]),
                    *cross.lanes,
                    cross.E,
                    cross.n_rows,
                    self.prior.mean,
                    self.prior.precision,
                    z[some],
                )
        return value

    def in_units(self, z: np.ndarray) -> np.ndarray:
        """Coefficients (S, p) in the user's units."""
        return np.linalg.solve(self.cross.A, (z * self.cross.y_scale + self.cross.a).T).T


@dataclass(frozen=True)
class Reduced:
    """Several grouping factors, reduced by elimination; columns of theta's L factor by factor."""

    rows: Elimination
    prior: InnerPrior

    @property
    def n_drawn(self) -> int:
        """Coefficients p and effects of the small factors."""
        return len(self.rows.E) - 1

    @property
    def y_scale(self) -> float:
        """Unit of the response inside."""
        return self.rows.y_scale

    @cached_property
    def columns(self) -> list[slice]:
        """Where each factor's columns stand in theta's L."""
        ends = np.cumsum([0, *self.rows.widths])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    @cached_property
    def small(self) -> np.ndarray:
        """The small factors (n, 4) as `given_ratios` takes them."""
        rows, at, found = self.rows, 0, []
        for f in rows.small:
            found.append((rows.slices[f].start, rows.widths[f], rows.levels[f], at))
            at += rows.widths[f]
        return np.array(found, dtype=np.int64).reshape(-1, 4)

    @cached_property
    def inner(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and precision of what is drawn: coefficients, and effects in units of their L."""
        p, n = len(self.prior.mean), self.n_drawn
        precision = np.eye(n)
        precision[:p, :p] = self.prior.precision
        return np.concatenate([self.prior.mean, np.zeros(n - p)]), precision

    def solve(self, theta: Theta, s: int) -> Solved:
        """Rows and levels at the ratios of one theta."""
        return self.rows.solve([theta.L[s, at, at] / self.noise(theta)[s] for at in self.columns])

    def _said(self, theta: Theta, s: int) -> tuple[float, np.ndarray]:
        """``log|V0|`` and C at one theta; the first is infinite where rounding is all there is."""
        try:
            solved = self.solve(theta, s)
        except np.linalg.LinAlgError:  # ratios of billions, which a stray proposal may have
            return np.inf, self.rows.E
        return solved.log_det, solved.C

    def __call__(self, theta: Theta, z: np.ndarray) -> np.ndarray:
        """Values (S,); z (S, n), unless it is empty, turns from normals into draws, inside."""
        rows = self.rows
        if rows.n_middle:
            every = range(len(theta.sigma))
            said = over_threads(lambda s: self._said(theta, s), every, len(rows.E_middle))
            log_det, C = (np.array(part) for part in zip(*said, strict=True))
            return self.given(theta, log_det, given_ratios.packed(C), z)
        at = self.columns[rows.first]
        ratio = rows.T[rows.first] @ theta.L[:, at, at] / self.noise(theta)[:, None, None]
        with threads(len(ratio) * rows.levels[rows.first]):
            value = given_ratios.log_likelihood_directly(
                self.noise(theta) / rows.y_scale,
                np.ascontiguousarray(ratio),
                *rows.lanes,
                rows.E,
                self._small_roots(theta),
                self.small,
                rows.n_rows,
                *self.inner,
                z,
            )
        return value + self.constant

    def given(
        self, theta: Theta, log_det: np.ndarray, packed: np.ndarray, z: np.ndarray
    ) -> np.ndarray:
        """The same, where ``log|V0|`` (S,) and C, `given_ratios.packed`, are known."""
        with threads(len(log_det) * packed.shape[1]):
            value = given_ratios.log_likelihood(
                self.noise(theta) / self.rows.y_scale,
                log_det,
                packed,
                self._small_roots(theta),
                self.small,
                self.rows.n_rows,
                *self.inner,
                z,
            )
        return value + self.constant

    @property
    def constant(self) -> float:
        """What does not depend on theta."""
        return self.prior.constant + (self.rows.log_weight or 0.0)

    def noise(self, theta: Theta) -> np.ndarray:
        """Standard deviation of the noise, one where rows are divided by their own."""
        return theta.sigma if self.rows.log_weight is None else np.ones(len(theta.sigma))

    def _small_roots(self, theta: Theta) -> np.ndarray:
        """L (S, k, k) of the small factors, inside."""
        rows = self.rows
        k = sum(rows.widths[f] for f in rows.small)
        L = np.zeros((len(theta.sigma), k, k))
        for f, (_, q, _, at) in zip(rows.small, self.small, strict=True):
            inside = self.columns[f]
            L[:, at : at + q, at : at + q] = rows.T[f] @ theta.L[:, inside, inside] / rows.y_scale
        return L

    def in_units(self, z: np.ndarray) -> np.ndarray:
        """Coefficients (S, p), then the small factors' effects, in the user's units."""
        rows, p = self.rows, len(self.prior.mean)
        out = z * rows.y_scale
        out[:, :p] = np.linalg.solve(rows.A, (out[:, :p] + rows.a).T).T
        for f in rows.small:
            at, q = rows.slices[f], rows.widths[f]
            effects = out[:, at].reshape(len(z), -1, q) @ np.linalg.inv(rows.T[f]).T
            out[:, at] = effects.reshape(len(z), -1)
        return out
