"""Compiled loops over groups, in the notation of docs/method.md.

Shapes: S values of theta, J groups, q varying coefficients, m = p + 1 columns ``[X y]``. Groups
come last in `R` (q, q, J) and `G` (q, m, J), and the innermost loops run over a chunk of them, so
that the processor takes several groups at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np

from partialpool.fit import kernel_cache

#: Steps of an inner loop, a few nanoseconds each, from which on a second thread is worth waking.
WORTH_THREADS = 1_000_000
#: Groups in a chunk: few enough that the scratch arrays stay in the first-level cache.
LANES = 64
#: Values of theta that a thread takes at a time.
AT_ONCE = 32
#: Sums over groups may be taken in any order; infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "arcp", "nsz"}

kernel_cache.forget_stale(Path(__file__).parent)  # before anything compiled is called


@contextmanager
def threads(steps: int) -> Iterator[None]:
    """Run compiled loops of that many steps on one thread unless there are many.

    A second thread saves at most half of a short time, and on a busy machine the loop waits for
    it, which makes thousands of short loops several times slower.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(before if steps > WORTH_THREADS else 1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _factor(R, G, L, sigma, start, stop, A, U, D, H):
    """``V_j = U D Uᵀ`` (unit lower triangular U) and ``H = U⁻¹ G_j`` for a chunk of groups."""
    n = stop - start
    q, m = H.shape[:2]
    for i in range(q):
        for k in range(q):  # A = R_j L
            for g in range(n):
                A[i, k, g] = R[i, i, start + g] * L[i, k]
            for c in range(i + 1, q):
                for g in range(n):
                    A[i, k, g] += R[i, c, start + g] * L[c, k]
    for i in range(q):
        for k in range(i + 1):
            first = sigma * sigma if i == k else 0.0
            for g in range(n):
                U[i, k, g] = first
            for c in range(q):
                for g in range(n):
                    U[i, k, g] += A[i, c, g] * A[k, c, g]
            for c in range(k):
                for g in range(n):
                    U[i, k, g] -= U[i, c, g] * U[k, c, g] * D[c, g]
            if k < i:
                for g in range(n):
                    U[i, k, g] /= D[k, g]
            else:
                for g in range(n):
                    D[i, g] = U[i, i, g]
        for d in range(m):
            for g in range(n):
                H[i, d, g] = G[i, d, start + g]
            for c in range(i):
                for g in range(n):
                    H[i, d, g] -= U[i, c, g] * H[c, d, g]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _factor_two(R, G, L, sigma, start, stop, U, D, H):
    """`_factor` for q = 2, the usual case, written out: a third of the time."""
    n = stop - start
    first, second, ratio = D[0], D[1], U[1, 0]
    r, s, t = R[0, 0, start:stop], R[0, 1, start:stop], R[1, 1, start:stop]
    square = sigma * sigma
    for g in range(n):
        a, b = r[g] * L[0, 0] + s[g] * L[1, 0], r[g] * L[0, 1] + s[g] * L[1, 1]
        e, f = t[g] * L[1, 0], t[g] * L[1, 1]
        first[g] = square + a * a + b * b
        ratio[g] = (a * e + b * f) / first[g]
        second[g] = square + e * e + f * f - ratio[g] * (a * e + b * f)
    for d in range(H.shape[1]):
        above, below = G[0, d, start:stop], G[1, d, start:stop]
        top, left = H[0, d], H[1, d]
        for g in range(n):
            top[g] = above[g]
            left[g] = below[g] - ratio[g] * above[g]


@numba.njit(cache=True)
def scratch(q, m):
    """Room for `collect`: made once for many values of theta, which takes less time each."""
    square = np.empty((q, q, LANES))
    return square, np.empty_like(square), np.empty((q, LANES)), np.empty((q, m, LANES))


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def collect(R, G, E, L, sigma, C, room):
    """Fill C (docs/method.md, eq. (7)); return ½ Σ_j log|V_j|."""
    q, m, J = G.shape
    A, U, D, H = room
    for c in range(m):
        for d in range(c, m):
            C[c, d] = E[c, d] / (sigma * sigma)
    log_det = 0.0
    product = 1.0
    for start in range(0, J, LANES):
        stop = min(start + LANES, J)
        n = stop - start
        if q == 2:
            _factor_two(R, G, L, sigma, start, stop, U, D, H)
        else:
            _factor(R, G, L, sigma, start, stop, A, U, D, H)
        for i in range(q):
            pivot = D[i]
            for g in range(n):
                product *= pivot[g]
                if not 1e-100 < product < 1e100:
                    log_det += np.log(product)
                    product = 1.0
            for g in range(n):
                pivot[g] = 1 / pivot[g]
            for c in range(m):
                for d in range(c, m):
                    left, right = H[i, c], H[i, d]
                    total = 0.0
                    for g in range(n):
                        total += pivot[g] * left[g] * right[g]
                    C[c, d] += total
    for c in range(m):
        for d in range(c):
            C[c, d] = C[d, c]
    return 0.5 * (log_det + np.log(product))


@numba.njit(cache=True, error_model="numpy")
def posterior_beta(C, mean, precision, F):
    """Lower Cholesky factor of ``[[P, r], [rᵀ, C_yy + mᵀS⁻¹m]]`` in F."""
    p = len(mean)
    for c in range(p + 1):
        for d in range(p + 1):
            F[c, d] = C[c, d]
    for c in range(p):
        pull = 0.0
        for d in range(p):
            F[c, d] += precision[c, d]
            pull += precision[c, d] * mean[d]
        F[c, p] += pull
        F[p, c] += pull
        F[p, p] += mean[c] * pull
    for i in range(p + 1):
        for k in range(i + 1):
            value = F[i, k]
            for c in range(k):
                value -= F[i, c] * F[k, c]
            if i == k:
                F[i, i] = np.sqrt(max(value, 0.0))
            else:
                F[i, k] = value / F[k, k]


@numba.njit(cache=True, error_model="numpy", parallel=True)
def log_likelihood(sigma, L, R, G, E, n_rows, mean, precision, beta):
    """``log p(y | theta)`` without its constants, for S values of theta.

    `beta` (S, p) holds standard normals and is turned into a draw given each theta (docs/method.md,
    eq. (21)); with no rows, none are drawn.
    """
    S = len(sigma)
    q, m, J = G.shape
    out = np.empty(S)
    for start in numba.prange((S + AT_ONCE - 1) // AT_ONCE):
        C, F, room = np.empty((m, m)), np.empty((m, m)), scratch(q, m)
        for s in range(start * AT_ONCE, min(S, (start + 1) * AT_ONCE)):
            half_log_det = collect(R, G, E, L[s], sigma[s], C, room)
            posterior_beta(C, mean, precision, F)
            value = -(n_rows - J * q) * np.log(sigma[s]) - half_log_det
            value -= 0.5 * F[m - 1, m - 1] ** 2
            for c in range(m - 1):
                value -= np.log(F[c, c])
            out[s] = value
            if len(beta):
                for c in range(m - 2, -1, -1):  # solve F_ppᵀ beta = F_yp + z
                    value = F[m - 1, c] + beta[s, c]
                    for d in range(c + 1, m - 1):
                        value -= F[d, c] * beta[s, d]
                    beta[s, c] = value / F[c, c]
    return out


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _rotate(above, below, c, n, turn):
    """Rotate rows (q + 1, lanes) so that column c of the lower one becomes zero."""
    for g in range(n):
        by_length = 1 / np.sqrt(above[c, g] * above[c, g] + below[c, g] * below[c, g])
        turn[0, g] = above[c, g] * by_length
        turn[1, g] = below[c, g] * by_length
        above[c, g] = 1 / by_length
    for k in range(c + 1, len(above)):
        for g in range(n):
            upper, lower = above[k, g], below[k, g]
            above[k, g] = turn[0, g] * upper + turn[1, g] * lower
            below[k, g] = turn[0, g] * lower - turn[1, g] * upper


@numba.njit(cache=True, error_model="numpy", fastmath=FAST, parallel=True)
def draw_effects(sigma, L, out, R, G, beta, b):
    """One draw of the effects for each theta and beta; `b` (q, S, J) holds standard normals.

    ``b_j = out w_j``, with the w_j of docs/method.md, eq. (22); Givens rotations make the
    factor of ``M_j`` without squaring. `out` is L in the units that the effects shall have.
    """
    S = len(sigma)
    q, m, J = G.shape
    for s in numba.prange(S):
        by_sigma = 1 / sigma[s]
        K = np.empty((q, q + 1, LANES))
        row = np.empty((q + 1, LANES))
        turn = np.empty((2, LANES))
        for start in range(0, J, LANES):
            n = min(LANES, J - start)
            for i in range(q):
                for k in range(q + 1):
                    for g in range(n):
                        K[i, k, g] = 1.0 if i == k else 0.0
            for i in range(q):
                for k in range(q):
                    for g in range(n):
                        row[k, g] = R[i, i, start + g] * (L[s, i, k] * by_sigma)
                    for c in range(i + 1, q):
                        for g in range(n):
                            row[k, g] += R[i, c, start + g] * (L[s, c, k] * by_sigma)
                for g in range(n):
                    row[q, g] = G[i, m - 1, start + g] * by_sigma
                for c in range(m - 1):
                    for g in range(n):
                        row[q, g] -= G[i, c, start + g] * (beta[s, c] * by_sigma)
                for c in range(q):
                    _rotate(K[c], row, c, n, turn)
            for i in range(q - 1, -1, -1):  # row holds w
                for g in range(n):
                    row[i, g] = K[i, q, g] + b[i, s, start + g]
                for c in range(i + 1, q):
                    for g in range(n):
                        row[i, g] -= K[i, c, g] * row[c, g]
                for g in range(n):
                    row[i, g] /= K[i, i, g]
            for i in range(q):
                for g in range(n):
                    b[i, s, start + g] = out[s, i, 0] * row[0, g]
                for c in range(1, q):
                    for g in range(n):
                        b[i, s, start + g] += out[s, i, c] * row[c, g]


@numba.njit(cache=True, error_model="numpy", parallel=True)
def sum_effects(sigma, L, out, R, G, beta, mean, variance):
    """Means and variances (J, q) of the effects over S draws of theta and beta.

    Of the means given each draw and of the variances given each draw; ``out`` is L in the units
    that the effects shall have, and R (q, q, J), G (q, m, J) have groups last.
    """
    S = len(sigma)
    q, m, J = G.shape
    for j in numba.prange(J):
        F, V = np.empty((q, q)), np.zeros((q, q))
        h, H = np.empty(q), np.empty((q, q))
        centre, spread, within = np.zeros(q), np.zeros(q), np.zeros(q)
        for s in range(S):
            for i in range(q):
                h[i] = G[i, m - 1, j]
                for c in range(m - 1):
                    h[i] -= G[i, c, j] * beta[s, c]
                for k in range(q):
                    F[i, k] = 0.0
                    for c in range(i, q):
                        F[i, k] += R[i, c, j] * L[s, c, k]
            # V = sigma² I + F Fᵀ, and H = V^-1/2 [F], h = V^-1/2 h
            for i in range(q):
                for k in range(i + 1):
                    value = sigma[s] * sigma[s] if i == k else 0.0
                    for c in range(q):
                        value += F[i, c] * F[k, c]
                    for c in range(k):
                        value -= V[i, c] * V[k, c]
                    if i == k:
                        V[i, i] = np.sqrt(max(value, 0.0))
                    else:
                        V[i, k] = value / V[k, k] if V[k, k] > 0 else 0.0
                by = 1 / V[i, i] if V[i, i] > 0 else 0.0  # no direction of this group
                for k in range(q):
                    H[i, k] = F[i, k]
                    for c in range(i):
                        H[i, k] -= V[i, c] * H[c, k]
                    H[i, k] *= by
                for c in range(i):
                    h[i] -= V[i, c] * h[c]
                h[i] *= by
            for i in range(q):
                expected, left = 0.0, 0.0
                for k in range(q):
                    left += out[s, i, k] * out[s, i, k]
                for c in range(q):
                    reached = 0.0
                    for k in range(q):
                        reached += H[c, k] * out[s, i, k]
                    expected += reached * h[c]
                    left -= reached * reached
                gap = expected - centre[i]
                centre[i] += gap / (s + 1)
                spread[i] += gap * (expected - centre[i])
                within[i] += max(left, 0.0)
        for i in range(q):
            mean[j, i] = centre[i]
            variance[j, i] = (spread[i] + within[i]) / S
