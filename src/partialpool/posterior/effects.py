"""What a predictor does to the response, averaged over the rows of the data.

A coefficient of a formula with interactions or bends is the effect at one point only, such as that
of age for the reference sex. Here the change of the population's line is taken at every row and
averaged within each draw, as `avg_slopes` and `avg_comparisons` of the package marginaleffects do
(Arel-Bundock, Greifer & Heiss 2024).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from partialpool.design.formula import read, variables
from partialpool.fit.exact_fit import coefficients
from partialpool.fit.regression import Regression
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


def common_columns(model: Regression) -> list[str]:
    """Columns of the table in the population's part of the formula, as written."""
    common = read(model.formula).population
    return sorted(variables(common, model.formula), key=common.find)


def average_changes(fitted: Fitted, column: str) -> list[Change]:
    """Slope of a numeric column; of others, and of 0/1, each level against the first.

    Raises
    ------
    KeyError
        For a column that the table does not have.
    """
    model, table = fitted.model, fitted.model.table
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
    beta = coefficients(model.design, fitted.population)
    found = []
    for low, high, below, above, width in pairs:
        X = [_columns(model, table.assign(**{column: value})) for value in (below, above)]
        change = (X[1] - X[0]) / width
        spread = np.ptp(change, axis=0) > 1e-6 * (1e-300 + np.abs(change).max(axis=0))
        found.append(Change(column, low, high, beta @ change.mean(0), not spread.any()))
    return found


def _columns(model: Regression, table: pd.DataFrame) -> np.ndarray:
    return model.design.columns(table)[0]


def headline(fitted: Fitted) -> str:
    """The result in one sentence: what the first predictor does, and how groups differ in it."""
    model, design = fitted.model, fitted.model.design
    response, columns = model.label(design.response), common_columns(model)
    if not columns:
        says, coefficient = f"The average {response} over the population", "1"
        where = [name for name in design.x_names if name == "Intercept"]
        if not where:
            return ""
        says += f" is {interval(fitted.population['Intercept'])}"
    else:
        change = average_changes(fitted, columns[0])[0]
        coefficient, label = change.column, model.label(change.column)
        averaged = "" if change.constant else ", averaged over the rows"
        if change.high is None:
            says = f"One unit more of {label} changes {response} by {interval(change.draws)}"
        else:
            says = (
                f"{label} {change.high} against {change.low} changes {response} by "
                f"{interval(change.draws)}"
            )
        says += averaged
    for k, name in enumerate(design.z_names):
        if name == coefficient or name.startswith(f"{coefficient}["):
            low, high = np.quantile(fitted.population[design.sd_names[k]], [0.05, 0.95])
            says += (
                f"; {design.group} differs in it with a standard deviation of {low:.3g} to "
                f"{high:.3g}"
            )
            break
    return f"{says}."


def interval(values: np.ndarray) -> str:
    """Mean and 90 % interval in words."""
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{values.mean():.3g} (90 % interval {low:.3g} to {high:.3g})"
