"""Compiled loops of the integral over each group's effects (docs/method.md, eq. (54) to (57)).

Shapes: S values of the parameters, n rows sorted by group, J groups, q = 1 or 2 varying
coefficients. A group's integral is a sum over a lattice about its mode; along a line of the lattice
exp(linear predictor) of every row is a geometric series, so that a node of a row costs a product
and no exponential.
"""

import numba
import numpy as np

from partialpool.fit.group_modes import frame
from partialpool.fit.kernels import FAST

#: Log up to which products of ``1 + exp(e)`` are gathered before a logarithm is taken.
ROOM = 600.0


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _times(product, factor, exponent, square):
    """Multiply product (K,) by a power of factor (K,), by squaring."""
    if exponent == 1:
        for k in range(len(product)):
            product[k] *= factor[k]
        return
    for k in range(len(product)):
        square[k] = factor[k]
    while exponent > 0:
        if exponent & 1:
            for k in range(len(product)):
                product[k] *= square[k]
        exponent >>= 1
        if exponent:
            for k in range(len(product)):
                square[k] *= square[k]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def _series(first, ratio, out):
    """``first ratio**k`` for k = -r .. r, from the middle outwards."""
    r = len(out) // 2
    up = down = first
    back = 1 / ratio
    out[r] = first
    for k in range(1, r + 1):
        up *= ratio
        down *= back
        out[r + k] = up
        out[r - k] = down


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def line(
    poisson, eta, first, trials, count, shape, delta, slope, quad, weight, scratch
):  # fmt: skip
    """Heights of the nodes of a line: weight (K,), times the exponential of what is returned.

    The linear predictors are ``eta + k delta``, with `first` the exponential of eta, and the
    exponent, but for the rows' parts that curve, ``slope k - quad k² / 2``, with k = -r .. r. The
    second returned is the sum of weight.
    """
    n, K = len(eta), len(weight)
    r = K // 2
    product, extra, t = scratch[0, :K], scratch[1, :K], scratch[2, :K]
    square, power = scratch[3, :K], scratch[4, :K]
    for k in range(K):
        weight[k] = 0.0
        product[k] = 0.0 if poisson else 1.0
    if shape > 0:
        extra[:] = 1.0
    in_logs = abs(slope) * r > ROOM
    used = 0.0
    last = np.nan
    for i in range(n):
        f = first[i]
        if delta[i] != last:  # rows alike stand together
            last = delta[i]
            _series(1.0, np.exp(last), power)
        if poisson:
            for k in range(K):
                product[k] += f * power[k]
            continue
        reach = abs(delta[i]) * r
        m = trials[i] + shape * count[i]
        bound = m * (max(eta[i] + reach, 0.0) + 0.7)
        if bound > ROOM or reach > ROOM:  # the row alone
            in_logs = True
            for k in range(K):
                e = eta[i] + (k - r) * delta[i]
                weight[k] -= m * (max(e, 0.0) + np.log1p(np.exp(-abs(e))))
            continue
        used += bound
        if used > ROOM:
            in_logs = True
            used = bound
            for k in range(K):
                weight[k] -= np.log(product[k])
                product[k] = 1.0
                if shape > 0:
                    weight[k] -= shape * np.log(extra[k])
                    extra[k] = 1.0
        few = trials[i] < 8  # in one loop
        if trials[i] == 1:
            for k in range(K):
                product[k] *= 1 + f * power[k]
        elif few:
            one, two, four = trials[i] & 1, trials[i] & 2, trials[i] & 4
            for k in range(K):
                once = 1 + f * power[k]
                twice = once * once
                product[k] *= (
                    (once if one else 1.0)
                    * (twice if two else 1.0)
                    * (twice * twice if four else 1.0)
                )
        if few and count[i] == 0:
            continue
        for k in range(K):
            t[k] = 1 + f * power[k]
        if count[i]:
            _times(extra, t, count[i], square)
        if not few:
            _times(product, t, trials[i], square)
    top, total = 0.0, 0.0
    if poisson or in_logs or shape > 0:
        top = -np.inf
        for k in range(K):
            j = k - r
            weight[k] += slope * j - 0.5 * quad * j * j
            if poisson:
                weight[k] -= product[k]
            else:
                weight[k] -= np.log(product[k])
                if shape > 0:
                    weight[k] -= shape * np.log(extra[k])
            top = max(top, weight[k])
        for k in range(K):
            weight[k] = np.exp(weight[k] - top)
            total += weight[k]
        return top, total
    fall = np.exp(-0.5 * quad)
    rise = np.exp(slope)
    up, down = fall * rise, fall / rise
    fall *= fall
    left = right = 1.0
    weight[r] = 1.0
    for k in range(1, r + 1):
        right *= up
        left *= down
        up *= fall
        down *= fall
        weight[r + k] = right
        weight[r - k] = left
    for k in range(K):
        weight[k] /= product[k]
        total += weight[k]
    return top, total


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def place(number, middle, common, centre, axes, eta, exp_eta, y, G, at, first, along, delta):
    """Set up a line of a group's lattice: `at` (n,) linear predictors, `along` (q,) its middle.

    `first` are their exponentials. Returns the exponent at the line's middle, its slope along the
    line, and the curvature of w'w / 2.
    """
    n, q = G.shape
    level, slope, quad = 0.0, 0.0, 0.0
    last = q - 1
    for c in range(q):
        along[c] = centre[c] + (0.0 if q == 1 else (number - middle) * axes[c, 0])
        level -= 0.5 * along[c] ** 2
        slope -= along[c] * axes[c, last]
        quad += axes[c, last] ** 2
    if common and n:
        moved, d = G[0, 0] * along[0], G[0, 0] * axes[0, 0]
        factor, successes = np.exp(moved), 0.0
        for i in range(n):
            at[i] = eta[i] + moved
            first[i] = exp_eta[i] * factor
            delta[i] = d
            level += y[i] * at[i]
            successes += y[i]
        return level, slope + d * successes, quad
    for i in range(n):
        e, d = eta[i], 0.0
        for c in range(q):
            e += G[i, c] * along[c]
            d += G[i, c] * axes[c, last]
        at[i], delta[i] = e, d
        first[i] = np.exp(e)
        level += y[i] * e
        slope += y[i] * d
    return level, slope, quad


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def residuals(poisson, first, y, m, delta, chance, scratch, residual, tilted):
    """Add expected residuals over a line's nodes, and those times the nodes' places k = -r .. r."""
    K = len(chance)
    r = K // 2
    t, power = scratch[2, :K], scratch[4, :K]
    whole, leaning = 0.0, 0.0
    for k in range(K):
        whole += chance[k]
        leaning += chance[k] * (k - r)
    last = np.nan
    for i in range(len(first)):
        if delta[i] != last:
            last = delta[i]
            _series(1.0, np.exp(last), power)
        for k in range(K):
            t[k] = first[i] * power[k]
        mean, tilt = 0.0, 0.0
        for k in range(K):
            if poisson:
                expected = chance[k] * t[k] if chance[k] > 0 else 0.0
            else:
                expected = chance[k] - chance[k] / (1 + t[k])
            mean += expected
            tilt += expected * (k - r)
        residual[i] += y[i] * whole - (mean if poisson else m[i] * mean)
        tilted[i] += y[i] * leaning - (tilt if poisson else m[i] * tilt)


