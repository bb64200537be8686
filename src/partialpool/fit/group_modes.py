"""Compiled: modes of a group's effects, and the lattices about them (docs/method.md, eq. (55)).

Shapes as in `group_rows`.
"""

from typing import NamedTuple

import numba
import numpy as np

from partialpool.fit.group_rows import beside, odds
from partialpool.fit.kernels import FAST

#: Squared distance from the mode, by the curvature, at which Newton's method ends; most steps.
CLOSE, MAX_STEPS = 0.02, 100
#: Places for numbers of every lane that loops need.
PLACES = 12


class Work(NamedTuple):
    """Arrays in which a group's lattice is made.

    Attributes
    ----------
    rows : (3, n, lanes) array
        Numbers by row that loops need; the last are exponentials by `odds`.
    side : (n, lanes) array
        Linear predictors along a line of the lattice.
    nodes : (4, K, lanes) array
        Numbers by node of a line that loops need.
    lane : (PLACES, lanes) array
    w, C : (q, lanes), (q, q, lanes) arrays
        Standard normals of the effects at the mode, and a lower triangular root of the inverse
        curvature: along its last axis the last effect alone changes.
    bends : (2, q, q, lanes) array
        Curvatures on the way to the mode.
    told : (q,) array
        The sum of ``y z``.
    centre, axes, apart : (q, lanes), (q, q, lanes), (q, lanes) arrays
        Middle of the lattice, distances of its nodes along its axes, and how far it is moved along
        them, in such distances.
    volume : (lanes,) array
        What a node stands for.
    along, moved : (q, lanes) arrays
        Standard normals in the middle of a line, and effects there.
    step, level, slope, quad : (lanes,) arrays
        Of `place`.
    heights : (lines, K, lanes) array
        Of the nodes of all lines, as many of a line as its `length` says; or of one line only.
    tops, totals, share : (lines, lanes) arrays
        Logarithm of what the heights of a line are multiplied by, their sums, and what they have to
        be multiplied by so that all add up to one.
    """

    rows: np.ndarray
    side: np.ndarray
    nodes: np.ndarray
    lane: np.ndarray
    w: np.ndarray
    C: np.ndarray
    bends: np.ndarray
    told: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    apart: np.ndarray
    volume: np.ndarray
    along: np.ndarray
    moved: np.ndarray
    step: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    quad: np.ndarray
    heights: np.ndarray
    tops: np.ndarray
    totals: np.ndarray
    share: np.ndarray


