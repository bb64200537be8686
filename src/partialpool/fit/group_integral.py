"""The integral over each group's effects, with its own certificate (docs/method.md, eq. (54))."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numba
import numpy as np

from partialpool.fit import group_draws, group_kernels
from partialpool.fit.counted_rows import CountedRows
from partialpool.fit.group_kernels import DERIVATIVES, MOMENTS, VALUES
from partialpool.fit.group_lattice import Lattices
from partialpool.fit.group_rows import LANES, Data, Values, chunks
from partialpool.fit.integral import AIM, AT_A_TIME, Integral, Moments
from partialpool.fit.kernels import WORTH_THREADS

#: Nodes that are tried along each axis of a group's lattice.
NODES = (5, 7, 9, 11, 13, 17, 21, 25, 31, 41, 51, 65, 81, 101, 131, 161, 201, 251)
#: Most of them with two varying coefficients, whose lattice has the square of that.
MOST_OF_TWO = 51

#: Parts of the work for each thread: what one has done before the other is shared out.
PARTS = 4

#: Their types in numba know no arguments.
integrals: Any = group_kernels.integrals
draw_effects: Any = group_draws.draw_effects


@dataclass(frozen=True, eq=False)
class GroupIntegral(Integral):
    """The effects of one factor, on a lattice for each group.

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
    outer : (J,) int array
    """

    rows: CountedRows
    near: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    nodes: np.ndarray
    outer: np.ndarray

    def log_integrals(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
        *,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log of each group's integral, without `CountedRows.constants`: (S, G).

        Of L the root of the covariance of the effects is meant; the shape is the negative
        binomial's, else not used.
        """
        some = self._all if some is None else some
        out = np.empty((len(L), len(some)))
        for part, data in self._parts(coefficients, L, shape, moved):
            out[part] = self._integrals(part, data, some, VALUES)[0]
        return out

    def __call__(self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Log likelihood (S,), constants included; arguments as for `log_integrals`."""
        value = self.rows.constants(shape, coefficients)
        for part, data in self._parts(coefficients, L, shape):
            value[part] += self._integrals(part, data, self._all, VALUES)[0].sum(1)
        return value

    def gradient(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood (S,), its derivatives by the coefficients (S, p + t) and L (S, q, q)."""
        value, by_L = self.rows.constants(shape, coefficients), np.empty_like(L)
        _, by_coefficients = self.rows.constants_gradient(shape, coefficients)
        for part, data in self._parts(coefficients, L, shape):
            found = self._integrals(part, data, self._all, DERIVATIVES)
            each, slope, by_L[part], *_ = found
            value[part] += each.sum(1)
            by_coefficients[part] += slope
        return value, by_coefficients, by_L

    def slopes(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray,
        shares: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the weighted sum of log integrals, without `CountedRows.constants`."""
        by_coefficients, by_L = np.empty_like(coefficients), np.empty_like(L)
        for part, data in self._parts(coefficients, L, shape, moved, shares):
            found = self._integrals(part, data, self._all, DERIVATIVES)
            _, by_coefficients[part], by_L[part], *_ = found
        return by_coefficients, by_L

    def moments(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
    ) -> Iterator[tuple[slice, list[Moments]]]:
        """Means (s, J, q) and mean products (s, J, q, q) of the effects, some draws at a time."""
        for part, data in self._parts(coefficients, L, shape, moved):
            _, _, _, mean, square, _, _ = self._integrals(part, data, self._all, MOMENTS)
            root = L[part, None]
            effects = (root @ mean[..., None])[..., 0]
            yield part, [(effects, root @ square @ np.swapaxes(root, -1, -2))]

    def draw(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        seed: int,
        some: Sequence[np.ndarray] | None = None,
        moved: np.ndarray | None = None,
        first: int = 0,
    ) -> list[np.ndarray]:
        """One exact draw of the effects for each of S values of the parameters: (q, S, G)."""
        (groups,) = [self._all] if some is None else some
        out, key = np.empty((L.shape[1], len(L), len(groups))), np.uint64(seed)
        for part, data in self._parts(coefficients, L, shape, moved):
            drawn = np.empty((len(out), part.stop - part.start, len(groups)))
            self._run(draw_effects, part, *data, groups, key, first + part.start, drawn)
            out[:, part] = drawn
        return [out]

    def adapted(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        aim: float | np.ndarray = AIM,
        moved: np.ndarray | None = None,
    ) -> "GroupIntegral":
        """Lattices fit for some values of the parameters (S, ...), the first the reference.

        Each group has a number of nodes of its own, for an equal share of the error.
        """
        J, q = self.near.shape
        most = np.array(NODES if q == 1 else [k for k in NODES if k <= MOST_OF_TWO])
        rough = replace(
            self, shift=np.zeros((J, q)), scale=np.ones((J, q)), nodes=np.full(J, most[-1])
        )
        here = None if moved is None else moved[:, :1]
        (place,) = rough._parts(coefficients[:1], L[:1], shape[:1], here)
        found = rough._integrals(*place, self._all, MOMENTS)
        mean, square, modes, roots = (figure[0] for figure in found[3:])
        inverse = np.linalg.inv(roots)
        shift = (inverse @ (mean - modes)[..., None])[..., 0]
        spread = inverse @ (square - mean[:, :, None] * mean[:, None]) @ np.swapaxes(inverse, 1, 2)
        better = replace(
            self,
            near=modes @ L[0].T,
            shift=shift,
            scale=np.clip(np.sqrt(np.diagonal(spread, axis1=1, axis2=2)), 0.5, 3.0),
        )
        nodes, open_ = np.full(J, most[-1]), np.arange(J)
        for K in most:
            fine, finer = (better.with_nodes(k) for k in (K, 2 * K + 1))
            error = fine.log_integrals(coefficients, L, shape, moved, some=open_)
            error -= finer.log_integrals(coefficients, L, shape, moved, some=open_)
            done = (np.abs(error).T / aim).max(1) < 1 / J
            nodes[open_[done]] = K
            open_ = open_[~done]
            if not len(open_):
                break
        return replace(better, nodes=nodes)

    def with_nodes(self, K: int) -> "GroupIntegral":
        """K nodes on every lattice; 1 is Laplace's approximation where nothing is adapted."""
        return replace(self, nodes=np.full(len(self.nodes), K))

    def finer(self) -> "GroupIntegral":
        """More than twice the nodes on every lattice."""
        return replace(self, nodes=2 * self.nodes + 1)

    @property
    def nodes_by_factor(self) -> list[np.ndarray]:
        """Nodes of the lattices along each axis."""
        return [self.nodes]

    @property
    def path(self) -> list[np.ndarray]:
        """Group of each row (n,)."""
        return [self.rows.groups]

    @cached_property
    def ancestors(self) -> list[np.ndarray]:  # type: ignore[override]
        """The groups themselves."""
        return [self._all]

    @property
    def sizes(self) -> np.ndarray:  # type: ignore[override]
        """Nodes in all for a group (J,)."""
        return np.asarray(self.nodes ** self.near.shape[1])

    def _parts(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
        shares: np.ndarray | None = None,
    ) -> Iterator[tuple[slice, Any]]:
        """The kernels' arguments, for some values of the parameters at a time."""
        rows, q = self.rows, L.shape[1]
        each = max(LANES, AT_A_TIME // (rows.n_groups * q**2))
        own = shape if rows.family == "negbinomial" else np.zeros(len(L))
        responses = (rows.y, rows.trials, rows.count)
        Z = np.ascontiguousarray(rows.Z.T)
        data = Data(rows.poisson, rows.common, rows.X, rows.offset, *responses, Z, rows.start)
        lattices = Lattices(self.near, self.shift, self.scale, self.nodes)
        none = np.empty((0, len(L)))
        around = [none if lanes is None else lanes for lanes in (moved, shares)]
        for first in range(0, len(L), each):
            part = slice(first, min(first + each, len(L)))
            here = [np.ascontiguousarray(value[part]) for value in (coefficients, L, own)]
            lanes = [np.ascontiguousarray(value[:, part]) for value in around]
            yield part, (data, Values._make([*here, self.outer, *lanes]), lattices)

    def _integrals(
        self, part: slice, data: Any, some: np.ndarray, what: int
    ) -> tuple[np.ndarray, ...]:
        """Log integrals of some groups, and what else `group_kernels.integrals` finds."""
        S, q, N = part.stop - part.start, self.near.shape[1], len(some) if what > VALUES else 0
        out = (
            *(np.empty((S, len(some))), np.zeros((S, self.rows.X.shape[1])), np.zeros((S, q, q))),
            *(np.zeros((S, N, q)), np.zeros((S, N, q, q))),
            *(np.empty((S, N, q)), np.empty((S, N, q, q))),
        )
        self._run(integrals, part, *data, some, what, *out)
        return out

    def _run(self, kernel: Any, part: slice, *arguments: Any) -> None:
        """Run a kernel over all its chunks, on several threads where that pays.

        numba's own loops over threads would take twice as long to compile.
        """
        S, nodes = part.stop - part.start, int(self.nodes.mean()) ** self.near.shape[1]
        number, _ = chunks(S, np.diff(self.rows.start).max())
        workers = min(numba.get_num_threads(), number)
        if workers < 2 or S * len(self.rows.y) * nodes < WORTH_THREADS:
            kernel(*arguments, 0, number)
            return
        places = np.linspace(0, number, min(number, PARTS * workers) + 1).astype(int).tolist()
        with ThreadPoolExecutor(workers) as pool:
            runs = [pool.submit(partial(kernel, *arguments), *ends) for ends in pairwise(places)]
            for run in runs:
                run.result()


def group_integral(
    rows: CountedRows, K: int = 25, outer: np.ndarray | None = None
) -> GroupIntegral:
    """Lattices of K nodes about the modes, sized by the curvature; K = 1 is Laplace's method."""
    J, q = rows.n_groups, rows.Z.shape[1]
    zero = np.zeros((J, q))
    outer = np.empty(0, dtype=np.int64) if outer is None else outer
    return GroupIntegral(rows, zero, zero, zero + 1, np.full(J, K), outer)