#: What `integrals` finds: integrals alone, with moments of the effects, or with derivatives too.
VALUES, MOMENTS, DERIVATIVES = 0, 1, 2


@numba.njit(cache=True, error_model="numpy", parallel=True)
def integrals(
    poisson, common, eta, exp_eta, y, trials, count, shape, Z, start, L, near, shift, scale, K,
    some, what,
):  # fmt: skip
    """Integrals over the effects of some groups (docs/method.md, eq. (55) and (57)).

    Parameters
    ----------
    poisson, common : bool
        Of `CountedRows`, as are y, trials, count (n,), Z (n, q) and start (J + 1,).
    eta, exp_eta : (S, n) arrays
        Linear predictors without the effects; their exponentials, used only where `common`.
    shape : (S,) array
        Of the negative binomial, else zero.
    L : (S, q, q) array
    near, shift, scale : (J, q) arrays
        Of `GroupIntegral`, as is K (J,).
    some : (G,) int array
    what : int
        `VALUES`, `MOMENTS` or `DERIVATIVES`; the arrays of what is not found are empty.

    Returns
    -------
    (S, G) array
        Log integrals.
    (S, n) array, (S, q, q) array
        Expected residuals of the rows, and the derivative by L.
    (S, G, q), (S, G, q, q) arrays
        Means of w, and of its products.
    (S, G, q), (S, G, q, q) arrays
        Modes, and roots of the inverse curvature.
    """
    S, q, J = len(L), Z.shape[1], len(some)
    rows, N = len(y) if what >= DERIVATIVES else 0, J if what >= MOMENTS else 0
    value = np.empty((S, J))
    residual, by_L = np.zeros((S, rows)), np.zeros((S, q, q))
    mean, square = np.zeros((S, N, q)), np.zeros((S, N, q, q))
    modes, roots = np.empty((S, N, q)), np.empty((S, N, q, q))
    widest = (start[1:] - start[:-1]).max()
    for s in numba.prange(S):
        G, at, delta = np.empty((widest, q)), np.empty(widest), np.empty(widest)
        first = np.empty(widest)
        w, C, m = np.empty(q), np.empty((q, q)), np.empty(widest)
        centre, axes, along = np.empty(q), np.empty((q, q)), np.empty(q)
        heights, scratch = np.empty(K.max()), np.empty((5, K.max()))
        left, tilted, leaning = np.empty(widest), np.empty((widest, q)), np.empty(widest)
        for g in range(J):
            j = some[g]
            a, b = start[j], start[j + 1]
            n, nodes = b - a, K[j]
            for i in range(n):
                m[i] = trials[a + i] + shape[s] * count[a + i]
            own, expd = eta[s, a:b], exp_eta[s, a:b] if common else eta[s, a:b]
            cell = frame(
                poisson, common, own, expd, y[a:b], m, Z[a:b], L[s], near[j], shift[j], scale[j],
                nodes, G[:n], w, C, centre, axes,
            )  # fmt: skip
            if what >= MOMENTS:
                modes[s, g], roots[s, g] = w, C
            weight = heights[:nodes]
            if what >= DERIVATIVES:
                tilted[:n] = 0.0
            r, lines = nodes // 2, 1 if q == 1 else nodes
            top, total = -np.inf, 0.0
            for turn in range(1 if what == VALUES else 2):
                for number in range(lines):
                    level, slope, quad = place(
                        number, lines // 2, common, centre, axes, own, expd, y[a:b], G[:n], at[:n],
                        first[:n], along, delta[:n],
                    )  # fmt: skip
                    if q > 1 or turn == 0:
                        high, mass = line(
                            poisson, at[:n], first[:n], trials[a:b], count[a:b], shape[s],
                            delta[:n], slope, quad, weight, scratch,
                        )  # fmt: skip
                    if what == VALUES and lines == 1:
                        value[s, g] = level + high + np.log(mass * cell)
                        continue
                    if turn == 0:
                        here = level + high + np.log(mass)
                        above = max(top, here)
                        total = total * np.exp(top - above) + np.exp(here - above)
                        top = above
                        continue
                    scaled = np.exp(level + high - top) / total
                    one, two, three = 0.0, 0.0, 0.0
                    for k in range(nodes):
                        weight[k] *= scaled
                        one += weight[k]
                        two += weight[k] * (k - r)
                        three += weight[k] * (k - r) * (k - r)
                    for c in range(q):
                        mean[s, g, c] += one * along[c] + two * axes[c, q - 1]
                        for d in range(q):
                            both = along[c] * axes[d, q - 1] + along[d] * axes[c, q - 1]
                            square[s, g, c, d] += (
                                one * along[c] * along[d]
                                + two * both
                                + three * axes[c, q - 1] * axes[d, q - 1]
                            )
                    if what < DERIVATIVES:
                        continue
                    left[:n] = 0.0
                    leaning[:n] = 0.0
                    residuals(
                        poisson, first[:n], y[a:b], m, delta[:n], weight, scratch, left, leaning,
                    )  # fmt: skip
                    for i in range(n):
                        residual[s, a + i] += left[i]
                        for c in range(q):
                            tilted[i, c] += left[i] * along[c] + leaning[i] * axes[c, q - 1]
            if what > VALUES or lines > 1:
                value[s, g] = top + np.log(total * cell)
            if what >= DERIVATIVES:
                for i in range(n):
                    for c in range(q):
                        for d in range(c + 1):
                            by_L[s, c, d] += Z[a + i, c] * tilted[i, d]
    return value, residual, by_L, mean, square, modes, roots
