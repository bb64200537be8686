"""What predictors and groups do to the response.

A coefficient of a formula with interactions or bends is the effect at one point only, such as that
of age for the reference sex. What averages over the rows is in `marginal_effects`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from partialpool.data.text import in_percent, likely, listed, percent
from partialpool.design.families import LINKS
from partialpool.design.matrices import Design
from partialpool.fit.exact_fit import covariance_root
from partialpool.fit.regression import Regression
from partialpool.posterior import contrasts, draws, marginal_effects, responses
from partialpool.posterior.averages import change
from partialpool.posterior.checks import HEADINGS
from partialpool.posterior.finding import SHARE, Finding, gaussian_sd
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_of, readable

#: From here on the sign of a coefficient is told by name, where there are many.
SURE = 0.95


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
    between : dict of str to (S,) array
        Factor -> standard deviation of the change between its groups; zeros where it is the same
        for all.
    constant : bool
        Whether the change is the same in every row, so that nothing was averaged.
    doubled : bool
        Whether a column of which only the logarithm counts is doubled, in place of its slope.
    """

    column: str
    low: Any
    high: Any
    draws: np.ndarray
    between: dict[str, np.ndarray]
    constant: bool
    doubled: bool = False


def average_changes(fitted: Fitted, column: str, rows: pd.DataFrame | None = None) -> list[Change]:
    """Slope of a numeric column; of others, and of 0/1, each level against the first.

    Parameters
    ----------
    fitted : Fitted
    column : str
    rows : pandas.DataFrame, optional
        What is averaged over; the rows of the data when not given.

    Raises
    ------
    KeyError
        For a column that the table does not have.
    """
    model, design = fitted.model, fitted.model.design
    if column not in model.table:
        raise KeyError(column)
    rows = model.table if rows is None else rows
    one_cell = np.zeros(len(rows), dtype=np.int64)
    groupings = design.groupings
    roots = {grouping.name: covariance_root(grouping, fitted.population) for grouping in groupings}
    ends = np.cumsum([len(grouping.z_names) for grouping in groupings])[:-1]
    found = []
    for contrast in contrasts.contrasts(model, [column], slope=True, doubling=True):
        low, high = (design.columns(end)[1] for end in contrast.ends(rows))
        own = (high - low).mean(0) / contrast.width
        found.append(
            Change(
                column,
                None if contrast.moves or contrast.times else contrast.low,
                None if contrast.moves or contrast.times else contrast.high,
                change(fitted, contrast, rows, one_cell)[:, 0],
                {
                    name: np.linalg.norm(part @ root, axis=-1)
                    for (name, root), part in zip(roots.items(), np.split(own, ends), strict=True)
                }
                if roots
                else {},
                not model.linked and contrast.is_constant(model, rows),
                contrast.times,
            )
        )
    return found


def average_effects(fitted: Fitted, rope: marginal_effects.Rope | None = None) -> Finding | None:
    """Average slope or comparison of every predictor; None where there is none.

    Of a column of which only the logarithm counts it is what doubling it does, unless `rope` says
    how large a slope must be.
    """
    model = fitted.model
    if not contrasts.predictors(model):
        return None
    wanted = []
    for name in contrasts.predictors(model):
        doubling = name not in (rope or {})
        wanted += contrasts.contrasts(model, [name], slope=True, doubling=doubling)
    options: dict[str, Any] = {"by": (), "rope": rope or None}
    return marginal_effects.of_contrasts("average_effects", fitted, wanted, None, **options)


def marginal_means(fitted: Fitted) -> Finding | None:
    """The line at each level of every categorical predictor, averaged over the rows.

    Each row is taken with each level, so that levels differ in nothing else. None where no
    predictor is categorical, nor of two values.

    Returns
    -------
    Finding or None
        Columns ``predictor``, ``level``, ``estimate``, ``lower`` and ``upper``.
    """
    tables, cells, says = [], [], []
    for column in contrasts.predictors(fitted.model):
        if not contrasts.is_numeric(fitted.model, column):
            found = marginal_effects.avg_predictions(fitted, variables=column)
            assert found.table is not None
            table = found.table.rename(columns={column: "level"})
            table.insert(0, "predictor", column)
            tables.append(table)
            names = [fitted.model.words(column)] * len(table)
            cells.append(pd.DataFrame({"predictor": names, "level": found.cells[column]}))
            says.append(found.sentence)
    if not tables:
        return None
    whole = pd.concat(tables, ignore_index=True)
    shown: Any = pd.concat(cells).to_dict("list")
    return replace(found, name="marginal_means", table=whole, sentence=" ".join(says), cells=shown)


