"""Compiled: exact draws of each group's effects given the rest (docs/method.md, eq. (61)).

By rejection under tangents of the logarithm of the density, which is concave (Gilks & Wild 1992).
Uniform numbers are Philox's (Salmon et al. 2011), a function of seed, draw, group and attempt: the
draws of a group are the same whichever others are drawn, on any number of threads.
"""

import numba
import numpy as np

from partialpool.fit.group_modes import mode, spread_rows
from partialpool.fit.kernels import FAST

#: Places of the tangents from the mode, in standard deviations by the curvature there.
TANGENTS = np.array([-2.0, -0.9, 0.05, 0.9, 2.0])
#: Proposals before the last one is taken: never seen, but a loop must end.
MOST_ATTEMPTS = 1000


@numba.njit(cache=True)
def philox(key, draw, group, attempt):
    """Two uniform numbers between 0 and 1: Philox 4x32 with ten rounds."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    one, two = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    a, b = np.uint64(draw) & low, np.uint64(group) & low
    c, d = np.uint64(attempt) & low, np.uint64(draw) >> half
    k, n = np.uint64(key) & low, np.uint64(key) >> half
    for _ in range(10):
        first, second = one * a, two * c
        a, b, c, d = (second >> half) ^ b ^ k, second & low, (first >> half) ^ d ^ n, first & low
        k = (k + np.uint64(0x9E3779B9)) & low
        n = (n + np.uint64(0xBB67AE85)) & low
    to_unit = 2.0**-53
    u = ((a << np.uint64(21)) ^ (b >> np.uint64(11))) + 0.5
    v = ((c << np.uint64(21)) ^ (d >> np.uint64(11))) + 0.5
    return u * to_unit, v * to_unit


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def height(poisson, common, eta, exp_eta, y, m, G, w):
    """Log density of one effect at w, up to a constant, and its slope."""
    n = len(eta)
    value, slope, product = -0.5 * w * w, -w, 1.0
    factor = np.exp(G[0, 0] * w) if common and n else 1.0
    for i in range(n):
        g = G[i, 0]
        e = eta[i] + g * w
        t = exp_eta[i] * factor if common else np.exp(e)
        value += y[i] * e
        if poisson:
            value -= t
            slope += g * (y[i] - t)
            continue
        slope += g * (y[i] - m[i] + m[i] / (1 + t))
        if m[i] != 1 or t > 1e50:
            value -= m[i] * (max(e, 0.0) + np.log1p(np.exp(-abs(e))))
        else:
            product *= 1 + t
            if product > 1e200:
                value -= np.log(product)
                product = 1.0
    return value - np.log(product), slope


@numba.njit(cache=True, error_model="numpy")
def under_tangents(at, heights, slopes, edges, shares):
    """Where the tangents meet, `edges`, and the cumulated masses under them, `shares`."""
    n = len(at)
    for i in range(n - 1):
        turn = slopes[i] - slopes[i + 1]
        if turn > 1e-12:
            gap = heights[i + 1] - heights[i] - slopes[i + 1] * at[i + 1] + slopes[i] * at[i]
            edges[i] = min(max(gap / turn, at[i]), at[i + 1])
        else:
            edges[i] = 0.5 * (at[i] + at[i + 1])
    total = 0.0
    for i in range(n):
        if i == 0:
            total += np.exp(heights[0] + slopes[0] * (edges[0] - at[0])) / slopes[0]
        elif i == n - 1:
            total -= np.exp(heights[i] + slopes[i] * (edges[i - 1] - at[i])) / slopes[i]
        else:
            length = edges[i] - edges[i - 1]
            rise = slopes[i] * length
            low = np.exp(heights[i] + slopes[i] * (edges[i - 1] - at[i]))
            total += low * length * (np.expm1(rise) / rise if abs(rise) > 1e-9 else 1.0)
        shares[i] = total


@numba.njit(cache=True, error_model="numpy")
def from_tangents(u, at, slopes, edges, shares):
    """Place of a draw from the density under the tangents, and the number of its tangent."""
    n = len(at)
    u *= shares[n - 1]
    i = 0
    while i < n - 1 and shares[i] < u:
        i += 1
    below = shares[i - 1] if i else 0.0
    v = (u - below) / (shares[i] - below)
    if i == 0:
        return edges[0] + np.log(v) / slopes[0], i
    if i == n - 1:
        return edges[i - 1] + np.log1p(-v) / slopes[i], i
    rise = slopes[i] * (edges[i] - edges[i - 1])
    if abs(rise) < 1e-9:
        return edges[i - 1] + v * (edges[i] - edges[i - 1]), i
    return edges[i - 1] + np.log1p(v * np.expm1(rise)) / slopes[i], i


@numba.njit(cache=True, error_model="numpy", parallel=True)
def draw_one(
    poisson, common, eta, exp_eta, y, trials, count, shape, Z, start, L, near, some, key, first
):
    """One draw of the effects of some groups (G,) for each of S values of the rest: (S, G).

    Arguments as for `group_kernels.integrals`, with one varying coefficient; `key` is the seed, and
    `first` the number of the first draw.
    """
    S = len(L)
    out = np.empty((S, len(some)))
    widest = (start[1:] - start[:-1]).max()
    for s in numba.prange(S):
        G, m = np.empty((widest, 1)), np.empty(widest)
        w, C = np.empty(1), np.empty((1, 1))
        at, heights, slopes = np.empty(5), np.empty(5), np.empty(5)
        edges, shares = np.empty(4), np.empty(5)
        for place in range(len(some)):
            j = some[place]
            a, b = start[j], start[j + 1]
            n = b - a
            for i in range(n):
                m[i] = trials[a + i] + shape[s] * count[a + i]
            own, expd = eta[s, a:b], exp_eta[s, a:b] if common else eta[s, a:b]
            spread_rows(Z[a:b], L[s], near[j], G[:n], w)
            mode(poisson, common, own, expd, y[a:b], m, G[:n], w, C)
            top, _ = height(poisson, common, own, expd, y[a:b], m, G[:n], w[0])
            for i in range(5):
                distance = TANGENTS[i] * C[0, 0]
                for _ in range(60):
                    at[i] = w[0] + distance
                    value, slopes[i] = height(
                        poisson, common, own, expd, y[a:b], m, G[:n], at[i]
                    )  # fmt: skip
                    heights[i] = value - top
                    outside = (i > 0 or slopes[0] > 0) and (i < 4 or slopes[4] < 0)
                    if outside:
                        break
                    distance *= 1.5
            under_tangents(at, heights, slopes, edges, shares)
            x = w[0]
            for attempt in range(MOST_ATTEMPTS):
                u, v = philox(key, first + s, j, attempt)
                x, i = from_tangents(u, at, slopes, edges, shares)
                value, _ = height(poisson, common, own, expd, y[a:b], m, G[:n], x)
                if np.log(v) <= value - top - heights[i] - slopes[i] * (x - at[i]):
                    break
            out[s, place] = L[s, 0, 0] * x
    return out
