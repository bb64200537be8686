"""Factors nested in each other: eliminated level by level, the finest first, with nothing dense.

Where every level of a factor lies in one level of the next, as classes do in schools and schools in
districts, what the rows say of a level once its own levels are eliminated concerns that level and
those which it lies in (docs/method.md, eq. (45)). Shapes: J levels and q columns of a factor, s
columns of all factors above the finest, m columns ``K = [X, Z_small, y]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from partialpool.fit.elimination_kernels import level_factor


@dataclass(frozen=True)
class Stage:
    """A factor eliminated: ``F Fᵀ = I + Lambdaᵀ A Lambda`` of each level.

    `root` (J, q, q) is ``F⁻ᵀ``, `above` (J, q, s') and `known` (J, q, m) are ``F⁻¹ Lambdaᵀ A`` with
    the columns of the factors above and with K.
    """

    root: np.ndarray
    above: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Chain:
    """What rows say of nested factors, the finest eliminated level by level as ever.

    Attributes
    ----------
    parents : tuple of int arrays
        For each factor but the last, in which level (J,) of the next its levels lie.
    levels : tuple of int
        Levels J of the factors above the finest, also of those that no row has.
    T : (J, q, s) array
        ``Q_jᵀ Z`` of the factors above, for the finest factor's ``Z_j = Q_j R_j``.
    left : (J, s, s + m) array
        Of each level of the second factor: cross-products of what is left of ``Z`` of it and those
        above, with these and with K.
    """

    parents: tuple[np.ndarray, ...]
    levels: tuple[int, ...]
    T: np.ndarray
    left: np.ndarray

    def solve(
        self, R: np.ndarray, G: np.ndarray, ratios: Sequence[np.ndarray], C: np.ndarray
    ) -> tuple[float, list[Stage], np.ndarray]:
        """``log|V0|``, the stages, and effects (n, m) in units of ``Lambda``; C is brought up.

        `R` and `G` are those of the finest factor, as in `Elimination`.
        """
        M, m = self.left.copy(), G.shape[2]
        log_det = _finest(R, G, self.T, self.parents[0], ratios[0], M, C)
        stages = []
        for c, L in enumerate(ratios[1:]):
            J, s, _ = M.shape
            q = len(L)
            last = c + 1 == len(self.levels)
            parent = np.zeros(J, dtype=np.int64) if last else self.parents[c + 1]
            above = np.zeros((1 if last else self.levels[c + 1], s - q, s - q + m))
            F, W = np.zeros((J, q, q)), np.empty((J, q, s - q + m))
            log_det += _level_by_level(M, L, parent, above, C, F, W)
            root = np.linalg.inv(F).swapaxes(1, 2)
            stages.append(Stage(root, W[:, :, : s - q], W[:, :, s - q :]))
            M = above
        path, effects = np.empty((1, 0, m)), []
        for c in reversed(range(len(stages))):
            one = stages[c]
            path = self._below(c, path)
            effects.append(one.root @ (one.known - one.above @ path))
            path = np.concatenate([ratios[c + 1] @ effects[-1], path], 1)
        V = np.concatenate([own.reshape(-1, m) for own in reversed(effects)])
        return log_det, stages, V

    def spreads(
        self, stages: list[Stage], ratios: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Variances over sigma² given K's coefficients, of each factor above the finest.

        In units of ``Lambda`` (J, q, q), and ``T P Tᵀ`` (J, q, q) of each level of the finest, with
        P the variances of the effects above it.
        """
        found, P = self.variances(stages, ratios)
        return found, self.T @ P[self.parents[0]] @ self.T.swapaxes(1, 2)

    def variances(
        self, stages: list[Stage], ratios: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The first of `spreads`, and P (J, s, s) of each level of the second factor, inside."""
        P, found = np.empty((1, 0, 0)), []
        for c in reversed(range(len(stages))):
            one, L = stages[c], ratios[c + 1]
            P = self._below(c, P)
            gain = one.root @ one.above
            found.append(one.root @ one.root.swapaxes(1, 2) + gain @ P @ gain.swapaxes(1, 2))
            across = -L @ gain @ P
            top = np.concatenate([L @ found[-1] @ L.T, across], 2)
            P = np.concatenate([top, np.concatenate([across.swapaxes(1, 2), P], 2)], 1)
        return found[::-1], P

    def noise(self, stages: list[Stage], ratios: Sequence[np.ndarray], z: np.ndarray) -> np.ndarray:
        """Normals (S, n) with the effects' variances over sigma², in units of ``Lambda``.

        From standard ones z (S, n).
        """
        S, end = len(z), z.shape[1]
        path, found = np.empty((S, 1, 0)), []
        for c in reversed(range(len(stages))):
            one = stages[c]
            J, q, _ = one.root.shape
            path = self._below(c, path.swapaxes(0, 1)).swapaxes(0, 1)
            own = z[:, end - J * q : end].reshape(S, J, q)
            end -= J * q
            own = own - np.einsum("jab,sjb->sja", one.above, path)
            found.append(np.einsum("jab,sjb->sja", one.root, own))
            path = np.concatenate([found[-1] @ ratios[c + 1].T, path], 2)
        return np.concatenate([own.reshape(S, -1) for own in reversed(found)], 1)

    def _below(self, c: int, above: np.ndarray) -> np.ndarray:
        """For each level of factor c above the finest what is known of those that it lies in."""
        last = c + 1 == len(self.levels)
        return above.repeat(self.levels[c], 0) if last else above[self.parents[c + 1]]


def parents(codes: Sequence[np.ndarray], levels: Sequence[int]) -> tuple[np.ndarray, ...] | None:
    """In which level of the next factor those of each factor lie; None if they are not nested.

    Parameters
    ----------
    codes : sequence of (N,) int arrays
        Levels of the rows, the finest factor first.
    levels : sequence of int
        Levels of each factor, also of those that no row has.
    """
    found = []
    for inner, outer, n in zip(codes, codes[1:], levels, strict=False):
        parent = np.zeros(n, dtype=np.int64)
        parent[inner] = outer
        if (parent[inner] != outer).any():
            return None
        found.append(parent)
    return tuple(found)


@numba.njit(cache=True, error_model="numpy")
def _finest(R, G, T, parent, L, M, C):
    """Eliminate the finest factor: add its part to M (J, s, s + m) and C; ``log|V|`` of all."""
    J, q, m = G.shape
    s = T.shape[2]
    V, work, row = np.zeros((q, q)), np.empty((q, q)), np.empty((q, s + m))
    log_det = 0.0
    for j in range(J):
        log_det += level_factor(R[j], L, V, work)
        into = M[parent[j]]
        for a in range(q):
            for c in range(s + m):
                row[a, c] = T[j, a, c] if c < s else G[j, a, c - s]
                for b in range(a):
                    row[a, c] -= V[a, b] * row[b, c]
                row[a, c] /= V[a, a]
            for c in range(s):
                for d in range(s + m):
                    into[c, d] += row[a, c] * row[a, d]
            for c in range(m):
                for d in range(m):
                    C[c, d] += row[a, s + c] * row[a, s + d]
    return log_det


@numba.njit(cache=True, error_model="numpy")
def _level_by_level(M, L, parent, above, C, F, W):
    """Eliminate the next factor: fill F (J, q, q) and W (J, q, s - q + m), see `Stage`.

    What is left of M (J, s, s + m) is added to `above` (J', s - q, s - q + m), and C is brought up.
    """
    J, s, w = M.shape
    q = len(L)
    m, rest = w - s, s - q
    B = np.empty((q, w))
    log_det = 0.0
    for j in range(J):
        for a in range(q):
            for c in range(w):
                B[a, c] = 0.0
                for b in range(q):
                    B[a, c] += L[b, a] * M[j, b, c]
        for a in range(q):
            for b in range(a + 1):
                value = 1.0 if a == b else 0.0
                for c in range(q):
                    value += B[a, c] * L[c, b]
                for c in range(b):
                    value -= F[j, a, c] * F[j, b, c]
                if a == b:
                    F[j, a, a] = np.sqrt(value)
                    log_det += np.log(value)
                else:
                    F[j, a, b] = value / F[j, b, b]
            for c in range(q, w):
                value = B[a, c]
                for b in range(a):
                    value -= F[j, a, b] * W[j, b, c - q]
                W[j, a, c - q] = value / F[j, a, a]
        into = above[parent[j]]
        for c in range(rest):
            for d in range(rest + m):
                value = M[j, q + c, q + d]
                for a in range(q):
                    value -= W[j, a, c] * W[j, a, d]
                into[c, d] += value
        for a in range(q):
            for c in range(m):
                for d in range(m):
                    C[c, d] -= W[j, a, rest + c] * W[j, a, rest + d]
    return log_det
