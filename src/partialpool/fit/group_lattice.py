"""Compiled lattices over each group's effects (docs/method.md, eq. (54) and (55)).

Shapes: S values of the parameters, n rows sorted by group, J groups, q = 1 or 2 varying
coefficients. A group's integral is a sum over a lattice about its mode; along a line of the lattice
exp(linear predictor) of every row is a geometric series, so that a node of a row costs a product
and no exponential. Some values of the parameters are taken at a time, side by side in `lanes` (see
`group_modes`).
"""

import numba
import numpy as np

from partialpool.fit.elementary import exponentials, logarithms
from partialpool.fit.group_modes import beside, mode, odds, place, spacing
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


@numba.njit(cache=True)
def room_for(q, widest, most, lanes, kept):
    """Room for `lattice`: groups of `widest` rows at most, and lattices of `most` nodes an axis.

    Heights of one line, or where `kept` of all.
    """
    lines = most ** (q - 1)
    nodes, lane = np.empty((4, most, lanes)), np.empty((PLACES, lanes))
    heights = np.empty((lines if kept else 1, most, lanes))
    each = (np.empty((lines, lanes)), np.empty((lines, lanes)), np.empty((lines, lanes)))
    own = np.empty((6, q, lanes)), np.empty((4, lanes))
    room = np.empty((3, max(widest, most, 2), lanes))
    roots = np.empty((4, q, q, lanes))
    return np.empty((widest, lanes)), room, nodes, lane, heights, each, own, roots, np.empty(q)


@numba.njit(cache=True)
def length(i, k, q):
    """Nodes of line i of a lattice: of a square those in the circle inside it are taken."""
    return k if q == 1 else 2 * int(np.sqrt((k // 2 + 0.5) ** 2 - (i - k // 2) ** 2)) + 1


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def line_of(i, k, rows, L, rooms):
    """Set up a line by `place`; its rows' linear predictors (n, lanes) but for the last effect."""
    _, _, eta, _, _, _, _, _, Z = rows
    side, _, _, _, _, _, (own, others), roots, told = rooms
    centre, along, moved = own[1], own[2], own[3]
    step, level, slope, quad = others
    place(i, k // 2, L, centre, roots[1], told, along, moved, step, level, slope, quad)
    if len(Z) == 1:
        return eta
    beside(eta, Z, moved, side)
    return side


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def lattice(rows, L, near, shift, scale, k, apart, rooms):
    """A group's lattice of k nodes along each axis: log of its integral (lanes,).

    In the room are then w and C of `mode`, heights (lines, k, lanes) of the nodes if kept, as many
    of a line as its `length` says, their sums by line, and what a line's heights are multiplied by
    so that all add up to one.

    Parameters
    ----------
    rows : tuple
        ``(poisson, common, eta, exp_eta, y, trials, count, shape, Z)`` of the group.
    L : (q, q, lanes) array
    near, shift, scale : (q,) arrays
        Of `GroupIntegral`.
    k : int
    apart : (q, lanes) array
        How far the lattice is moved along its axes, in distances of nodes.
    rooms : tuple
        Of `room_for`.
    """
    poisson, common, eta, exp_eta, y, trials, count, shape, Z = rows
    side, room, nodes, lane, heights, (tops, totals, share), (own, others), roots, told = rooms
    w, centre, moved = own[0], own[1], own[3]
    C, axes, bends = roots[0], roots[1], roots[2:]
    q, lanes = w.shape
    mode(
        poisson, common, eta, exp_eta, y, trials, count, shape, Z, L, near, told, w, C, side, bends,
        room, lane,
    )  # fmt: skip
    volume = own[4, 0]
    for c in range(lanes):
        volume[c] = (2 * np.pi) ** (-0.5 * q)
        for d in range(q):
            centre[d, c] = w[d, c]
            for e in range(q):
                axes[d, e, c] = C[d, e, c] * scale[e] * spacing(k) if e <= d else 0.0
                centre[d, c] += C[d, e, c] * shift[e] if e <= d else 0.0
                centre[d, c] += axes[d, e, c] * apart[e, c]
            volume[c] *= axes[d, d, c]
    lines = k ** (q - 1)
    for i in range(lines):
        weight = heights[i if len(heights) > 1 else 0, : length(i, k, q)]
        known = line_of(i, k, rows, L, rooms)
        step, level, slope, quad = others
        line(
            poisson, common, known, exp_eta, trials, count, shape, Z[q - 1], moved[q - 1],
            step, slope, quad, weight, tops[i], totals[i], room, nodes, lane,
        )  # fmt: skip
        for c in range(lanes):
            tops[i, c] += level[c]
    value = lane[5]
    for c in range(lanes):
        high, total = -np.inf, 0.0
        for i in range(lines):
            high = max(high, tops[i, c])
        for i in range(lines):
            share[i, c] = 1.0 if lines == 1 else np.exp(tops[i, c] - high)
            total += share[i, c] * totals[i, c]
        for i in range(lines):
            share[i, c] /= total
        lane[4, c], value[c] = total * volume[c], high
    logarithms(lane[4:5], 1, lane[6:7], lane[7:8])
    for i in range(len(y)):
        for c in range(lanes):
            value[c] += y[i] * eta[i, c]
    for c in range(lanes):
        value[c] += lane[6, c]
    return value
