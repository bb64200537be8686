"""Compiled: modes of a group's effects, and the lattices about them (docs/method.md, eq. (55)).

Several values of the parameters, `lanes` of them, stand side by side on the last axis of every
array: the loops over them are the innermost, and take several at a time. n rows of a group,
q = 1 or 2 varying coefficients.
"""

import numba
import numpy as np

from partialpool.fit.elementary import exponentials
from partialpool.fit.kernels import FAST

#: Squared distance from the mode, by the curvature, at which Newton's method ends; most steps.
CLOSE, MAX_STEPS = 0.02, 100
#: Linear predictors beyond which no probability changes.
FARTHEST = 700.0


@numba.njit(cache=True, error_model="numpy")
def spacing(K):
    """Distance of K nodes in whitened units; K = 1 is Laplace's approximation."""
    if K == 1:
        return np.sqrt(2 * np.pi)
    return 2 * min(np.sqrt(np.pi * K), 7 + K / 25) / (K - 1)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def predictors(X, offset, coefficients, less, eta):
    """Linear predictors eta (n, lanes) without the effects; `less` (lanes,) is taken from them."""
    n, p = X.shape
    lanes = len(less)
    for i in range(n):
        for c in range(lanes):
            eta[i, c] = offset[i] - less[c]
        for k in range(p):
            x = X[i, k]
            if x != 0.0:
                for c in range(lanes):
                    eta[i, c] += x * coefficients[k, c]
        for c in range(lanes):
            eta[i, c] = min(max(eta[i, c], -FARTHEST), FARTHEST)


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def odds(common, eta, exp_eta, z, move, out, room):
    """Exponentials of ``eta + z move`` into out (n, lanes).

    Where `common`, all z are one number, and exponentials of eta are known.
    """
    n, lanes = len(z), len(move)
    at = room[0]
    if not common:
        for i in range(n):
            for c in range(lanes):
                at[i, c] = eta[i, c] + z[i] * move[c]
        exponentials(at, n, out, room[1])
    elif n:
        factor = room[1]
        for c in range(lanes):
            at[0, c] = z[0] * move[c]
        exponentials(at, 1, factor, out)
        for i in range(n):
            for c in range(lanes):
                out[i, c] = exp_eta[i, c] * factor[0, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def peak(
    poisson, common, eta, exp_eta, trials, count, shape, z, unit, linear, quad, x, curvature, room,
    lane,
):  # fmt: skip
    """Mode x and curvature (lanes,) of ``linear x - quad x² / 2`` and what the rows lack.

    Their predictors are ``eta + z unit x``. Newton's method from x; where the curvature may change
    on the way, by a change b of a linear predictor at most, a step is 2 / (2 + b) of it, less than
    log(1 + b) / b, with which no step is too long (Sun & Tran-Dinh 2019).
    """
    n, lanes = len(z), len(x)
    t, move, total, bend = room[2], lane[0], lane[1], lane[2]
    widest = 0.0
    for i in range(n):
        widest = max(widest, abs(z[i]))
    for _ in range(MAX_STEPS):
        for c in range(lanes):
            move[c] = unit[c] * x[c]
            total[c] = bend[c] = 0.0
        odds(common, eta, exp_eta, z, move, t, room)
        for i in range(n):
            if poisson:
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
            slope = linear[c] - quad[c] * x[c] - unit[c] * total[c]
            curvature[c] = quad[c] + unit[c] * unit[c] * bend[c]
            step = slope / curvature[c]
            change = widest * abs(unit[c] * step)
            x[c] += step * (2 / (2 + change) if change > 0.5 else 1.0)
            worst = max(worst, slope * step)
        if not worst > CLOSE:
            break


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def beside(eta, Z, moved, side):
    """Linear predictors (n, lanes) with the first of two effects `moved` (2, lanes), into side."""
    for i in range(Z.shape[1]):
        for c in range(moved.shape[1]):
            side[i, c] = eta[i, c] + Z[0, i] * moved[0, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def peaks(
    poisson, eta, trials, count, shape, Z, L, linear, w, C, side, bends, room, lane
):  # fmt: skip
    """The same of two effects ``L w``: w (2, lanes), and C a root of the inverse curvature.

    C is lower triangular: along its last axis the last effect alone changes.
    """
    q, n = Z.shape
    lanes = w.shape[1]
    t, moved, total, mean, bend = room[2], lane[0:q], lane[3 : 3 + q], room[0, 0], room[1, 0]
    B, A = bends[0], bends[1]
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
        beside(eta, Z, moved, side)
        odds(False, side, side, Z[q - 1], moved[q - 1], t, room)
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
def mode(
    poisson, common, eta, exp_eta, y, trials, count, shape, Z, L, near, told, w, C, side, bends,
    room, lane,
):  # fmt: skip
    """Standard normals w (q, lanes) of the effects at the mode, and C as above.

    They are looked for from effects `near` (q,); `told` (q,) becomes the sum of ``y z``.
    """
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
        peaks(
            poisson, eta, trials, count, shape, Z, L, linear, w, C, side, bends, room, lane
        )  # fmt: skip
        return
    one, curvature = lane[9], lane[10]
    one[:] = 1.0
    peak(
        poisson, common, eta, exp_eta, trials, count, shape, Z[0], L[0, 0], linear[0], one, w[0],
        curvature, room, lane,
    )  # fmt: skip
    for c in range(lanes):
        C[0, 0, c] = 1 / np.sqrt(curvature[c])


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def place(number, middle, L, centre, axes, told, along, moved, step, level, slope, quad):
    """Set up a line of a group's lattice: the standard normals of its middle, `along` (q, lanes).

    `moved` are the effects there, `step` (lanes,) that of the last effect along the line; `level`
    the exponent at its middle, but for what rows have without effects, `slope` along the line, and
    `quad` the curvature of w'w / 2.
    """
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