def directions(fitted: Fitted) -> Finding:
    """The population's coefficients with their probability of direction.

    Returns
    -------
    Finding
        Columns ``mean``, ``q05``, ``q95`` and ``positive``, the probability of a positive value;
        with a link also ``ratio``, ``ratio_q05`` and ``ratio_q95``: odds or rate ratios, which the
        intercept has none of.
    """
    beta = {name: fitted.population[name] for name in fitted.model.design.x_names}
    table = _averages(beta).assign(positive=[(value > 0).mean() for value in beta.values()])
    if fitted.model.linked:
        for figure, point in (("ratio", 0.5), ("ratio_q05", 0.05), ("ratio_q95", 0.95)):
            table[figure] = [np.exp(np.quantile(value, point)) for value in beta.values()]
            table.loc[table.index == "Intercept", figure] = np.nan  # a level, and no ratio
    parts, sure = [], []
    for name, row in table.drop("Intercept", errors="ignore").iterrows():
        share = max(row["positive"], 1 - row["positive"])
        sign = "positive" if row["positive"] >= 0.5 else "negative"
        parts.append(f"**{name}** is {sign} with probability {likely(share)}")
        sure += [f"**{name}** ({sign})"] if share >= SURE else []
    if len(parts) > (most := marginal_effects.LISTED):
        named = [*sure[:most], *([f"{len(sure) - most} more"] if len(sure) > most else [])]
        told = f": {listed(named)}" if named else ""
        parts = [
            f"Of {len(parts)} coefficients beside the intercept {len(sure)} have one sign with "
            f"probability {percent(SURE)} or more{told}"
        ]
    says = "; ".join(parts) or "There is no coefficient beside the intercept"
    names, columns = readable(fitted.model), HEADINGS
    if fitted.model.linked and beta:
        kind = ratio(fitted.model)
        says += f". Coefficients are {kind.scale}; e to their power is {kind.article} {kind.name}"
        columns = HEADINGS | {
            "ratio": (f"{kind.name}, median", "{:.3g}"),
            "ratio_q05": (f"{kind.name}, 5 %", "{:.3g}"),
            "ratio_q95": (f"{kind.name}, 95 %", "{:.3g}"),
        }
    return Finding("directions", f"{says}.", table=table, columns=columns, names=names)


class Ratio(NamedTuple):
    """What a coefficient is, and e to its power."""

    scale: str
    name: str
    article: str


def ratio(model: Regression) -> Ratio:
    """How coefficients of a family with a link are read."""
    if LINKS[model.family] == "logit":
        return Ratio("in log odds", "odds ratio", "an")
    return Ratio("in logarithms", "rate ratio", "a")


