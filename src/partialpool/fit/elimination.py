"""Several grouping factors: rows reduced once, and what they say given the ratios of the factors.

Everything that needs rows or levels depends on the covariances of the effects *relative* to the
noise alone, ``Lambda_f = L_f / sigma``: with ``V0 = I + Σ_f Z_f Lambda_f Lambda_fᵀ Z_fᵀ`` it is
``log|V0|`` and ``C = Kᵀ V0⁻¹ K`` for ``K = [X, Z_small, y]``. The factor with the most effects is
eliminated level by level; those in the middle are left in one dense system, whose Cholesky factor
does the rest; small ones stand as columns beside X, so that they cost nothing (docs/method.md).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.sparse import csr_array
from threadpoolctl import ThreadpoolController

from partialpool.fit import elimination_kernels as kernels
from partialpool.fit.crossproducts import centred, triangular

#: Effects of a factor up to which it is small: columns beside X.
SMALL = 40
#: Effects of the middle factors together above which their dense system takes too long.
MAX_DENSE = 5000


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


@dataclass(frozen=True)
class Solved:
    """What rows and levels say at one set of ratios.

    Attributes
    ----------
    log_det : float
        ``log|V0|``.
    C : (m, m) array
        ``Kᵀ V0⁻¹ K``.
    ratios : tuple of (q, q) arrays
        ``Lambda`` of each factor, inside.
    U : (n, n) array
        Upper Cholesky factor of ``S = I + Lambdaᵀ A Lambda`` of the middle factors; what lies below
        its diagonal means nothing.
    V : (n, m) array
        ``S⁻¹ Lambdaᵀ A_K``: effects of the middle factors, in units of ``Lambda``, for each column.
    """

    log_det: float
    C: np.ndarray
    ratios: tuple[np.ndarray, ...]
    U: np.ndarray
    V: np.ndarray


@dataclass(frozen=True)
class Elimination:
    """Rows reduced for several factors; columns are centred and scaled as in `CrossProducts`.

    Attributes
    ----------
    first : int
        The factor that is eliminated level by level.
    middle, small : tuple of int
        Those in the dense system, and those that are columns of K.
    levels, widths : tuple of int
        Levels J and columns q of every factor.
    R : (J, q, q) array
        Of the first factor, upper triangular, ``R_jᵀ R_j = Z_jᵀ Z_j``.
    G : (J, q, m) array
        ``Q_jᵀ K_j`` for ``Z_j = Q_j R_j``.
    E : (m, m) array
        Cross-products of what is left of K after projection on each ``Z_j``.
    E_middle : (n, n) array
        The same of the middle columns, effects of a level side by side; lower triangle.
    E_mixed : (m, n) array
        The same of K with the middle columns.
    starts, cols, shared : arrays
        ``Q_jᵀ Z_middle``, see `elimination_kernels`.
    T : tuple of (q, q) arrays
        Effects of each factor: ``b_inside = T b / y_scale``.
    A, a, y_scale, log_weight
        As in `CrossProducts`.
    n_rows : int
        Number of rows N.
    """

    first: int
    middle: tuple[int, ...]
    small: tuple[int, ...]
    levels: tuple[int, ...]
    widths: tuple[int, ...]
    R: np.ndarray
    G: np.ndarray
    E: np.ndarray
    E_middle: np.ndarray
    E_mixed: np.ndarray
    starts: np.ndarray
    cols: np.ndarray
    shared: np.ndarray
    T: tuple[np.ndarray, ...]
    A: np.ndarray
    a: np.ndarray
    y_scale: float
    n_rows: int
    log_weight: float | None = None

    @property
    def n_middle(self) -> int:
        """Effects n of the middle factors."""
        return len(self.E_middle)

    @cached_property
    def slices(self) -> dict[int, slice]:
        """Where the effects of a middle factor stand in the dense system, a small one's in K."""
        found, at = {}, 0
        for f in self.middle:
            found[f] = slice(at, at + self.levels[f] * self.widths[f])
            at = found[f].stop
        at = len(self.a)
        for f in self.small:
            found[f] = slice(at, at + self.levels[f] * self.widths[f])
            at = found[f].stop
        return found

    def solve(self, ratios: Sequence[np.ndarray]) -> Solved:
        """``log|V0|`` and C at ``Lambda_f`` (q, q) of every factor, in the user's units.

        Those of small factors play no part.
        """
        inside = tuple(T @ ratio for T, ratio in zip(self.T, ratios, strict=True))
        S, B, C = self.E_middle.copy(), self.E_mixed.copy(), self.E.copy()
        log_det = kernels.assemble(
            self.R, self.G, self.shared, self.starts, self.cols, inside[self.first], S, B, C
        )
        self._turn(S, B, inside)
        if not len(S):
            return Solved(float(log_det), C, inside, S, B.T)
        with one_thread():
            # the lower triangle in C's order is the upper one in Fortran's
            U, failed = dpotrf(S.T, lower=0, overwrite_a=1, clean=0)
            if failed:
                raise np.linalg.LinAlgError("the system of the middle factors is not definite")
            W = dtrsm(1.0, U, B.T, trans_a=1)
            C -= W.T @ W
            V = dtrsm(1.0, U, W, overwrite_b=1)
        log_det += 2 * np.log(np.diag(U)).sum()
        return Solved(float(log_det), C, inside, U, V)

    def _turn(self, S: np.ndarray, B: np.ndarray, inside: Sequence[np.ndarray]) -> None:
        """``S = I + Lambdaᵀ S Lambda`` and ``B = B Lambda``, block by block, in place."""
        if all(self.widths[f] == 1 for f in self.middle):
            size = np.empty(len(S))
            for f in self.middle:
                size[self.slices[f]] = inside[f][0, 0]
            kernels.scale(S, size)
            B *= size
            return
        kernels.mirror(S)
        for f in self.middle:
            at, q = self.slices[f], self.widths[f]
            S[at] = (inside[f].T @ S[at].reshape(-1, q, len(S))).reshape(-1, len(S))
            for matrix in (S, B):
                turned = matrix[:, at].reshape(len(matrix), -1, q) @ inside[f]
                matrix[:, at] = turned.reshape(len(matrix), -1)
        S[np.diag_indices(len(S))] += 1.0

    def middle_effects(self, solved: Solved) -> np.ndarray:
        """``Lambda V`` (n, m): the middle factors' effects for each column of K, inside."""
        out = np.empty_like(solved.V)
        for f in self.middle:
            at, L = self.slices[f], solved.ratios[f]
            out[at] = (L @ solved.V[at].reshape(-1, len(L), out.shape[1])).reshape(-1, out.shape[1])
        return out

    def precisions(self, solved: Solved) -> np.ndarray:
        """``S⁻¹`` (n, n) in the lower triangle."""
        if not self.n_middle:
            return np.empty((0, 0))
        with one_thread():
            inverse, _ = dpotri(solved.U, lower=0)
        return inverse.T

    def variances(self, solved: Solved, inverse: np.ndarray) -> np.ndarray:
        """``Lambda S⁻¹ Lambdaᵀ`` (n, n): variances of middle effects over sigma²."""
        P = inverse.copy()
        kernels.mirror(P)
        for f in self.middle:
            at, L, q = self.slices[f], solved.ratios[f], self.widths[f]
            P[at] = (L @ P[at].reshape(-1, q, len(P))).reshape(-1, len(P))
            P[:, at] = (P[:, at].reshape(len(P), -1, q) @ L.T).reshape(len(P), -1)
        return P

    def first_effects(self, solved: Solved, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the first factor's levels: effects (J, q, m) for each column of K, and variances.

        In units of ``Lambda``; the variances (J, q, q) over sigma² given the coefficients, with `P`
        those of the middle factors.
        """
        q = self.widths[self.first]
        F = self.R @ solved.ratios[self.first]
        inverse = np.linalg.inv(np.eye(q) + F.swapaxes(1, 2) @ F)
        H = inverse @ F.swapaxes(1, 2)
        rest = self.G
        if self.n_middle:
            effects = self.middle_effects(solved)
            rest = rest - np.stack([part @ effects for part in self.shared_by_column], 1)
            spread = kernels.pair_sums(self.shared, self.starts, self.cols, P)
            inverse = inverse + H @ spread @ H.swapaxes(1, 2)
        return H @ rest, inverse

    @cached_property
    def shared_by_column(self) -> list[csr_array]:
        """``Q_jᵀ Z_middle`` as a sparse matrix (J, n) for each column of the first factor."""
        shape = (self.levels[self.first], self.n_middle)
        return [
            csr_array((part, self.cols, self.starts), shape=shape)
            for part in np.ascontiguousarray(self.shared.T)
        ]

    def slopes(self, solved: Solved) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """How ``log|V0|`` and C change with the ratios of the first and the middle factors.

        For ``d Lambda_f = Lambda_f D`` with any D (q, q), ``d log|V0| = Σ_ab D_ab t_ab`` and
        ``d C = Σ_ab D_ab c_ab``; found by factor are t (q, q) and c (q, q, m, m).
        """
        inverse = self.precisions(solved)
        P = self.variances(solved, inverse) if self.n_middle else inverse
        effects, within = self.first_effects(solved, P)
        found = {self.first: _slopes(effects, within.sum(0))}
        for f in self.middle:
            at, q = self.slices[f], self.widths[f]
            blocks = np.zeros((q, q))
            for i in range(q):
                for k in range(i + 1):
                    # the lower triangle holds the elements (l q + i, l q + k) of each level
                    rows = np.arange(at.start, at.stop, q)
                    blocks[i, k] = blocks[k, i] = inverse[rows + i, rows + k].sum()
            found[f] = _slopes(solved.V[at].reshape(-1, q, len(self.E)), blocks)
        return found


def _slopes(effects: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From effects (J, q, m) in units of Lambda and their summed variances (q, q)."""
    J, q, m = effects.shape
    products = np.empty((q, q, m, m))
    for a in range(q):
        for b in range(q):
            products[a, b] = effects[:, a].T @ effects[:, b]
    return 2 * (J * np.eye(q) - within).T, -(products + products.transpose(0, 1, 3, 2))


def eliminate(
    y: np.ndarray,
    X: np.ndarray,
    factors: Sequence[Factor],
    weights: np.ndarray | None = None,
    *,
    small: int = SMALL,
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

    Raises
    ------
    ValueError
        Where the middle factors have more than `MAX_DENSE` effects.
    """
    order = sorted(range(len(factors)), key=lambda f: -factors[f].n_effects)
    first, others = order[0], sorted(order[1:])
    middle = tuple(f for f in others if factors[f].n_effects > small)
    dense = sum(factors[f].n_effects for f in middle)
    if dense > MAX_DENSE:
        raise ValueError(
            f"The exact fit takes factors beside the largest one with up to {MAX_DENSE:,} effects "
            f"together, and these have {dense:,}; choose method nutpie with the marginal model."
        )
    beside = tuple(f for f in others if f not in middle)
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
    rows = np.argsort(codes, kind="stable")
    by_level = [csr_array((Q[rows, k], rows, bounds), shape=(len(R), N)) for k in range(q)]
    G = np.stack([part @ K for part in by_level], 1)
    left = K.copy()
    for k in range(q):
        left -= Q[:, [k]] * G[codes, k]
    effects, values = _middle(factors, Z, middle, weight)
    starts, cols = kernels.touched(codes, rows, bounds, effects)
    shared, E_middle = kernels.shared_products(
        Q, rows, bounds, effects, values, starts, cols, dense
    )
    mixed = np.zeros((dense, K.shape[1]))
    for k in range(effects.shape[1]):
        used = effects[:, k] >= 0
        at = np.arange(used.sum() + 1)
        picked = csr_array((values[used, k], effects[used, k], at), shape=(used.sum(), dense))
        mixed += picked.T @ left[used]
    return Elimination(
        first=first,
        middle=middle,
        small=beside,
        levels=tuple(f.n_levels for f in factors),
        widths=tuple(f.q for f in factors),
        R=R,
        G=G,
        E=left.T @ left,
        E_middle=E_middle,
        E_mixed=np.ascontiguousarray(mixed.T),
        starts=starts,
        cols=cols,
        shared=shared,
        T=T,
        A=A,
        a=a,
        y_scale=y_scale,
        n_rows=N,
        log_weight=None if weights is None else float(np.log(weights).sum()),
    )


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


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread: on more it loses several times what it gains where others compute too."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
