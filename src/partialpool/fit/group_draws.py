"""Compiled: draws of each group's effects given the rest (docs/method.md, eq. (61)).

From a lattice at a random place: as exact as the integral that its nodes add up to. Uniform numbers
are Philox's (Salmon et al. 2011), a function of seed, draw, group and attempt: the draws of a group
are the same whichever others are drawn, on any number of threads. As in `group_rows` some draws
are taken at a time, side by side in `lanes`.
"""

import numba
import numpy as np

from partialpool.fit.group_lattice import lattice, length
from partialpool.fit.group_modes import room_for
from partialpool.fit.group_rows import rows_of, side_by_side


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


@numba.njit(cache=True)
def uniforms(key, draws, groups, attempt):
    """Two uniform numbers (n,) each for pairs of draws and groups (n,)."""
    u, v = np.empty(len(draws)), np.empty(len(draws))
    for i in range(len(draws)):
        u[i], v[i] = philox(key, draws[i], groups[i], attempt)
    return u, v


@numba.njit(cache=True)
def chosen(u, k, lane, work):
    """Line of the node of a lattice up to which the shares add up to u, and its place k from -r."""
    heights, totals, share, q = work.heights, work.totals, work.share, len(work.w)
    lines, i, o = k ** (q - 1), 0, 0
    while i < lines - 1 and u > share[i, lane] * totals[i, lane]:
        u -= share[i, lane] * totals[i, lane]
        i += 1
    nearby = length(i, k, q)
    while o < nearby - 1 and u > share[i, lane] * heights[i, o, lane]:
        u -= share[i, lane] * heights[i, o, lane]
        o += 1
    return i, o - nearby // 2


@numba.njit(cache=True, error_model="numpy", nogil=True)
def draw_effects(data, values, lattices, some, key, first, out, begin, end):
    """One draw of the effects of some groups (G,) for each of S values of the rest, into out.

    Arguments as for `group_kernels.integrals`; `key` is the seed, `first` the number of the first
    draw, and out (q, S, G).
    """
    start, K, q = data.start, lattices.K, len(data.Z)
    widest, most = (start[1:] - start[:-1]).max(), K[some].max() if len(some) else 1
    for chunk in range(begin, end):
        at = side_by_side(values, chunk, widest)
        s, lanes, L = at.first, len(at.shape), at.L
        work = room_for(q, widest, most, lanes, True)
        centre, apart, axes, w = work.centre, work.apart, work.axes, work.w
        u, logs = np.empty(lanes), np.empty(lanes)
        for g in range(len(some)):
            j = some[g]
            k = K[j]
            rows = rows_of(data, values, j, at, work.lane[11], work.rows[0])
            for c in range(lanes):
                u[c], apart[0, c] = philox(key, first + s + c, j, 0)
                for d in range(1, q):
                    apart[d, c] = philox(key, first + s + c, j, d)[0]
                for d in range(q):
                    apart[d, c] -= 0.5
            lattice(rows, L, lattices, j, work, logs)
            for c in range(at.fresh, lanes):
                i, o = chosen(u[c], k, c, work)
                for d in range(q):
                    w[d, c] = centre[d, c] + axes[d, q - 1, c] * o
                    if q > 1:
                        w[d, c] += (i - k // 2) * axes[d, 0, c]
                for d in range(q):
                    out[d, s + c, g] = 0.0
                    for e in range(d + 1):
                        out[d, s + c, g] += L[d, e, c] * w[e, c]
