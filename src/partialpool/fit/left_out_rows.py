"""Rows of a family with a link given the other rows of their group (docs/method.md, eq. (65)).

The integral over a group's effects without one of its rows is that of a group with fewer rows, and
has a lattice of its own: as many groups as rows are left out.
"""

from collections.abc import Callable, Sequence

import numpy as np

from partialpool.design.matrices import Grouping
from partialpool.fit import integrated_fit
from partialpool.fit.integral import Integral
from partialpool.fit.integrated import Values
from partialpool.fit.integrated_design import FIRST_NODES, integral_of, rows_of
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
        Certifiable, with groups; of several factors the rows of the largest one's are meant, or of
        the outermost one's in which it is nested.
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
    chain, _ = split(regression.design)
    at = np.flatnonzero(affordable(regression, rows, len(values.L)))
    integral, own = without_rows(regression, rows[at])
    every = -(-len(values.L) // CERTIFIED_AT)
    errors = integral.errors(*(v[::every] for v in values.place)).max(0)
    good = np.flatnonzero(errors <= TOLERANCE)
    at = at[good]
    groups, of_row = np.unique(chain[-1].codes[rows[at]], return_inverse=True)
    log = integrated_fit.log_likelihood(regression, values, groups)[:, of_row]
    log -= integral.by_group(*values.place, good)
    effects = integral.draw(*values.place, seed, [each[good] for each in own])
    return at, log, part_of_lines(chain, rows[at], effects)


def part_of_lines(
    chain: Sequence[Grouping], rows: np.ndarray, effects: Sequence[np.ndarray]
) -> np.ndarray:
    """What the effects (q, S, n) of each factor in the groups of some rows (n,) add to lines."""
    first, *others = (
        np.einsum("nk,ksn->sn", grouping.Z[rows], drawn)
        for grouping, drawn in zip(chain, effects, strict=True)
    )
    return np.asarray(sum(others, first))


def affordable(regression: Regression, rows: np.ndarray, n_draws: int) -> np.ndarray:
    """Of which rows (n,) the others of their group cost few products: (n,) bool.

    Rows of the smallest groups come first.
    """
    grouping = split(regression.design.all_rows)[0][-1]
    nodes = regression.integrated.posterior.integral.sizes
    counts = np.bincount(grouping.codes, minlength=grouping.n_levels)
    of_group = (counts * nodes)[split(regression.design)[0][-1].codes[rows]] * n_draws
    order = np.argsort(of_group, kind="stable")
    found = np.zeros(len(rows), dtype=bool)
    found[order] = np.cumsum(of_group[order]) <= MOST_PRODUCTS
    return found


def without_rows(regression: Regression, rows: np.ndarray) -> tuple[Integral, list[np.ndarray]]:
    """The integrals over the effects of the groups of rows (n,), each without that row.

    They stand in the order of the rows. With them of each factor, from the innermost one on, in
    which of the integrals' groups each row would be (n,).
    """
    places, design = regression.design.places, regression.design.all_rows
    rows = rows if places is None else places[rows]
    chain, own = split(design)[0], np.arange(len(rows))

    def left(of: np.ndarray, member: np.ndarray, times: np.ndarray) -> np.ndarray:
        return times - (member == rows[of])

    integral, pairs = without(regression, chain[-1].codes[rows], left, AIM * len(rows))
    found = [
        np.searchsorted(known, own * grouping.n_levels + grouping.codes[rows])
        for grouping, known in zip(chain, pairs, strict=False)
    ]
    return integral, [*found, own]


def without(
    regression: Regression,
    groups: np.ndarray,
    left: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    aim: float,
) -> tuple[Integral, list[np.ndarray]]:
    """The integrals over the effects of some groups (n,), each without some of its rows.

    Parameters
    ----------
    regression : Regression
    groups : (n,) int array
        Of the outermost factor; one may be there more than once.
    left : callable
        How often each row stays (m,): given to which of the groups it belongs (m,), which row it is
        (m,), and how often it is there (m,).
    aim : float
        Error of their sum that lattices are chosen for.

    Returns
    -------
    Integral
    list of int arrays
        Of each factor but the outermost one the groups' levels: that of group k times the number of
        levels is added to each.
    """
    design, n = regression.design.all_rows, len(groups)
    *nested, outermost = split(design)[0]
    counts = np.bincount(outermost.codes, minlength=outermost.n_levels)
    order, size = np.argsort(outermost.codes, kind="stable"), counts[groups]
    of = np.repeat(np.arange(n), size)
    place = np.arange(len(of)) - (np.cumsum(size) - size)[of]
    member = order[(np.cumsum(counts) - counts)[groups][of] + place]
    times = np.ones(len(of), dtype=np.int64) if design.repeats is None else design.repeats[member]
    times = left(of, member, times)
    pairs, codes = [], []
    for grouping in nested:
        known, own = np.unique(of * grouping.n_levels + grouping.codes[member], return_inverse=True)
        pairs.append(known)
        codes.append(own)
    codes, sizes = [*codes, of], [*map(len, pairs), n]
    kept = times > 0
    some = (member[kept], codes[0][kept], sizes[0], len(regression.thresholds), times[kept])
    rows = rows_of(regression.family, design, *some)
    integral = integral_of(rows, codes, sizes, FIRST_NODES)
    return integral.adapted(*regression.integrated.around.place, aim), pairs
