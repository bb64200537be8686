"""From a design with a link to its posterior, and where the mode of that is looked for."""

from collections.abc import Mapping, Sequence

import numpy as np

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.coordinates import Coordinates, block_eta, prior_sizes
from partialpool.fit.counted_rows import CountedRows, counted_rows
from partialpool.fit.group_integral import group_integral
from partialpool.fit.integral import Integral
from partialpool.fit.integrated import IntegratedPosterior
from partialpool.fit.nested_integral import NestedIntegral
from partialpool.fit.small_factors import (
    SmallFactors,
    columns,
    integrated_columns,
    small_factors,
    split,
)

#: Nodes with which the mode is first looked for.
FIRST_NODES = 25


def integrated_posterior(
    family: str, design: Design, priors: Mapping[str, Prior], thresholds: Sequence[str] = ()
) -> IntegratedPosterior:
    """The posterior of a design, its lattices not fitted yet.

    The effects of the factor that has most of them are integrated out, and those of factors in
    which it is nested; see `small_factors.split`.

    Parameters
    ----------
    family : str
        With a link; see `design.families`.
    design : Design
    priors : mapping of str to Prior
        One for every parameter.
    thresholds : sequence of str
        Names of the thresholds of an ordered response; they share one prior.
    """
    fixed = Prior("Fixed", (1.0,))
    design = design.all_rows
    chain, everyone = split(design)[0], np.arange(len(design.y))
    rows = rows_of(family, design, everyone, chain[0].codes, chain[0].n_levels, len(thresholds))
    levels = [grouping.n_levels for grouping in chain]
    integral = integral_of(rows, [grouping.codes for grouping in chain], levels, FIRST_NODES)
    sds, blocks = tuple(priors[name] for name in design.sd_names), design.blocks
    eta = tuple(block_eta(design, priors, block) for block in blocks)
    own, around = integrated_columns(design)
    if not sds:  # one column of zeros, whose coefficient plays no part
        sds, blocks, eta = (fixed,), ((0,),), (1.0,)
    scales = (priors.get("shape", fixed), *sds)
    coefficients = tuple(priors[name] for name in (*design.x_names, *thresholds))
    small = small_factors(design)
    outer = dict(zip(around, levels[1:], strict=True))
    told = _information(rows, own, small, len(design.x_names), outer) ** -0.5
    widths = np.minimum(np.array([0.1, *told]), prior_sizes(scales))
    place = Coordinates(blocks=blocks, scales=scales, widths=widths, eta=eta)
    return IntegratedPosterior(place, coefficients, integral, own, small, around)


def rows_of(
    family: str,
    design: Design,
    some: np.ndarray,
    groups: np.ndarray,
    n_groups: int,
    n_thresholds: int,
    repeats: np.ndarray | None = None,
) -> CountedRows:
    """Some rows (n,) of a design, in groups (n,) of the innermost factor that is integrated out.

    A row may be there more than once, and counts `repeats` times (n,), or as often as the design
    says. Effects of small factors are columns beside X.
    """
    (grouping, *_), small = split(design)
    if repeats is None and design.repeats is not None:
        repeats = design.repeats[some]
    X = np.hstack([design.X, columns(small, len(design.y))])
    return counted_rows(
        family,
        design.y[some],
        X[some],
        grouping.Z[some],
        groups,
        n_groups,
        trials=None if design.trials is None else design.trials[some],
        offset=None if design.offset is None else design.offset[some],
        n_thresholds=n_thresholds,
        repeats=repeats,
    )


def integral_of(
    rows: CountedRows, codes: Sequence[np.ndarray], sizes: Sequence[int], K: int
) -> Integral:
    """Of one factor, or of nested ones, with K nodes on every lattice.

    Parameters
    ----------
    rows : CountedRows
        By groups of the innermost factor.
    codes : sequence of (N,) int arrays
        Group of each row of the data in each factor, from the innermost one on.
    sizes : sequence of int
        Number of groups of each factor.
    K : int
    """
    none = np.empty(0, dtype=np.int64)
    around = []
    for own, outer, size in zip(codes, codes[1:], sizes, strict=False):
        around.append(np.zeros(size, dtype=np.int64))  # groups of no rows may lie anywhere
        around[-1][own] = outer
    around.append(none)
    integral: Integral = group_integral(rows, K, around[0])
    for size, outer in zip(sizes[1:], around[1:], strict=True):
        nothing = np.zeros(size)
        integral = NestedIntegral(integral, nothing, nothing, K, outer)
    return integral


