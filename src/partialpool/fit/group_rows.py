"""Compiled: rows of a group at several values of the parameters (docs/method.md, eq. (50)).

Some values of the parameters, `lanes` of them, stand side by side on the last axis of every array:
the loops over them are the innermost, and take several at a time. S values in all, n rows sorted
by group, J groups, p coefficients, q = 1 or 2 of which vary.
"""

from typing import NamedTuple

import numba
import numpy as np

from partialpool.fit.elementary import exponentials
from partialpool.fit.kernels import FAST

#: Values of the parameters that are taken at a time, and numbers in an array of theirs by row.
LANES, AT_A_TIME = 32, 200_000
#: Linear predictors beyond which no probability changes.
FARTHEST = 700.0


class Data(NamedTuple):
    """What is known: of `CountedRows`, whose `count` is `counted` here, but Z (q, n)."""

    poisson: bool
    common: bool
    X: np.ndarray
    offset: np.ndarray
    y: np.ndarray
    trials: np.ndarray
    counted: np.ndarray
    Z: np.ndarray
    start: np.ndarray


class Values(NamedTuple):
    """Values of the parameters: (S, p), (S, q, q), and the negative binomial's (S,), else zero.

    Groups may lie in others, `outer` (J,) of M; then `moved_by` (M, S) moves their lines, and what
    is derived may be multiplied by `shares` (M, S). All three are empty where there is no such.
    """

    coefficients: np.ndarray
    L: np.ndarray
    shape: np.ndarray
    outer: np.ndarray
    moved_by: np.ndarray
    shares: np.ndarray


class Lanes(NamedTuple):
    """Some of the values side by side, from number `first`; new are those from `fresh` on.

    Those before it belong to another chunk. `less` is taken from every line; eta and exp_eta are
    room for a group's linear predictors without the effects and, where all its rows have one
    varying column alike, their exponentials.
    """

    first: int
    fresh: int
    coefficients: np.ndarray
    L: np.ndarray
    shape: np.ndarray
    less: np.ndarray
    eta: np.ndarray
    exp_eta: np.ndarray


class Rows(NamedTuple):
    """Rows of one group: of `Data` its own, of `Lanes` the lines and the shape."""

    poisson: bool
    common: bool
    X: np.ndarray
    y: np.ndarray
    trials: np.ndarray
    counted: np.ndarray
    Z: np.ndarray
    shape: np.ndarray
    eta: np.ndarray
    exp_eta: np.ndarray


@numba.njit(cache=True)
def chunks(S, widest):
    """How many chunks of how many values of the parameters each; the last two may overlap."""
    most = min(LANES, max(4, AT_A_TIME // max(widest, 1)))
    number = max(1, -(-S // most))
    return number, -(-S // number)


@numba.njit(cache=True)
def side_by_side(values, chunk, widest):
    """Lanes of a chunk, with room for groups of `widest` rows."""
    S = len(values.L)
    _, lanes = chunks(S, widest)
    s = min(chunk * lanes, S - lanes)
    shape = values.shape[s : s + lanes]
    return Lanes(
        s,
        chunk * lanes - s,
        np.ascontiguousarray(values.coefficients[s : s + lanes].T),
        np.ascontiguousarray(values.L[s : s + lanes].transpose(1, 2, 0)),
        shape,
        np.log(shape) if shape.max() > 0 else np.zeros(lanes),
        np.empty((widest, lanes)),
        np.empty((widest, lanes)),
    )


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def rows_of(data, values, j, lanes, less, room):
    """Rows of group j; `less` (lanes,) and room, two axes and n rows, are lost."""
    a, b = data.start[j], data.start[j + 1]
    eta, width = lanes.eta, len(less)
    for c in range(width):
        less[c] = lanes.less[c]
        if len(values.moved_by):
            less[c] -= values.moved_by[values.outer[j], lanes.first + c]
    for i in range(a, b):
        for c in range(width):
            eta[i - a, c] = data.offset[i] - less[c]
        for k in range(data.X.shape[1]):
            x = data.X[i, k]
            if x != 0.0:
                for c in range(width):
                    eta[i - a, c] += x * lanes.coefficients[k, c]
        for c in range(width):
            eta[i - a, c] = min(max(eta[i - a, c], -FARTHEST), FARTHEST)
    if data.common:
        exponentials(eta, b - a, lanes.exp_eta, room)
    return Rows(
        data.poisson, data.common, data.X[a:b], data.y[a:b], data.trials[a:b], data.counted[a:b],
        data.Z[:, a:b], lanes.shape, eta, lanes.exp_eta,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def odds(rows, eta, z, move, out, room):
    """Exponentials of ``eta + z move`` into out (n, lanes); room (2, n, lanes) is lost.

    Where `common`, all z are one number, eta is that of the rows, and its exponentials are known.
    """
    n, lanes = len(z), len(move)
    at = room[0]
    if not rows.common:
        for i in range(n):
            for c in range(lanes):
                at[i, c] = eta[i, c] + z[i] * move[c]
        exponentials(at, n, out, room[1])
    elif n:
        factor, exp_eta = room[1], rows.exp_eta
        for c in range(lanes):
            at[0, c] = z[0] * move[c]
        exponentials(at, 1, factor, out)
        for i in range(n):
            for c in range(lanes):
                out[i, c] = exp_eta[i, c] * factor[0, c]


@numba.njit(cache=True, error_model="numpy", fastmath=FAST)
def beside(rows, moved, side):
    """Linear predictors (n, lanes) with the first of two effects `moved` (2, lanes), into side."""
    eta, Z = rows.eta, rows.Z
    for i in range(Z.shape[1]):
        for c in range(moved.shape[1]):
            side[i, c] = eta[i, c] + Z[0, i] * moved[0, c]
