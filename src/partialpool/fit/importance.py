"""Adaptive importance sampling of a low-dimensional log density that costs microseconds.

The proposal grows out of what it has seen: from wide Student t kernels around every mode found to
kernels with the mean and covariance of the points drawn there, or, where that is not good enough,
to a mixture of kernels on resampled points, whose shape follows any bend (West 1993,
"Approximating posterior distributions by mixtures"; Cappé et al. 2004, 2008 on population Monte
Carlo). Draws of the last stage alone are used, so that weights are honest; Pareto k̂ (Vehtari et
al. 2024), the effective number of draws, and the evidence of two stages with different proposals
judge it (docs/method.md, eq. (17) to (20)).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from partialpool.fit.modes import Modes, find_modes, folded
from partialpool.fit.pareto import smoothed
from partialpool.fit.proposals import Proposal, around
from partialpool.fit.slices import Bent
from partialpool.fit.slices import bend as bend_slices

LogDensity = Callable[[np.ndarray], np.ndarray]
#: From points (n, d) to log densities (n,) and what else is drawn at each of them (n, e).
Draw = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

#: Limits of a good answer: Pareto k̂ (Vehtari et al. 2024), effective draws, and the gap between
#: two evidences in standard errors.
MAX_KHAT, MIN_EFFECTIVE, MAX_GAP = 0.7, 400, 4.0
#: Effective share of the first proposal from which on a few kernels with the posterior's own mean
#: and covariance serve; below it the mixture of many kernels does.
PLAIN_SHARE = 0.05
#: Variance of a mean of resampled draws, relative to independent ones, that is aimed at, and that
#: is good enough after so many stages or less.
AIM, GOOD_INFLATION, ENOUGH_STAGES = 1.05, 1.25, 4
#: Mirror images of a proposal that are taken in; a coordinate farther from zero is cut off there.
MAX_MIRRORS = 5


@dataclass(frozen=True)
class Cloud:
    """Weighted points (n, d), with the log density, what else was drawn, and kernel groups."""

    u: np.ndarray
    log_density: np.ndarray
    rest: np.ndarray
    group: np.ndarray
    log_w: np.ndarray


@dataclass(frozen=True)
class Sample:
    """Weighted draws and the figures by which they judge themselves.

    Attributes
    ----------
    u : (n, d) array
        Draws of the last proposal.
    log_density : (n,) array
    rest : (n, e) array
        What else was drawn at each of them.
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
    asked : int
        Number of draws that are wanted.
    """

    u: np.ndarray
    log_density: np.ndarray
    rest: np.ndarray
    log_weights: np.ndarray
    log_evidence: float
    log_evidence_se: float
    khat: float
    effective: float
    gap: float
    stages: int
    asked: int

    @property
    def trusted(self) -> bool:
        """Whether k̂, effective draws and the two evidences all say that the answer is good."""
        enough = self.effective >= min(MIN_EFFECTIVE, self.asked)
        return self.khat < MAX_KHAT and enough and abs(self.gap) < MAX_GAP

    @property
    def inflation(self) -> float:
        """Variance of a mean over the resampled draws, in units of that of independent ones."""
        return _inflation(self.asked * np.exp(self.log_weights))


def sample(
    log_density: LogDensity,
    starts: np.ndarray,
    rng: np.random.Generator,
    *,
    effective: int = 4000,
    mirrors: np.ndarray | None = None,
    draw: Draw | None = None,
    kernels: int = 400,
    max_stages: int = 8,
) -> Sample:
    """Draw until `effective` points can be resampled with hardly one taken twice.

    Parameters
    ----------
    log_density : callable
        From points (n, d) to log densities (n,), up to no constant.
    starts : (K, d) array
        Where the search for modes begins. Without coordinates there is one density.
    rng : numpy.random.Generator
    effective : int
        Number of draws that are wanted.
    mirrors : (M, d) array, optional
        Signs that leave the density what it is; see `modes`. The density is that over one half.
    draw : callable, optional
        The log density with what else is to be drawn at each point.
    kernels : int
        Kernels of the adapted proposals.
    max_stages : int
        Proposals tried before giving up; what is reached then is returned, not trusted.
    """
    draw = draw or (lambda u, rng: (log_density(u), np.empty((len(u), 0))))
    d = starts.shape[1]
    mirrors = np.empty((0, d)) if mirrors is None else mirrors
    if not d:  # nothing to draw: the integral is the density itself
        value, rest = draw(np.empty((effective, 0)), rng)
        weights = np.full(effective, -np.log(effective))
        figures = (float(value[0]), 0.0, 0.0, float(effective), 0.0, 0, effective)
        return Sample(np.empty((effective, 0)), value, rest, weights, *figures)
    modes = find_modes(log_density, starts, mirrors)
    proposal = _around_modes(modes)
    n = 1000 * max(1, d // 4)
    cloud = _weigh(draw, proposal, mirrors, rng, n)
    share = _effective(cloud.log_w) / n
    best: Sample | None = None
    for stage in range(2, max_stages + 1):
        before, last = _evidence(cloud.log_w), share
        plain = stage <= 3 and share > PLAIN_SHARE
        proposal = _matched(cloud, proposal) if plain else _adapt(cloud, proposal, kernels, rng)
        cloud = _weigh(draw, proposal, mirrors, rng, n)
        share, needed = _effective(cloud.log_w) / n, _enough(cloud.log_w, effective)
        cheap = plain and needed < 12 * effective
        if not cheap and last < share < 0.5 and stage < max_stages:
            continue
        if needed > n:
            cloud = _together(cloud, _weigh(draw, proposal, mirrors, rng, needed - n))
            share = _effective(cloud.log_w) / needed
        result = _judge(cloud, before, stage, effective)
        if best is None or (result.trusted, -result.inflation) > (best.trusted, -best.inflation):
            best = result
        if best.trusted and (best.inflation < GOOD_INFLATION or stage >= ENOUGH_STAGES):
            break
        kernels *= 1 if plain else 2
    assert best is not None  # the last stage always judges
    return replace(best, u=folded(best.u, mirrors))


def refine(
    log_density: LogDensity,
    mode: np.ndarray,
    root: np.ndarray,
    rng: np.random.Generator,
    *,
    effective: int = 4000,
    mirrors: np.ndarray | None = None,
    bent: bool = False,
) -> Sample:
    """The same from one mode (d,) and a root (d, d) of the inverse curvature, in three stages.

    For a density with one mode and many coordinates, where kernels near the normal waste less than
    `sample`'s: mean and covariance are those of the stage before, drawn towards the mode's by the
    number of what is estimated over that of effective draws (docs/method.md, eq. (60)). A skew
    density takes them in coordinates that are `bent`, see `slices`.
    """
    d = len(mode)
    mirrors = np.empty((0, d)) if mirrors is None else mirrors
    bend = bend_slices(log_density, mode, root, len(mirrors)) if bent else None
    if bend is not None:
        mode, root = np.zeros(d), np.eye(d)

    def draw(u: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return log_density(u), np.empty((len(u), 0))

    def near_normal(mean: np.ndarray, covariance: np.ndarray) -> Proposal:
        shape = mean[None], covariance[None], np.ones(1)
        found = around(*shape, (1.02, 1.4), (0.9, 0.1), (float(max(30, 2 * d)), 4.0))
        return found if bend is None else Bent(**vars(found), bend=bend)

    first = root @ root.T
    cloud = _weigh(draw, near_normal(mode, first), mirrors, rng, 1000 + 50 * d)
    for n in (1000 + 100 * d, max(effective, 1000)):
        before, found = _evidence(cloud.log_w), _effective(cloud.log_w)
        w = np.exp(cloud.log_w - _log_sum(cloud.log_w))
        u = cloud.u if bend is None else bend.back(cloud.u)[0]
        mean = w @ u
        covariance = (u - mean).T @ ((u - mean) * w[:, None])
        share = found / (found + 2 * d)
        mean = share * mean + (1 - share) * mode
        share = found / (found + max(2 * d, d * d / 4))
        covariance = share * covariance + (1 - share) * first
        proposal = near_normal(mean, covariance)
        cloud = _weigh(draw, proposal, mirrors, rng, n)
    needed = _enough(cloud.log_w, effective)
    if needed > len(cloud.u):
        more = _weigh(draw, proposal, mirrors, rng, min(needed, 4 * len(cloud.u)) - len(cloud.u))
        cloud = _together(cloud, more)
    result = _judge(cloud, before, 3, effective)
    return replace(result, u=folded(result.u, mirrors))


def resample(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Indices of as many points as are wanted, each within one of its expected count."""
    order = rng.permutation(len(sample.u))
    weights = np.exp(sample.log_weights[order])
    return rng.permutation(order[_systematic(weights, sample.asked, rng)])


