"""Whether a model with a link has a posterior, and which of its means exist; as `propriety`.

Conditionally on group effects the log likelihood is concave in the coefficients, so that a flat
prior leaves a posterior unless the likelihood stays away from zero along some direction of those
coefficients: complete or quasi-complete separation (Albert & Anderson 1984). A linear programme
finds one. Standard deviations need a prior that is a distribution. As one of them grows, a group
that the likelihood holds on both sides contributes a factor ``1/r``; one of a single kind of
answer is held on one side only, and contributes none. With a prior that falls as ``r^-a``, t such
groups leave a finite d-th moment where ``t + a > 1 + d``.
"""

import numpy as np

from partialpool.design.families import OWN, thresholds
from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import Prior
from partialpool.design.propriety import Propriety, tail


def propriety(design: Design, priors: dict[str, Prior], family: str) -> Propriety:
    """Say which means the posterior of a family with a link has.

    Raises
    ------
    ValueError
        If there is no posterior: one sentence that names the prior and the remedy.
    """
    scales = [*design.sd_names, *OWN.get(family, ())]
    for name in scales:
        if not (priors[name].proper or priors[name].fixed):
            raise ValueError(
                f"`family: {family}` needs a proper prior on {name!r}, and {priors[name]} is not "
                "one: groups of a single kind of answer leave it without a bound. Leave it out for "
                "the default."
            )
    if found := separated(design, priors, family):
        raise ValueError(
            f"There is no posterior: with a flat prior on {', '.join(map(repr, found))}, some "
            "combination of predictors tells the answers apart without error (separation), and "
            "coefficients grow without bound. Give a proper prior, such as the default."
        )
    held = [_held(design, family, z, g) for g in design.groupings for z in g.Z.T]
    spare = {name: t + tail(priors[name]) - 1 for name, t in zip(scales, held, strict=False)}
    spare |= {name: tail(priors[name]) - 1 for name in OWN.get(family, ())}
    without = [tuple(name for name, more in spare.items() if more <= d) for d in (1, 2)]
    return Propriety(*without)


def bounds(design: Design, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether the likelihood of each row vanishes as its line grows, and as it falls: (N,) both."""
    y = design.y
    if design.trials is not None:
        return y < design.trials, y > 0
    if family == "cumulative":
        return y < len(design.answers), y > 1
    return np.ones(len(y), dtype=bool), y > 0


def separated(design: Design, priors: dict[str, Prior], family: str) -> list[str]:
    """Names of flat coefficients that can grow together while no row objects; empty if none can."""
    from scipy.optimize import linprog  # which takes a while to load, and is seldom needed

    flat = [k for k, name in enumerate(design.x_names) if not priors[name].proper]
    cuts = thresholds(len(design.answers)) if family == "cumulative" else ()
    if not flat:  # of thresholds alone none can: every answer was given
        return []
    upper, lower = bounds(design, family)
    F = design.X[:, flat]
    free = [name for name in cuts if not priors[name].proper]
    above, below = np.zeros((2, len(F), len(free)))
    if free:
        place = design.y.astype(int)
        rows = np.arange(len(F))
        above[rows[upper], place[upper] - 1] = 1  # the threshold above an answer moves with it
        below[rows[lower], place[lower] - 2] = 1
    # as the line grows less the threshold above, or falls less the one below, a row's share goes
    A = np.vstack([np.hstack([F, -above])[upper], -np.hstack([F, -below])[lower]])
    A = np.unique(A, axis=0)
    A = A / np.maximum(np.abs(A).max(axis=1, keepdims=True), 1e-300)
    # rows that never object: what they gain is what is to be found
    found = linprog(A.sum(axis=0), A_ub=A, b_ub=np.zeros(len(A)), bounds=(-1, 1), method="highs")
    if found.status != 0 or found.fun > -1e-7:
        return []
    names = [*(design.x_names[k] for k in flat), *free]
    moved = np.abs(found.x) > 1e-7
    return [name for name, there in zip(names, moved, strict=True) if there]


def _held(design: Design, family: str, z: np.ndarray, grouping: Grouping) -> int:
    """Number of groups that hold the effect of a column z (N,) on both sides."""
    upper, lower = bounds(design, family)
    codes, n = grouping.codes, grouping.n_levels
    up = np.bincount(codes, (upper & (z > 0)) | (lower & (z < 0)), n) > 0
    down = np.bincount(codes, (upper & (z < 0)) | (lower & (z > 0)), n) > 0
    return int((up & down).sum())
