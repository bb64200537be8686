"""Compiled: exact draws of each group's effects given the rest (docs/method.md, eq. (61)).

By rejection under tangents of the logarithm of the density, which is concave (Gilks & Wild 1992).
Uniform numbers are Philox's (Salmon et al. 2011), a function of seed, draw, group and attempt: the
draws of a group are the same whichever others are drawn, on any number of threads.
"""

import numba
import numpy as np

from partialpool.fit.group_kernels import line, residuals
from partialpool.fit.group_modes import mode, peak, spacing, spread_rows
from partialpool.fit.kernels import FAST

#: Places of the tangents from the mode, in standard deviations by the curvature there.
TANGENTS = np.array([-2.0, -0.9, 0.05, 0.9, 2.0])
#: Proposals before the last one is taken: never seen, but a loop must end.
MOST_ATTEMPTS = 1000
#: Nodes of the integral over the second of two effects; the first of its random numbers.
MARGINAL_NODES, SECOND = 41, 1_000_000


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
def height(poisson, common, eta, exp_eta, m, g, linear, quad, x):
    """Value and slope at x of what `peak` has the mode of."""
    n = len(g)
    value, slope, product = (linear - 0.5 * quad * x) * x, linear - quad * x, 1.0
    factor = np.exp(g[0] * x) if common and n else 1.0
    for i in range(n):
        e = eta[i] + g[i] * x
        t = exp_eta[i] * factor if common else np.exp(e)
        if poisson:
            value -= t
            slope -= g[i] * t
            continue
        slope -= g[i] * m[i] * (1 - 1 / (1 + t))
        if t > 1e20:
            value -= m[i] * e
        elif m[i] > 4 or m[i] != np.floor(m[i]):
            value -= m[i] * np.log(1 + t)
        else:
            for _ in range(int(m[i])):
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


@numba.njit(cache=True, error_model="numpy")
def draw_line(poisson, common, eta, exp_eta, m, g, linear, quad, x, curvature, key, s, j, salt):
    """A draw from the density that is the exponential of what `peak` has the mode x of."""
    at, heights, slopes = np.empty(5), np.empty(5), np.empty(5)
    edges, shares = np.empty(4), np.empty(5)
    for i in range(5):
        distance = TANGENTS[i] / np.sqrt(curvature)
        for _ in range(60):
            at[i] = x + distance
            heights[i], slopes[i] = height(
                poisson, common, eta, exp_eta, m, g, linear, quad, at[i]
            )  # fmt: skip
            if (i > 0 or slopes[0] > 0) and (i < 4 or slopes[4] < 0):
                break
            distance *= 1.5
    top = heights[2]
    heights -= top
    under_tangents(at, heights, slopes, edges, shares)
    found = x
    for attempt in range(MOST_ATTEMPTS):
        u, v = philox(key, s, j, salt + attempt)
        found, i = from_tangents(u, at, slopes, edges, shares)
        least = np.log(v) + heights[i] + slopes[i] * (found - at[i])
        k = i if found > at[i] else i - 1
        if 0 <= k < 4:  # above its chord the density need not be known
            rise = (heights[k + 1] - heights[k]) / (at[k + 1] - at[k])
            if least <= heights[k] + rise * (found - at[k]):
                break
        value, _ = height(poisson, common, eta, exp_eta, m, g, linear, quad, found)
        if least <= value - top:
            break
    return found


@numba.njit(cache=True, error_model="numpy")
def cut(eta, y, G, w, C, x, at, g):
    """The group at ``w + C (x, ·)``: fills at (n,) and g (n,); returns level, linear and quad."""
    a, b = w[0] + C[0, 0] * x, w[1] + C[1, 0] * x
    level, linear, quad = -0.5 * (a * a + b * b), -b * C[1, 1], C[1, 1] * C[1, 1]
    for i in range(len(eta)):
        at[i] = eta[i] + G[i, 0] * a + G[i, 1] * b
        g[i] = G[i, 1] * C[1, 1]
        level += y[i] * at[i]
        linear += y[i] * g[i]
    return level, linear, quad