def _around_modes(modes: Modes) -> Proposal:
    """Wide kernels, for what the curvature at a mode says of its mass and spread is rough."""
    shares = np.exp((modes.log_masses - modes.log_masses.max()) / 2)
    return around(
        modes.places, modes.covariances, shares / shares.sum(), (1.1, 2.0, 5.0), (0.6, 0.3, 0.1)
    )


def _matched(cloud: Cloud, proposal: Proposal) -> Proposal:
    """For modes like Student t's: kernels with the mean and covariance of each."""
    return around(
        *_moments(cloud, proposal, np.exp(cloud.log_w - _log_sum(cloud.log_w))),
        (0.9, 1.4, 3.5),
        (0.7, 0.2, 0.1),
    )


def _moments(
    cloud: Cloud, proposal: Proposal, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (K, d), covariances (K, d, d) and shares (K,) of the points of each mode.

    A mode that few points have met keeps what it was thought to be.
    """
    K, d = len(proposal.roots), cloud.u.shape[1]
    shares = np.bincount(cloud.group, weights, minlength=K)
    centres, covariances = np.empty((K, d)), np.empty((K, d, d))
    for k in range(K):
        mine = cloud.group == k
        w, u = weights[mine] / max(shares[k], 1e-300), cloud.u[mine]
        if (w**2).sum() * 5 * d < 1 and shares[k] > 0:
            centres[k] = w @ u
            covariances[k] = (u - centres[k]).T @ ((u - centres[k]) * w[:, None])
            covariances[k] += 1e-12 * np.trace(covariances[k]) / d * np.eye(d)
        else:
            centres[k] = proposal.centres[proposal.group == k].mean(0)
            covariances[k] = proposal.roots[k] @ proposal.roots[k].T
    shares = np.maximum(shares, 0.02)
    return centres, covariances, shares / shares.sum()


def _adapt(cloud: Cloud, proposal: Proposal, kernels: int, rng: np.random.Generator) -> Proposal:
    """Student kernels on resampled points, shrunk so that each mode keeps its covariance.

    Two wide kernels at every centre stand guard over tails that no point has reached.
    """
    d = cloud.u.shape[1]
    weights = _temper(cloud.log_w, target=min(200.0, 0.1 * len(cloud.u)))
    centres, covariances, shares = _moments(cloud, proposal, weights)
    pieces = []
    for k, (centre, share) in enumerate(zip(centres, shares, strict=True)):
        mine = cloud.group == k
        M = int(np.ceil(kernels * share)) if weights[mine].sum() > 0 else 0
        points = cloud.u[mine][_systematic(weights[mine], M, rng)] if M else np.empty((0, d))
        bandwidth = (4 / (max(M, 1) * (d + 2))) ** (1 / (d + 4))
        drawn_in = centre + np.sqrt(max(1 - bandwidth**2, 0.0)) * (points - centre)
        height = np.concatenate([np.full(M, 0.8 / max(M, 1)), [0.12, 0.08]])
        pieces.append(
            (
                np.vstack([drawn_in, [centre, centre]]),
                np.concatenate([np.full(M, bandwidth), [1.3, 3.5]]),
                share * height / height.sum(),
                np.full(M + 2, k),
            )
        )
    at, scales, heights, group = (np.concatenate(each) for each in zip(*pieces, strict=True))
    return Proposal(at, scales, heights, np.linalg.cholesky(covariances), group)


def _judge(cloud: Cloud, before: tuple[float, float], stages: int, asked: int) -> Sample:
    evidence, error = _evidence(cloud.log_w)
    log_w = cloud.log_w - _log_sum(cloud.log_w)
    khat = 0.0  # of weights that are all the same, as those of a density without dimensions
    if np.ptp(log_w) > 0:
        # logarithms of densities that are left out, whose weights are their inverses
        khat = smoothed(-np.maximum(log_w, log_w.max() - 500)[None], 1.0)[1][0]
    return Sample(
        u=cloud.u,
        log_density=cloud.log_density,
        rest=cloud.rest,
        log_weights=log_w,
        log_evidence=evidence,
        log_evidence_se=error,
        khat=float(khat),
        effective=_effective(log_w),
        gap=(evidence - before[0]) / max(float(np.hypot(error, before[1])), 1e-300),
        stages=stages,
        asked=asked,
    )


def _weigh(
    draw: Draw, proposal: Proposal, mirrors: np.ndarray, rng: np.random.Generator, n: int
) -> Cloud:
    """Points of a proposal, which is folded along the coordinates that it reaches across zero.

    On the others it is cut off at zero.
    """
    u, group = proposal.draw(rng, n)
    log_density, rest = draw(u, rng)
    ahead = np.arange(len(mirrors))
    distance = proposal.distances(len(ahead))
    near = [k for k in np.argsort(distance)[:MAX_MIRRORS] if distance[k] < 5]
    beyond = (u[:, np.setdiff1d(ahead, near)] < 0).any(1)
    images = np.ones((1, u.shape[1]))
    for k in near:
        images = np.vstack([images, images * mirrors[k]])
    log_g = np.full(n, -np.inf)
    for signs in images:
        log_g = np.logaddexp(log_g, proposal.log_density(u * signs))
    log_w = np.where(beyond, -np.inf, log_density - log_g)
    return Cloud(u, log_density, rest, group, log_w)


def _together(one: Cloud, other: Cloud) -> Cloud:
    return Cloud(
        *(np.concatenate([getattr(c, f.name) for c in (one, other)]) for f in fields(Cloud))
    )


def _inflation(expected: np.ndarray) -> float:
    """Variance of a mean over resampled points with these expected counts, by that of their sum.

    Points whose expected count is below one are kept or not, as in rejection sampling, and such
    draws are independent; what is above one is repeated (docs/method.md, eq. (20)).
    """
    chance = expected - np.floor(expected)
    return float((expected**2 + chance * (1 - chance)).sum() / expected.sum())


def _enough(log_w: np.ndarray, wanted: int) -> int:
    """Points of which `wanted` can be resampled as good as independent: 1.1 to 20 times as many."""
    w = np.exp(log_w - _log_sum(log_w))
    for times in 1.1 ** np.arange(1, 32):
        if _inflation(w * len(w) / times) < AIM:
            break
    return int(times * wanted)


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
