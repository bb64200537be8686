"""From the rows of several grouping factors to what their likelihood needs, in one pass.

The matrices are those of docs/method.md, eq. (40), (42) and (45).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from partialpool.design.priors import Prior
from partialpool.fit import elimination_kernels as kernels
from partialpool.fit.crossproducts import CrossProducts, centred, triangular
from partialpool.fit.elimination import Elimination
from partialpool.fit.nested import Chain, parents

#: Effects of a factor up to which it is small: columns beside X.
SMALL = 40
#: Effects of the middle factors together above which their dense system takes too long.
MAX_DENSE = 5000
#: What is left to do where the exact fit would take too long.
WAY_OUT = "method nutpie"


class TooDear(ValueError):
    """The exact fit of these factors would take too long; the message says what is left to do."""


@dataclass(frozen=True)
class Factor:
    """A grouping factor: the level of each row, and the columns that vary by level.

    Attributes
    ----------
    codes : (N,) int array
        Level of each row.
    Z : (N, q) array
        Columns whose coefficients vary.
    n_levels : int
        Number of levels J, also of those that no row has.
    """

    codes: np.ndarray
    Z: np.ndarray
    n_levels: int

    @property
    def q(self) -> int:
        """Number of varying columns."""
        return self.Z.shape[1]

    @property
    def n_effects(self) -> int:
        """Number of effects ``J q``."""
        return self.n_levels * self.q


def eliminate(
    y: np.ndarray,
    X: np.ndarray,
    factors: Sequence[Factor],
    weights: np.ndarray | None = None,
    *,
    small: int = SMALL,
    nested: bool = True,
) -> Elimination:
    """Reduce rows to what their likelihood needs.

    Parameters
    ----------
    y : (N,) array
    X : (N, p) array
    factors : sequence of Factor
        At least one.
    weights : (N,) array, optional
        One over the known standard deviation of each row's noise; then sigma is one.
    small : int
        Effects up to which a factor, unless it is the largest, is put beside X.
    nested : bool
        Whether factors that are nested in each other are eliminated level by level.

    Raises
    ------
    TooDear
        Where the middle factors have more than `MAX_DENSE` effects.
    """
    by_size = sorted(range(len(factors)), key=lambda f: -factors[f].n_effects)
    first, others = by_size[0], sorted(by_size[1:])
    middle = tuple(f for f in others if factors[f].n_effects > small)
    beside = tuple(f for f in others if f not in middle)
    finer = sorted((first, *middle), key=lambda f: -factors[f].n_levels)
    above = parents([factors[f].codes for f in finer], [factors[f].n_levels for f in finer])
    if not nested:
        above = None
    if above:
        first, *coarser = finer
        middle = tuple(coarser)
    dense = 0 if above else sum(factors[f].n_effects for f in middle)
    large = [factors[f].n_effects for f in middle if factors[f].n_effects > SMALL]
    if dense and sum(large) > MAX_DENSE:
        raise TooDear(
            f"The exact fit takes factors beside the largest one with up to {MAX_DENSE:,} effects "
            f"together, unless all are nested, and these have {sum(large):,}; choose {WAY_OUT}."
        )
    weight = np.ones(len(y)) if weights is None else weights
    X, A, a, y, y_scale = _standardized(X, y)
    Z, T = zip(*(_scaled(factor.Z) for factor in factors), strict=True)
    columns = [X, *(_indicators(factors[f], Z[f]) for f in beside), y[:, None]]
    K = np.column_stack(columns) * weight[:, None]
    R, Q = _orthonormal(factors[first], Z[first][:, _ones_first(factors[first].Z)], weight)
    if len(T[first]) > 1:
        T = (*T[:first], T[first][_ones_first(factors[first].Z)], *T[first + 1 :])
    codes = factors[first].codes
    N, q = Q.shape
    bounds = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(R)))])
    by_code = np.argsort(codes, kind="stable")
    by_level = [csr_array((Q[by_code, k], by_code, bounds), shape=(len(R), N)) for k in range(q)]
    G, left = _projected(by_level, Q, codes, K)
    if above:
        wide = np.column_stack([Z[f] * weight[:, None] for f in middle])
        own, rest = _projected(by_level, Q, codes, wide)
        ends = [0, *np.cumsum([factors[f].n_effects for f in middle]).tolist()]
        middle_rows = _nested(factors, middle, above, own, np.hstack([rest, left]), ends)
    else:
        middle_rows = _dense(*_middle(factors, Z, middle, weight), Q, by_code, bounds, left, dense)
    return Elimination(
        first=first,
        middle=middle,
        small=beside,
        levels=tuple(f.n_levels for f in factors),
        widths=tuple(f.q for f in factors),
        R=R,
        G=G,
        E=left.T @ left,
        **middle_rows,
        squares=tuple((f.Z**2).sum(0) / f.n_levels for f in factors),
        T=T,
        A=A,
        a=a,
        y_scale=y_scale,
        n_rows=N,
        log_weight=None if weights is None else float(np.log(weights).sum()),
    )


def of_crossproducts(cross: CrossProducts) -> Elimination:
    """The cross-products of one factor in the form of several."""
    J, q, m = cross.G.shape
    user = cross.R @ cross.T
    return Elimination(
        first=0,
        middle=(),
        small=(),
        levels=(J,),
        widths=(q,),
        R=cross.R,
        G=cross.G,
        E=cross.E,
        E_middle=np.empty((0, 0)),
        E_mixed=np.empty((m, 0)),
        starts=np.zeros(J + 1, dtype=np.int64),
        cols=np.empty(0, dtype=np.int64),
        shared=np.empty((0, q)),
        squares=((user**2).sum((0, 1)) / J,),
        T=(cross.T,),
        A=cross.A,
        a=cross.a,
        y_scale=cross.y_scale,
        n_rows=cross.n_rows,
        log_weight=cross.log_weight,
    )


def noise_weights(se: np.ndarray | None, sigma: Prior) -> np.ndarray | None:
    """What each row is multiplied by (N,), where the noise has known standard errors.

    Raises
    ------
    ValueError
        Where sigma is added to them, so that every value of it needs all rows anew; and where there
        is no noise at all.
    """
    if se is None and sigma == Prior("Fixed", (0.0,)):
        raise ValueError("With several grouping factors sigma cannot be fixed at zero.")
    if se is None:
        return None
    if not sigma.fixed:
        raise ValueError(
            "With several grouping factors the exact fit takes known standard errors with a fixed "
            "sigma only; choose method nutpie."
        )
    return 1 / np.hypot(se, sigma.arguments[0])


def _standardized(
    X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """X and y centred, where an intercept takes that up, and scaled; A, a and the scale of y."""
    ones = np.flatnonzero((X == 1).all(0))
    A, a = np.zeros((X.shape[1],) * 2), np.zeros(X.shape[1])
    spread = float(y.std()) or 1.0
    if not len(ones):
        scale = np.sqrt((X**2).mean(0))
        scale[scale == 0] = 1.0
        return X / scale, np.diag(scale), a, y / spread, spread
    one = ones[0]
    shift, scale = X.mean(0), X.std(0)
    constant = scale <= 1e-12 * np.abs(shift)
    shift[constant], scale[constant] = 0.0, np.abs(X[0, constant])
    scale[scale == 0] = 1.0
    A = np.diag(scale)
    A[one] += shift
    a[one] = y.mean()
    return (X - shift) / scale, A, a, (y - y.mean()) / spread, spread


def _ones_first(Z: np.ndarray) -> np.ndarray:
    """Columns of Z in the order in which they are taken: a column of ones before the others."""
    return np.argsort(~(Z == 1).all(0), kind="stable")


def _scaled(Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a factor, centred where a column of ones takes that up, and scaled; and T."""
    ones = np.flatnonzero((Z == 1).all(0))
    shift, scale = np.zeros(Z.shape[1]), np.sqrt((Z**2).mean(0))
    if len(ones):
        varies = Z.std(0) > 1e-12 * scale
        shift[varies], scale[varies] = Z[:, varies].mean(0), Z[:, varies].std(0)
    scale[scale == 0] = 1.0
    T = np.diag(scale)
    if len(ones):
        T[ones[0]] += shift
    return (Z - shift) / scale, T


