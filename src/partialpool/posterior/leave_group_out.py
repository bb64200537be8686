"""Leave-one-group-out prediction: how well a model predicts a group that it has not seen.

Of such a group nothing is known but the population it comes from, so its effects are integrated
out: docs/method.md, eq. (38) and (39), with (54) of a family with a link. With several factors a
level of one is left out with all its rows; the effects of the others are integrated out given the
rows that are left.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partialpool.design.matrices import Grouping
from partialpool.fit import integrated_fit, left_out_levels, mixed_equations
from partialpool.fit.exact_fit import coefficients, covariance_root, integrated_values
from partialpool.fit.regression import Regression, needed
from partialpool.fit.small_factors import split
from partialpool.posterior import draws, leave_one_out
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.psis import add_up, psis
from partialpool.posterior.responses import Rows

#: Most groups that are left out in turn; of more, a random sample.
MAX_GROUPS = 2000
#: Posterior draws used, in all chains together.
DRAWS = 4000
#: Most groups of bad Pareto k that are left out for real, by a fit of their own.
MAX_REFITS = 20
#: Numbers in a scratch array.
CHUNK = 10_000_000


@dataclass(frozen=True)
class GroupsOut:
    """What leaving out each group in turn gives.

    Attributes
    ----------
    elpd : arviz_stats.ELPDData
        Expected log predictive density, with that of each group and its Pareto k.
    codes : (n,) int array
        The groups that were left out.
    of : int
        Groups of the data.
    refitted : int
        How many of them were left out for real, by a fit without them.
    """

    elpd: Any
    codes: np.ndarray
    of: int
    refitted: int


def leave_groups_out(fitted: Fitted, codes: np.ndarray | None = None, seed: int = 0) -> GroupsOut:
    """Predict the rows of each group as if none of them had been in the fit.

    Parameters
    ----------
    fitted : Fitted
    codes : (N,) int array, optional
        Group of each row; the model's own, or those of its first factor, when not given. Of a
        model without groups, rows are independent given its parameters, whatever groups are left
        out; of one with several factors and Gaussian noise any rows may be left out together.
    seed : int
        Of the sample of groups where there are more than `MAX_GROUPS`, and of fits without one.

    Raises
    ------
    ValueError
        Where effects do not integrate out, as with Student's t, rows are a sample, the model has
        other groups, or several factors of very many.
    """
    model, design = fitted.model, fitted.model.design
    several, most = len(design.groupings) > 1, DRAWS
    if codes is None:
        codes = design.groupings[0].codes if several else design.only.codes
    _require_integrable(model)
    if design.sampled:
        raise ValueError("of a table in parts only a sample of the rows is kept")
    own = [grouping.name for grouping in design.groupings]
    if (not several or model.linked) and own and _factor(model, codes) is None:
        raise ValueError(f"its groups are those of {' and '.join(own)}")
    present = np.unique(codes)
    left = present
    if len(present) > MAX_GROUPS:
        rng = np.random.default_rng(seed)
        left = np.sort(rng.choice(present, MAX_GROUPS, replace=False))
    if several and model.linked:
        factor = _factor(model, codes)
        assert factor is not None
        most = leave_one_out.DRAWS
        if factor is not split(design)[0][-1]:
            most = left_out_levels.affordable(model, factor, most)
        if not most:
            raise ValueError(
                f"rows in groups that a level of {factor.name} meets are too many: their effects "
                "would have to be integrated out anew for each level and draw"
            )
    elif several:
        n = int(np.isin(codes, left).sum())
        most = mixed_equations.affordable(design, leave_one_out.DRAWS, n, nested=False)
        if most == mixed_equations.FEWEST:
            raise ValueError(
                "its factors are too many-levelled: the effects that are left would have to be "
                f"integrated out of {n:,} rows anew for each group and draw"
            )
    thin = fitted.thinned(most)
    if (
        model.linked
        and design.groupings
        and not integrated_fit.certified(model, integrated_values(model, thin.held))
    ):
        raise ValueError("the integral over the effects of a new group is not certified")
    log = log_likelihood(model, thin.held, codes, left)
    elpd = psis(thin.with_densities(log_likelihood=log))
    bad = np.flatnonzero(np.asarray(elpd.pareto_k) > elpd.good_k)
    bad = bad[np.argsort(-np.asarray(elpd.pareto_k)[bad], kind="stable")][:MAX_REFITS]
    for at in bad:
        elpd.elpd_i[at] = log_density_without(fitted, codes, left[at], seed)
        elpd.pareto_k[at] = 0.0
    add_up(elpd)
    return GroupsOut(elpd, left, len(present), len(bad))


def log_density_without(fitted: Fitted, codes: np.ndarray, group: int, seed: int) -> float:
    """Log density of a group's rows by a fit of all others."""
    model, design = fitted.model, fitted.model.design
    others = model.with_design(design.of_rows(codes != group))
    most = DRAWS if len(design.groupings) < 2 else leave_one_out.DRAWS
    values = Fitted.of(others, seed=seed).thinned(most).held
    log = log_likelihood(model, values, codes, np.array([group]))[:, 0]
    return float(np.logaddexp.reduce(log) - np.log(len(log)))


