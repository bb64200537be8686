"""Small factors beside those whose effects are integrated out: their effects are coefficients.

Effects of few levels stand among the coefficients of a family with a link, with a prior that hangs
on standard deviations of their own (docs/method.md, eq. (62) to (64)). So that the posterior is no
funnel, whatever the standard deviations of all factors are, the coordinates of coefficients and
small effects are those of the normal distribution that they would have given these, if rows were
normal about their line with the weights of the mode.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from partialpool.design.matrices import Design, Grouping

#: Numbers in a scratch array.
CHUNK = 4_000_000
#: Kinds of groups, by how much their rows tell, that are told apart.
KINDS = 24
#: Effects of small factors at most, all together.
MOST_BESIDE = 60
#: Groups of the innermost factor up to which more than one is integrated out around it: each takes
#: ten times the products, and of 400 groups in two others a fit was not done in ten minutes.
MOST_DEEP = 200


class Placed(NamedTuple):
    """Coefficients and effects at some coordinates, and what their gradient needs.

    Attributes
    ----------
    x : (S, P) array
        Coordinates of the coefficients.
    effects : (S, M) array
    log_density : (S,) array
        Of the effects' prior, with the Jacobian of the coordinates.
    normals : (S, M) array
        Standard normals of which the prior makes the effects.
    root : (S, P + M, P + M) array
        Lower triangular root of the conditional precision of coefficients and normals.
    """

    x: np.ndarray
    effects: np.ndarray
    log_density: np.ndarray
    normals: np.ndarray
    root: np.ndarray


@dataclass(frozen=True, eq=False)
class Working:
    """What rows say of n = P + M coordinates, were they normal about their line.

    Attributes
    ----------
    whole : (n, n + 1) array
        Weighted cross-products of the columns, with each other and with the response.
    gain : (k, q, q) array
        Roots ``F_j`` of the weighted cross-products ``F_j F_jᵀ`` of the varying columns, the mean
        of each kind of groups.
    lost : (k, q, q, n, n + 1) array
        Of ``F_j⁻¹ Z_jᵀ W [X y]``, products with themselves, added up over each kind.
    prior : (P,) array
        Curvature of the coefficients' log prior.
    """

    whole: np.ndarray
    gain: np.ndarray
    lost: np.ndarray
    prior: np.ndarray

    def given(self, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Precision (S, n, n) and pull (S, n), effects ``N(0, L Lᵀ)`` (S, q, q) integrated out."""
        n, q = len(self.whole), L.shape[1]
        root = np.einsum("kba,sbc->skac", self.gain, L)
        # never more than is there, whatever the kinds: what is left stays positive definite
        share = np.eye(q) - np.linalg.inv(root @ root.swapaxes(2, 3) + np.eye(q))
        lost = share.reshape(len(L), -1) @ self.lost.reshape(-1, n * (n + 1))
        both = self.whole - lost.reshape(-1, n, n + 1)
        precision, pull = np.ascontiguousarray(both[:, :, :n]), both[:, :, n]
        own = np.arange(len(self.prior))
        precision[:, own, own] += self.prior
        return precision, pull


