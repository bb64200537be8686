"""Compiled: exact draws of each group's effects given the rest (docs/method.md, eq. (61)).

By rejection under tangents of the logarithm of the density, which is concave (Gilks & Wild 1992).
Uniform numbers are Philox's (Salmon et al. 2011), a function of seed, draw, group and attempt: the
draws of a group are the same whichever others are drawn, on any number of threads. As in
`group_modes` some draws are taken at a time, side by side in `lanes`.
"""

import numba
import numpy as np

from partialpool.fit.elementary import exponentials, logarithms
from partialpool.fit.group_kernels import PLACES, chunks, line, residuals
from partialpool.fit.group_modes import mode, odds, peak, predictors, spacing
from partialpool.fit.kernels import FAST

#: Places of the tangents from the mode, in standard deviations by the curvature there.
TANGENTS = np.array([-2.0, -0.9, 0.05, 0.9, 2.0])
#: Proposals before the last one is taken: never seen, but a loop must end.
MOST_ATTEMPTS = 1000
#: Nodes of the integral over the second of two effects; the first of its random numbers.
MARGINAL_NODES, SECOND = 41, 1_000_000
#: Odds from which on log(1 + odds) is log(odds), factors of such that are multiplied at most, and
#: trials of a row that is that many factors.
LARGE, MULTIPLIED, FEW = 1e18, 16, 4
LOG_LARGE = np.log(LARGE)


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


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def height(rows, axis, x, sloped, value, slope, room, lane):
    """Value and, if `sloped`, slope at x (lanes,) of what `peak` has the mode of.

    Without the rows' parts at x = 0 that all places share.
    """
    poisson, common, eta, exp_eta, _, trials, count, shape, _ = rows
    z, unit, linear, quad = axis
    n, lanes = len(z), len(x)
    t, move, total, product = room[2], lane[0], lane[1], lane[2:3]
    for c in range(lanes):
        move[c] = unit[c] * x[c]
        value[c], total[c], product[0, c] = (linear[c] - 0.5 * quad[c] * x[c]) * x[c], 0.0, 1.0
    odds(common, eta, exp_eta, z, move, t, room)
    held = 0
    for i in range(n):
        if poisson:
            for c in range(lanes):
                value[c] -= t[i, c]
                total[c] += z[i] * t[i, c]
            continue
        few = trials[i] <= FEW and not count[i]
        held += trials[i]
        if held > MULTIPLIED or not few:
            held = trials[i]
            logarithms(product, 1, room[0], room[1])
            for c in range(lanes):
                value[c] -= room[0, 0, c]
                product[0, c] = 1.0
        if sloped:
            for c in range(lanes):
                total[c] += z[i] * (trials[i] + count[i] * shape[c]) * (1 - 1 / (1 + t[i, c]))
        for c in range(lanes):
            m, e = trials[i] + count[i] * shape[c], eta[i, c] + z[i] * move[c]
            value[c] -= m * max(e - LOG_LARGE, 0.0)
            t[i, c] = 1 + min(t[i, c], LARGE)
            product[0, c] *= t[i, c]
        if few:
            for _ in range(1, trials[i]):
                for c in range(lanes):
                    product[0, c] *= t[i, c]
            continue
        logarithms(product, 1, room[0], room[1])
        for c in range(lanes):
            value[c] -= (trials[i] + count[i] * shape[c]) * room[0, 0, c]
            product[0, c] = 1.0
        held = 0
    logarithms(product, 1, room[0], room[1])
    for c in range(lanes):
        value[c] -= room[0, 0, c]
        slope[c] = linear[c] - quad[c] * x[c] - unit[c] * total[c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def cut(rows, frame, x, side, level, linear, own):
    """The group at ``w + C (x, ·)``: predictors into side, level, linear, and w there into own."""
    _, _, eta, _, _, _, _, _, Z = rows
    L, w, C, told = frame
    for c in range(len(x)):
        a, b = w[0, c] + C[0, 0, c] * x[c], w[1, c] + C[1, 0, c] * x[c]
        own[0, c], own[1, c] = a, b
        own[2, c] = L[0, 0, c] * a
        own[3, c] = L[1, 0, c] * a + L[1, 1, c] * b
        level[c] = -0.5 * (a * a + b * b) + told[0] * own[2, c] + told[1] * own[3, c]
        linear[c] = (told[1] * L[1, 1, c] - b) * C[1, 1, c]
    for i in range(Z.shape[1]):
        for c in range(len(x)):
            side[i, c] = eta[i, c] + Z[0, i] * own[2, c] + Z[1, i] * own[3, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def marginal(rows, frame, x, sloped, value, rise, side, room, nodes, weight, left, lane, own):
    """Log of the integral over the second coordinate of ``w + C (x, ·)``; if `sloped`, its slope.

    The integral is concave in x as well (Prékopa 1973).
    """
    poisson, _, _, _, y, trials, count, shape, Z = rows
    L, _, C, _ = frame
    (K, lanes), n = weight.shape, Z.shape[1]
    linear, unit, quad, middle, curvature = own[4], own[5], own[6], own[7], own[8]
    step, slope, tops, totals = own[9], own[10], own[11], own[12]
    cut(rows, frame, x, side, value, linear, own)
    for c in range(lanes):
        unit[c], quad[c], middle[c] = L[1, 1, c] * C[1, 1, c], C[1, 1, c] ** 2, 0.0
    peak(
        poisson, False, side, side, trials, count, shape, Z[1], unit, linear, quad, middle,
        curvature, room, lane,
    )  # fmt: skip
    for c in range(lanes):
        h = spacing(K) / np.sqrt(curvature[c])
        value[c] += (linear[c] - 0.5 * quad[c] * middle[c]) * middle[c]
        rise[c] = h
        slope[c] = (linear[c] - quad[c] * middle[c]) * h
        step[c], own[13, c] = unit[c] * h, quad[c] * h * h
        own[14, c] = unit[c] * middle[c]
    line(
        poisson, False, side, side, trials, count, shape, Z[1], own[14], step, slope, own[13],
        weight, tops, totals, room, nodes, lane,
    )  # fmt: skip
    for c in range(lanes):
        value[c] += tops[c] + np.log(totals[c] * rise[c])
        own[13, c] = 0.0
    if not sloped:
        return
    for k in range(K):
        for c in range(lanes):
            weight[k, c] /= totals[c]
            own[13, c] += weight[k, c] * (k - K // 2)
    residuals(
        poisson, y, trials, count, shape, Z[1], step, weight, left[0], left[1], room, nodes, lane
    )  # fmt: skip
    for c in range(lanes):
        h = rise[c]
        rise[c] = -C[0, 0, c] * own[0, c]
        rise[c] -= C[1, 0, c] * (own[1, c] + C[1, 1, c] * (middle[c] + h * own[13, c]))
    for i in range(n):
        for c in range(lanes):
            one = Z[0, i] * L[0, 0, c] + Z[1, i] * L[1, 0, c]
            two = Z[1, i] * L[1, 1, c]
            rise[c] += left[0, i, c] * (one * C[0, 0, c] + two * C[1, 0, c])


@numba.njit(cache=True, error_model="numpy")
def log_density(of_two, rows, axis, frame, x, sloped, value, slope, rooms):
    """`height`, or of two effects the `marginal` of the first."""
    side, room, nodes, weight, left, lane, own, _, _ = rooms
    if of_two:
        marginal(rows, frame, x, sloped, value, slope, side, room, nodes, weight, left, lane, own)
    else:
        height(rows, axis, x, sloped, value, slope, room, lane)


@numba.njit(cache=True, error_model="numpy")
def draw_line(of_two, rows, axis, frame, x, spread, key, first, j, salt, rooms):
    """Draws from the densities whose logarithms are `log_density`: x (lanes,), the modes, moves.

    `spread` (lanes,) are standard deviations by the curvature.
    """
    lanes, (at, heights, slopes), (edges, shares) = len(x), rooms[-2], rooms[-1]
    lane = rooms[5]
    trial, value, slope, distance = lane[3], lane[4], lane[5], lane[6]
    for k in range(5):
        for c in range(lanes):
            distance[c] = TANGENTS[k] * spread[c]
        for _ in range(60):
            for c in range(lanes):
                trial[c] = x[c] + distance[c]
            log_density(of_two, rows, axis, frame, trial, True, value, slope, rooms)
            inside = False
            for c in range(lanes):
                if (k == 0 and not slope[c] > 0) or (k == 4 and not slope[c] < 0):
                    inside = True
                    distance[c] *= 1.5
            if not inside:
                break
        for c in range(lanes):
            at[c, k], heights[c, k], slopes[c, k] = trial[c], value[c], slope[c]
    top, least, waiting = lane[6], lane[11], lanes
    for c in range(lanes):
        top[c], least[c] = heights[c, 2], 0.0
        for k in range(5):
            heights[c, k] -= top[c]
        under_tangents(at[c], heights[c], slopes[c], edges[c], shares[c])
    for attempt in range(MOST_ATTEMPTS):
        for c in range(lanes):
            if least[c] == np.inf:  # it has been found
                continue
            u, v = philox(key, first + c, j, salt + attempt)
            found, i = from_tangents(u, at[c], slopes[c], edges[c], shares[c])
            trial[c] = found
            least[c] = np.log(v) + heights[c, i] + slopes[c, i] * (found - at[c, i])
        log_density(of_two, rows, axis, frame, trial, False, value, slope, rooms)
        for c in range(lanes):
            if least[c] <= value[c] - top[c]:
                least[c] = np.inf
                waiting -= 1
        if not waiting:
            break
    for c in range(lanes):
        x[c] = trial[c]


@numba.njit(cache=True, error_model="numpy", parallel=True)
def draw_effects(
    poisson, common, X, offset, y, trials, count, Z, start, coefficients, L, shape, near, shift,
    scale, K, outer, moved_by, shares, some, key, first,
):  # fmt: skip
    """One draw of the effects of some groups (G,) for each of S values of the rest: (q, S, G).

    Arguments as for `group_kernels.integrals`; `key` is the seed, and `first` the number of the
    first draw. Of two effects the first comes from its marginal, the second given it.
    """
    S, q = len(L), len(Z)
    out = np.empty((q, S, len(some)))
    widest = (start[1:] - start[:-1]).max()
    number, lanes = chunks(S, widest)
    most = MARGINAL_NODES if q > 1 else 1
    for chunk in numba.prange(number):
        s = min(chunk * lanes, S - lanes)
        fresh = chunk * lanes - s  # those before it belong to another chunk
        given = np.ascontiguousarray(coefficients[s : s + lanes].T)
        root = np.ascontiguousarray(L[s : s + lanes].transpose(1, 2, 0))
        own = shape[s : s + lanes]
        less = np.log(own) if own.max() > 0 else np.zeros(lanes)
        lesser = np.copy(less)
        eta, exp_eta = np.empty((widest, lanes)), np.empty((widest, lanes))
        side, left = np.empty((widest, lanes)), np.empty((2, widest if q > 1 else 0, lanes))
        room, lane = np.empty((3, max(widest, most, 2), lanes)), np.empty((PLACES, lanes))
        nodes, weight = np.empty((4, most, lanes)), np.empty((most, lanes))
        w, C, told = np.empty((q, lanes)), np.empty((q, q, lanes)), np.empty(q)
        x, spread, linear = np.empty(lanes), np.empty(lanes), np.empty(lanes)
        quad, unit = np.empty(lanes), np.empty(lanes)
        places = np.empty((15, lanes))
        tangents = (np.empty((lanes, 5)), np.empty((lanes, 5)), np.empty((lanes, 5)))
        under = (np.empty((lanes, 4)), np.empty((lanes, 5)))
        rooms = (side, room, nodes, weight, left, lane, places, tangents, under)
        for g in range(len(some)):
            j = some[g]
            a, b = start[j], start[j + 1]
            yy, tt, cc, zz = y[a:b], trials[a:b], count[a:b], Z[:, a:b]
            if len(moved_by):
                for c in range(lanes):
                    lesser[c] = less[c] - moved_by[outer[j], s + c]
            predictors(X[a:b], offset[a:b], given, lesser, eta)
            if common:
                exponentials(eta, b - a, exp_eta, room[0])
            mode(
                poisson, common, eta, exp_eta, yy, tt, cc, own, zz, root, near[j], told, w, C, side,
                room, lane,
            )  # fmt: skip
            frame = (root, w, C, told)
            if q == 2:
                rows = (poisson, False, eta, eta, yy, tt, cc, own, zz)
                for c in range(lanes):
                    x[c], spread[c] = 0.0, 1.0
                axis = (zz[1], unit, linear, quad)
                draw_line(True, rows, axis, frame, x, spread, key, first + s, j, 0, rooms)
                cut(rows, frame, x, side, spread, linear, places)
                for c in range(lanes):
                    w[0, c], w[1, c] = places[0, c], places[1, c]
                    unit[c], quad[c], x[c] = root[1, 1, c] * C[1, 1, c], C[1, 1, c] ** 2, 0.0
                for i in range(b - a):
                    for c in range(lanes):
                        eta[i, c] = side[i, c]
                peak(
                    poisson, False, eta, eta, tt, cc, own, zz[1], unit, linear, quad, x, spread,
                    room, lane,
                )  # fmt: skip
                for c in range(lanes):
                    spread[c] = 1 / np.sqrt(spread[c])
            else:
                for c in range(lanes):
                    unit[c], quad[c], x[c] = root[0, 0, c], 1.0, w[0, c]
                    linear[c], spread[c] = told[0] * root[0, 0, c], C[0, 0, c]
            rows = (poisson, common, eta, exp_eta, yy, tt, cc, own, zz)
            axis = (zz[q - 1], unit, linear, quad)
            draw_line(
                False, rows, axis, frame, x, spread, key, first + s, j, 0 if q == 1 else SECOND,
                rooms,
            )  # fmt: skip
            for c in range(fresh, lanes):
                if q == 1:
                    out[0, s + c, g] = root[0, 0, c] * x[c]
                else:
                    one, two = w[0, c], w[1, c] + C[1, 1, c] * x[c]
                    out[0, s + c, g] = root[0, 0, c] * one
                    out[1, s + c, g] = root[1, 0, c] * one + root[1, 1, c] * two
    return out
