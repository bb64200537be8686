"""Compiled: the mode of a group's effects, the lattice about it (docs/method.md, eq. (55))."""

import numba
import numpy as np

from partialpool.fit.kernels import FAST

#: Squared distance from the mode, by the curvature, at which Newton's method ends; most steps.
CLOSE, MAX_STEPS = 1e-3, 100


@numba.njit(cache=True, error_model="numpy")
def spacing(K):
    """Distance of K nodes in whitened units; K = 1 is Laplace's approximation."""
    if K == 1:
        return np.sqrt(2 * np.pi)
    return 2 * min(np.sqrt(np.pi * K), 7 + K / 50) / (K - 1)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def peak(poisson, common, eta, exp_eta, m, g, linear, quad, x):
    """Mode and curvature of ``linear x - quad x² / 2`` and what rows (n,) with ``eta + g x`` lack.

    Newton's method from x; where the curvature may change on the way the step is log(1 + b) / b of
    it, with b the largest change of a linear predictor: no step is too long (Sun & Tran-Dinh 2019).
    """
    n = len(g)
    curvature = quad
    for _ in range(MAX_STEPS):
        slope, curvature, largest = linear - quad * x, quad, 0.0
        if common and n:
            factor, total, bend = np.exp(g[0] * x), 0.0, 0.0
            if poisson:
                for i in range(n):
                    total += exp_eta[i] * factor
                total = bend = min(total, 1e100)
            else:
                for i in range(n):
                    p = 1 / (1 + exp_eta[i] * factor)
                    mean = m[i] * (1 - p)
                    total += mean
                    bend += mean * p
            slope -= g[0] * total
            curvature += g[0] * g[0] * bend
            largest = abs(g[0])
        for i in range(0 if common else n):
            t = np.exp(eta[i] + g[i] * x)
            if poisson:
                mean = bend = min(t, 1e100)
            else:
                p = 1 / (1 + t)
                mean = m[i] * (1 - p)
                bend = mean * p
            slope -= g[i] * mean
            curvature += g[i] * g[i] * bend
            largest = max(largest, abs(g[i]))
        step = slope / curvature
        change = largest * abs(step)
        x += step * (np.log1p(change) / change if change > 0.5 else 1.0)
        if not slope * step > CLOSE:
            break
    return x, curvature


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def mode(poisson, common, eta, exp_eta, y, m, G, w, C):
    """Move w (q,) to the mode; C becomes a lower triangular root of the inverse curvature.

    By `peak`, or its steps in two dimensions.
    """
    n, q = G.shape
    if q == 1:
        linear = 0.0
        for i in range(n):
            linear += y[i] * G[i, 0]
        w[0], curvature = peak(
            poisson, common, eta, exp_eta, m, G[:, 0], linear, 1.0, w[0]
        )  # fmt: skip
        C[0, 0] = 1 / np.sqrt(curvature)
        return
    h00, h01, h11 = 1.0, 0.0, 1.0
    for _ in range(MAX_STEPS):
        s0, s1, h00, h01, h11 = -w[0], -w[1], 1.0, 0.0, 1.0
        for i in range(n):
            a, b = G[i, 0], G[i, 1]
            t = np.exp(eta[i] + a * w[0] + b * w[1])
            if poisson:
                mean = bend = min(t, 1e100)
            else:
                p = 1 / (1 + t)
                mean = m[i] * (1 - p)
                bend = mean * p
            s0 += a * (y[i] - mean)
            s1 += b * (y[i] - mean)
            h00 += a * a * bend
            h01 += a * b * bend
            h11 += b * b * bend
        det = h00 * h11 - h01 * h01
        d0, d1 = (h11 * s0 - h01 * s1) / det, (h00 * s1 - h01 * s0) / det
        change = 0.0
        for i in range(n):
            change = max(change, abs(G[i, 0] * d0 + G[i, 1] * d1))
        shorter = np.log1p(change) / change if change > 0.5 else 1.0
        w[0] += shorter * d0
        w[1] += shorter * d1
        if not s0 * d0 + s1 * d1 > CLOSE:
            break
    det = h00 * h11 - h01 * h01
    C[0, 0] = np.sqrt(h11 / det)
    C[1, 0] = -h01 / det / C[0, 0]
    C[0, 1] = 0.0
    C[1, 1] = 1 / np.sqrt(h11)


@numba.njit(cache=True, error_model="numpy")
def spread_rows(Z, L, near, G, w):
    """G (n, q) becomes ``Z L``, and w (q,) the standard normals of the effects `near` (q,)."""
    n, q = G.shape
    for i in range(n):
        for c in range(q):
            G[i, c] = 0.0
            for d in range(c, q):
                G[i, c] += Z[i, d] * L[d, c]
    for c in range(q):
        value = near[c]
        for d in range(c):
            value -= L[c, d] * w[d]
        w[c] = min(max(value / L[c, c], -8.0), 8.0) if L[c, c] > 0 else 0.0


@numba.njit(cache=True, error_model="numpy")
def frame(poisson, common, eta, exp_eta, y, m, Z, L, near, shift, scale, K, G, w, C, centre, axes):
    """Mode, middle and axes of a group's lattice; returns the size of its cell.

    G (n, q) becomes ``Z L``; `near` (q,) are effects from which the mode is looked for.
    """
    q = G.shape[1]
    spread_rows(Z, L, near, G, w)
    mode(poisson, common, eta, exp_eta, y, m, G, w, C)
    step = spacing(K)
    cell = (2 * np.pi) ** (-0.5 * q)
    for c in range(q):
        centre[c] = w[c]
        for d in range(c + 1):
            centre[c] += C[c, d] * shift[d]
        for d in range(q):
            axes[c, d] = C[c, d] * scale[d] * step
        cell *= axes[c, c]
    return cell
