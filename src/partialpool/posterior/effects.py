"""What predictors and groups do to the response.

A coefficient of a formula with interactions or bends is the effect at one point only, such as that
of age for the reference sex. `average_changes` takes the change of the population's line at every
row and averages it within each draw, as `avg_slopes` and `avg_comparisons` of the package
marginaleffects do (Arel-Bundock, Greifer & Heiss 2024).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from partialpool.design.formula import read, variables
from partialpool.design.matrices import Grouping
from partialpool.fit.exact_fit import coefficients, covariance_root
from partialpool.fit.regression import Regression
from partialpool.posterior import draws
from partialpool.posterior.checks import HEADINGS
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted


@dataclass(frozen=True)
class Change:
    """Average change of the population's line.

    Attributes
    ----------
    column : str
    low, high : values of the column, or None
        What is compared, the second against the first; None for the slope of a numeric column.
    draws : (S,) array
        The change: per unit of a numeric column, else of the level against the other.
    constant : bool
        Whether the change is the same in every row, so that nothing was averaged.
    """

    column: str
    low: Any
    high: Any
    draws: np.ndarray
    constant: bool


def average_changes(fitted: Fitted, column: str) -> list[Change]:
    """Slope of a numeric column; of others, and of 0/1, each level against the first.

    Raises
    ------
    KeyError
        For a column that the table does not have.
    """
    design, table = fitted.model.design, fitted.model.table
    values = table[column]
    levels = np.sort(values.dropna().unique()) if values.dtype.kind in "biufO" else values.unique()
    numeric = pd.api.types.is_numeric_dtype(values) and len(levels) > 2
    if numeric and not pd.api.types.is_bool_dtype(values):
        # exact for polynomials up to the second degree, and close for anything smooth
        step = 1e-3 * float(np.std(values)) or 1.0
        pairs = [(None, None, values - step, values + step, 2 * step)]
    else:
        levels = sorted(levels, key=str) if values.dtype.kind == "O" else levels
        pairs = [(levels[0], level, levels[0], level, 1.0) for level in levels[1:]]
    beta = coefficients(design, fitted.population)
    found = []
    for low, high, below, above, width in pairs:
        X = [design.columns(table.assign(**{column: value}))[0] for value in (below, above)]
        change = (X[1] - X[0]) / width
        spread = np.ptp(change, axis=0) > 1e-6 * (1e-300 + np.abs(change).max(axis=0))
        found.append(Change(column, low, high, beta @ change.mean(0), not spread.any()))
    return found


def headline(fitted: Fitted) -> str:
    """The result in one sentence: what the first predictor does, and how groups differ in it."""
    model, design = fitted.model, fitted.model.design
    response, columns = model.label(design.response), _common_columns(model)
    if columns:
        change = average_changes(fitted, columns[0])[0]
        coefficient, label = change.column, model.label(change.column)
        what = (
            f"One unit more of {label}"
            if change.high is None
            else f"{label} {change.high} against {change.low}"
        )
        says = f"{what} changes {response} by {_in_words(change.draws)}"
        says += "" if change.constant else ", averaged over the rows"
    elif "Intercept" in design.x_names:
        coefficient = "1"
        centre = _in_words(fitted.population["Intercept"])
        says = f"The average {response} over the population is {centre}"
    else:
        return ""
    for grouping in design.groupings:
        for name, sd in zip(grouping.z_names, grouping.sd_names, strict=True):
            if name == coefficient or name.startswith(f"{coefficient}["):
                low, high = draws.interval(fitted.population[sd])
                says += (
                    f"; {grouping.name} differs in it with a standard deviation of {low:.3g} to "
                    f"{high:.3g}"
                )
                break
    return f"{says}."


def _common_columns(model: Regression) -> list[str]:
    """Columns of the table in the population's part of the formula, as written."""
    common = read(model.formula).population
    return sorted(variables(common, model.formula), key=common.find)


def _in_words(values: np.ndarray) -> str:
    """Mean and 90 % interval in words."""
    low, high = draws.interval(values)
    return f"{values.mean():.3g} (90 % interval {low:.3g} to {high:.3g})"