def _information(
    rows: CountedRows, own: slice, small: SmallFactors, p: int, around: Mapping[int, int]
) -> np.ndarray:
    """What an average group of each factor tells of its effects (Q,), side by side.

    By weights of the rows at their mean; `around` has the columns of outer factors that are
    integrated out, and how many groups these have.
    """
    if rows.poisson:
        weight = np.full(len(rows.y), rows.y.mean())
    else:
        m = rows.trials + rows.count
        share = np.clip(rows.y.sum() / max(m.sum(), 1), 0.02, 0.98)
        weight = m * share * (1 - share)
    told = np.empty(rows.Z.shape[1] + len(around) + sum(q for _, q, _ in small.shapes))
    told[own] = (weight @ rows.Z**2) / rows.n_groups
    for column, levels in around.items():
        told[column] = weight.sum() / levels
    for at, each in small.by_factor(weight @ rows.X[:, p : p + small.number] ** 2):
        told[at] = each.mean(0)
    return np.where(told > 0, told, 1.0)


def start(posterior: IntegratedPosterior) -> np.ndarray:
    """Coordinates (d,) from which the mode is looked for.

    Standard deviations of one half for a usual value of their column, coefficients from a few steps
    of Fisher's scoring without effects, thresholds from the shares of the categories.
    """
    rows, scales, small = posterior.integral.rows, posterior.scales, posterior.small
    rms = np.ones(len(scales.scales) - 1)
    rms[posterior.own] = np.sqrt(np.maximum((rows.Z**2).mean(0), 1e-12))
    for at, each in small.by_factor((rows.X[:, posterior.effects] ** 2).mean(0)):
        rms[at] = np.sqrt(np.maximum(each.sum(0), 1e-12))
    sizes = np.array([2.0, *np.minimum(0.5 / rms, prior_sizes(scales.scales)[1:])])
    for k, prior in enumerate(scales.scales):
        if np.isfinite(prior.upper):
            room = 0.05 * (prior.upper - prior.lower)
            sizes[k] = np.clip(sizes[k], prior.lower + room, prior.upper - room)
    first = scales.coordinates(sizes)
    if rows.n_thresholds:
        totals = np.maximum(rows.totals, 0.5)  # nobody need be left who gave an answer
        below = np.cumsum(totals)[:-1] / totals.sum()
        below = np.log(below) - np.log1p(-below)
        gaps = np.log(np.maximum(np.diff(below), 1e-3))
        none = np.zeros(len(posterior.priors) - rows.n_thresholds)
        found = np.concatenate([none, below[:1], gaps])
    else:
        found = _scored(rows, posterior.priors)
    return np.concatenate([first, found, np.zeros(small.number)])


def _scored(rows: CountedRows, priors: tuple[Prior, ...], steps: int = 12) -> np.ndarray:
    """Coefficients (p,) by Fisher's scoring under their priors, at least weak ones."""
    mean, precision = np.zeros(len(priors)), np.full(len(priors), 1e-6)
    for c, prior in enumerate(priors):
        if prior.family == "Normal":
            mean[c], precision[c] = prior.arguments[0], prior.arguments[1] ** -2.0
    m = rows.trials + 2.0 * rows.count
    X = rows.X[:, : len(priors)]
    offset = rows.offset - (np.log(2.0) if rows.family == "negbinomial" else 0.0)
    beta = np.array(mean)
    for _ in range(steps):
        eta = np.clip(offset + X @ beta, -30, 30)
        if rows.poisson:
            expected = weight = np.exp(eta)
        else:
            p = 1 / (1 + np.exp(-eta))
            expected, weight = m * p, m * p * (1 - p)
        H = (X.T * weight) @ X + np.diag(precision)
        step = np.linalg.solve(H, X.T @ (rows.y - expected) - precision * (beta - mean))
        largest = np.abs(X @ step).max(initial=0.0)
        beta += step * min(1.0, 3 / max(largest, 1e-300))
    return beta
