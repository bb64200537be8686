"""The integral over each group's effects, with its own certificate (docs/method.md, eq. (54))."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from partialpool.fit import group_draws, group_kernels
from partialpool.fit.counted_rows import CountedRows
from partialpool.fit.group_kernels import DERIVATIVES, MOMENTS, VALUES
from partialpool.fit.kernels import threads

#: Nodes that are tried along each axis of a group's lattice.
NODES = (5, 7, 9, 11, 13, 17, 21, 25, 31, 41, 51, 65, 81, 101, 131, 161, 201, 251)
#: Most of them with two varying coefficients, whose lattice has the square of that.
MOST_OF_TWO = 51
#: Error of the log likelihood, summed over groups, that is aimed at, and above which an integral
#: is not called certified.
AIM, LIMIT = 1e-6, 1e-4
#: Numbers in an array of values by groups that is made at a time.
AT_A_TIME = 2_000_000

#: Their types in numba know no arguments.
integrals: Any = group_kernels.integrals
draw_effects: Any = group_draws.draw_effects


@dataclass(frozen=True, eq=False)
class GroupIntegral:
    """Log likelihood of the rows, group effects integrated out on a lattice for each group.

    Attributes
    ----------
    rows : CountedRows
    near : (J, q) array
        Effects from which the modes are looked for.
    shift, scale : (J, q) arrays
        Middle and size of a lattice, from the mode and by the curvature: posterior means and
        standard deviations at some reference (Naylor & Smith 1982).
    nodes : (J,) int array
        Nodes K of a lattice along each axis.
    """

    rows: CountedRows
    near: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    nodes: np.ndarray

    def log_integrals(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        *,
        nodes: np.ndarray | None = None,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log of each group's integral, without `CountedRows.constants`: (S, G).

        Parameters
        ----------
        coefficients : (S, p + t) array
        L : (S, q, q) array
            Lower triangular root of the covariance of the effects.
        shape : (S,) array
            Of the negative binomial; else not used.
        nodes : (J,) int array, optional
            Instead of the integral's own.
        some : (G,) int array, optional
            Groups; all where they are not given.
        """
        nodes = self.nodes if nodes is None else nodes
        some = self._all if some is None else some
        out = np.empty((len(L), len(some)))
        for part, data in self._parts(coefficients, L, shape, nodes):
            out[part] = integrals(*data, some, VALUES)[0]
        return out

    def by_group(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log likelihood (S, G) of each group, constants included; see `log_integrals`."""
        some = self._all if some is None else some
        constants = self.rows.constants(shape, coefficients, by_group=True)
        return self.log_integrals(coefficients, L, shape, some=some) + constants[:, some]

    def __call__(self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Log likelihood (S,), constants included; arguments as for `log_integrals`."""
        value = self.rows.constants(shape, coefficients)
        for part, data in self._parts(coefficients, L, shape, self.nodes):
            value[part] += integrals(*data, self._all, VALUES)[0].sum(1)
        return value

    def gradient(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood (S,), its derivatives by the coefficients (S, p + t) and L (S, q, q).

        By Fisher's identity (docs/method.md, eq. (57)); that by the shape is not among them.
        """
        value, by_L = self.rows.constants(shape, coefficients), np.empty_like(L)
        _, by_coefficients = self.rows.constants_gradient(shape, coefficients)
        for part, data in self._parts(coefficients, L, shape, self.nodes):
            each, slope, by_L[part], *_ = integrals(*data, self._all, DERIVATIVES)
            value[part] += each.sum(1)
            by_coefficients[part] += slope
        return value, by_coefficients, by_L

    def moments(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Means (s, J, q) and mean products (s, J, q, q) of the effects, some draws at a time."""
        for part, data in self._parts(coefficients, L, shape, self.nodes):
            _, _, _, mean, square, _, _ = integrals(*data, self._all, MOMENTS)
            root = L[part, None]
            effects = (root @ mean[..., None])[..., 0]
            yield part, effects, root @ square @ np.swapaxes(root, -1, -2)

    def draw(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        seed: int,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """One exact draw of the effects for each of S values of the parameters: (q, S, G).

        Of some groups (G,), which get what they would get among all.
        """
        some = self._all if some is None else some
        out = np.empty((L.shape[1], len(L), len(some)))
        for part, data in self._parts(coefficients, L, shape, self.nodes):
            out[:, part] = draw_effects(*data, some, np.uint64(seed), part.start)
        return out

    def adapted(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        aim: float | np.ndarray = AIM,
    ) -> "GroupIntegral":
        """Lattices fit for some values of the parameters (S, ...), the first the reference.

        Each group takes the fewest nodes whose integral agrees with that of more than twice as many
        to its share of the error that is aimed at, at all values; `aim` may be one for each (S,).
        """
        J, q = self.near.shape
        most = np.array(NODES if q == 1 else [k for k in NODES if k <= MOST_OF_TWO])
        rough = replace(
            self, shift=np.zeros((J, q)), scale=np.ones((J, q)), nodes=np.full(J, most[-1])
        )
        ((_, data),) = rough._parts(coefficients[:1], L[:1], shape[:1], rough.nodes)
        found = integrals(*data, self._all, MOMENTS)
        mean, square, modes, roots = (figure[0] for figure in found[3:])
        inverse = np.linalg.inv(roots)
        shift = (inverse @ (mean - modes)[..., None])[..., 0]
        spread = inverse @ (square - mean[:, :, None] * mean[:, None]) @ np.swapaxes(inverse, 1, 2)
        moved = replace(
            self,
            near=modes @ L[0].T,
            shift=shift,
            scale=np.clip(np.sqrt(np.diagonal(spread, axis1=1, axis2=2)), 0.5, 3.0),
        )
        nodes, open_ = np.full(J, most[-1]), np.arange(J)
        for K in most:
            fine, finer = (np.full(J, k) for k in (K, 2 * K + 1))
            arguments = (coefficients, L, shape)
            error = moved.log_integrals(*arguments, nodes=fine, some=open_)
            error -= moved.log_integrals(*arguments, nodes=finer, some=open_)
            done = (np.abs(error).T / aim).max(1) < 1 / J
            nodes[open_[done]] = K
            open_ = open_[~done]
            if not len(open_):
                break
        return replace(moved, nodes=nodes)

    def errors(self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Certificate: how far K nodes of each group are from 2 K + 1 of them: (S, J)."""
        arguments = (coefficients, L, shape)
        finer = self.log_integrals(*arguments, nodes=2 * self.nodes + 1)
        return np.abs(self.log_integrals(*arguments) - finer)

    @property
    def _all(self) -> np.ndarray:
        return np.arange(self.rows.n_groups)

    def _parts(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray, nodes: np.ndarray
    ) -> Iterator[tuple[slice, Any]]:
        """The kernels' arguments, for some values of the parameters at a time."""
        rows, q = self.rows, L.shape[1]
        each = max(group_kernels.LANES, AT_A_TIME // (rows.n_groups * q**2))
        own = shape if rows.family == "negbinomial" else np.zeros(len(L))
        kind, responses = (rows.poisson, rows.common), (rows.y, rows.trials, rows.count)
        fixed = (*kind, rows.X, rows.offset, *responses, np.ascontiguousarray(rows.Z.T), rows.start)
        for first in range(0, len(L), each):
            part = slice(first, first + each)
            values = (np.ascontiguousarray(value[part]) for value in (coefficients, L, own))
            with threads(len(L[part]) * len(rows.y) * int(nodes.mean()) ** q):
                yield part, (*fixed, *values, self.near, self.shift, self.scale, nodes)


def group_integral(rows: CountedRows, K: int = 25) -> GroupIntegral:
    """Lattices of K nodes about the modes, sized by the curvature; K = 1 is Laplace's method."""
    J, q = rows.n_groups, rows.Z.shape[1]
    zero = np.zeros((J, q))
    return GroupIntegral(rows, zero, zero, zero + 1, np.full(J, K))