def directions(fitted: Fitted) -> Finding:
    """The population's coefficients with their probability of direction.

    Returns
    -------
    Finding
        Columns ``mean``, ``q05``, ``q95`` and ``positive``, the probability of a positive value.
    """
    beta = {name: fitted.population[name] for name in fitted.model.design.x_names}
    table = _averages(beta).assign(positive=[(value > 0).mean() for value in beta.values()])
    parts = []
    for name, row in table.drop("Intercept", errors="ignore").iterrows():
        share = max(row["positive"], 1 - row["positive"])
        sign = "positive" if row["positive"] >= 0.5 else "negative"
        probability = "more than 99.9 %" if share > 0.999 else f"{share:.1%}"
        parts.append(f"**{name}** is {sign} with probability {probability}")
    says = "; ".join(parts) or "There is no coefficient beside the intercept"
    return Finding("directions", f"{says}.", table=table, columns=HEADINGS)


def _averages(named: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean and 90 % interval of draws, a row for each name."""
    rows = {name: [np.mean(value), *draws.interval(value)] for name, value in named.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "q05", "q95"])


def group_coefficients(fitted: Fitted, grouping: Grouping | None = None) -> dict[str, np.ndarray]:
    """Each group's coefficients, population part included: name -> draws (S, J).

    That part takes in what predictors of the group contribute, for no group on its own can tell
    them from its own coefficients; see `Design.absorbed`. The only grouping need not be given; of
    several, the effects of the others are taken as zero.
    """
    design, values = fitted.model.design, fitted.values
    grouping = grouping or design.only
    absorbed = design.absorbed(grouping)
    result = {}
    for k, name in enumerate(grouping.z_names):
        total = values[grouping.effect(k)]
        for column, (at, factor) in absorbed.items():
            if at == k:
                total = total + values[design.x_names[column]][:, None] * factor
        result[draws.coefficient(name)] = total
    return result


def variance_explained(fitted: Fitted, rows: np.ndarray) -> Finding:
    """Bayesian R² and the share of variance between groups, with 90 % intervals.

    R² is ArviZ's (Gelman, Goodrich, Gabry & Vehtari 2019), with the variance of the residuals at
    each draw. The share between groups is that of ``z' Sigma z`` in what the population's part of
    the line leaves, mean over rows (docs/method.md, eq. (31); Johnson 2014); it is the intraclass
    correlation where only the intercept varies. With several factors each has its share.

    Returns
    -------
    Finding
        Columns ``mean``, ``q05``, ``q95``.
    """
    design, values = fitted.model.design, fitted.thinned(1000).values
    y, line = design.y[rows], draws.line(design, values, rows)
    whole = _r2(y, line)
    shares = {"R² by population and groups": whole}
    says = f"The line with its groups explains {np.mean(whole):.0%} of the variance"
    if design.groupings and set(design.x_names) - {"Intercept"}:
        alone = _r2(y, draws.population_line(design, values, design.X[rows]))
        shares["R² by the population's part alone"] = alone
        says += f", what all groups share {np.mean(alone):.0%} alone"
    between = {}
    for grouping in design.groupings:
        L, Z = covariance_root(grouping, values), grouping.Z[rows]
        between[grouping.name] = np.einsum("sik,ij,sjk->s", L, Z.T @ Z / len(rows), L)
    left = sum(between.values()) + ((y - line) ** 2).mean(1)
    share = {name: part / left for name, part in between.items()}
    if len(share) == 1:
        (only,) = share.values()
        shares["share of the remaining variance between groups"] = only
        says += (
            f"; of the variance that the population's part leaves, {only.mean():.0%} lies "
            "between groups"
        )
    elif share:
        shares |= {f"share of the remaining variance by {n}": part for n, part in share.items()}
        says += f"; of the variance that the population's part leaves, {_parts(share)}"
    columns = {n: (h, "{:.1%}") for n, h in (("mean", "mean"), ("q05", "5 %"), ("q95", "95 %"))}
    return Finding("variance", f"{says}.", table=_averages(shares), columns=columns)


def _parts(share: Mapping[str, np.ndarray]) -> str:
    """What share (S,) each factor has, the largest first, and how sure it is that it is that."""
    order = sorted(share, key=lambda name: -share[name].mean())
    says = [f"{share[name].mean():.0%} lies between groups of {name}" for name in order]
    largest = np.mean(share[order[0]] >= np.max([share[name] for name in order], axis=0))
    return f"{', '.join(says)}: **{order[0]}** has the largest part with probability {largest:.1%}"


def _r2(y: np.ndarray, line: np.ndarray) -> np.ndarray:
    """ArviZ's Bayesian R² (S,) of lines (S, n)."""
    dims = ("chain", "draw", "row")
    variables = {"line": (dims, line[None]), "residual": (dims[:2], (y - line).std(1)[None])}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(variables)})
    return np.asarray(azs.bayesian_r2(tree, "line", "residual", summary=False)).reshape(-1)