@dataclass(frozen=True, eq=False)
class SmallFactors:
    """Effects v (M,) of all small factors: factor by factor, level by level, column by column.

    Attributes
    ----------
    shapes : tuple of (int, int, int)
        First column of each factor among those of all factors, number of columns, and levels.
    working : Working, optional
        Without it coordinates are those of the coefficients, and the standard normals of which the
        prior makes the effects.
    """

    shapes: tuple[tuple[int, int, int], ...]
    working: Working | None = None

    @property
    def number(self) -> int:
        """Number of effects M."""
        return sum(q * levels for _, q, levels in self.shapes)

    def place(self, L: np.ndarray, own: slice, u: np.ndarray) -> Placed:
        """Coefficients and effects at coordinates (S, P + M).

        Given roots L (S, Q, Q) of all factors' covariances, `own` that of the integrated one.
        """
        S, n, M = *u.shape, self.number
        P = n - M
        if self.working is None:
            z = u[:, P:]
            density = -0.5 * (z**2).sum(1) - 0.5 * M * np.log(2 * np.pi)
            root = np.broadcast_to(np.eye(n), (S, n, n))
            return Placed(u[:, :P], self._times(L, z), density, z, root)
        parts = []
        size = max(1, CHUNK // (n * (n + 1)))
        for first in range(0, S, size):
            some, e = L[first : first + size], u[first : first + size]
            root, pull = self._conditional(some, own, P)
            found = upper(root, lower(root, pull) + e)
            z = found[:, P:]
            density = -0.5 * (z**2).sum(1) - 0.5 * M * np.log(2 * np.pi)
            density -= np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
            parts.append(Placed(found[:, :P], self._times(some, z), density, z, root))
        return Placed(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def coordinates(self, L: np.ndarray, own: slice, placed: Placed) -> np.ndarray:
        """Coordinates (S, P + M) of what was placed by others, given the same roots."""
        root, pull = self._conditional(L, own, placed.x.shape[1])
        found = np.hstack([placed.x, placed.normals])
        return np.einsum("sba,sb->sa", root, found) - lower(root, pull)

    def _conditional(self, L: np.ndarray, own: slice, P: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower root of the precision of coefficients and normals, and the pull on them."""
        assert self.working is not None
        L = np.nan_to_num(L)  # far out, where there is no density either
        precision, pull = self.working.given(L[:, own, own])
        n = pull.shape[1]
        precision[:, P:] = self._transposed(L, precision[:, P:])
        across = np.ascontiguousarray(precision[:, :, P:].swapaxes(1, 2))
        precision[:, :, P:] = self._transposed(L, across).swapaxes(1, 2)
        precision[:, np.arange(P, n), np.arange(P, n)] += 1.0
        pull[:, P:] = self._transposed(L, pull[:, P:, None])[..., 0]
        return _cholesky(precision), pull

    def gradient(
        self, L: np.ndarray, placed: Placed, by_x: np.ndarray, by_effects: np.ndarray
    ) -> np.ndarray:
        """Derivatives (S, P + M) by the coordinates, from those by coefficients and effects."""
        by_normals = self._transposed(L, by_effects[..., None])[..., 0] - placed.normals
        both = np.hstack([by_x, by_normals])
        return both if self.working is None else lower(placed.root, both)

    def by_factor(self, figures: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Columns of each factor among those of all, and figures (M, ...) as (J, q, ...)."""
        end = 0
        for first, q, levels in self.shapes:
            block = figures[end : end + q * levels]
            yield slice(first, first + q), block.reshape(levels, q, *figures.shape[1:])
            end += q * levels

    def _times(self, L: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Effects (S, M) of standard normals."""
        parts = [np.empty((len(z), 0))]
        for own, block in self.by_factor(z.T):
            turned = np.einsum("sab,jbs->sja", L[:, own, own], block)
            parts.append(turned.reshape(len(z), -1))
        return np.hstack(parts)

    def _transposed(self, L: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The transpose of what turns standard normals into effects, times x (S, M, k)."""
        found, end = np.empty_like(x), 0
        for first, q, levels in self.shapes:
            own, at = slice(first, first + q), slice(end, end + q * levels)
            block = x[:, at].reshape(len(x), levels, q, -1)
            turned = np.einsum("sba,sjbk->sjak", L[:, own, own], block)
            found[:, at] = turned.reshape(len(x), q * levels, -1)
            end += q * levels
        return found


def _cholesky(precision: np.ndarray) -> np.ndarray:
    """Lower roots (S, n, n) of matrices that may be singular but for rounding."""
    at = np.arange(precision.shape[1])
    for ridge in (1e-10, 1e-4):
        precision[:, at, at] *= 1 + ridge
        try:
            return np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            if len(precision) > 1:  # each by itself, so that none hangs on others
                return np.concatenate([_cholesky(one[None]) for one in precision])
    return np.eye(len(at))[None]


def lower(root: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Solve ``root y = x`` (S, n) for lower triangular roots (S, n, n)."""
    y = np.empty_like(x)
    for i in range(x.shape[1]):
        known = np.einsum("sk,sk->s", root[:, i, :i], y[:, :i])
        y[:, i] = (x[:, i] - known) / root[:, i, i]
    return y


def upper(root: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Solve ``rootᵀ y = x`` (S, n) for lower triangular roots (S, n, n)."""
    y = np.empty_like(x)
    for i in reversed(range(x.shape[1])):
        known = np.einsum("sk,sk->s", root[:, i + 1 :, i], y[:, i + 1 :])
        y[:, i] = (x[:, i] - known) / root[:, i, i]
    return y


def working(
    columns: np.ndarray,
    weight: np.ndarray,
    left: np.ndarray,
    Z: np.ndarray,
    groups: np.ndarray,
    prior: np.ndarray,
    rise: np.ndarray,
) -> Working:
    """The cross-products of rows, by kinds of groups.

    Parameters
    ----------
    columns : (N, n) array
        By which coordinates of coefficients, and effects of small factors, move the line.
    weight : (N,) array
    left : (N,) array
        Weight times response: what the line is to be but for other coordinates.
    Z : (N, q) array
    groups : (N,) int array
        In order.
    prior, rise : (P,) arrays
        Curvature and slope of the coefficients' log prior.
    """
    both = np.hstack([columns * weight[:, None], left[:, None]])
    whole = columns.T @ both
    whole[: len(rise), -1] += rise
    starts = np.searchsorted(groups, np.arange(groups[-1] + 1))
    starts = starts[np.diff(np.append(starts, len(groups))) > 0]  # levels that no row has
    across = np.add.reduceat(Z[:, :, None] * both[:, None], starts, axis=0)  # (J, q, n + 1)
    told = np.add.reduceat(weight[:, None, None] * Z[:, :, None] * Z[:, None], starts, axis=0)
    at = np.arange(Z.shape[1])
    told[:, at, at] = np.maximum(told[:, at, at] * (1 + 1e-10), 1e-100)
    roots = np.linalg.cholesky(told)
    across = np.linalg.solve(roots, across)
    order = np.argsort(np.trace(told, axis1=1, axis2=2), kind="stable")
    kinds = [kind for kind in np.array_split(order, KINDS) if len(kind)]
    gain = np.stack([roots[kind].mean(0) for kind in kinds])
    lost = np.stack(
        [np.einsum("jan,jbm->abnm", across[kind][..., :-1], across[kind]) for kind in kinds]
    )
    return Working(whole, gain, lost, prior)


def split(design: Design) -> tuple[tuple[Grouping, ...], tuple[Grouping, ...]]:
    """Factors whose effects are integrated out, from the innermost one on, and the others.

    That with most effects; and where the others have too many for coefficients, those too in which
    it is nested, one in the other, and by which the intercept alone varies.
    """
    if len(design.groupings) < 2:
        return (design.only,), ()
    sizes = [grouping.n_levels * len(grouping.z_names) for grouping in design.groupings]
    chain = [design.groupings[int(np.argmax(sizes))]]
    others = [grouping for grouping in design.groupings if grouping is not chain[0]]
    if sum(sizes) - max(sizes) > MOST_BESIDE:
        for grouping in sorted(others, key=lambda grouping: -grouping.n_levels):
            deep = len(chain) == 1 or chain[0].n_levels <= MOST_DEEP
            if deep and grouping.z_names == ("1",) and _nested(chain[-1], grouping):
                chain.append(grouping)
    return tuple(chain), tuple(g for g in others if g not in chain)


def _nested(inner: Grouping, outer: Grouping) -> bool:
    """Whether each level of a factor lies in one level of another."""
    pairs = inner.codes * outer.n_levels + outer.codes
    return len(np.unique(pairs)) == len(np.unique(inner.codes))


def own_columns(design: Design) -> dict[str, slice]:
    """Places of each factor's columns among those of all, by its name."""
    ends = np.cumsum([0, *(len(grouping.z_names) for grouping in design.groupings)])
    return {
        grouping.name: slice(int(first), int(last))
        for grouping, first, last in zip(design.groupings, ends, ends[1:], strict=False)
    }


def integrated_columns(design: Design) -> tuple[slice, tuple[int, ...]]:
    """Columns of the innermost factor that is integrated out, and of those it is nested in."""
    own, (first, *others) = own_columns(design), split(design)[0]
    return own.get(first.name, slice(0, 1)), tuple(own[g.name].start for g in others)


def columns(groupings: Sequence[Grouping], n: int) -> np.ndarray:
    """Columns (n, M) of the effects of some factors at n rows."""
    parts = [np.empty((n, 0))]
    for grouping in groupings:
        q = grouping.Z.shape[1]
        part = np.zeros((n, grouping.n_levels, q))
        part[np.arange(n), grouping.codes] = grouping.Z
        parts.append(part.reshape(n, -1))
    return np.hstack(parts)


def small_factors(design: Design) -> SmallFactors:
    """Of a design, with coordinates that know nothing of the rows yet."""
    own, (_, small) = own_columns(design), split(design)
    return SmallFactors(tuple((own[g.name].start, len(g.z_names), g.n_levels) for g in small))
