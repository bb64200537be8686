"""Draws under the chords of a concave logarithm that is known at some points (Gilks 1992).

Between two points the logarithm of the density lies below the chords to either side, drawn out; so
does what is beyond the last ones.
"""

import numpy as np

#: Least slope of what is beyond the last points.
LEAST = 1e-3


def from_chords(
    points: np.ndarray, heights: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) of draws from the density under the chords, and its logarithm there.

    Parameters
    ----------
    points : (K,) array
        In order, three at least.
    heights : (n, K) array
        Of the logarithm at the points.
    u : (n,) array
        Uniform numbers between 0 and 1.
    """
    (n, K), width = heights.shape, np.diff(points)
    slope = np.diff(heights, axis=1) / width
    outside = np.full((n, 1), np.inf)
    left, right = np.hstack([outside, slope[:, :-1]]), np.hstack([slope[:, 1:], -outside])
    # share of each step at which the chords to either side meet; its end where there is but one
    with np.errstate(invalid="ignore"):
        meet = (slope - right) / (left - right)
    meet[:, 0], meet[:, -1] = 0.0, 1.0
    meet = np.clip(np.where(np.isfinite(meet), meet, 0.5), 0, 1)
    # lines in their order: beyond the first point, two in each step, beyond the last one
    begin, length, level, rise = np.empty((4, n, 2 * K))
    one, two = slice(1, -1, 2), slice(2, -1, 2)
    length[:, one], length[:, two] = meet * width, (1 - meet) * width
    begin[:, one], begin[:, two] = points[:-1], points[:-1] + length[:, one]
    rise[:, one], rise[:, two] = np.where(meet > 0, left, 0), np.where(meet < 1, right, 0)
    level[:, one] = heights[:, :-1]
    level[:, two] = heights[:, 1:] - rise[:, two] * length[:, two]
    begin[:, 0], begin[:, -1] = points[0], points[-1]
    level[:, 0], level[:, -1] = heights[:, 0], heights[:, -1]
    rise[:, 0], rise[:, -1] = np.maximum(slope[:, 0], LEAST), np.minimum(slope[:, -1], -LEAST)
    length[:, 0] = length[:, -1] = np.inf
    grown = rise[:, 1:-1] * length[:, 1:-1]
    flat = np.abs(grown) < 1e-9
    mass = np.empty((n, 2 * K))
    mass[:, 1:-1] = length[:, 1:-1] * np.where(flat, 1, np.expm1(grown) / np.where(flat, 1, grown))
    mass[:, 0], mass[:, -1] = 1 / rise[:, 0], -1 / rise[:, -1]
    shares = np.cumsum(mass * np.exp(level - heights.max(1, keepdims=True)), axis=1)
    wanted, row = u * shares[:, -1], np.arange(n)
    line = np.minimum((shares < wanted[:, None]).sum(1), 2 * K - 1)
    before = np.where(line > 0, shares[row, line - 1], 0.0)
    v = np.clip((wanted - before) / (shares[row, line] - before), 1e-300, 1 - 1e-16)
    m, ell = rise[row, line], length[row, line]
    beyond = np.isinf(ell)
    whole = np.where(beyond, 0.0, m * ell)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.where(np.abs(whole) < 1e-9, v * ell, np.log1p(v * np.expm1(whole)) / m)
    tail = np.log(np.where(line == 0, v, 1 - v)) / m
    move = np.where(beyond, tail, inside)
    return begin[row, line] + move, level[row, line] + m * move
