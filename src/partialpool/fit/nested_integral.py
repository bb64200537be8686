"""The integral over the effects of nested factors (docs/method.md, eq. (67) to (69)).

Groups lie in groups of another factor, by which the intercept varies too: what it adds moves the
lines of all that lie in a group. Given that, they are independent, and their integrals are known;
so the outer effect is integrated out by the rule of Gauss and Hermite about its mode, one factor
after the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from partialpool.fit.counted_rows import CountedRows
from partialpool.fit.group_draws import uniforms
from partialpool.fit.hull import from_chords
from partialpool.fit.integral import AIM, AT_A_TIME, LIMIT, Integral, Moments
from partialpool.fit.quadrature import gauss_hermite

#: Most steps to a mode; distance from it, in spreads, and change of the log curvature that is left
#: to the last one.
STEPS, NEAR, ROUND = 12, 1.0, 1.0
#: Smallest spread of effects with which it is asked what the groups say of them.
LEAST = 0.1
#: Nodes that are tried.
NODES = (5, 7, 9, 11, 13, 17, 21, 25, 31, 41)
#: Places, in spreads from the mode, at which the inner lattices must fit, and how much larger their
#: error may be there at most.
PLACES, ROOM = np.array([0.0, -1.2, 1.2, -2.4, 2.4, -3.8, 3.8]), 1e3
#: First of the numbers of attempts of a factor's draws, by how many factors lie in it.
SALT = 2_000_000
#: Proposals before the last one is taken: never seen, but a loop must end.
MOST_ATTEMPTS = 1000


class Place(NamedTuple):
    """Some values of the parameters, and what moves the lines of each group: (s, J)."""

    coefficients: np.ndarray
    L: np.ndarray
    shape: np.ndarray
    moved: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation (s,) of the outermost effects."""
        return self.L[:, -1, -1]

    def of(self, some: np.ndarray) -> "Place":
        """At some of the values."""
        return Place(*(value[some] for value in self))


