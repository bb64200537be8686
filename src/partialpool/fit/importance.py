"""Adaptive importance sampling of a low-dimensional log density that costs microseconds.

The proposal grows out of what it has seen: from a wide Student t around the mode to a mixture of
Student kernels on resampled points, whose shape follows any bend or boundary (West 1993,
"Approximating posterior distributions by mixtures"; Cappé et al. 2004 on population Monte Carlo).
Draws of the last stage alone are used, so that weights are honest; Pareto k̂ (Vehtari et al. 2024),
the effective number of draws, and the evidence of two stages with different proposals judge it
(docs/method.md, eq. (17) to (20)).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln

from partialpool.fit.kernels import threads

LogDensity = Callable[[np.ndarray], np.ndarray]

#: Degrees of freedom of every proposal kernel: tails heavier than any posterior on these scales.
NU = 4.0
#: Limits of a good answer: Pareto k̂ (Vehtari et al. 2024), share of effective draws, and the gap
#: between two evidences in standard errors.
MAX_KHAT, MIN_SHARE, MAX_GAP = 0.7, 0.15, 4.0
#: Effective share of the first proposal from which on a few kernels with the posterior's own mean
#: and covariance serve; below it the mixture of many kernels does.
PLAIN_SHARE = 0.4
#: Corners of the differences that give a second derivative.
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True)
class Proposal:
    """Mixture of Student t kernels with common shape: centres (M, d), root (d, d), weights (M,)."""

    centres: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    root: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws (n, d), stratified over the kernels."""
        d = self.centres.shape[1]
        at = _systematic(self.weights, n, rng)
        t = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(NU, n) / NU)[:, None]
        return self.centres[at] + self.scales[at, None] * (t @ self.root.T)

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Log density at points (n, d): shape (n,)."""
        d = u.shape[1]
        inverse = np.linalg.inv(self.root)
        constant = (
            gammaln((NU + d) / 2)
            - gammaln(NU / 2)
            - d / 2 * np.log(NU * np.pi)
            - np.linalg.slogdet(self.root)[1]
        )
        with threads(len(u) * len(self.scales)):
            return constant + _mixture(
                u @ inverse.T, self.centres @ inverse.T, self.scales, self.weights
            )


@dataclass(frozen=True)
class Sample:
    """Weighted draws and the figures by which they judge themselves.

    Attributes
    ----------
    u : (n, d) array
        Draws of the last proposal.
    log_weights : (n,) array
        Normalized.
    log_evidence, log_evidence_se : float
        Log of the integral of the density and its standard error.
    khat : float
        Shape of the weights' tail.
    effective : float
        Effective number of draws, ``1 / Σ w²``.
    gap : float
        Difference to the evidence of the stage before, in standard errors.
    stages : int
        Number of proposals tried.
    """

    u: np.ndarray
    log_weights: np.ndarray
    log_evidence: float
    log_evidence_se: float
    khat: float
    effective: float
    gap: float
    stages: int

    @property
    def trusted(self) -> bool:
        """Whether k̂, effective share and the two evidences all say that the answer is good."""
        share = self.effective / len(self.u)
        return self.khat < MAX_KHAT and share > MIN_SHARE and abs(self.gap) < MAX_GAP


def sample(
    log_density: LogDensity,
    start: np.ndarray,
    rng: np.random.Generator,
    *,
    effective: int = 4000,
    kernels: int = 400,
    max_stages: int = 8,
) -> Sample:
    """Draw until the effective number of draws reaches `effective`.

    Parameters
    ----------
    log_density : callable
        From points (n, d) to log densities (n,), up to no constant.
    start : (d,) array
        Where the search for the mode begins. Without coordinates there is one density.
    rng : numpy.random.Generator
    effective : int
        Number of effective draws to reach.
    kernels : int
        Kernels of the adapted proposals.
    max_stages : int
        Proposals tried before giving up; what is reached then is returned, not trusted.
    """
    if not len(start):  # nothing to draw: the integral is the density itself
        u = np.empty((effective, 0))
        value, weights = float(log_density(u[:1])[0]), np.full(effective, -np.log(effective))
        return Sample(u, weights, value, 0.0, 0.0, float(effective), 0.0, 0)
    mode, covariance = laplace(log_density, start)
    d = len(mode)
    proposal = _around(mode, covariance, scales=(1.1, 2.0, 5.0), weights=(0.6, 0.3, 0.1))
    n = 1000 * max(1, d // 4)
    u, log_w = _weigh(log_density, proposal, rng, n)
    for stage in range(2, max_stages + 1):
        before = _evidence(log_w)
        plain = stage == 2 and _effective(log_w) / n > PLAIN_SHARE
        proposal = _matched(u, log_w) if plain else _adapt(u, log_w, kernels, rng)
        u, log_w = _weigh(log_density, proposal, rng, n)
        share = _effective(log_w) / n
        if share < 0.5 and stage < max_stages:
            continue
        more = min(int(np.ceil(1.1 * effective / share)), 20 * effective) - n
        if more > 0:
            u_more, log_more = _weigh(log_density, proposal, rng, more)
            u, log_w = np.vstack([u, u_more]), np.concatenate([log_w, log_more])
        result = _judge(u, log_w, before, stage)
        if result.trusted:
            break
        kernels *= 1 if plain else 2
    return result


def _around(
    centre: np.ndarray,
    covariance: np.ndarray,
    scales: tuple[float, ...],
    weights: tuple[float, ...],
) -> Proposal:
    """Student kernels of several widths at one centre."""
    return Proposal(
        np.tile(centre, (len(scales), 1)),
        np.array(scales),
        np.array(weights),
        np.linalg.cholesky(covariance),
    )


def _matched(u: np.ndarray, log_w: np.ndarray) -> Proposal:
    """For a posterior like a Student t: kernels with its mean and covariance."""
    return _around(*_moments(u, np.exp(log_w - _log_sum(log_w))), (0.9, 1.4, 3.5), (0.7, 0.2, 0.1))


def _moments(u: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean (d,) and covariance (d, d), the latter never quite singular."""
    d = u.shape[1]
    centre = weights @ u
    covariance = (u - centre).T @ ((u - centre) * weights[:, None])
    return centre, covariance + 1e-12 * np.trace(covariance) / d * np.eye(d)


