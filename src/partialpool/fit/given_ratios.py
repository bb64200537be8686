"""Likelihood of theta, and draws of the coefficients, once ``log|V0|`` and C are known.

With the ratios of all factors but the small ones given, sigma and the small factors cost a matrix
of m = p + (effects of small factors) + 1 columns, at any value, zero too: their effects are
coefficients with a prior of their own (docs/method.md, eq. (41)).
"""

from functools import cache

import numba
import numpy as np

from partialpool.fit.kernels import AT_ONCE, collect, posterior_beta, scratch


@numba.njit(cache=True, error_model="numpy")
def _turn_small(C, L, small, work):
    """``Dᵀ C D`` in place, D the identity for X and y and L for each level of a small factor.

    `small` (n, 4): first column, columns per level, levels, and where the factor stands in L.
    """
    m = len(C)
    for f in range(len(small)):
        first, q, levels, at = small[f]
        for level in range(levels):
            start = first + level * q
            for r in range(m):
                for c in range(q):
                    work[c] = 0.0
                    for d in range(q):
                        work[c] += C[r, start + d] * L[at + d, at + c]
                for c in range(q):
                    C[r, start + c] = work[c]
            for r in range(m):
                for c in range(q):
                    work[c] = 0.0
                    for d in range(q):
                        work[c] += C[start + d, r] * L[at + d, at + c]
                for c in range(q):
                    C[start + c, r] = work[c]


@numba.njit(cache=True, error_model="numpy")
def _density(C, half_log_det, sigma, L, small, n_rows, mean, precision, F, work, z):
    """Log likelihood without constants; z (m - 1) or empty: standard normals turn into draws."""
    m = len(C)
    by_square = 1 / (sigma * sigma)
    for c in range(m):
        for d in range(m):
            C[c, d] *= by_square
    _turn_small(C, L, small, work)
    posterior_beta(C, mean, precision, F)
    value = -n_rows * np.log(sigma) - half_log_det - 0.5 * F[m - 1, m - 1] ** 2
    for c in range(m - 1):
        value -= np.log(F[c, c])
    if not len(z):
        return value
    for c in range(m - 2, -1, -1):
        total = F[m - 1, c] + z[c]
        for d in range(c + 1, m - 1):
            total -= F[d, c] * z[d]
        z[c] = total / F[c, c]
    for f in range(len(small)):
        first, q, levels, at = small[f]
        for level in range(levels):
            start = first + level * q
            for c in range(q):
                work[c] = 0.0
                for d in range(q):
                    work[c] += L[at + c, at + d] * z[start + d]
            for c in range(q):
                z[start + c] = work[c]
    return value


@numba.njit(cache=True, error_model="numpy", parallel=True)
def log_likelihood(sigma, log_det, packed, L, small, n_rows, mean, precision, z):
    """``log p(y | theta)`` without its constants, for S values of theta.

    Shapes: sigma, log_det (S,), packed (S, m (m + 1) / 2) the lower triangles of C row by row, L
    (S, k, k) of the small factors, z (S, m - 1) or (0, m - 1). Rows of z turn into draws of the
    coefficients and of the small factors' effects.
    """
    S, m = len(sigma), len(mean) + 1
    out = np.empty(S)
    for start in numba.prange((S + AT_ONCE - 1) // AT_ONCE):
        C, F, work = np.empty((m, m)), np.empty((m, m)), np.empty(m)
        for s in range(start * AT_ONCE, min(S, (start + 1) * AT_ONCE)):
            at = 0
            for c in range(m):
                for d in range(c + 1):
                    C[c, d] = packed[s, at]
                    C[d, c] = packed[s, at]
                    at += 1
            own = z[s] if len(z) else work[:0]
            half = 0.5 * log_det[s]
            out[s] = _density(C, half, sigma[s], L[s], small, n_rows, mean, precision, F, work, own)
            if F[m - 1, m - 1] == 0.0:  # an interpolated C that is not definite
                out[s] = np.nan
    return out


@numba.njit(cache=True, error_model="numpy", parallel=True)
def log_likelihood_directly(sigma, ratio, R, G, E, L, small, n_rows, mean, precision, z):
    """The same where there are no middle factors, from the ratios (S, q, q) of the first one.

    `R` (q, q, J) and `G` (q, m, J) have levels last, as in `kernels`.
    """
    S, m = len(sigma), len(mean) + 1
    out = np.empty(S)
    for start in numba.prange((S + AT_ONCE - 1) // AT_ONCE):
        C, F, work = np.empty((m, m)), np.empty((m, m)), np.empty(m)
        room = scratch(len(R), m)
        for s in range(start * AT_ONCE, min(S, (start + 1) * AT_ONCE)):
            half = collect(R, G, E, ratio[s], 1.0, C, room)
            own = z[s] if len(z) else work[:0]
            out[s] = _density(C, half, sigma[s], L[s], small, n_rows, mean, precision, F, work, own)
    return out


def packed(C: np.ndarray) -> np.ndarray:
    """The lower triangle of C (..., m, m), row by row."""
    return C[(..., *_triangle(C.shape[-1]))]


@cache
def _triangle(m: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(m)