def _averages(named: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean and 90 % interval of draws, a row for each name."""
    rows = {name: [np.mean(value), *draws.interval(value)] for name, value in named.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "q05", "q95"])


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
    if fitted.model.linked:
        return _linked_variance(fitted.model, values, rows)
    y, line = design.y[rows], draws.line(design, values, rows)
    whole = _r2(y, line)
    shares = {"R² by population and groups": whole}
    says = f"The line with its groups explains {told(whole)} of the variance"
    if design.groupings and set(design.x_names) - {"Intercept"}:
        alone = _r2(y, draws.population_line(design, values, design.X[rows]))
        shares["R² by the population's part alone"] = alone
        says += f", what all groups share {told(alone)} alone"
    share = shares_between(fitted, rows, line)
    if len(share) == 1:
        (only,) = share.values()
        shares["share of the remaining variance between groups"] = only
        says += (
            f"; of the variance that the population's part leaves, {told(only)} lies between groups"
        )
    elif share:
        words = fitted.model.words
        for name, part in share.items():
            shares[f"share of the remaining variance by {words(name)}"] = part
        called = {g.name: groups_of(fitted.model, g) for g in design.groupings}
        says += f"; of the variance that the population's part leaves, {_parts(share, called)}"
        says += f": **{words(largest(share)[0])}** has the largest part with probability "
        says += likely(largest(share)[1], 0)
    columns = {n: (h, SHARE) for n, h in (("mean", "mean"), ("q05", "5 %"), ("q95", "95 %"))}
    return Finding("variance", f"{says}.", table=_averages(shares), columns=columns)


def shares_between(
    fitted: Fitted, rows: np.ndarray, line: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Share (S,) of each factor in what the population's part leaves: docs/method.md, eq. (31).

    Of noise about a line; `line` (S, n) is that of the rows where it is at hand.
    """
    design, values = fitted.model.design, fitted.thinned(1000).values
    line = draws.line(design, values, rows) if line is None else line
    between = between_groups(design, values, rows)
    left = sum(between.values()) + ((design.y[rows] - line) ** 2).mean(1)
    return {name: part / left for name, part in between.items()}


def between_groups(
    design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Variance (S,) between the groups of each factor: ``z' Sigma z``, mean over rows (n,)."""
    found = {}
    for grouping in design.groupings:
        L, Z = covariance_root(grouping, values), grouping.Z[rows]
        found[grouping.name] = np.einsum("sik,ij,sjk->s", L, Z.T @ Z / len(rows), L)
    return found


def _linked_variance(
    model: Regression, values: Mapping[str, np.ndarray], rows: np.ndarray
) -> Finding:
    """Bayesian R² of a family with a link, and where its variance lies on the link's scale.

    R² is the variance of the rows' means over that and their own variance, which the family says
    (Gelman et al. 2019). A logistic line leaves ``pi²/3`` on the scale of log odds, so that the
    share between groups there is that of a latent response (Nakagawa & Schielzeth 2010); of counts
    there is no such share.
    """
    design = model.design
    line = draws.line(design, values, rows)
    middle, sd = responses.Rows(model, values, line, rows).moments()
    between = middle.var(1)
    shares = {"R² by population and groups": between / (between + (sd**2).mean(1))}
    whole = told(shares["R² by population and groups"])
    says = f"The means of the rows, groups included, explain {whole} of the variance"
    if design.groupings and LINKS[model.family] == "logit":
        parts = between_groups(design, values, rows)
        left = sum(parts.values()) + np.pi**2 / 3
        share = {name: part / left for name, part in parts.items()}
        shares |= {f"share of the latent variance by {n}": part for n, part in share.items()}
        called = {g.name: groups_of(model, g) for g in design.groupings}
        says += (
            "; of the latent variance that the population's part leaves, in log odds with π²/3 "
            f"for a single answer, {_parts(share, called)}"
        )
    columns = {n: (h, SHARE) for n, h in (("mean", "mean"), ("q05", "5 %"), ("q95", "95 %"))}
    return Finding("variance", f"{says}.", table=_averages(shares), columns=columns)


def told(share: np.ndarray) -> str:
    """The mean of a share (S,) in percent, with the digits that it has in a table of shares."""
    return in_percent(float(share.mean()), float(gaussian_sd(*draws.interval(share))))


def _parts(share: Mapping[str, np.ndarray], called: Mapping[str, str]) -> str:
    """What share (S,) each factor has, the largest first."""
    order = sorted(share, key=lambda name: -share[name].mean())
    return ", ".join(f"{told(share[name])} lies between {called[name]}" for name in order)


def largest(share: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """The factor of the largest part (S,), and the probability that it is the largest."""
    name = max(share, key=lambda name: share[name].mean())
    return name, float(np.mean(share[name] >= np.max([*share.values()], axis=0)))


def _r2(y: np.ndarray, line: np.ndarray) -> np.ndarray:
    """ArviZ's Bayesian R² (S,) of lines (S, n)."""
    dims = ("chain", "draw", "row")
    variables = {"line": (dims, line[None]), "residual": (dims[:2], (y - line).std(1)[None])}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(variables)})
    return np.asarray(azs.bayesian_r2(tree, "line", "residual", summary=False)).reshape(-1)
