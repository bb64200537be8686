"""Compiled: integrals over each group's effects, moments, derivatives (docs/method.md, eq. (57)).

Shapes as in `group_rows`.
"""

import numba
import numpy as np

from partialpool.fit.group_lattice import lattice, length, line_of, residuals
from partialpool.fit.group_modes import room_for
from partialpool.fit.group_rows import rows_of, side_by_side
from partialpool.fit.kernels import FAST

#: What `integrals` finds: integrals alone, with moments of the effects, or with derivatives too.
VALUES, MOMENTS, DERIVATIVES = 0, 1, 2


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=FAST)
def integrals(
    data, values, lattices, some, what, value, by_coefficients, by_L, mean, square, modes, inverse,
    begin, end,
):  # fmt: skip
    """Integrals over the effects of some groups (docs/method.md, eq. (55) and (57)).

    Parameters
    ----------
    data : Data
    values : Values
    lattices : Lattices
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
    start, K = data.start, lattices.K
    q, J, p = len(data.Z), len(some), data.X.shape[1]
    widest, most = (start[1:] - start[:-1]).max(), K[some].max() if J else 1
    for chunk in range(begin, end):
        at = side_by_side(values, chunk, widest)
        s, fresh, lanes = at.first, at.fresh, len(at.shape)
        work = room_for(q, widest, most, lanes, what > VALUES)
        along, axes, logs = work.along, work.axes, np.empty(lanes)
        left, leaning = np.empty((widest if what > 1 else 0, lanes)), np.empty((widest, lanes))
        found, rise = np.zeros((p, lanes)), np.zeros((q, q, lanes))
        for g in range(J):
            j = some[g]
            k = K[j]
            rows = rows_of(data, values, j, at, work.lane[11], work.rows[0])
            lattice(rows, at.L, lattices, j, work, logs)
            for c in range(fresh, lanes):
                value[s + c, g] = logs[c]
            if what == VALUES:
                continue
            for c in range(fresh, lanes):
                for d in range(q):
                    modes[s + c, g, d] = work.w[d, c]
                    for e in range(q):
                        inverse[s + c, g, d, e] = work.C[d, e, c] if e <= d else 0.0
            for i in range(k ** (q - 1)):
                nearby = length(i, k, q)
                weight, middle = work.heights[i, :nearby], nearby // 2
                known = line_of(i, k, rows, at.L, work)
                one, two, three = work.lane[4], work.lane[5], work.lane[6]
                for c in range(lanes):
                    one[c] = two[c] = three[c] = 0.0
                for o in range(nearby):
                    for c in range(lanes):
                        weight[o, c] *= work.share[i, c]
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
                residuals(rows, known, work, weight, left, leaning)
                if len(values.shares):
                    for o in range(len(rows.y)):
                        for c in range(lanes):
                            share = values.shares[values.outer[j], s + c]
                            left[o, c] *= share
                            leaning[o, c] *= share
                for o in range(len(rows.y)):
                    for f in range(p):
                        x = rows.X[o, f]
                        if x != 0.0:
                            for c in range(lanes):
                                found[f, c] += x * left[o, c]
                    for d in range(q):
                        for e in range(d + 1):
                            for c in range(lanes):
                                rise[d, e, c] += rows.Z[d, o] * (
                                    left[o, c] * along[e, c] + leaning[o, c] * axes[e, q - 1, c]
                                )
        if what >= DERIVATIVES:
            for c in range(fresh, lanes):
                by_coefficients[s + c] = found[:, c]
                by_L[s + c] = rise[:, :, c]