def _indicators(factor: Factor, Z: np.ndarray) -> np.ndarray:
    """The columns (N, J q) of a small factor, those of a level side by side."""
    out = np.zeros((len(Z), factor.n_levels, factor.q))
    out[np.arange(len(Z)), factor.codes] = Z
    return out.reshape(len(Z), -1)


def _orthonormal(
    factor: Factor, Z: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """R (J, q, q), and rows (N, q) of ``Q`` with ``Z_j = Q_j R_j``; zero where R's row is."""
    q, J = factor.q, factor.n_levels
    shift, unit = np.zeros(q), np.ones(q)
    Z = np.ascontiguousarray(Z)  # or loops are compiled again for another order in memory
    counts, *found = centred(factor.codes, Z, shift, unit, weight, J)
    one = 0 if (factor.Z == 1).all(0).any() else None
    weights, means, spread = found
    R, _, _ = triangular(counts, weights, means, spread, q, one)
    pivots = R[:, np.arange(q), np.arange(q)]
    inverse = np.divide(1.0, pivots, out=np.zeros_like(pivots), where=pivots > 0)
    Q = Z * weight[:, None]
    for k in range(q):
        for c in range(k):
            Q[:, k] -= R[factor.codes, c, k] * Q[:, c]
        Q[:, k] *= inverse[factor.codes, k]
    return R, Q


def _projected(
    by_level: Sequence[csr_array], Q: np.ndarray, codes: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``Q_jᵀ`` times some columns (N, k): (J, q, k), and what is left of them."""
    G = np.stack([part @ columns for part in by_level], 1)
    left = columns.copy()
    for k in range(Q.shape[1]):
        left -= Q[:, [k]] * G[codes, k]
    return G, left


def _dense(
    effects: np.ndarray,
    values: np.ndarray,
    Q: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    left: np.ndarray,
    n: int,
) -> dict[str, Any]:
    """What an `Elimination` has of n middle effects in a dense system; `left` (N, m) of K."""
    starts, cols = kernels.touched(order, bounds, effects)
    shared, E_middle = kernels.shared_products(Q, order, bounds, effects, values, starts, cols, n)
    mixed = np.zeros((n, left.shape[1]))
    for k in range(effects.shape[1]):
        used = effects[:, k] >= 0
        at = np.arange(used.sum() + 1)
        picked = csr_array((values[used, k], effects[used, k], at), shape=(used.sum(), n))
        mixed += picked.T @ left[used]
    return {
        "E_middle": E_middle,
        "E_mixed": np.ascontiguousarray(mixed.T),
        "starts": starts,
        "cols": cols,
        "shared": shared,
    }


def _nested(
    factors: Sequence[Factor],
    middle: tuple[int, ...],
    above: tuple[np.ndarray, ...],
    T: np.ndarray,
    left: np.ndarray,
    ends: Sequence[int],
) -> dict[str, Any]:
    """The same of middle factors in which the first one is nested, and so on.

    `T` (J, q, s) is what the first factor's levels share with their columns, `left` (N, s + m) what
    the levels leave of these and of K, and `ends` where the effects of each begin and end.
    """
    J, q, s = T.shape
    second = factors[middle[0]]
    products = np.empty((second.n_levels, s, left.shape[1]))
    for a, b in np.ndindex(products.shape[1:]):
        products[:, a, b] = np.bincount(
            second.codes, left[:, a] * left[:, b], minlength=second.n_levels
        )
    cols, level = [], np.arange(J)
    for f, parent, begin in zip(middle, above, ends, strict=False):
        level = parent[level]
        cols.append(begin + level[:, None] * factors[f].q + np.arange(factors[f].q))
    return {
        "E_middle": np.empty((0, 0)),
        "E_mixed": np.empty((left.shape[1] - s, 0)),
        "starts": np.arange(J + 1) * s,
        "cols": np.hstack(cols).ravel(),
        "shared": T.swapaxes(1, 2).reshape(-1, q),
        "chain": Chain(above, tuple(factors[f].n_levels for f in middle), T, products),
    }


def _middle(
    factors: Sequence[Factor],
    Z: Sequence[np.ndarray],
    middle: tuple[int, ...],
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Which effects of the middle factors each row has (N, k), -1 for a zero, and the elements."""
    effects, values, at = [], [], 0
    for f in middle:
        q = factors[f].q
        own = at + factors[f].codes[:, None] * q + np.arange(q)
        effects.append(np.where(Z[f] != 0, own, -1))
        values.append(Z[f] * weight[:, None])
        at += factors[f].n_effects
    if not middle:
        return np.empty((len(weight), 0), dtype=np.int64), np.empty((len(weight), 0))
    return np.hstack(effects).astype(np.int64), np.hstack(values)
