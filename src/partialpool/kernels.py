"""Compiled loops over groups, in the notation of `exact`.

Shapes: S values of theta, J groups, q varying coefficients, m = p + 1 columns ``[X y]``. `V` is a
scratch array of 2 q rows: the Cholesky factor of ``V_j`` above, ``R_j L`` below.
"""

import numba
import numpy as np


@numba.njit(cache=True, error_model="numpy")
def _whiten(R, G, L, sigma, V, H):
    """Cholesky of ``V_j`` in place in V, ``H = V_j^(-1/2) G_j``; returns the product of pivots."""
    q, m = G.shape
    A = V[q:]  # scratch rows: A = R_j L
    for i in range(q):
        for k in range(q):
            value = 0.0
            for c in range(i, q):
                value += R[i, c] * L[c, k]
            A[i, k] = value
    product = 1.0
    for i in range(q):
        for k in range(i + 1):
            value = sigma * sigma if i == k else 0.0
            for c in range(q):
                value += A[i, c] * A[k, c]
            for c in range(k):
                value -= V[i, c] * V[k, c]
            if i == k:
                V[i, i] = np.sqrt(value)
                product *= V[i, i]
            else:
                V[i, k] = value / V[k, k]
        for d in range(m):
            value = G[i, d]
            for c in range(i):
                value -= V[i, c] * H[c, d]
            H[i, d] = value / V[i, i]
    return product


@numba.njit(cache=True, error_model="numpy")
def _collect(R, G, E, L, sigma, V, H, C):
    """Fill C = E / sigma² + Σ_j G_jᵀ V_j⁻¹ G_j; return ½ Σ_j log|V_j|."""
    J, q, m = G.shape
    for c in range(m):
        for d in range(c, m):
            C[c, d] = E[c, d] / (sigma * sigma)
    half_log_det = 0.0
    product = 1.0
    for j in range(J):
        if q == 2:  # the usual case, written out: V_j = [[v, w], [w, x]] by its LDLᵀ factors
            r, s, t = R[j, 0, 0], R[j, 0, 1], R[j, 1, 1]
            a, b = r * L[0, 0] + s * L[1, 0], r * L[0, 1] + s * L[1, 1]
            e, f = t * L[1, 0], t * L[1, 1]
            v = sigma * sigma + a * a + b * b
            ratio = (a * e + b * f) / v
            x = sigma * sigma + e * e + f * f - ratio * ratio * v
            product *= np.sqrt(v * x)
            by_v, by_x = 1 / v, 1 / x
            for c in range(m):
                H[0, c] = G[j, 0, c]
                H[1, c] = G[j, 1, c] - ratio * G[j, 0, c]
            for c in range(m):
                for d in range(c, m):
                    C[c, d] += by_v * H[0, c] * H[0, d] + by_x * H[1, c] * H[1, d]
        else:
            product *= _whiten(R[j], G[j], L, sigma, V, H)
            for i in range(q):
                for c in range(m):
                    for d in range(c, m):
                        C[c, d] += H[i, c] * H[i, d]
        if not 1e-100 < product < 1e100:
            half_log_det += np.log(product)
            product = 1.0
    for c in range(m):
        for d in range(c):
            C[c, d] = C[d, c]
    return half_log_det + np.log(product)


@numba.njit(cache=True, error_model="numpy")
def _posterior_beta(C, mean, precision, F):
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
def log_likelihood(sigma, L, R, G, E, n_rows, mean, precision):
    """``log p(y | theta)`` without its constants, for S values of theta."""
    S = len(sigma)
    J, q, m = G.shape
    out = np.empty(S)
    for s in numba.prange(S):
        V = np.empty((2 * q, q))
        H = np.empty((q, m))
        C = np.empty((m, m))
        F = np.empty((m, m))
        half_log_det = _collect(R, G, E, L[s], sigma[s], V, H, C)
        _posterior_beta(C, mean, precision, F)
        value = -(n_rows - J * q) * np.log(sigma[s]) - half_log_det - 0.5 * F[m - 1, m - 1] ** 2
        for c in range(m - 1):
            value -= np.log(F[c, c])
        out[s] = value
    return out


@numba.njit(cache=True, error_model="numpy", parallel=True)
def draw_beta(sigma, L, R, G, E, mean, precision, z):
    """One draw of beta (S, p) for each theta, from standard normals `z` of that shape."""
    S = len(sigma)
    q, m = G.shape[1:]
    beta = np.empty((S, m - 1))
    for s in numba.prange(S):
        V = np.empty((2 * q, q))
        H = np.empty((q, m))
        C = np.empty((m, m))
        F = np.empty((m, m))
        _collect(R, G, E, L[s], sigma[s], V, H, C)
        _posterior_beta(C, mean, precision, F)
        for c in range(m - 2, -1, -1):  # solve F_ppᵀ beta = F_yp + z
            value = F[m - 1, c] + z[s, c]
            for d in range(c + 1, m - 1):
                value -= F[d, c] * beta[s, d]
            beta[s, c] = value / F[c, c]
    return beta


@numba.njit(cache=True, error_model="numpy", parallel=True)
def draw_effects(sigma, L, R, G, beta, z_b, z_e):
    """One draw of b (S, J, q) for each theta and beta, from standard normals of that shape."""
    S = len(sigma)
    J, q, m = G.shape
    b = np.empty((S, J, q))
    for s in numba.prange(S):
        V = np.empty((2 * q, q))
        H = np.empty((q, m))
        prior = np.empty(q)
        gap = np.empty(q)
        for j in range(J):
            _whiten(R[j], G[j], L[s], sigma[s], V, H)
            for i in range(q):
                prior[i] = 0.0
                for c in range(q):
                    prior[i] += L[s, i, c] * z_b[s, j, c]
            for i in range(q):
                gap[i] = G[j, i, m - 1] - sigma[s] * z_e[s, j, i]
                for c in range(m - 1):
                    gap[i] -= G[j, i, c] * beta[s, c]
                for c in range(i, q):
                    gap[i] -= R[j, i, c] * prior[c]
            for i in range(q):  # gap <- V_j⁻¹ gap by its Cholesky factor in V
                for c in range(i):
                    gap[i] -= V[i, c] * gap[c]
                gap[i] /= V[i, i]
            for i in range(q - 1, -1, -1):
                for c in range(i + 1, q):
                    gap[i] -= V[c, i] * gap[c]
                gap[i] /= V[i, i]
            for i in range(q):  # b = prior + L (R L)ᵀ gap
                value = prior[i]
                for c in range(q):
                    pull = 0.0
                    for d in range(q):
                        pull += V[q + d, c] * gap[d]
                    value += L[s, i, c] * pull
                b[s, j, i] = value
    return b
