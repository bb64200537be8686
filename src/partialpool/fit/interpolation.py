"""Polynomial interpolation of a smooth function of a few variables on nested points.

Each variable has a Leja sequence, whose every point is the worst place of those before it; nodes
are combinations of these whose degrees lie below a plane, one for each polynomial. A richer set of
polynomials needs the new nodes alone (Chkifa, Cohen & Schwab 2014, "High-dimensional adaptive
sparse polynomial interpolation"; docs/method.md, eq. (47)).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numba
import numpy as np

#: Standard deviations from the middle to the end of a box, as the weight of its middle has it.
REACH = 4.5


@cache
def leja(n: int, weighted: bool) -> np.ndarray:
    """The first n points in [-1, 1], from 0; where `weighted`, the middle counts more."""
    grid = np.linspace(-1, 1, 4001)
    height = -((REACH * grid) ** 2) / 4 if weighted else np.zeros(len(grid))
    points = [0.0]
    with np.errstate(divide="ignore"):
        while len(points) < n:
            height = height + np.log(np.abs(grid - points[-1]))
            points.append(float(grid[height.argmax()]))
    return np.array(points)


@dataclass
class Interpolant:
    """A function of D variables with k values in a box.

    Attributes
    ----------
    evaluate : callable
        From points (n, D) to values (n, k).
    low, high : (D,) arrays
        The box.
    weighted : (D,) bool array
        Whether the middle of a variable's range counts more, see `leja`.
    degrees : (D,) int array
        Degree in each variable alone.
    known : dict
        Index of a node -> its values.
    """

    evaluate: Callable[[np.ndarray], np.ndarray]
    low: np.ndarray
    high: np.ndarray
    weighted: np.ndarray
    degrees: np.ndarray
    known: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grow(self.degrees)

    def grow(self, degrees: np.ndarray) -> None:
        """Take other degrees; the function is evaluated at new nodes only."""
        self.degrees = degrees
        self.nodes = lower_set(degrees)
        new = [node for node in self.nodes if node not in self.known]
        if new:
            found = self.evaluate(np.array([self._place(node) for node in new]))
            self.known |= dict(zip(new, found, strict=True))
        places = np.array([self._place(node) for node in self.nodes])
        values = np.array([self.known[node] for node in self.nodes])
        self.coefficients = np.linalg.solve(self._basis(places), values)

    def __call__(self, x: np.ndarray, nodes: np.ndarray | None = None) -> np.ndarray:
        """Values (S, k) at points (S, D); of some of the polynomials, if nodes (n,) are given."""
        kept = slice(None) if nodes is None else nodes
        return self._basis(x)[:, kept] @ self.coefficients[kept]

    def without(self, variable: int) -> np.ndarray:
        """Which polynomials are left (n,) at one degree less in a variable."""
        fewer = self.degrees.copy()
        fewer[variable] -= 1
        kept = set(lower_set(fewer))
        return np.array([node in kept for node in self.nodes])

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Which of some points (S, D) are in the box."""
        return ((x >= self.low) & (x <= self.high)).all(1)

    def places(self, order: int | None = None) -> np.ndarray:
        """Nodes (n, D), of degrees that sum to `order` at most if that is given."""
        return np.array([self._place(node) for node in self.nodes])[self._first(order)]

    def cardinals(self, x: np.ndarray, order: int | None = None) -> np.ndarray:
        """Weights (S, n) of the values at such nodes, at points (S, D)."""
        kept = self._first(order)
        basis = self._basis(self.places(order))[:, kept]
        return np.linalg.solve(basis.T, self._basis(x)[:, kept].T).T

    def _first(self, order: int | None) -> np.ndarray:
        return np.array([order is None or sum(node) <= order for node in self.nodes])

    def _points(self, variable: int) -> np.ndarray:
        return leja(40, bool(self.weighted[variable]))

    def _place(self, node: tuple[int, ...]) -> np.ndarray:
        t = np.array([self._points(i)[k] for i, k in enumerate(node)])
        return self.low + (self.high - self.low) * (1 + t) / 2

    def _basis(self, x: np.ndarray) -> np.ndarray:
        """Newton's polynomials (S, n) at points (S, D), each one at its own node."""
        t = 2 * (x - self.low) / (self.high - self.low) - 1
        points = np.array(
            [self._points(i)[: self.degrees.max(initial=0) + 1] for i in range(len(self.low))]
        )
        index = np.array(self.nodes).reshape(len(self.nodes), -1)
        return _newton(np.ascontiguousarray(t), points.reshape(index.shape[1], -1), index)


@numba.njit(cache=True)
def _newton(t, points, index):
    """Products (S, n) of Newton's polynomials in each variable (S, D), degrees `index` (n, D).

    That of degree k is one at ``points[i, k]`` and zero at those before it.
    """
    S, D = t.shape
    n, most = len(index), points.shape[1]
    scale = np.ones((D, most))
    for i in range(D):
        for k in range(most):
            for j in range(k):
                scale[i, k] /= points[i, k] - points[i, j]
    out = np.empty((S, n))
    alone = np.empty((D, most))
    for s in range(S):
        for i in range(D):
            product = 1.0
            for k in range(most):
                alone[i, k] = product * scale[i, k]
                product *= t[s, i] - points[i, k]
        for node in range(n):
            value = 1.0
            for i in range(D):
                value *= alone[i, index[node, i]]
            out[s, node] = value
    return out


def lower_set(degrees: np.ndarray) -> list[tuple[int, ...]]:
    """Degrees in each variable with ``Σ k_i / n_i <= 1``, the constant first."""
    found: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for n in degrees:
        found = [
            ((*node, k), used + k / max(n, 1))
            for node, used in found
            for k in range(n + 1)
            if used + k / max(n, 1) <= 1 + 1e-9
        ]
    return sorted((node for node, _ in found), key=lambda node: (sum(node), node))