def _adapt(u: np.ndarray, log_w: np.ndarray, kernels: int, rng: np.random.Generator) -> Proposal:
    """Student kernels on resampled points, shrunk so that the mixture keeps their covariance.

    Two wide kernels at the centre stand guard over tails that no point has reached.
    """
    d = u.shape[1]
    weights = _temper(log_w, target=min(200.0, 0.1 * len(u)))
    centre, covariance = _moments(u, weights)
    bandwidth = (4 / (kernels * (d + 2))) ** (1 / (d + 4))
    points = u[_systematic(weights, kernels, rng)]
    return Proposal(
        np.vstack([centre + np.sqrt(1 - bandwidth**2) * (points - centre), [centre, centre]]),
        np.concatenate([np.full(kernels, bandwidth), [1.3, 3.5]]),
        np.concatenate([np.full(kernels, 0.8 / kernels), [0.12, 0.08]]),
        np.linalg.cholesky(covariance),
    )


def _judge(u: np.ndarray, log_w: np.ndarray, before: tuple[float, float], stages: int) -> Sample:
    evidence, error = _evidence(log_w)
    log_w = log_w - _log_sum(log_w)
    # arviz takes log likelihood ratios with the opposite sign.
    _, khat = array_stats.psislw(-np.maximum(log_w, log_w.max() - 500))
    return Sample(
        u=u,
        log_weights=log_w,
        log_evidence=evidence,
        log_evidence_se=error,
        khat=float(khat),
        effective=_effective(log_w),
        gap=(evidence - before[0]) / float(np.hypot(error, before[1])),
        stages=stages,
    )


