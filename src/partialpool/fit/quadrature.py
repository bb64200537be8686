"""Integrals by rules of Gauss: over up to three coordinates, or of what is near normal."""

from collections.abc import Callable
from functools import cache

import numpy as np

#: Most coordinates, nodes along each, and those of a second rule whose difference is the error.
MOST, NODES, FEWER = 3, 20, 16
#: Fall of the log density from its mode beyond which there is no mass that counts.
DEPTH = 18.0


def log_integral(
    log_density: Callable[[np.ndarray], np.ndarray], u: np.ndarray, values: np.ndarray
) -> tuple[float, float]:
    """Log of the integral, and the change from another rule.

    Parameters
    ----------
    log_density : callable
        From points (n, d) to log densities (n,), smooth between the points u.
    u : (S, d) array
        Points that reach into all tails, such as those of importance sampling.
    values : (S,) array
        Log densities there.
    """
    there = u[values > values.max() - DEPTH]
    low, high = there.min(0), there.max(0)
    low = np.where(low < 0.2 * high, np.minimum(low, 0.0), low)  # zero is no edge of a scale
    found = [_tensor(log_density, low, high, n) for n in (NODES, FEWER)]
    return found[0], abs(found[0] - found[1])


def _tensor(
    log_density: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, n: int
) -> float:
    t, weights = np.polynomial.legendre.leggauss(n)
    d = len(low)
    at = np.stack(np.meshgrid(*[t] * d, indexing="ij"), -1).reshape(-1, d)
    log_weights = sum(np.log(w).ravel() for w in np.meshgrid(*[weights] * d, indexing="ij"))
    total = log_density(low + (high - low) * (1 + at) / 2) + log_weights
    top = total.max()
    return float(top + np.log(np.exp(total - top).sum()) + np.log((high - low) / 2).sum())


@cache
def gauss_hermite(K: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (K,), and logs of their weights, for integrals of what is near a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(K)
    return points, np.log(weights) + points**2 / 2
