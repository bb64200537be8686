"""Predictions for chosen rows: groups that were in the data, and groups that were not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_columns, require_complete, standard_errors
from partialpool.data.tables import load
from partialpool.design.formula import read
from partialpool.fit.exact_fit import covariance_root
from partialpool.fit.regression import Regression
from partialpool.posterior import draws
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted

UNSEEN = ("refuse", "population")


def line(
    fitted: Fitted,
    table: pd.DataFrame,
    *,
    unseen: str = "refuse",
    seed: int = 0,
) -> np.ndarray:
    """Draws of the regression line ``X beta + Z b`` at rows, offset added: (draws, rows).

    Parameters
    ----------
    fitted : Fitted
    table : pandas.DataFrame
        The rows; the response is not needed.
    unseen : {"refuse", "population"}
        For a group that was not in the data: an error, or effects drawn from the population's
        distribution, ``b ~ N(0, Sigma)``, the same for all rows of that group.
    seed : int
        Of the effects of new groups.

    Raises
    ------
    ValueError
        For a group level that was not in the data, unless `unseen` is ``"population"``.
    """
    if unseen not in UNSEEN:
        raise ValueError(f"unseen: choose from {', '.join(UNSEEN)}, not {unseen!r}.")
    design, values = fitted.model.design, fitted.values
    X, Z, codes = design.rows(table)
    new = codes < 0
    if new.any() and unseen == "refuse":
        level = design.labels(table).to_numpy()[new].tolist()[0]
        raise ValueError(
            f"The level {level!r} of {design.group} was not in the data; "
            "set `unseen` to 'population' to predict a new group."
        )
    total = np.tile(design.offset(table), (len(values["sigma"]), 1))
    for k, name in enumerate(design.x_names):
        total += values[name][:, None] * X[:, k]
    for k in range(len(design.z_names)):
        total[:, ~new] += values[design.effect(k)][:, codes[~new]] * Z[~new, k]
    if new.any():
        which, levels = pd.factorize(design.labels(table)[new])
        z = np.random.default_rng([seed, 0]).standard_normal((len(total), len(levels), Z.shape[1]))
        effects = np.einsum("skl,sgl->sgk", covariance_root(design, values), z)
        total[:, new] += np.einsum("snk,nk->sn", effects[:, which], Z[new])
    return total


def predict(
    fitted: Fitted,
    table: pd.DataFrame,
    *,
    unseen: str = "refuse",
    probability: float = 0.89,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict rows: the line, and a new observation around it; `Fit.predict` explains."""
    scale = None
    if fitted.model.se is not None:
        scale = standard_errors(table, fitted.model.se)
    total = line(fitted, table, unseen=unseen, seed=seed)
    sigma = fitted.values["sigma"][:, None]
    unit = draws.standard_noise(fitted.values, total.shape, np.random.default_rng([seed, 1]))
    observed = total + (sigma if scale is None else np.hypot(sigma, scale)) * unit
    tails = [(1 - probability) / 2, (1 + probability) / 2]
    lower, upper = np.quantile(total, tails, axis=0)
    observation_lower, observation_upper = np.quantile(observed, tails, axis=0)
    return table.assign(
        mean=total.mean(axis=0),
        sd=total.std(axis=0, ddof=1),
        lower=lower,
        upper=upper,
        observation_lower=observation_lower,
        observation_upper=observation_upper,
    )


def chosen_rows(
    model: Regression, wanted: str | Sequence[Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """The rows for which a report predicts.

    Parameters
    ----------
    model : Regression
    wanted : str or sequence of mappings, optional
        A path or name that `load` takes, or rows as mappings of column to value. When not given:
        the smallest group, one of median size, the largest, and a new one, at the lowest, the
        middle and the highest value of the main predictor; other columns keep what the group has.

    Returns
    -------
    pandas.DataFrame
        With the columns that the model reads, first the group's.

    Raises
    ------
    ValueError
        For a column that is missing, and for missing values.
    """
    design = model.design
    others = {*read(design.formula).predictors, *([model.se] if model.se else [])}
    needed = [*design.factors, *sorted(others - {*design.factors})]
    if wanted is None:
        table = _typical_rows(model)
    elif isinstance(wanted, str):
        table = pd.DataFrame(load(wanted))
    else:
        table = pd.DataFrame(list(wanted))
    try:
        require_columns(table.columns, needed)
        require_complete(table, needed)
    except ValueError as error:
        raise ValueError(f"predict: {error}") from None
    return table[needed].reset_index(drop=True)


def _typical_rows(model: Regression) -> pd.DataFrame:
    design, table = model.design, model.table
    rows = []
    if design.group:
        order = np.argsort(design.counts[np.unique(design.codes)], kind="stable")
        present = np.unique(design.codes)[order]
        some = dict.fromkeys(present[[0, len(present) // 2, -1]])
        rows = [table[design.codes == j].iloc[[0]] for j in some]
    new = table.iloc[[0]].copy()
    for name in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        middle = table[name].median() if numeric else table[name].mode().iloc[0]
        new[name] = middle if not pd.api.types.is_integer_dtype(table[name]) else round(middle)
    parts = design.factors
    for part in parts:
        taken = set(table[part].astype(str))
        new[part] = next(w for w in ("new", *(f"new {k}" for k in range(99))) if w not in taken)
    rows.append(new)
    name = main_predictor(model)
    if name is None or name in parts:
        return pd.concat(rows, ignore_index=True)
    ends = table[name].quantile([0, 0.5, 1], interpolation="nearest").unique()
    return pd.concat(
        [row.assign(**{name: value}) for row in rows for value in ends], ignore_index=True
    )


def main_predictor(model: Regression) -> str | None:
    """The numeric column along which lines are drawn: the first one whose effect varies."""
    for name in model.design.predictors:
        if pd.api.types.is_numeric_dtype(model.table[name]) and np.ptp(model.table[name]) > 0:
            return name
    return None


def row_names(rows: pd.DataFrame) -> list[str]:
    """What to call each row: its values, those that all rows share left out."""
    varying = [c for c in rows.columns if len(rows[c].unique()) > 1] or list(rows.columns)
    return [
        ", ".join(
            f"{c} {value:.4g}" if isinstance(value, float) else f"{c} {value}"
            for c, value in zip(varying, row, strict=True)
        )
        for row in rows[varying].itertuples(index=False)
    ]


def finding(predicted: pd.DataFrame, output: str | None = None) -> Finding:
    """Predictions as a table; ``predictions.csv`` in the folder `output`, where there is one."""
    headings = {
        "mean": "line",
        "sd": "sd of the line",
        "lower": "line, lower",
        "upper": "line, upper",
        "observation_lower": "new observation, lower",
        "observation_upper": "new observation, upper",
    }
    columns = {name: (heading, "{:.4g}") for name, heading in headings.items()}
    says = "A run of `make report` writes these rows to `predictions.csv` beside the report."
    found = Finding("predictions", says, table=predicted, columns=columns, index=False)
    if output is None:
        return found
    Path(output).mkdir(parents=True, exist_ok=True)
    found.to_csv(Path(output) / "predictions.csv")
    says = "The same rows with all digits: [predictions.csv](predictions.csv)."
    return replace(found, sentence=says)