@numba.njit(cache=True)
def room_for(q, widest, most, lanes, kept):
    """Room for `lattice`: groups of `widest` rows at most, and lattices of `most` nodes an axis.

    Heights of one line, or where `kept` of all.
    """
    lines, effects, roots = most ** (q - 1), np.zeros((5, q, lanes)), np.empty((4, q, q, lanes))
    lane, each = np.empty((PLACES + 5, lanes)), np.empty((3, lines, lanes))
    place = lane[PLACES:]
    return Work(
        np.empty((3, max(widest, most, 2), lanes)), np.empty((widest, lanes)),
        np.empty((4, most, lanes)), lane[:PLACES], effects[0], roots[0], roots[1:3], np.empty(q),
        effects[1], roots[3], effects[2], place[0], effects[3], effects[4], place[1], place[2],
        place[3], place[4], np.empty((lines if kept else 1, most, lanes)), each[0], each[1],
        each[2],
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def spacing(K):
    """Distance of K nodes in whitened units; K = 1 is Laplace's approximation."""
    if K == 1:
        return np.sqrt(2 * np.pi)
    return 2 * min(np.sqrt(np.pi * K), 7 + K / 25) / (K - 1)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def peak(rows, unit, linear, x, curvature, work):
    """Mode x and curvature (lanes,) of ``linear x - x² / 2`` and what the rows lack.

    Their predictors are ``eta + z unit x``. Newton's method from x; where the curvature may change
    on the way, by a change b of a linear predictor at most, a step is 2 / (2 + b) of it, less than
    log(1 + b) / b, with which no step is too long (Sun & Tran-Dinh 2019).
    """
    z, eta, trials, count, shape = rows.Z[0], rows.eta, rows.trials, rows.counted, rows.shape
    n, lanes = len(z), len(x)
    t, move, total, bend = work.rows[2], work.lane[0], work.lane[1], work.lane[2]
    widest = 0.0
    for i in range(n):
        widest = max(widest, abs(z[i]))
    for _ in range(MAX_STEPS):
        for c in range(lanes):
            move[c] = unit[c] * x[c]
            total[c] = bend[c] = 0.0
        odds(rows, eta, z, move, t, work.rows)
        for i in range(n):
            if rows.poisson:
                for c in range(lanes):
                    mean = z[i] * min(t[i, c], 1e100)
                    total[c] += mean
                    bend[c] += z[i] * mean
            else:
                for c in range(lanes):
                    p = 1 / (1 + t[i, c])
                    mean = z[i] * (trials[i] + count[i] * shape[c]) * (1 - p)
                    total[c] += mean
                    bend[c] += z[i] * mean * p
        worst = 0.0
        for c in range(lanes):
            slope = linear[c] - x[c] - unit[c] * total[c]
            curvature[c] = 1 + unit[c] * unit[c] * bend[c]
            step = slope / curvature[c]
            change = widest * abs(unit[c] * step)
            x[c] += step * (2 / (2 + change) if change > 0.5 else 1.0)
            worst = max(worst, slope * step)
        if not worst > CLOSE:
            break


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def peaks(rows, L, linear, work):
    """The same of two effects ``L w``: w and C of `Work`."""
    Z, trials, count, shape, w, C = rows.Z, rows.trials, rows.counted, rows.shape, work.w, work.C
    q, n = Z.shape
    lanes = w.shape[1]
    room, lane, side, poisson = work.rows, work.lane, work.side, rows.poisson
    t, moved, total, mean, bend = room[2], lane[0:q], lane[3 : 3 + q], room[0, 0], room[1, 0]
    B, A = work.bends[0], work.bends[1]
    widest = np.zeros(q)
    for i in range(n):
        for d in range(q):
            widest[d] = max(widest[d], abs(Z[d, i]))
    for _ in range(MAX_STEPS):
        total[:] = 0.0
        B[:] = 0.0
        for d in range(q):
            for c in range(lanes):
                moved[d, c] = 0.0
                for e in range(d + 1):
                    moved[d, c] += L[d, e, c] * w[e, c]
        beside(rows, moved, side)
        odds(rows, side, Z[q - 1], moved[q - 1], t, room)
        for i in range(n):  # by the effects themselves
            for c in range(lanes):
                if poisson:
                    mean[c] = bend[c] = min(t[i, c], 1e100)
                else:
                    p = 1 / (1 + t[i, c])
                    mean[c] = (trials[i] + count[i] * shape[c]) * (1 - p)
                    bend[c] = mean[c] * p
            for d in range(q):
                z = Z[d, i]
                for c in range(lanes):
                    total[d, c] += z * mean[c]
                for e in range(d + 1):
                    both = z * Z[e, i]
                    for c in range(lanes):
                        B[d, e, c] += both * bend[c]
        worst = 0.0
        for c in range(lanes):
            for d in range(q):
                for e in range(d, q):  # the curvature by w, and its root U with U U' = A
                    A[d, e, c] = 1.0 if d == e else 0.0
                    for f in range(d, q):
                        for g in range(e, q):
                            A[d, e, c] += L[f, d, c] * B[max(f, g), min(f, g), c] * L[g, e, c]
            for e in range(q - 1, -1, -1):
                for d in range(e, -1, -1):
                    for f in range(e + 1, q):
                        A[d, e, c] -= A[d, f, c] * A[e, f, c]
                    A[d, e, c] = np.sqrt(A[d, e, c]) if d == e else A[d, e, c] / A[e, e, c]
            for e in range(q):
                C[e, e, c] = 1 / A[e, e, c]
                for d in range(e + 1, q):
                    C[d, e, c] = 0.0
                    for f in range(e, d):
                        C[d, e, c] -= A[f, d, c] * C[f, e, c]
                    C[d, e, c] /= A[d, d, c]
            rise = 0.0
            for e in range(q):  # C' times the slope, and so the step
                B[0, e, c] = 0.0
                for d in range(e, q):
                    slope = linear[d, c] - w[d, c]
                    for f in range(d, q):
                        slope -= L[f, d, c] * total[f, c]
                    B[0, e, c] += C[d, e, c] * slope
                rise += B[0, e, c] ** 2
            for d in range(q):
                moved[d, c] = 0.0
                for e in range(d + 1):
                    moved[d, c] += C[d, e, c] * B[0, e, c]
            change = 0.0
            for d in range(q):
                move = 0.0
                for e in range(d + 1):
                    move += L[d, e, c] * moved[e, c]
                change += widest[d] * abs(move)
            shorter = 2 / (2 + change) if change > 0.5 else 1.0
            for d in range(q):
                w[d, c] += shorter * moved[d, c]
            worst = max(worst, rise)
        if not worst > CLOSE:
            break


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def mode(rows, L, near, work):
    """Find w, C and told of `Work`, from effects `near` (q,)."""
    Z, y, told, w, C, lane = rows.Z, rows.y, work.told, work.w, work.C, work.lane
    q, n = Z.shape
    lanes = w.shape[1]
    linear = lane[7 : 7 + q]
    for d in range(q):
        told[d] = 0.0
        for i in range(n):
            told[d] += y[i] * Z[d, i]
    for d in range(q):
        for c in range(lanes):
            value = near[d]
            for e in range(d):
                value -= L[d, e, c] * w[e, c]
            root = L[d, d, c]
            w[d, c] = min(max(value / root, -8.0), 8.0) if root > 0 else 0.0
            linear[d, c] = 0.0
            for e in range(d, q):
                linear[d, c] += told[e] * L[e, d, c]
    if q > 1:
        peaks(rows, L, linear, work)
        return
    curvature = lane[10]
    peak(rows, L[0, 0], linear[0], w[0], curvature, work)
    for c in range(lanes):
        C[0, 0, c] = 1 / np.sqrt(curvature[c])


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def place(number, middle, L, work):
    """Set up a line of a group's lattice: `along` of its middle, and `moved`.

    `step` is that of the last effect along the line; `level` the exponent at its middle, but for
    what rows have without effects, `slope` along the line, and `quad` the curvature of w'w / 2.
    """
    along, moved, centre, axes, told = work.along, work.moved, work.centre, work.axes, work.told
    step, level, slope, quad = work.step, work.level, work.slope, work.quad
    q, lanes = along.shape
    last = q - 1
    for c in range(lanes):
        level[c] = slope[c] = quad[c] = 0.0
        for d in range(q):
            w = centre[d, c] + (0.0 if q == 1 else (number - middle) * axes[d, 0, c])
            along[d, c] = w
            level[c] -= 0.5 * w * w
            slope[c] -= w * axes[d, last, c]
            quad[c] += axes[d, last, c] ** 2
        for d in range(q):
            moved[d, c] = 0.0
            for e in range(d + 1):
                moved[d, c] += L[d, e, c] * along[e, c]
            level[c] += told[d] * moved[d, c]
        step[c] = L[last, last, c] * axes[last, last, c]
        slope[c] += told[last] * step[c]
