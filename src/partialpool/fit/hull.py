"""Draws under the chords of a concave logarithm that is known at equal steps (Gilks 1992).

Between two points the logarithm of the density lies below the chords to either side, drawn out; so
does what is beyond the last ones. Places are in steps from the first point.
"""

import numpy as np

#: Least slope of what is beyond the last points.
LEAST = 1e-3


def from_chords(heights: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) of draws from the density under the chords, and its logarithm there.

    Parameters
    ----------
    heights : (n, K) array
        Of the logarithm at the points.
    u : (n,) array
        Uniform numbers between 0 and 1.
    """
    n, K = heights.shape
    slope = np.diff(heights, axis=1)
    outside = np.full((n, 1), np.inf)
    left = np.hstack([outside, slope[:, :-1]])
    right = np.hstack([slope[:, 1:], -outside])
    # where the chords to either side meet, in each step; at its end where there is but one
    with np.errstate(invalid="ignore"):
        meet = (slope - right) / (left - right)
    meet[:, 0], meet[:, -1] = 0.0, 1.0
    meet = np.clip(np.where(np.isfinite(meet), meet, 0.5), 0, 1)
    begin, length = np.empty((n, 2 * K)), np.empty((n, 2 * K))
    at, rise = np.empty((n, 2 * K)), np.empty((n, 2 * K))
    point = np.arange(K - 1.0)
    # pieces of lines in their order: beyond the first point, two in each step, beyond the last one
    begin[:, 1:-1:2], begin[:, 2:-1:2] = point, point + meet
    length[:, 1:-1:2], length[:, 2:-1:2] = meet, 1 - meet
    rise[:, 1:-1:2], rise[:, 2:-1:2] = np.where(meet > 0, left, 0), np.where(meet < 1, right, 0)
    at[:, 1:-1:2] = heights[:, :-1]
    at[:, 2:-1:2] = heights[:, 1:] - rise[:, 2:-1:2] * length[:, 2:-1:2]
    begin[:, 0], begin[:, -1] = 0.0, K - 1.0
    rise[:, 0] = np.maximum(slope[:, 0], LEAST)
    rise[:, -1] = np.minimum(slope[:, -1], -LEAST)
    length[:, 0] = length[:, -1] = np.inf
    at[:, 0], at[:, -1] = heights[:, 0], heights[:, -1]
    grown = rise[:, 1:-1] * length[:, 1:-1]
    flat = np.abs(grown) < 1e-9
    mass = np.empty((n, 2 * K))
    mass[:, 1:-1] = length[:, 1:-1] * np.where(flat, 1, np.expm1(grown) / np.where(flat, 1, grown))
    mass[:, 0], mass[:, -1] = 1 / rise[:, 0], -1 / rise[:, -1]
    shares = np.cumsum(mass * np.exp(at - heights.max(1, keepdims=True)), axis=1)
    wanted = u * shares[:, -1]
    piece = np.minimum((shares < wanted[:, None]).sum(1), 2 * K - 1)
    row = np.arange(n)
    before = np.where(piece > 0, shares[row, piece - 1], 0.0)
    v = np.clip((wanted - before) / (shares[row, piece] - before), 1e-300, 1 - 1e-16)
    start, m, ell = begin[row, piece], rise[row, piece], length[row, piece]
    beyond = np.isinf(ell)
    whole = np.where(beyond, 0.0, m * ell)
    small = np.abs(whole) < 1e-9
    inside = np.where(small, v * ell, np.log1p(v * np.expm1(whole)) / m)
    tail = np.log(np.where(piece == 0, v, 1 - v)) / m
    move = np.where(beyond, tail, inside)
    return start + move, at[row, piece] + m * move