@numba.njit(cache=True, error_model="numpy")
def marginal(
    poisson,
    eta,
    y,
    trials,
    count,
    shape,
    m,
    G,
    w,
    C,
    x,
    at,
    g,
    place,
    first,
    delta,
    left,
    weight,
    scratch,
):
    """Log of the integral over the second coordinate of ``w + C (x, ·)``, and its slope by x.

    The integral is concave in x as well (Prékopa 1973).
    """
    n, K = len(eta), len(weight)
    level, linear, quad = cut(eta, y, G, w, C, x, at, g)
    middle, curvature = peak(poisson, False, at, at, m, g, linear, quad, 0.0)
    step = spacing(K) / np.sqrt(curvature)
    for i in range(n):
        place[i] = at[i] + g[i] * middle
        first[i] = np.exp(place[i])
        delta[i] = g[i] * step
    slope = (linear - quad * middle) * step
    top, total = line(
        poisson, place, first, trials, count, shape, delta, slope, quad * step * step,
        weight, scratch,
    )  # fmt: skip
    mean = 0.0
    for k in range(K):
        weight[k] /= total
        mean += weight[k] * (k - K // 2)
    left[:] = 0.0
    residuals(poisson, first, y, m, delta, weight, scratch, left[0], left[1])
    rise = -C[0, 0] * (w[0] + C[0, 0] * x)
    rise -= C[1, 0] * (w[1] + C[1, 0] * x + C[1, 1] * (middle + step * mean))
    for i in range(n):
        rise += left[0, i] * (G[i, 0] * C[0, 0] + G[i, 1] * C[1, 0])
    value = level + (linear - 0.5 * quad * middle) * middle + top + np.log(total * step)
    return value, rise


@numba.njit(cache=True, error_model="numpy", parallel=True)
def draw_effects(
    poisson, common, eta, exp_eta, y, trials, count, shape, Z, start, L, near, shift, scale, K,
    some, key, first,
):  # fmt: skip
    """One draw of the effects of some groups (G,) for each of S values of the rest: (q, S, G).

    Arguments as for `group_kernels.integrals`; `key` is the seed, and `first` the number of the
    first draw. Of two effects the first comes from its marginal, the second given it.
    """
    S, q = len(L), Z.shape[1]
    out = np.empty((q, S, len(some)))
    widest = (start[1:] - start[:-1]).max()
    for s in numba.prange(S):
        G, m = np.empty((widest, q)), np.empty(widest)
        w, C = np.empty(q), np.empty((q, q))
        rows, left = np.empty((5, widest)), np.empty((2, widest))
        heights, scratch = np.empty(MARGINAL_NODES), np.empty((5, MARGINAL_NODES))
        at, tall, slopes = np.empty(5), np.empty(5), np.empty(5)
        edges, shares = np.empty(4), np.empty(5)
        for number in range(len(some)):
            j = some[number]
            a, b = start[j], start[j + 1]
            n = b - a
            for i in range(n):
                m[i] = trials[a + i] + shape[s] * count[a + i]
            own, expd = eta[s, a:b], exp_eta[s, a:b] if common else eta[s, a:b]
            spread_rows(Z[a:b], L[s], near[j], G[:n], w)
            mode(poisson, common, own, expd, y[a:b], m[:n], G[:n], w, C)
            if q == 1:
                linear = 0.0
                for i in range(n):
                    linear += y[a + i] * G[i, 0]
                out[0, s, number] = L[s, 0, 0] * draw_line(
                    poisson, common, own, expd, m[:n], G[:n, 0], linear, 1.0, w[0],
                    C[0, 0] ** -2.0, key, first + s, j, 0,
                )  # fmt: skip
                continue
            top = 0.0
            x, attempt, tangent = 0.0, -6, 0
            while attempt < MOST_ATTEMPTS:
                # the mode, five tangents, then proposals: one place in the code for the integral
                v = 1.0
                if attempt == -5 and tangent == 0 and x == 0.0:
                    x = TANGENTS[0]
                elif attempt >= 0:
                    if attempt == 0:
                        under_tangents(at, tall, slopes, edges, shares)
                    u, v = philox(key, first + s, j, attempt)
                    x, tangent = from_tangents(u, at, slopes, edges, shares)
                value, slope = marginal(
                    poisson, own, y[a:b], trials[a:b], count[a:b], shape[s], m[:n], G[:n], w, C, x,
                    rows[0, :n], rows[1, :n], rows[2, :n], rows[3, :n], rows[4, :n], left[:, :n],
                    heights, scratch,
                )  # fmt: skip
                if attempt == -6:
                    top = value
                elif attempt < 0:
                    inside = (tangent == 0 and not slope > 0) or (tangent == 4 and not slope < 0)
                    if inside and abs(x) < 1e6:
                        x *= 1.5
                        continue
                    at[tangent], tall[tangent], slopes[tangent] = x, value - top, slope
                    tangent += 1
                    x = TANGENTS[min(tangent, 4)]
                elif np.log(v) <= value - top - tall[tangent] - slopes[tangent] * (x - at[tangent]):
                    break
                attempt += 1
            _, linear, quad = cut(own, y[a:b], G[:n], w, C, x, rows[0, :n], rows[1, :n])
            middle, curvature = peak(
                poisson, False, rows[0, :n], rows[0, :n], m[:n], rows[1, :n], linear, quad, 0.0
            )
            z = draw_line(
                poisson, False, rows[0, :n], rows[0, :n], m[:n], rows[1, :n], linear, quad, middle,
                curvature, key, first + s, j, SECOND,
            )  # fmt: skip
            one, two = w[0] + C[0, 0] * x, w[1] + C[1, 0] * x + C[1, 1] * z
            out[0, s, number] = L[s, 0, 0] * one
            out[1, s, number] = L[s, 1, 0] * one + L[s, 1, 1] * two
    return out
