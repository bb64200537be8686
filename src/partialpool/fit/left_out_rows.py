"""Rows of a family with a link given the other rows of their group (docs/method.md, eq. (65)).

The integral over a group's effects without one of its rows is that of a group with fewer rows, and
has a lattice of its own: as many groups as rows are left out.
"""

import numpy as np

from partialpool.fit import integrated_fit
from partialpool.fit.group_integral import GroupIntegral, group_integral
from partialpool.fit.integrated import Values
from partialpool.fit.integrated_design import rows_of
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import split

#: Error of a row's log density that lattices are chosen for, and that from which on a row is not
#: integrated.
AIM, TOLERANCE = 1e-6, 1e-4
#: Most products, of draws, nodes and rows; rows of the largest groups are not integrated beyond it.
MOST_PRODUCTS = 3_000_000_000
#: Draws at which the lattices are certified.
CERTIFIED_AT = 50


def given_others(
    regression: Regression, values: Values, rows: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What other rows of their group say of some rows, at draws of everything but the effects.

    Parameters
    ----------
    regression : Regression
        Certifiable, with groups; of several factors the rows of the largest one's are meant.
    values : Values
        Draws (S, ...).
    rows : (n,) int array
    seed : int
        Of the effects.

    Returns
    -------
    (m,) int array
        Places among the rows of those that are integrated: all, unless their groups are too large
        or the integrals not certified.
    (S, m) array
        Their log densities given the parameters and the other rows, effects integrated out.
    (S, m) array
        The effects' part of the line, one exact draw given the same.
    """
    grouping, _ = split(regression.design)
    at = np.flatnonzero(affordable(regression, rows, len(values.L)))
    integral = without_rows(regression, rows[at])
    every = -(-len(values.L) // CERTIFIED_AT)
    errors = integral.errors(*(v[::every] for v in values.place)).max(0)
    good = np.flatnonzero(errors <= TOLERANCE)
    at = at[good]
    groups, of_row = np.unique(grouping.codes[rows[at]], return_inverse=True)
    log = integrated_fit.log_likelihood(regression, values, groups)[:, of_row]
    log -= integral.by_group(*values.place, good)
    effects = integral.draw(*values.place, seed, good)
    return at, log, np.einsum("nk,ksn->sn", grouping.Z[rows[at]], effects)


def affordable(regression: Regression, rows: np.ndarray, n_draws: int) -> np.ndarray:
    """Of which rows (n,) the others of their group cost few products: (n,) bool.

    Rows of the smallest groups come first.
    """
    integral = regression.integrated.posterior.integral
    grouping, _ = split(regression.design.all_rows)
    nodes = integral.nodes ** integral.near.shape[1]
    counts = np.bincount(grouping.codes, minlength=grouping.n_levels)
    of_group = (counts * nodes)[split(regression.design)[0].codes[rows]] * n_draws
    order = np.argsort(of_group, kind="stable")
    found = np.zeros(len(rows), dtype=bool)
    found[order] = np.cumsum(of_group[order]) <= MOST_PRODUCTS
    return found


def without_rows(regression: Regression, rows: np.ndarray) -> GroupIntegral:
    """The integrals over the effects of the groups of rows (n,), each without that row.

    They stand in the order of the rows.
    """
    design, places = regression.design.all_rows, regression.design.places
    rows = rows if places is None else places[rows]
    grouping = split(design)[0]
    counts = np.bincount(grouping.codes, minlength=grouping.n_levels)
    group, order = grouping.codes[rows], np.argsort(grouping.codes, kind="stable")
    size, before = counts[group], np.cumsum(counts) - counts
    of = np.repeat(np.arange(len(rows)), size)
    place = np.arange(len(of)) - (np.cumsum(size) - size)[of]
    member = order[before[group][of] + place]
    left = np.ones(len(of), dtype=np.int64) if design.repeats is None else design.repeats[member]
    left = left - (member == rows[of])
    other = left > 0
    of, member, left = of[other], member[other], left[other]
    n_thresholds = len(regression.thresholds)
    counted = rows_of(regression.family, design, member, of, len(rows), n_thresholds, left)
    return group_integral(counted).adapted(*regression.integrated.around.place, AIM * len(rows))
