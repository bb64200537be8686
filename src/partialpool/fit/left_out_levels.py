"""Rows of a level of a small factor given all other rows (docs/method.md, eq. (66)).

The level's effect is integrated out over what the largest factor's groups that it meets say of it
together, each of them with its own effects integrated out. And rows of a level of a factor that is
nested in others given the other rows of the outermost group it lies in.
"""

import numpy as np
from scipy import stats

from partialpool.design.matrices import Grouping
from partialpool.fit import integrated_fit
from partialpool.fit.integral import AIM
from partialpool.fit.integrated import Values
from partialpool.fit.left_out_rows import without
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import split

#: Nodes of the integral over a level's effect, and how far they reach, in standard deviations; and
#: those that certify them at some draws.
NODES, FINER = (7, 4.2), (15, 6.0)
#: Error of the log density of a level that is allowed, and draws at which it is looked at.
TOLERANCE, CERTIFIED_AT = 1e-3, 20
#: Most steps to the mode of an effect, and distance from it that is near enough.
STEPS, NEAR = 8, 0.5
#: Products, of draws, nodes and rows, that are affordable; densities that are asked for at a draw
#: of a level, about; fewest draws that are of use.
WORK, ASKED, FEWEST = 1e10, 12, 100


def affordable(regression: Regression, grouping: Grouping, most: int) -> int:
    """Draws, `most` at most, at which levels are left out, not of the outermost; 0 if too few."""
    chain, _ = split(regression.design)
    nodes = regression.integrated.posterior.integral.sizes
    met = np.unique(np.stack([grouping.codes, chain[-1].codes]), axis=1)[1]
    asked = 1 if grouping in chain else ASKED
    products = asked * float((chain[-1].counts * nodes)[met].sum())
    draws = int(min(most, WORK / products))
    return draws if draws >= min(FEWEST, most) else 0


def given_others(
    regression: Regression, values: Values, grouping: Grouping, levels: np.ndarray
) -> np.ndarray:
    """Log densities (S, n) of the rows of some levels (n,) of a factor given the others.

    Of a small factor, or of one that is nested in the outermost one that is integrated out.

    Raises
    ------
    ValueError
        Where several coefficients vary by the factor, and where the integral over a level's effect
        is not right to `TOLERANCE`.
    """
    if grouping in split(regression.design)[0]:
        return _nested(regression, values, grouping, levels)
    if len(grouping.z_names) > 1:
        raise ValueError(f"several coefficients vary by {grouping.name}, which is not the largest")
    found = np.empty((len(values.L), len(levels)))
    every = -(-len(values.L) // CERTIFIED_AT)
    few = Values(*(value[::every] for value in values))
    for k, level in enumerate(levels):
        one = _Level(regression, grouping, int(level))
        found[:, k] = one.log_density(values, *NODES)
        error = np.abs(one.log_density(few, *FINER) - found[::every, k]).max()
        if not error < TOLERANCE:
            raise ValueError(
                f"the integral over the effect of a new level of {grouping.name} is not certified"
            )
    return found


def _nested(
    regression: Regression, values: Values, grouping: Grouping, levels: np.ndarray
) -> np.ndarray:
    codes, around = grouping.codes, split(regression.design)[0][-1].codes
    groups = around[np.array([np.argmax(codes == level) for level in levels])]

    def left(of: np.ndarray, member: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.where(codes[member] == levels[of], 0, times)

    others, _ = without(regression, groups, left, AIM * len(groups))
    every = -(-len(values.L) // CERTIFIED_AT)
    if not others.errors(*(value[::every] for value in values.place)).max() < TOLERANCE:
        raise ValueError(f"the integrals without a level of {grouping.name} are not certified")
    present, of_level = np.unique(groups, return_inverse=True)
    log = integrated_fit.log_likelihood(regression, values, present)[:, of_level]
    return np.asarray(log - others.by_group(*values.place))


class _Level:
    """A level of a small factor: the groups it meets with all their rows, and without its own."""

    def __init__(self, regression: Regression, grouping: Grouping, level: int) -> None:
        design, (chain, small) = regression.design, split(regression.design)
        posterior, mode, _ = regression.integrated
        self.integral, mine = posterior.integral, grouping.codes == level
        self.groups = np.unique(chain[-1].codes[mine])
        before = small[: [g.name for g in small].index(grouping.name)]
        self.column = posterior.effects.start + level
        self.column += sum(g.n_levels * len(g.z_names) for g in before)
        self.sd = design.sd_names.index(grouping.sd_names[0])

        def left(of: np.ndarray, member: np.ndarray, times: np.ndarray) -> np.ndarray:
            return np.where(mine[member], 0, times)

        self.others, _ = without(regression, self.groups, left, AIM)
        at = posterior.values(mode[None])
        working = posterior.small.working
        assert working is not None
        place = self.column - posterior.effects.start + len(posterior.priors)
        self.told = float(working.given(at.L)[0][0, place, place])

    def log_density(self, values: Values, nodes: int, reach: float) -> np.ndarray:
        """Of the level's rows given the others (S,)."""
        sd = values.sds[:, self.sd]

        def height(w: np.ndarray) -> np.ndarray:
            moved = np.array(values.coefficients)
            moved[:, self.column] = sd * w
            place = values._replace(coefficients=moved).place
            return self.integral.by_group(*place, self.groups).sum(1) + stats.norm.logpdf(w)

        spread = 1 / np.sqrt(1 + sd**2 * self.told)
        w = np.clip(values.coefficients[:, self.column] / np.maximum(sd, 1e-300), -6, 6)
        for _ in range(STEPS):
            low, middle, high = (height(w + k * spread) for k in (-1, 0, 1))
            bend = np.maximum(2 * middle - low - high, 0.1)
            step = np.clip((high - low) / 2 / bend, -3, 3)
            w = w + step * spread
            spread = np.minimum(spread / np.sqrt(bend), 1.0)
            if np.abs(step).max() < NEAR:
                break
        x = np.linspace(-reach, reach, nodes)
        heights = np.stack([height(w + k * spread) for k in x])
        top = heights.max(0)
        total = top + np.log(np.exp(heights - top).sum(0) * spread * (x[1] - x[0]))
        return np.asarray(total - self.others(*values.place))
