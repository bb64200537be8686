"""Compiled lattices over each group's effects (docs/method.md, eq. (54) and (55)).

Shapes as in `group_rows`. A group's integral is a sum over a lattice about its mode; along a line
of the lattice exp(linear predictor) of every row is a geometric series, so that a node of a row
costs a product and no exponential.
"""

from typing import NamedTuple

import numba
import numpy as np

from partialpool.fit.elementary import exponentials, logarithms
from partialpool.fit.group_modes import mode, place, spacing
from partialpool.fit.group_rows import beside, odds
from partialpool.fit.kernels import FAST

#: Log up to which products of ``1 + exp(e)`` are gathered before a logarithm is taken, and trials
#: of a row up to which it is.
ROOM, FEW = 600.0, 16


class Lattices(NamedTuple):
    """Of `GroupIntegral`: near, shift and scale (J, q), and the nodes K (J,) along each axis."""

    near: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    K: np.ndarray


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
def line(rows, eta, work, weight, top, total):
    """Heights of the nodes of a line: weight (K, lanes), times the exponential of top (lanes,).

    The linear predictors are those of `line_of`, and the exponent, but for the rows' parts that
    curve, ``slope k - quad k² / 2`` with k = -r .. r. `total` is the sum of weight.
    """
    poisson, trials, count, shape = rows.poisson, rows.trials, rows.counted, rows.shape
    z, middle, step, slope, quad = rows.Z[-1], work.moved[-1], work.step, work.slope, work.quad
    room, nodes, lane = work.rows, work.nodes, work.lane
    n, (K, lanes) = len(z), weight.shape
    r = K // 2
    product, power, spare, extra = nodes[0, :K], nodes[1, :K], nodes[2, :K], nodes[3, :K]
    t = room[2]
    odds(rows, eta, z, middle, t, room)
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
def residuals(rows, eta, work, chance, left, leaning):
    """Expected residuals over a line's nodes into left (n, lanes).

    Into `leaning` those times the nodes' places k = -r .. r.
    """
    poisson, y, trials, count, shape = rows.poisson, rows.y, rows.trials, rows.counted, rows.shape
    z, step, room, nodes, lane = rows.Z[-1], work.step, work.rows, work.nodes, work.lane
    odds(rows, eta, z, work.moved[-1], room[2], room)
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
def length(i, k, q):
    """Nodes of line i of a lattice: of a square those in the circle inside it are taken."""
    return k if q == 1 else 2 * int(np.sqrt((k // 2 + 0.5) ** 2 - (i - k // 2) ** 2)) + 1


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def line_of(i, k, rows, L, work):
    """Set up a line by `place`; its rows' linear predictors (n, lanes) but for the last effect."""
    place(i, k // 2, L, work)
    if len(rows.Z) == 1:
        return rows.eta
    beside(rows, work.moved, work.side)
    return work.side


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def lattice(rows, L, lattices, j, work, value):
    """Make group j's lattice in `work`; into value (lanes,) the log of its integral.

    L is (q, q, lanes); how far the lattice is moved stands in ``work.apart``.
    """
    w, C, centre, axes, volume, share = (
        work.w, work.C, work.centre, work.axes, work.volume, work.share
    )  # fmt: skip
    q, lanes = w.shape
    shift, scale, k = lattices.shift[j], lattices.scale[j], lattices.K[j]
    mode(rows, L, lattices.near[j], work)
    for c in range(lanes):
        volume[c] = (2 * np.pi) ** (-0.5 * q)
        for d in range(q):
            centre[d, c] = w[d, c]
            for e in range(q):
                axes[d, e, c] = C[d, e, c] * scale[e] * spacing(k) if e <= d else 0.0
                centre[d, c] += C[d, e, c] * shift[e] if e <= d else 0.0
                centre[d, c] += axes[d, e, c] * work.apart[e, c]
            volume[c] *= axes[d, d, c]
    lines, heights, tops, totals = k ** (q - 1), work.heights, work.tops, work.totals
    for i in range(lines):
        weight = heights[i if len(heights) > 1 else 0, : length(i, k, q)]
        known = line_of(i, k, rows, L, work)
        line(rows, known, work, weight, tops[i], totals[i])
        for c in range(lanes):
            tops[i, c] += work.level[c]
    whole, logs = work.lane[4:5], work.lane[5:6]
    for c in range(lanes):
        high, total = -np.inf, 0.0
        for i in range(lines):
            high = max(high, tops[i, c])
        for i in range(lines):
            share[i, c] = 1.0 if lines == 1 else np.exp(tops[i, c] - high)
            total += share[i, c] * totals[i, c]
        for i in range(lines):
            share[i, c] /= total
        whole[0, c], value[c] = total * volume[c], high
    logarithms(whole, 1, logs, work.lane[6:7])
    y, eta = rows.y, rows.eta
    for i in range(len(y)):
        for c in range(lanes):
            value[c] += y[i] * eta[i, c]
    for c in range(lanes):
        value[c] += logs[0, c]