def _require_integrable(model: Regression) -> None:
    """Raise a ValueError where the effects of a group do not integrate out."""
    if model.family == "student":
        raise ValueError("with Student's t the effects of a new group do not integrate out")
    if model.linked and not model.certifiable:
        raise ValueError(
            f"with `family: {model.family}` the effects of a new group integrate out of {needed()}"
        )


def _factor(model: Regression, codes: np.ndarray) -> Grouping | None:
    """The factor whose groups these are; None if they are others."""
    own = (g for g in model.design.groupings if np.array_equal(g.codes, codes))
    return next(own, None)


def log_likelihood(
    model: Regression, values: dict[str, np.ndarray], codes: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Log density of the rows of each group, its effects integrated out: (S, groups).

    With several factors given all other rows, which know of the other factors' effects.

    Parameters
    ----------
    model : Regression
    values : dict
        Draws (S,) of everything but the effects, and (S, J) of those of small factors of a link.
    codes : (N,) int array
        Group of each row.
    groups : (J,) int array
        Some of the groups, in order.
    """
    design = model.design
    if model.linked and design.groupings:
        place, factor = integrated_values(model, values), _factor(model, codes)
        if factor is None or factor is split(design)[0][-1]:
            return integrated_fit.log_likelihood(model, place, groups)
        return left_out_levels.given_others(model, place, factor, groups)
    rows = np.flatnonzero(np.isin(codes, groups))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.searchsorted(codes[rows], groups)
    beta = coefficients(design, values)
    if len(design.groupings) > 1:
        roots = [covariance_root(grouping, values) for grouping in design.groupings]
        return mixed_equations.log_density_of_groups(
            design, values["sigma"], roots, beta, np.split(rows, starts[1:])
        )
    S, q = len(beta), design.only.Z.shape[1]
    found = np.empty((S, len(groups)))
    size = max(1, CHUNK // (len(rows) * max(q, 1) ** 2))
    if model.linked:
        for first in range(0, S, size):
            few = {name: value[first : first + size] for name, value in values.items()}
            told = Rows(model, few, draws.line(design, few, rows), rows)
            found[first : first + size] = np.add.reduceat(told.log_density(), starts, axis=1)
        return found
    L = covariance_root(design, values)
    for first in range(0, S, size):
        some = slice(first, first + size)
        noise = draws.noise(design, {"sigma": values["sigma"][some]}, rows)
        left = (design.y[rows] - beta[some] @ design.X[rows].T) / noise
        each = -0.5 * np.log(2 * np.pi) - np.log(noise) - 0.5 * left**2
        found[some] = np.add.reduceat(each, starts, axis=1)
        if q:
            root = np.einsum("nk,skl->snl", design.only.Z[rows], L[some]) / noise[..., None]
            outer = root[..., :, None] * root[..., None, :]
            M = np.eye(q) + np.add.reduceat(outer, starts, axis=1)
            u = np.add.reduceat(root * left[..., None], starts, axis=1)
            w = np.linalg.solve(M, u[..., None])[..., 0]
            found[some] += 0.5 * ((u * w).sum(-1) - np.linalg.slogdet(M)[1])
    return found
