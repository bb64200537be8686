"""What goes into a model: the columns of its table, and its priors."""

import numpy as np
import pandas as pd

from partialpool.design.formula import used_columns
from partialpool.fit.regression import Regression
from partialpool.posterior.finding import Finding


def columns(model: Regression) -> Finding:
    """A row for each column that the model reads: its role, kind, range and missing values.

    Of data in parts the figures are those of the sample of rows.
    """
    design, table = model.design, model.table
    groups = design.factors
    rows = {}
    for name in used_columns(design.formula, model.se):
        values = table[name]
        role = (
            "group"
            if name in groups
            else "standard error"
            if name == model.se
            else "predictor"
            if name in design.predictors
            else "response"
        )
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        constant = bool(design.group) and name not in groups and _constant_in_groups(model, values)
        rows[name] = {
            "role": f"{role}, of the group" if constant and role == "predictor" else role,
            "different values": f"{values.nunique():,}",
            "mean": f"{values.mean():.4g}" if numeric and role != "group" else "",
            "sd": f"{values.std():.3g}" if numeric and role != "group" else "",
            "range": (
                f"{values.min():.4g} to {values.max():.4g}"
                if numeric and role != "group"
                else _levels(values)
            ),
            "missing": str(model.lacking.get(name, 0)),
        }
    order = ("response", "predictor", "predictor, of the group", "standard error", "group")
    found = pd.DataFrame.from_dict(rows, orient="index")
    found = found.sort_values("role", key=lambda r: r.map(order.index), kind="stable")
    return Finding("columns", table=found)


def priors(model: Regression) -> Finding:
    """The formula with its rows and groups, and the prior of every parameter."""
    design = model.design
    groups = f" in {design.n_groups:,} groups of {design.group}" if design.group else ""
    known = f"; standard errors in {model.se}" if model.se else ""
    noise = "; noise with Student's t distribution" if model.family == "student" else ""
    says = f"`{model.formula}`: {design.n_rows:,} rows{groups}{known}{noise}. Read as "
    says += f"`{design.written}`."
    table = pd.DataFrame(
        {"parameter": list(model.priors), "prior": [str(p) for p in model.priors.values()]}
    )
    remarks = [r for r in (model.dropped, model.unidentified, model.mismatch) if r]
    return Finding("priors", " ".join([says, *remarks]), table=table, index=False)


def _constant_in_groups(model: Regression, values: pd.Series) -> bool:
    """Whether a column has one value in each group, and some group has several rows."""
    if model.design.counts.max() < 2:
        return False
    first = values.groupby(model.design.codes).transform("first")
    return bool((values == first).all())


def _levels(values: pd.Series) -> str:
    levels = [str(level) for level in np.sort(values.astype(str).unique())]
    return ", ".join(levels) if len(levels) <= 4 else f"{levels[0]}, {levels[1]}, …, {levels[-1]}"