def resample(sample: Sample, n: int, rng: np.random.Generator) -> np.ndarray:
    """Points (n, d) with equal weight, in random order; few repeat when `effective` exceeds n."""
    return rng.permutation(sample.u[_systematic(np.exp(sample.log_weights), n, rng)])


def laplace(log_density: LogDensity, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode (d,) and inverse curvature (d, d), with the spread limited where there is none.

    Newton's method on differences, every step of it one call of the density: curvature turned
    positive, steps kept short, and the best of several lengths taken.
    """
    d = len(start)
    fine, wide = 1e-4 * np.eye(d), 0.02 * np.eye(d)
    pairs = [(i, j) for i in range(d) for j in range(i + 1)]
    corners = np.array([[a * wide[i] + b * wide[j] for a, b in SIGNS] for i, j in pairs])
    stencil = np.vstack([fine, -fine, corners.reshape(-1, d)])
    lengths = 0.5 ** np.arange(-1, 8)[:, None]
    mode = start
    best = log_density(start[None])[0]
    for _ in range(50):
        values = log_density(mode + stencil)
        gradient = np.nan_to_num((values[:d] - values[d : 2 * d]) / 2e-4, posinf=0.0, neginf=0.0)
        curvature = np.zeros((d, d))
        for (i, j), v in zip(pairs, values[2 * d :].reshape(-1, 4), strict=True):
            curvature[i, j] = curvature[j, i] = -(v[0] - v[1] - v[2] + v[3]) / (4 * 0.02**2)
        bends, vectors = np.linalg.eigh(np.where(np.isfinite(curvature), curvature, 0.0))
        bends = np.maximum(np.abs(bends), 0.25)  # a spread of at most 2 on log scales
        along = vectors.T @ gradient
        if along @ (along / bends) < 1e-4:
            break
        step = vectors @ np.clip(along / bends, -1.0, 1.0)
        tried = log_density(mode + lengths * step)
        if not tried.max() > best:
            break
        best, mode = tried.max(), mode + lengths[tried.argmax()] * step
    return mode, (vectors / bends) @ vectors.T


def _weigh(
    log_density: LogDensity, proposal: Proposal, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    u = proposal.draw(rng, n)
    return u, log_density(u) - proposal.log_density(u)


def _log_sum(x: np.ndarray) -> float:
    """Log of the sum of exponentials; scipy's takes ten times as long to be asked."""
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum())) if np.isfinite(top) else float(top)


def _evidence(log_w: np.ndarray) -> tuple[float, float]:
    total = _log_sum(log_w)
    w = np.exp(log_w - total) * len(log_w)
    return float(total - np.log(len(log_w))), float(np.std(w) / np.sqrt(len(w)))


def _effective(log_w: np.ndarray) -> float:
    return float(np.exp(2 * _log_sum(log_w) - _log_sum(2 * log_w)))


def _temper(log_w: np.ndarray, target: float) -> np.ndarray:
    """Normalized weights, raised to the largest power at most 1 that leaves `target` effective."""
    power = 1.0
    while _effective(power * log_w) < target and power > 0.01:
        power *= 0.8
    return np.exp(power * log_w - _log_sum(power * log_w))


def _systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling: n indices, each within one of its expected count."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, (np.arange(n) + rng.uniform()) / n), len(edges) - 1)


@numba.njit(cache=True, error_model="numpy", parallel=True)
def _mixture(u, centres, scales, weights):
    """Log of a mixture of standard t kernels, without the constant they share."""
    n, d = u.shape
    out = np.empty(n)
    power = int(NU) + d
    log_height = np.log(weights) - d * np.log(scales)
    height = np.exp(log_height - log_height.max())
    for i in numba.prange(n):
        total = 0.0
        for m in range(len(scales)):
            distance = 0.0
            for c in range(d):
                z = (u[i, c] - centres[m, c]) / scales[m]
                distance += z * z
            base = 1 / (1 + distance / NU)
            value = height[m]
            for _ in range(power // 2):  # base ** (power / 2), without the slow pow
                value *= base
            if power % 2:
                value *= np.sqrt(base)
            total += value
        out[i] = np.log(total) + log_height.max()
    return out
