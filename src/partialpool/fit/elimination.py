"""Several grouping factors: rows reduced once, and what they say given the ratios of the factors.

Everything that needs rows or levels depends on the covariances of the effects *relative* to the
noise alone, ``Lambda_f = L_f / sigma``: with ``V0 = I + Σ_f Z_f Lambda_f Lambda_fᵀ Z_fᵀ`` it is
``log|V0|`` and ``C = Kᵀ V0⁻¹ K`` for ``K = [X, Z_small, y]``. The factor with the most effects is
eliminated level by level; those in the middle are left in one dense system, whose Cholesky factor
does the rest, unless they are nested in each other; small ones stand as columns beside X, so that
they cost nothing (docs/method.md, eq. (40) to (45)).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.sparse import csr_array

from partialpool.fit import dense
from partialpool.fit import elimination_kernels as kernels
from partialpool.fit.kernels import collect, scratch
from partialpool.fit.nested import Chain, Stage


@dataclass(frozen=True)
class Solved:
    """What rows and levels say at one set of ratios (docs/method.md, eq. (42) and (43)).

    Attributes
    ----------
    log_det : float
        ``log|V0|``.
    C : (m, m) array
        ``Kᵀ V0⁻¹ K``.
    ratios : tuple of (q, q) arrays
        ``Lambda`` of each factor, inside.
    system : (n, n) array or list of Stage
        Upper Cholesky factor U of ``S = I + Lambdaᵀ A Lambda`` of the middle factors; what lies
        below its diagonal means nothing. Stages where they are nested.
    V : (n, m) array
        ``S⁻¹ Lambdaᵀ A_K``: effects of the middle factors, in units of ``Lambda``, for each column.
    """

    log_det: float
    C: np.ndarray
    ratios: tuple[np.ndarray, ...]
    system: np.ndarray | list[Stage]
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
    squares : tuple of (q,) arrays
        Sum of squares of each factor's columns in an average level, in the user's units.
    chain : Chain, optional
        Where the middle factors are nested, with the first the finest, in place of `E_middle` and
        `E_mixed`, which are empty.
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
    squares: tuple[np.ndarray, ...]
    T: tuple[np.ndarray, ...]
    A: np.ndarray
    a: np.ndarray
    y_scale: float
    n_rows: int
    log_weight: float | None = None
    chain: Chain | None = None

    @property
    def n_middle(self) -> int:
        """Effects n of the middle factors."""
        return sum(self.levels[f] * self.widths[f] for f in self.middle)

    @property
    def products(self) -> int:
        """Products of one evaluation, roughly: by levels, and of a dense system if there is one."""
        by_level = self.R.size * len(self.E) ** 2
        by_level += self.R.shape[1] * int((np.diff(self.starts) ** 2).sum())
        return by_level + len(self.E_middle) ** 3 // 3

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

    @property
    def rms(self) -> np.ndarray:
        """Root mean squares of the varying columns of all factors, in the user's units."""
        whole = [s * J for s, J in zip(self.squares, self.levels, strict=True)]
        return np.sqrt(np.concatenate(whole) / self.n_rows)

    @cached_property
    def lanes(self) -> tuple[np.ndarray, np.ndarray]:
        """R (q, q, J) and G (q, m, J) of the first factor, levels last."""
        return (
            np.ascontiguousarray(np.moveaxis(self.R, 0, -1)),
            np.ascontiguousarray(np.moveaxis(self.G, 0, -1)),
        )

    def solve(self, ratios: Sequence[np.ndarray], *, fast: bool = False) -> Solved:
        """``log|V0|`` and C at ``Lambda_f`` (q, q) of every factor, in the user's units.

        Those of small factors play no part. Where it is to be fast, a large dense system is
        factored in single precision: ``log|V0|`` then has an error of some 1e-5, C of rounding.
        """
        inside = tuple(T @ ratio for T, ratio in zip(self.T, ratios, strict=True))
        C = self.E.copy()
        if not self.n_middle:
            room = scratch(self.widths[self.first], len(C))
            half = collect(*self.lanes, self.E, inside[self.first], 1.0, C, room)
            return Solved(2 * half, C, inside, self.E_middle, np.empty((0, len(C))))
        if self.chain is not None:
            found = self.chain.solve(self.R, self.G, self._chained(inside), C)
            return Solved(found[0], C, inside, *found[1:])
        S, B = self.E_middle.copy(), self.E_mixed.copy()
        log_det = kernels.assemble(
            self.R, self.G, self.shared, self.starts, self.cols, inside[self.first], S, B, C
        )
        self._turn(S, B, inside)
        if fast and len(S) >= dense.WORTH_SINGLE:
            U = dense.cholesky(S.astype(np.float32))
            V, taken = dense.refined(S, U, B.T)
        else:
            U = dense.cholesky(S)
            with dense.one_thread():
                W = dtrsm(1.0, U, B.T, trans_a=1)
                taken = W.T @ W
                V = dtrsm(1.0, U, W, overwrite_b=1)
        C -= taken
        log_det += 2 * np.log(np.diag(U).astype(float)).sum()
        return Solved(float(log_det), C, inside, U, V)

    def _turn(self, S: np.ndarray, B: np.ndarray, inside: Sequence[np.ndarray]) -> None:
        """``S = I + Lambdaᵀ S Lambda`` and ``B = B Lambda``, block by block, in place."""
        if self._one_column_each:
            size = self._sizes(inside)
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

    @property
    def _one_column_each(self) -> bool:
        return all(self.widths[f] == 1 for f in self.middle)

    def _sizes(self, inside: Sequence[np.ndarray]) -> np.ndarray:
        """``Lambda`` (n,) of each middle effect, where factors have one column each."""
        return np.repeat(
            [inside[f][0, 0] for f in self.middle], [self.levels[f] for f in self.middle]
        )

    def middle_effects(self, solved: Solved) -> np.ndarray:
        """``Lambda V`` (n, m): the middle factors' effects for each column of K, inside."""
        out = np.empty_like(solved.V)
        for f in self.middle:
            at, L = self.slices[f], solved.ratios[f]
            out[at] = (L @ solved.V[at].reshape(-1, len(L), out.shape[1])).reshape(-1, out.shape[1])
        return out

    def _chained(self, inside: Sequence[np.ndarray]) -> list[np.ndarray]:
        """``Lambda`` of the large factors, from the finest on."""
        return [inside[f] for f in (self.first, *self.middle)]

    def effects(self, solved: Solved) -> dict[int, np.ndarray]:
        """Effects (J, q, m) of the large factors for each column of K, in units of ``Lambda``."""
        rest = self.G
        if self.n_middle:
            b = self.middle_effects(solved)
            rest = rest - np.stack([part @ b for part in self.shared_by_column], 1)
        found = {self.first: self._gain(solved)[0] @ rest}
        for f in self.middle:
            found[f] = solved.V[self.slices[f]].reshape(-1, self.widths[f], len(self.E))
        return found

    def spreads(self, solved: Solved) -> dict[int, np.ndarray]:
        """Variances (J, q, q) of the large factors' effects over sigma², given K's coefficients.

        In units of ``Lambda``.
        """
        H, within = self._gain(solved)
        if not self.n_middle:
            return {self.first: within}
        if isinstance(solved.system, list):
            assert self.chain is not None
            found, pairs = self.chain.spreads(solved.system, self._chained(solved.ratios))
            above = dict(zip(self.middle, found, strict=True))
        else:
            inverse = dense.inverse(solved.system)
            above = {f: self._blocks(inverse, f) for f in self.middle}
            shared = self.shared
            if self._one_column_each:
                shared = shared * self._sizes(solved.ratios)[self.cols, None]
            else:
                self._turn_back(inverse, solved.ratios)
            pairs = kernels.pair_sums(shared, self.starts, self.cols, inverse)
        return {self.first: within + H @ pairs @ H.swapaxes(1, 2)} | above

    def noise(self, solved: Solved, z: np.ndarray) -> np.ndarray:
        """Normals (S, n) with the middle effects' variances over sigma², in units of ``Lambda``.

        From standard ones z (S, n).
        """
        if isinstance(solved.system, list):
            assert self.chain is not None
            return self.chain.noise(solved.system, self._chained(solved.ratios), z)
        with dense.one_thread():
            return dtrsm(1.0, solved.system, np.asfortranarray(z.T)).T

    def inside(self, Z: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Varying columns (n, q) of some rows, factor by factor, times effects inside."""
        return [own @ np.linalg.inv(T) for own, T in zip(Z, self.T, strict=True)]

    def line_variances(
        self, solved: Solved, codes: Sequence[np.ndarray], Z: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Variances (n,) over sigma² of what large factors' effects add to the line at some rows.

        For each factor the rows' levels (n,) and columns (n, q), see `inside`.
        """
        level = codes[self.first]
        own, through = self._of_first(solved, level, Z[self.first])
        found = (own**2).sum(1)
        if isinstance(solved.system, list):
            assert self.chain is not None
            rest = np.hstack([Z[f] for f in self.middle])
            rest = rest - np.einsum("na,nas->ns", through, self.chain.T[level])
            P = self.chain.variances(solved.system, self._chained(solved.ratios))[1]
            return found + np.einsum("na,nab,nb->n", rest, P[self.chain.parents[0][level]], rest)
        return found + (self._of_middle(solved, codes, Z, through) ** 2).sum(0)

    def line_covariances(
        self,
        solved: Solved,
        codes: Sequence[np.ndarray],
        Z: Sequence[np.ndarray],
        ends: np.ndarray,
    ) -> Iterator[np.ndarray]:
        """The same of rows up to the first end, of those up to the next, and so on, jointly.

        Middle factors must be in a dense system.
        """
        level = codes[self.first]
        own, through = self._of_first(solved, level, Z[self.first])
        half = self._of_middle(solved, codes, Z, through)
        for start, end in pairwise([0, *ends]):
            some = slice(start, end)
            same = level[some, None] == level[some]
            yield same * (own[some] @ own[some].T) + half[:, some].T @ half[:, some]

    def _of_first(
        self, solved: Solved, level: np.ndarray, Z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Root (n, q) of variances that the first factor adds to rows, the others being given.

        And how much of what a level shares with the others (n, q) its own effects take away.
        """
        H, within = self._gain(solved)
        Z = Z @ solved.ratios[self.first]
        root = np.linalg.cholesky(within)[level]
        return np.einsum("na,nab->nb", Z, root), np.einsum("na,nab->nb", Z, H[level])

    def _of_middle(
        self,
        solved: Solved,
        codes: Sequence[np.ndarray],
        Z: Sequence[np.ndarray],
        through: np.ndarray,
    ) -> np.ndarray:
        """Root (n_middle, n) of the variances that the middle factors add to rows."""
        if not self.n_middle:
            return np.empty((0, len(through)))
        rest = np.zeros((len(through), self.n_middle))
        for a, part in enumerate(self.shared_by_column):
            rest -= part[codes[self.first]].multiply(through[:, [a]]).toarray()
        for f in self.middle:
            q, L, own = self.widths[f], solved.ratios[f], self.slices[f]
            at = own.start + codes[f][:, None] * q + np.arange(q)
            rest[np.arange(len(through))[:, None], at] += Z[f]
            rest[:, own] = (rest[:, own].reshape(-1, q) @ L).reshape(len(through), -1)
        with dense.one_thread():
            return dtrsm(1.0, solved.system, np.asfortranarray(rest.T), trans_a=1)

    def _gain(self, solved: Solved) -> tuple[np.ndarray, np.ndarray]:
        """Of the first factor, all others being given: gains (J, q, q) and variances (J, q, q)."""
        F = self.R @ solved.ratios[self.first]
        inverse = np.linalg.inv(np.eye(F.shape[1]) + F.swapaxes(1, 2) @ F)
        return inverse @ F.swapaxes(1, 2), inverse

    def _blocks(self, lower: np.ndarray, f: int) -> np.ndarray:
        """Blocks (J, q, q) of a middle factor's levels in a matrix, of its lower triangle."""
        at, q = self.slices[f], self.widths[f]
        index = np.arange(at.start, at.stop).reshape(-1, q)
        rows, columns = index[:, :, None], index[:, None, :]
        return lower[np.maximum(rows, columns), np.minimum(rows, columns)]

    def _turn_back(self, P: np.ndarray, ratios: Sequence[np.ndarray]) -> None:
        """``Lambda P Lambdaᵀ`` of a lower triangle (n, n), in place."""
        kernels.mirror(P)
        for f in self.middle:
            at, L, q = self.slices[f], ratios[f], self.widths[f]
            P[at] = (L @ P[at].reshape(-1, q, len(P))).reshape(-1, len(P))
            P[:, at] = (P[:, at].reshape(len(P), -1, q) @ L.T).reshape(len(P), -1)

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
        ``d C = Σ_ab D_ab c_ab``; found by factor are t (q, q) and c (q, q, m, m); docs/method.md,
        eq. (44).
        """
        effects, spreads = self.effects(solved), self.spreads(solved)
        return {f: _slopes(effects[f], spreads[f].sum(0)) for f in effects}


def _slopes(effects: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From effects (J, q, m) in units of Lambda and their summed variances (q, q)."""
    J, q, m = effects.shape
    products = np.empty((q, q, m, m))
    for a in range(q):
        for b in range(q):
            products[a, b] = effects[:, a].T @ effects[:, b]
    return 2 * (J * np.eye(q) - within).T, -(products + products.transpose(0, 1, 3, 2))
