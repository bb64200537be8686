"""Modes of a log density on coordinates that may be mirrored, with the curvature at each.

A density that does not change when a coordinate turns its sign (and others with it) needs no edge
at zero: it is smooth there, and a mode at zero is like any other. `mirrors` (M, d) has a row of
signs for each such coordinate, the k-th for coordinate k.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Steps of the differences that give first and second derivatives.
FINE, WIDE = 1e-4, 0.02
#: Least curvature: a spread of at most 2 where the density has none.
MIN_BEND = 0.25
#: Decrement of Newton's method (twice the height that is left) at which it ends, and most steps.
CLOSE, MAX_STEPS = 0.05, 50
#: Squared distance, by the curvature, below which two paths or modes are one.
SAME_PATH, SAME_MODE = 0.5, 1.0
#: Log of the mass, by Laplace's approximation, beside which a mode does not count; most modes.
NEGLIGIBLE, MAX_MODES = 12.0, 8


@dataclass(frozen=True)
class Modes:
    """Places (K, d), the most massive first, with what is known of each.

    Inverse curvatures (K, d, d), log masses (K,), and values of the log density (K,).
    """

    places: np.ndarray
    covariances: np.ndarray
    log_masses: np.ndarray
    values: np.ndarray


def folded(u: np.ndarray, mirrors: np.ndarray) -> np.ndarray:
    """The same points (n, d), turned so that no mirrored coordinate is negative."""
    below = u[:, : len(mirrors)] < 0
    signs = np.ones_like(u)
    for k in np.flatnonzero(below.any(0)):
        signs[below[:, k]] *= mirrors[k]
    return u * signs


def find_modes(
    log_density: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    mirrors: np.ndarray,
    close: float = CLOSE,
) -> Modes:
    """Climb from every start (K, d) at once; paths that meet go on as one.

    Newton's method on differences, a step of all paths two calls of the density: curvature turned
    positive, steps kept short, and the best of several lengths taken.
    """
    d = starts.shape[1]
    pairs = np.triu_indices(d, 1)
    unit, both = np.eye(d), np.eye(d)[pairs[0]] + np.eye(d)[pairs[1]]
    stencil = np.vstack([np.zeros((1, d)), FINE * unit, -FINE * unit, WIDE * unit, -WIDE * unit])
    stencil = np.vstack([stencil, WIDE * both, -WIDE * both])
    lengths = 0.5 ** np.arange(-1, 6)[:, None]
    places = folded(starts, mirrors)
    ends: list[tuple[np.ndarray, ...]] = []  # places, values and roots where paths ended
    for step in range(MAX_STEPS):
        heights = log_density((places[:, None] + stencil).reshape(-1, d)).reshape(len(places), -1)
        values, heights = heights[:, 0], heights[:, 1:]
        gradient, curvature = _derivatives(values, heights, d, pairs)
        bends, vectors = np.linalg.eigh(curvature)
        bends = np.maximum(np.abs(bends), MIN_BEND)
        keep = _apart(places, values, vectors * np.sqrt(bends)[:, None], SAME_PATH)
        places, values, gradient = places[keep], values[keep], gradient[keep]
        bends, vectors = bends[keep], vectors[keep]
        along = np.einsum("kij,ki->kj", vectors, gradient)
        ended = ((along**2 / bends).sum(1) < close) | (step == MAX_STEPS - 1)
        if not ended.all():
            steps = np.einsum("kij,kj->ki", vectors, np.clip(along / bends, -1.0, 1.0))
            tried = places[:, None] + lengths * steps[:, None]
            heights = np.full(tried.shape[:2], -np.inf)
            heights[~ended] = log_density(tried[~ended].reshape(-1, d)).reshape(-1, len(lengths))
            ended |= ~(heights.max(1) > values)
        ends.append((places[ended], values[ended], (vectors / np.sqrt(bends)[:, None])[ended]))
        if ended.all():
            break
        best = tried[np.arange(len(places)), heights.argmax(1)]
        places = folded(best[~ended], mirrors)
    places, values, roots = (np.concatenate(each) for each in zip(*ends, strict=True))
    masses = values + np.linalg.slogdet(roots)[1]
    keep = _apart(places, values, np.linalg.inv(roots).transpose(0, 2, 1), SAME_MODE)
    keep = keep[masses[keep] > masses.max() - NEGLIGIBLE]
    keep = keep[np.argsort(-masses[keep])][:MAX_MODES]
    covariances = roots[keep] @ roots[keep].transpose(0, 2, 1)
    return Modes(places[keep], covariances, masses[keep], values[keep])


def _derivatives(
    values: np.ndarray, heights: np.ndarray, d: int, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (K, d) and curvatures (K, d, d) from heights around places; 0 where infinite."""
    up, down, right, left = heights[:, : 4 * d].reshape(-1, 4, d).swapaxes(0, 1)
    plus, minus = heights[:, 4 * d :].reshape(len(values), 2, -1).swapaxes(0, 1)
    curvature = np.empty((len(values), d, d))
    with np.errstate(invalid="ignore"):
        gradient = (up - down) / (2 * FINE)
        twice = right + left - 2 * values[:, None]
        mixed = plus + minus - 2 * values[:, None] - twice[:, pairs[0]] - twice[:, pairs[1]]
    curvature[:, np.arange(d), np.arange(d)] = twice
    curvature[:, pairs[0], pairs[1]] = curvature[:, pairs[1], pairs[0]] = mixed / 2
    curvature = np.where(np.isfinite(curvature), curvature, 0.0)
    return np.where(np.isfinite(gradient), gradient, 0.0), -curvature / WIDE**2


def _apart(places: np.ndarray, values: np.ndarray, inverse: np.ndarray, same: float) -> np.ndarray:
    """Indices of places (K, d) that no higher one comes near, by its own spread."""
    gaps = (places - places[:, None]) @ inverse
    rank = np.empty(len(values))
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    near = ((gaps**2).sum(2) < same) & (rank < rank[:, None])
    return np.flatnonzero(~near.any(1))