@dataclass(frozen=True, eq=False)
class NestedIntegral(Integral):
    """The effects of one factor's intercept, around the integrals over those that lie in it.

    Attributes
    ----------
    inner : Integral
        Whose `outer` tells in which group its groups lie.
    pull, told : (J,) arrays
        About what the groups in a group say of its effect u: ``pull u - told u² / 2``.
    nodes : int
        Nodes K for each group.
    outer : (J,) int array
    """

    aims = (LIMIT / 2, 300 * LIMIT)

    inner: Integral
    pull: np.ndarray
    told: np.ndarray
    nodes: int
    outer: np.ndarray

    @property
    def rows(self) -> CountedRows:  # type: ignore[override]
        """By groups of the innermost factor."""
        return self.inner.rows

    def log_integrals(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
        *,
        some: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log of each group's integral, without `CountedRows.constants`: (S, G)."""
        some = self._all if some is None else some
        out = np.empty((len(L), len(some)))
        for part, place in self._parts(coefficients, L, shape, moved):
            out[part] = self._lattice(place, some)[2]
        return out

    def gradient(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood (S,), its derivatives by the coefficients (S, p + t) and L (S, n, n)."""
        _, by_coefficients = self.rows.constants_gradient(shape, coefficients)
        slope, by_L = self.slopes(coefficients, L, shape)
        return self(coefficients, L, shape), by_coefficients + slope, by_L

    def slopes(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
        shares: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the weighted sum of log integrals, without `CountedRows.constants`."""
        by_coefficients, by_L = np.zeros_like(coefficients), np.zeros_like(L)
        for part, place in self._parts(coefficients, L, shape, moved):
            w, chance, _ = self._lattice(place, self._all)
            own = np.ones(w.shape[:2]) if shares is None else shares[self.outer, part].T
            # by parts, for the derivative of the normal density is known
            excess = own * ((chance * w**2).sum(2) - 1)
            by_L[part, -1, -1] = excess.sum(1) / np.where(place.sd > 0, place.sd, np.inf)
            weights = (own[:, :, None] * chance).swapaxes(0, 1).reshape(len(self.told), -1)
            slope, rise = self.inner.slopes(*self._inside(place, w), weights)
            by_coefficients[part] = _added(slope, w.shape[2])
            by_L[part, :-1, :-1] = _added(rise, w.shape[2])
        return by_coefficients, by_L

    def moments(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        moved: np.ndarray | None = None,
    ) -> Iterator[tuple[slice, list[Moments]]]:
        """Means and mean products of the effects of each factor, some draws at a time."""
        for part, place in self._parts(coefficients, L, shape, moved):
            w, chance, _ = self._lattice(place, self._all)
            found: list[list[Moments]] = [[] for _ in self.inner.ancestors]
            for _, each in self.inner.moments(*self._inside(place, w)):
                for factor, figures in zip(found, each, strict=True):
                    factor.append(figures)
            averages = []
            for groups, factor in zip(self.inner.ancestors, found, strict=True):
                own = chance[:, self.inner.outer[groups]]
                one, two = zip(*factor, strict=True)
                averages.append((_averaged(own, one), _averaged(own, two)))
            effect = place.sd[:, None, None] * w
            mean, square = ((chance * effect**power).sum(2) for power in (1, 2))
            yield part, [*averages, (mean[..., None], square[..., None, None])]

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
        """One exact draw of each factor's effects for each of S values of the parameters."""
        some = [np.arange(len(each)) for each in self.ancestors] if some is None else some
        around = [each[few] for each, few in zip(self.ancestors, some, strict=True)]
        needed = np.unique(np.concatenate(around))
        parts = []
        for part, place in self._parts(coefficients, L, shape, moved):
            at = first + part.start
            w = self._drawn(place, needed, seed, at)
            inside = Place(*self._inside(place, w[:, :, None], needed))
            inner = self.inner.draw(*inside[:3], seed, some[:-1], inside.moved, at)
            own = place.sd[:, None] * w[:, np.searchsorted(needed, some[-1])]
            parts.append([*inner, own[None]])
        return [np.concatenate(each, axis=1) for each in zip(*parts, strict=True)]

    def adapted(
        self,
        coefficients: np.ndarray,
        L: np.ndarray,
        shape: np.ndarray,
        aim: float | np.ndarray = AIM,
        moved: np.ndarray | None = None,
    ) -> "NestedIntegral":
        """Lattices fit for some values of the parameters (S, ...), the first the reference.

        All groups have the same number of nodes.
        """
        aims = np.broadcast_to(aim, len(L))
        arguments = (coefficients, L, shape, moved)
        _, first = next(self._parts(*arguments))
        root = np.array(first.L[:1])
        root[:, -1, -1] = sd = max(root[0, -1, -1], LEAST)
        first = first.of(np.array([0]))._replace(L=root)
        centre, spread = (figure[0] for figure in self._centred(first, self._all))
        told = np.maximum(spread**-2 - 1, 0) / sd**2
        pull = centre * (1 + sd**2 * told) / sd + told * first.moved[0]
        known = replace(self, pull=pull, told=told)
        lanes = []
        for _, place in known._parts(*arguments):
            centre, spread = known._centred(place, self._all)
            w = centre[:, :, None] + spread[:, :, None] * PLACES
            lanes.append(known._inside(place, w))
        inside = Place(
            *(
                np.concatenate(each, axis=axis)
                for each, axis in zip(zip(*lanes, strict=True), (0, 0, 0, 1), strict=True)
            )
        )
        room = np.minimum(np.exp(PLACES**2 / 2), ROOM)
        aims_of_lanes = (aims[:, None] * room).reshape(-1)
        inner = self.inner.adapted(*inside[:3], aims_of_lanes, inside.moved)
        known = replace(known, inner=inner)
        for K in NODES:
            known = replace(known, nodes=K)
            error = known.log_integrals(*arguments)
            error -= replace(known, nodes=2 * K + 1).log_integrals(*arguments)
            if (np.abs(error).sum(1) < aims).all():
                break
        return known

    def with_nodes(self, K: int) -> "NestedIntegral":
        """K nodes on every lattice."""
        return replace(self, inner=self.inner.with_nodes(K), nodes=K)

    def finer(self) -> "NestedIntegral":
        """More than twice the nodes on every lattice."""
        return replace(self, inner=self.inner.finer(), nodes=2 * self.nodes + 1)

    @property
    def nodes_by_factor(self) -> list[np.ndarray]:
        """Nodes of the lattices of each factor, from the innermost one on."""
        return [*self.inner.nodes_by_factor, np.array([self.nodes])]

    @property
    def path(self) -> list[np.ndarray]:
        """Group of each row (n,) in each factor, from the innermost one on."""
        inner = self.inner.path
        return [*inner, self.inner.outer[inner[-1]]]

    @cached_property
    def ancestors(self) -> list[np.ndarray]:  # type: ignore[override]
        """In which group those of each factor lie, from the innermost one on."""
        return [*(self.inner.outer[each] for each in self.inner.ancestors), self._all]

    @property
    def sizes(self) -> np.ndarray:  # type: ignore[override]
        """Nodes in all for a group (J,), those of the way to the mode too."""
        most = np.zeros(len(self.told), dtype=np.int64)
        np.maximum.at(most, self.inner.outer, self.inner.sizes)
        return most * (self.nodes + 3)

    def _gathered(self, figures: np.ndarray) -> np.ndarray:
        out = np.zeros((len(figures), len(self._all)))
        np.add.at(out.T, self.ancestors[0], figures.T)
        return out

    @cached_property
    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        """Inner groups in order of the groups they lie in, and where each of these begins."""
        order = np.argsort(self.inner.outer, kind="stable")
        return order, np.searchsorted(self.inner.outer[order], np.arange(len(self.told) + 1))

    @property
    def _all(self) -> np.ndarray:
        return np.arange(len(self.told))

    def _parts(
        self, coefficients: np.ndarray, L: np.ndarray, shape: np.ndarray, moved: np.ndarray | None
    ) -> Iterator[tuple[slice, Place]]:
        """Some values of the parameters at a time, and what moves each group (s, J)."""
        each = max(1, AT_A_TIME // (len(self.inner.sizes) * self.nodes))
        for first in range(0, len(L), each):
            part = slice(first, first + each)
            own = np.zeros((len(L[part]), len(self.told)))
            if moved is not None:
                own += moved[self.outer, part].T
            yield part, Place(coefficients[part], L[part], shape[part], own)

    def _inside(
        self, place: Place, w: np.ndarray, some: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Arguments of the inner integrals, at effects of all or some groups: w (s, G, K).

        The nodes of each value of the parameters stand beside each other.
        """
        K, some = w.shape[2], self._all if some is None else some
        moved = np.zeros((len(self.told), len(w), K))
        moved[some] = (place.moved[:, some, None] + place.sd[:, None, None] * w).swapaxes(0, 1)
        coefficients, L, shape = (
            value.repeat(K, axis=0)
            for value in (place.coefficients, place.L[:, :-1, :-1], place.shape)
        )
        return coefficients, L, shape, moved.reshape(len(moved), -1)

    def _heights(self, place: Place, w: np.ndarray, some: np.ndarray) -> np.ndarray:
        """Logarithms (s, G, K) of what is integrated over w, for some groups (G,)."""
        order, start = self._members
        counts = start[some + 1] - start[some]
        ends = np.cumsum(counts)
        within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
        members = order[np.repeat(start[some], counts) + within]
        found = np.zeros((len(w) * w.shape[2], len(some)))
        full = np.flatnonzero(counts)
        if len(full):
            each = self.inner.log_integrals(*self._inside(place, w, some), some=members)
            found[:, full] = np.add.reduceat(each, (ends - counts)[full], axis=1)
        found = found.reshape(len(w), w.shape[2], len(some)).swapaxes(1, 2)
        return np.asarray(found - 0.5 * w**2)

    def _centred(self, place: Place, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Modes (s, G) of some groups, about, and spreads by the curvature there."""
        pull, told, sd = self.pull[some], self.told[some], place.sd[:, None]
        spread = 1 / np.sqrt(1 + sd**2 * told)
        centre = sd * (pull - told * place.moved[:, some]) * spread**2
        far = np.arange(len(centre))
        for _ in range(STEPS):
            own, width = place.of(far), spread[far]
            w = centre[far][:, :, None] + width[:, :, None] * np.array([-1.0, 0.0, 1.0])
            low, middle, high = np.moveaxis(self._heights(own, w, some), 2, 0)
            bend = np.maximum(2 * middle - low - high, 0.1)
            step = np.clip((high - low) / 2 / bend, -3, 3)
            centre[far] += step * width
            spread[far] = np.minimum(width / np.sqrt(bend), 1.0)
            far = far[((np.abs(step) > NEAR) | (np.abs(np.log(bend)) > ROUND)).any(1)]
            if not len(far):
                break
        return centre, spread

    def _nodes(self, place: Place, some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes w (s, G, K) of some groups, their heights, and spreads (s, G) that they suit."""
        centre, spread = self._centred(place, some)
        w = centre[:, :, None] + spread[:, :, None] * gauss_hermite(self.nodes)[0]
        return w, self._heights(place, w, some), spread

    def _lattice(self, place: Place, some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes w (s, G, K) of some groups, their shares, and logs of the integrals (s, G)."""
        w, heights, spread = self._nodes(place, some)
        heights += gauss_hermite(self.nodes)[1]
        top = heights.max(2, keepdims=True)
        chance = np.exp(heights - top)
        total = chance.sum(2, keepdims=True)
        value = (top + np.log(total))[:, :, 0] + np.log(spread / np.sqrt(2 * np.pi))
        return w, chance / total, value

    def _drawn(self, place: Place, some: np.ndarray, seed: int, first: int) -> np.ndarray:
        """Standard normals (s, G) of some groups given the rows: exact, by rejection.

        Under the chords of the logarithm of the density, which is concave (Gilks 1992).
        """
        w, heights, spread = self._nodes(place, some)
        points, salt = gauss_hermite(self.nodes)[0], SALT * len(self.ancestors)
        middle = w[:, :, self.nodes // 2]
        out = np.array(middle)
        s, g = np.nonzero(np.ones(out.shape, dtype=bool))
        for attempt in range(MOST_ATTEMPTS):
            draws, groups = np.uint64(first) + s.astype(np.uint64), some[g].astype(np.uint64)
            u, v = uniforms(np.uint64(seed), draws, groups, salt + attempt)
            at, bound = from_chords(points, heights[s, g], u)
            out[s, g] = middle[s, g] + spread[s, g] * at
            few, lane = np.unique(s, return_inverse=True)
            which, group = np.unique(g, return_inverse=True)
            height = self._heights(place.of(few), out[np.ix_(few, which)][:, :, None], some[which])
            left = np.log(v) + bound > height[lane, group, 0]
            s, g = s[left], g[left]
            if not len(s):
                break
        return out


def _added(figures: np.ndarray, K: int) -> np.ndarray:
    """Sums (s, ...) over nodes of figures (s K, ...)."""
    return figures.reshape(len(figures) // K, K, *figures.shape[1:]).sum(1)


def _averaged(chance: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Averages (s, J, ...) over nodes with chances (s, J, K), of figures (s K, J, ...)."""
    figures = np.concatenate(parts)
    s, _, K = chance.shape
    return np.asarray(
        np.einsum("sjk,skj...->sj...", chance, figures.reshape(s, K, *figures.shape[1:]))
    )
