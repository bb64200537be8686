"""Compiled loops of `elimination`: over levels of the first factor, and over a dense triangle.

Shapes: J levels of the first factor with q columns, n effects of the middle factors, m columns
``K = [X, Z_small, y]``. What level j shares with middle effects stands in compressed rows: the
effects ``cols[starts[j]:starts[j + 1]]`` in rising order, and ``shared`` (nnz, q) beside them.
"""

import numba
import numpy as np

from partialpool.fit.kernels import FAST


@numba.njit(cache=True)
def touched(order, bounds, effects):
    """Compressed rows: which of the `effects` (N, k) the rows of each level have, -1 for none."""
    J = len(bounds) - 1
    k = effects.shape[1]
    n = 0
    for value in effects.ravel():
        n = max(n, value + 1)
    mark = np.full(n, -1, dtype=np.int64)
    starts = np.zeros(J + 1, dtype=np.int64)
    cols = np.empty(effects.size, dtype=np.int64)
    at = 0
    for j in range(J):
        begun = at
        for i in order[bounds[j] : bounds[j + 1]]:
            for c in range(k):
                effect = effects[i, c]
                if effect >= 0 and mark[effect] != j:
                    mark[effect] = j
                    cols[at] = effect
                    at += 1
        cols[begun:at] = np.sort(cols[begun:at])
        starts[j + 1] = at
    return starts, cols[:at].copy()


@numba.njit(cache=True)
def shared_products(Q, order, bounds, effects, values, starts, cols, n):
    """``Q_jᵀ Z_middle`` (nnz, q), and what it leaves of ``Z_middleᵀ Z_middle``, lower triangle.

    `values` (N, k) are the elements of the middle columns at `effects`.
    """
    J, q = len(bounds) - 1, Q.shape[1]
    k = effects.shape[1]
    shared = np.zeros((len(cols), q))
    left = np.zeros((n, n))
    place = np.zeros(n, dtype=np.int64)
    for j in range(J):
        for t in range(starts[j], starts[j + 1]):
            place[cols[t]] = t
        for i in order[bounds[j] : bounds[j + 1]]:
            for c in range(k):
                effect = effects[i, c]
                if effect < 0:
                    continue
                for a in range(q):
                    shared[place[effect], a] += Q[i, a] * values[i, c]
                for d in range(k):
                    other = effects[i, d]
                    if 0 <= other <= effect:
                        left[effect, other] += values[i, c] * values[i, d]
        for t in range(starts[j], starts[j + 1]):
            row = left[cols[t]]
            for s in range(starts[j], t + 1):
                for a in range(q):
                    row[cols[s]] -= shared[t, a] * shared[s, a]
    return shared, left


@numba.njit(cache=True, nogil=True, error_model="numpy")
def level_factor(R, L, V, work):
    """Lower Cholesky factor of ``V = I + R L Lᵀ Rᵀ``, and the log of its determinant."""
    q = len(R)
    for i in range(q):
        for k in range(q):
            work[i, k] = 0.0
            for c in range(i, q):
                work[i, k] += R[i, c] * L[c, k]
    determinant = 1.0
    for i in range(q):
        for k in range(i + 1):
            value = 1.0 if i == k else 0.0
            for c in range(q):
                value += work[i, c] * work[k, c]
            for c in range(k):
                value -= V[i, c] * V[k, c]
            if i == k:
                V[i, i] = np.sqrt(value)
                determinant *= value
            else:
                V[i, k] = value / V[k, k]
    return np.log(determinant)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def assemble(R, G, shared, starts, cols, L, A, B, C):
    """Eliminate the first factor at ``L``: add its part to A (n, n), B (m, n) and C (m, m).

    ``log|V|`` of all levels is returned. Of A the lower triangle is filled; what is added is a
    square, so that nothing cancels however large L is.
    """
    J, q, m = G.shape
    V, work = np.zeros((q, q)), np.empty((q, q))
    log_det = 0.0
    most = 0
    for j in range(J):
        most = max(most, starts[j + 1] - starts[j])
    left, right = np.empty((q, most)), np.empty((q, m))
    for j in range(J):
        log_det += level_factor(R[j], L, V, work)
        begin, end = starts[j], starts[j + 1]
        width = end - begin
        at = cols[begin:end]
        for a in range(q):
            for t in range(width):
                left[a, t] = shared[begin + t, a]
            for c in range(m):
                right[a, c] = G[j, a, c]
            for b in range(a):
                for t in range(width):
                    left[a, t] -= V[a, b] * left[b, t]
                for c in range(m):
                    right[a, c] -= V[a, b] * right[b, c]
            by = 1 / V[a, a]
            for t in range(width):
                left[a, t] *= by
            for c in range(m):
                right[a, c] *= by
        for a in range(q):
            for t in range(width):
                row, value = A[at[t]], left[a, t]
                for s in range(t + 1):
                    row[at[s]] += value * left[a, s]
            for c in range(m):
                row, value = B[c], right[a, c]
                for t in range(width):
                    row[at[t]] += value * left[a, t]
                for d in range(m):
                    C[c, d] += value * right[a, d]
    return log_det


@numba.njit(cache=True, nogil=True)
def scale(A, size):
    """``diag(size) A diag(size) + I`` in the lower triangle of A (n, n)."""
    for r in range(len(A)):
        row, by = A[r], size[r]
        for c in range(r + 1):
            row[c] *= by * size[c]
        row[r] += 1.0


@numba.njit(cache=True, nogil=True)
def mirror(A):
    """Fill the upper triangle of A (n, n) from the lower one."""
    for r in range(len(A)):
        for c in range(r):
            A[c, r] = A[r, c]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def pair_sums(shared, starts, cols, P):
    """``T_j P T_jᵀ`` (J, q, q) of each level, ``T_jᵀ`` its rows of `shared`; P's lower triangle."""
    J, q = len(starts) - 1, shared.shape[1]
    out = np.zeros((J, q, q))
    for j in range(J):
        for t in range(starts[j], starts[j + 1]):
            row = P[cols[t]]
            for a in range(q):
                total = 0.0
                for s in range(starts[j], t):
                    total += row[cols[s]] * shared[s, a]
                for b in range(q):
                    out[j, a, b] += shared[t, b] * total
                    out[j, b, a] += shared[t, b] * total
                for b in range(q):
                    out[j, a, b] += shared[t, a] * shared[t, b] * row[cols[t]]
    return out
