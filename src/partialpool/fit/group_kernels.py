"""Compiled: integrals over each group's effects, moments, derivatives (docs/method.md, eq. (57)).

Shapes as in `group_lattice`.
"""

import numba
import numpy as np

from partialpool.fit.elementary import exponentials
from partialpool.fit.group_lattice import chunks, lattice, length, line_of, residuals, room_for
from partialpool.fit.group_modes import odds, predictors
from partialpool.fit.kernels import FAST

#: What `integrals` finds: integrals alone, with moments of the effects, or with derivatives too.
VALUES, MOMENTS, DERIVATIVES = 0, 1, 2


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=FAST)
def integrals(
    poisson, common, X, offset, y, trials, count, Z, start, coefficients, L, shape, near, shift,
    scale, K, outer, moved_by, shares, some, what, value, by_coefficients, by_L, mean, square,
    modes, inverse, begin, end,
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
    value : (S, G) array
        Becomes the log integrals.
    by_coefficients, by_L : (S, p), (S, q, q) arrays of zeros
        Become the derivatives of their sum by the coefficients and by L.
    mean, square : (S, G, q), (S, G, q, q) arrays of zeros
        Become means of w, and of its products.
    modes, inverse : (S, G, q), (S, G, q, q) arrays
        Become the modes, and roots of the inverse curvature.
    begin, end : int
        Which of the `chunks` of values of the parameters are taken.
    """
    S, q, J, p = len(L), len(Z), len(some), X.shape[1]
    widest, most = (start[1:] - start[:-1]).max(), K[some].max() if J else 1
    _, lanes = chunks(S, widest)
    for chunk in range(begin, end):
        s = min(chunk * lanes, S - lanes)
        fresh = chunk * lanes - s  # those before it belong to another chunk
        at = np.ascontiguousarray(coefficients[s : s + lanes].T)
        root = np.ascontiguousarray(L[s : s + lanes].transpose(1, 2, 0))
        shapes = shape[s : s + lanes]
        less = np.log(shapes) if shapes.max() > 0 else np.zeros(lanes)
        lesser = np.copy(less)
        eta, exp_eta = np.empty((widest, lanes)), np.empty((widest, lanes))
        rooms = room_for(q, widest, most, lanes, what > VALUES)
        _, room, nodes, lane, heights, (_, _, share), (own, others), roots, _ = rooms
        along, moved, apart, axes = own[2], own[3], own[5], roots[1]
        apart[:] = 0.0
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
            rows = (poisson, common, eta, exp_eta, yy, tt, cc, shapes, zz)
            logs = lattice(rows, root, near[j], shift[j], scale[j], k, apart, rooms)
            for c in range(fresh, lanes):
                value[s + c, g] = logs[c]
            if what == VALUES:
                continue
            for c in range(fresh, lanes):
                for d in range(q):
                    modes[s + c, g, d] = own[0, d, c]
                    for e in range(q):
                        inverse[s + c, g, d, e] = roots[0, d, e, c] if e <= d else 0.0
            for i in range(k ** (q - 1)):
                nearby = length(i, k, q)
                weight, middle = heights[i, :nearby], nearby // 2
                known = line_of(i, k, rows, root, rooms)
                one, two, three = lane[4], lane[5], lane[6]
                for c in range(lanes):
                    one[c] = two[c] = three[c] = 0.0
                for o in range(nearby):
                    for c in range(lanes):
                        weight[o, c] *= share[i, c]
                        one[c] += weight[o, c]
                        two[c] += weight[o, c] * (o - middle)
                        three[c] += weight[o, c] * (o - middle) ** 2
                for c in range(fresh, lanes):
                    for d in range(q):
                        x, dx = along[d, c], axes[d, q - 1, c]
                        mean[s + c, g, d] += one[c] * x + two[c] * dx
                        for e in range(q):
                            y0, dy = along[e, c], axes[e, q - 1, c]
                            square[s + c, g, d, e] += (
                                one[c] * x * y0 + two[c] * (x * dy + y0 * dx) + three[c] * dx * dy
                            )
                if what < DERIVATIVES:
                    continue
                odds(common, known, exp_eta, zz[q - 1], moved[q - 1], room[2], room)
                residuals(
                    poisson, yy, tt, cc, shapes, zz[q - 1], others[0], weight, left, leaning,
                    room, nodes, lane,
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
        if what >= DERIVATIVES:
            for c in range(fresh, lanes):
                by_coefficients[s + c] = found[:, c]
                by_L[s + c] = rise[:, :, c]
