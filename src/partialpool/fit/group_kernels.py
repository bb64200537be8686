"""Compiled loops of the integral over each group's effects (docs/method.md, eq. (54) to (57)).

Shapes: S values of the parameters, n rows sorted by group, J groups, q = 1 or 2 varying
coefficients. A group's integral is a sum over a lattice about its mode; along a line of the lattice
exp(linear predictor) of every row is a geometric series, so that a node of a row costs a product
and no exponential. Some values of the parameters are taken at a time, side by side in `lanes` (see
`group_modes`).
"""

import numba
import numpy as np

from partialpool.fit.elementary import exponentials, logarithms
from partialpool.fit.group_modes import mode, odds, place, predictors, spacing
from partialpool.fit.kernels import FAST

#: Log up to which products of ``1 + exp(e)`` are gathered before a logarithm is taken, and trials
#: of a row up to which it is.
ROOM, FEW = 600.0, 16
#: Values of the parameters that are taken at a time, and numbers in an array of theirs by row.
LANES, AT_A_TIME = 32, 200_000
#: Places for numbers of every lane that loops need.
PLACES = 12


@numba.njit(cache=True)
def chunks(S, widest):
    """How many chunks of how many values of the parameters each; the last two may overlap."""
    most = min(LANES, max(4, AT_A_TIME // max(widest, 1)))
    number = max(1, -(-S // most))
    return number, -(-S // number)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def powers(z, step, power, ratio, room):
    """``exp(k z step)`` for k = -r .. r into power (K, lanes)."""
    K, lanes = power.shape
    r = K // 2
    for c in range(lanes):
        room[0, c] = z * step[c]
    exponentials(room, 1, ratio, power)
    for c in range(lanes):
        room[0, c] = 1 / ratio[0, c]
    power[r] = 1.0
    for k in range(1, r + 1):
        for c in range(lanes):
            power[r + k, c] = power[r + k - 1, c] * ratio[0, c]
            power[r - k, c] = power[r - k + 1, c] * room[0, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def multiply(product, power, factors):
    """Multiply product (K, lanes) by ``1 + f1 x + f2 x² + ...`` at x = power; factors become 0.

    That is the product of up to four factors ``1 + t x``, in one go.
    """
    one, two, three, four = factors[0], factors[1], factors[2], factors[3]
    for k in range(len(product)):
        for c in range(len(one)):
            x = power[k, c]
            product[k, c] *= 1 + x * (one[c] + x * (two[c] + x * (three[c] + x * four[c])))
    factors[:] = 0.0


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def line(
    poisson, common, eta, exp_eta, trials, count, shape, z, middle, step, slope, quad, weight, top,
    total, room, nodes, lane,
):  # fmt: skip
    """Heights of the nodes of a line: weight (K, lanes), times the exponential of top (lanes,).

    The linear predictors are ``eta + z (middle + k step)``, and the exponent, but for the rows'
    parts that curve, ``slope k - quad k² / 2``, with k = -r .. r. `total` is the sum of weight.
    """
    n, (K, lanes) = len(z), weight.shape
    r = K // 2
    product, power, spare, extra = nodes[0, :K], nodes[1, :K], nodes[2, :K], nodes[3, :K]
    t = room[2]
    odds(common, eta, exp_eta, z, middle, t, room)
    for k in range(K):
        j = k - r
        for c in range(lanes):
            weight[k, c] = (slope[c] - 0.5 * quad[c] * j) * j
            product[k, c] = 0.0 if poisson else 1.0
    highest, widest, high = 0.0, 0.0, lane[1]
    high[:] = -np.inf
    for i in range(0 if poisson else n):
        for c in range(lanes):
            reach = r * abs(z[i] * step[c])
            high[c] = max(high[c], eta[i, c] + z[i] * middle[c] + reach, reach)
    for c in range(lanes):
        highest, widest = max(highest, high[c]), max(widest, shape[c])
    used, held, last = 0.0, 0, np.nan
    factors = lane[7:11]
    factors[:] = 0.0
    for i in range(n):
        if z[i] != last:  # rows alike stand together
            if held:
                multiply(product, power, factors)
                held = 0
            last = z[i]
            powers(last, step, power, lane[0:1], room[0])
        if poisson:
            for k in range(K):
                for c in range(lanes):
                    product[k, c] += t[i, c] * power[k, c]
            continue
        bound = (trials[i] + count[i] * widest) * (highest + 0.7)
        if count[i] or trials[i] > FEW or 4 * highest > ROOM or bound > ROOM:  # the row alone
            for k in range(K):
                for c in range(lanes):
                    e = eta[i, c] + last * (middle[c] + (k - r) * step[c])
                    m = trials[i] + count[i] * shape[c]
                    weight[k, c] -= m * max(e, 0.0)
                    spare[k, c] = -abs(e)
            exponentials(spare, K, extra, room[1])
            for k in range(K):
                for c in range(lanes):
                    extra[k, c] += 1.0
            logarithms(extra, K, spare, room[1])
            for k in range(K):
                for c in range(lanes):
                    weight[k, c] -= (trials[i] + count[i] * shape[c]) * spare[k, c]
            continue
        used += bound
        if used > ROOM:
            used = bound
            if held:  # or they would be in the next product, and not in its bound
                multiply(product, power, factors)
                held = 0
            logarithms(product, K, spare, extra)
            for k in range(K):
                for c in range(lanes):
                    weight[k, c] -= spare[k, c]
                    product[k, c] = 1.0
        for _ in range(trials[i]):
            for c in range(lanes):
                x = t[i, c]
                factors[3, c] += factors[2, c] * x
                factors[2, c] += factors[1, c] * x
                factors[1, c] += factors[0, c] * x
                factors[0, c] += x
            held += 1
            if held == 4:
                multiply(product, power, factors)
                held = 0
    if held:
        multiply(product, power, factors)
    if not poisson:
        logarithms(product, K, spare, extra)
        product = spare
    top[:] = -np.inf
    total[:] = 0.0
    for k in range(K):
        for c in range(lanes):
            weight[k, c] -= product[k, c]
            top[c] = max(top[c], weight[k, c])
    for k in range(K):
        for c in range(lanes):
            power[k, c] = weight[k, c] - top[c]
    exponentials(power, K, weight, extra)
    for k in range(K):
        for c in range(lanes):
            total[c] += weight[k, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def residuals(
    poisson, y, trials, count, shape, z, step, chance, left, leaning, room, nodes, lane
):  # fmt: skip
    """Expected residuals over a line's nodes into left (n, lanes), by `odds` in the room.

    Into `leaning` those times the nodes' places k = -r .. r.
    """
    K, lanes = chance.shape
    r = K // 2
    t, power, whole, tilt = room[2], nodes[1, :K], lane[1], lane[2]
    whole[:] = 0.0
    tilt[:] = 0.0
    for k in range(K):
        for c in range(lanes):
            whole[c] += chance[k, c]
            tilt[c] += chance[k, c] * (k - r)
    last = np.nan
    for i in range(len(z)):
        if z[i] != last:
            last = z[i]
            powers(last, step, power, lane[0:1], room[0])
        mean, skew = left[i], leaning[i]
        mean[:] = 0.0
        skew[:] = 0.0
        for k in range(K):
            for c in range(lanes):
                value, x = chance[k, c], t[i, c] * power[k, c]
                share = x if poisson else 1 - 1 / (1 + x)
                x = value * share if value > 0 else 0.0  # where the share may be infinite
                mean[c] += x
                skew[c] += x * (k - r)
        for c in range(lanes):
            m = 1.0 if poisson else trials[i] + count[i] * shape[c]
            mean[c] = y[i] * whole[c] - m * mean[c]
            skew[c] = y[i] * tilt[c] - m * skew[c]


#: What `integrals` finds: integrals alone, with moments of the effects, or with derivatives too.
VALUES, MOMENTS, DERIVATIVES = 0, 1, 2


@numba.njit(cache=True, error_model="numpy", parallel=True, fastmath=FAST)
def integrals(
    poisson, common, X, offset, y, trials, count, Z, start, coefficients, L, shape, near, shift,
    scale, K, outer, moved_by, shares, some, what,
):  # fmt: skip
    """Integrals over the effects of some groups (docs/method.md, eq. (55) and (57)).

    Parameters
    ----------
    poisson, common : bool
        Of `CountedRows`, as are X (n, p), offset, y, trials, count (n,) and start (J + 1,).
    Z : (q, n) array
    coefficients : (S, p) array
    L : (S, q, q) array
    shape : (S,) array
        Of the negative binomial, else zero.
    near, shift, scale : (J, q) arrays
        Of `GroupIntegral`, as is K (J,).
    outer : (J,) int array
        In which outer group each group lies; empty where there are none.
    moved_by, shares : (M, S) arrays
        What moves the lines of each outer group, and what derivatives are multiplied by; empty
        where nothing does.
    some : (G,) int array
    what : int
        `VALUES`, `MOMENTS` or `DERIVATIVES`; the arrays of what is not found are empty.

    Returns
    -------
    (S, G) array
        Log integrals.
    (S, p) array, (S, q, q) array
        Derivatives of their sum by the coefficients and by L.
    (S, G, q), (S, G, q, q) arrays
        Means of w, and of its products.
    (S, G, q), (S, G, q, q) arrays
        Modes, and roots of the inverse curvature.
    """
    S, q, J, p = len(L), len(Z), len(some), X.shape[1]
    value, N = np.empty((S, J)), J if what >= MOMENTS else 0
    by_coefficients, by_L = np.zeros((S, p)), np.zeros((S, q, q))
    mean, square = np.zeros((S, N, q)), np.zeros((S, N, q, q))
    modes, roots = np.empty((S, N, q)), np.empty((S, N, q, q))
    widest, most = (start[1:] - start[:-1]).max(), K[some].max() if J else 1
    number, lanes = chunks(S, widest)
    for chunk in numba.prange(number):
        s = min(chunk * lanes, S - lanes)
        fresh = chunk * lanes - s  # those before it belong to another chunk
        at = np.ascontiguousarray(coefficients[s : s + lanes].T)
        root = np.ascontiguousarray(L[s : s + lanes].transpose(1, 2, 0))
        own = shape[s : s + lanes]
        less = np.log(own) if own.max() > 0 else np.zeros(lanes)
        lesser = np.copy(less)
        eta, exp_eta = np.empty((widest, lanes)), np.empty((widest, lanes))
        side = np.empty((widest, lanes))
        room = np.empty((3, max(widest, most, 2), lanes))
        nodes, lane = np.empty((4, most, lanes)), np.empty((PLACES, lanes))
        side_by_side = 1 if q == 1 else most
        tall = np.empty((side_by_side if what else 1, most, lanes))
        tops, totals = np.empty((side_by_side, lanes)), np.empty((side_by_side, lanes))
        here = np.empty((side_by_side, lanes))
        w, C, told = np.empty((q, lanes)), np.empty((q, q, lanes)), np.empty(q)
        centre, axes = np.empty((q, lanes)), np.empty((q, q, lanes))
        along, moved = np.empty((q, lanes)), np.empty((q, lanes))
        step, level = np.empty(lanes), np.empty(lanes)
        slope, quad = np.empty(lanes), np.empty(lanes)
        left, leaning = np.empty((widest if what > 1 else 0, lanes)), np.empty((widest, lanes))
        found, rise = np.zeros((p, lanes)), np.zeros((q, q, lanes))
        for g in range(J):
            j = some[g]
            a, b = start[j], start[j + 1]
            n, k = b - a, K[j]
            yy, tt, cc, zz = y[a:b], trials[a:b], count[a:b], Z[:, a:b]
            if len(moved_by):
                for c in range(lanes):
                    lesser[c] = less[c] - moved_by[outer[j], s + c]
            predictors(X[a:b], offset[a:b], at, lesser, eta)
            if common:
                exponentials(eta, n, exp_eta, room[0])
            mode(
                poisson, common, eta, exp_eta, yy, tt, cc, own, zz, root, near[j], told, w, C, side,
                room, lane,
            )  # fmt: skip
            for c in range(lanes):
                lane[3, c] = (2 * np.pi) ** (-0.5 * q)
                for d in range(q):
                    centre[d, c] = w[d, c]
                    for e in range(q):
                        centre[d, c] += C[d, e, c] * shift[j, e] if e <= d else 0.0
                        axes[d, e, c] = C[d, e, c] * scale[j, e] * spacing(k) if e <= d else 0.0
                    lane[3, c] *= axes[d, d, c]
            lines = 1 if q == 1 else k
            for turn in range(1 if what == VALUES else 2):
                for i in range(lines):
                    weight = tall[i if what else 0, :k]
                    place(
                        i, k // 2, root, centre, axes, told, along, moved, step, level, slope, quad
                    )  # fmt: skip
                    known = eta
                    if q > 1:
                        known = side
                        for o in range(n):
                            for c in range(lanes):
                                side[o, c] = eta[o, c] + zz[0, o] * moved[0, c]
                    if turn == 0:
                        line(
                            poisson, common, known, exp_eta, tt, cc, own, zz[q - 1], moved[q - 1],
                            step, slope, quad, weight, tops[i], totals[i], room, nodes, lane,
                        )  # fmt: skip
                        for c in range(lanes):
                            tops[i, c] += level[c]
                        continue
                    one, two, three = lane[4], lane[5], lane[6]
                    for c in range(lanes):
                        one[c] = two[c] = three[c] = 0.0
                    for o in range(k):
                        for c in range(lanes):
                            weight[o, c] *= here[i, c]
                            one[c] += weight[o, c]
                            two[c] += weight[o, c] * (o - k // 2)
                            three[c] += weight[o, c] * (o - k // 2) ** 2
                    for c in range(fresh, lanes):
                        for d in range(q):
                            x, dx = along[d, c], axes[d, q - 1, c]
                            mean[s + c, g, d] += one[c] * x + two[c] * dx
                            for e in range(q):
                                y0, dy = along[e, c], axes[e, q - 1, c]
                                square[s + c, g, d, e] += (
                                    one[c] * x * y0
                                    + two[c] * (x * dy + y0 * dx)
                                    + three[c] * dx * dy
                                )
                    if what < DERIVATIVES:
                        continue
                    odds(common, known, exp_eta, zz[q - 1], moved[q - 1], room[2], room)
                    residuals(
                        poisson, yy, tt, cc, own, zz[q - 1], step, weight, left, leaning, room,
                        nodes, lane,
                    )  # fmt: skip
                    if len(shares):
                        for o in range(n):
                            for c in range(lanes):
                                left[o, c] *= shares[outer[j], s + c]
                                leaning[o, c] *= shares[outer[j], s + c]
                    for o in range(n):
                        for f in range(p):
                            x = X[a + o, f]
                            if x != 0.0:
                                for c in range(lanes):
                                    found[f, c] += x * left[o, c]
                        for d in range(q):
                            for e in range(d + 1):
                                for c in range(lanes):
                                    rise[d, e, c] += zz[d, o] * (
                                        left[o, c] * along[e, c] + leaning[o, c] * axes[e, q - 1, c]
                                    )
                if turn == 0:  # the sum over lines, and each one's share of it
                    for c in range(lanes):
                        high, total = -np.inf, 0.0
                        for i in range(lines):
                            high = max(high, tops[i, c])
                        for i in range(lines):
                            here[i, c] = 1.0 if lines == 1 else np.exp(tops[i, c] - high)
                            total += here[i, c] * totals[i, c]
                        for i in range(lines):
                            here[i, c] /= total
                        lane[4, c], lane[5, c] = total * lane[3, c], high
                    logarithms(lane[4:5], 1, lane[6:7], lane[7:8])
                    for i in range(n):
                        for c in range(lanes):
                            lane[5, c] += yy[i] * eta[i, c]
                    for c in range(fresh, lanes):
                        value[s + c, g] = lane[5, c] + lane[6, c]
            if what:
                for c in range(fresh, lanes):
                    for d in range(q):
                        modes[s + c, g, d] = w[d, c]
                        for e in range(q):
                            roots[s + c, g, d, e] = C[d, e, c] if e <= d else 0.0
        if what >= DERIVATIVES:
            for c in range(fresh, lanes):
                by_coefficients[s + c] = found[:, c]
                by_L[s + c] = rise[:, :, c]
    return value, by_coefficients, by_L, mean, square, modes, roots
