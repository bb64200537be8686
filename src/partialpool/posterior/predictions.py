"""What a model predicts: chosen rows, of groups old and new, and data like those it has seen."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_columns, require_complete, standard_errors
from partialpool.data.tables import load
from partialpool.data.text import singular
from partialpool.design import evaluation
from partialpool.design.formula import read, variables
from partialpool.design.matrices import Design
from partialpool.fit.exact_fit import covariance_root, prior_effects
from partialpool.fit.regression import Regression
from partialpool.posterior import draws, responses
from partialpool.posterior.contrasts import level_in_words
from partialpool.posterior.finding import CHANCE, ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.responses import respond

UNSEEN = ("refuse", "population")
#: Fewest replicated data sets, and the values in all up to which there is one for each draw.
REPLICATIONS, REPLICATED = 400, 4_000_000
#: What to do with levels that were not in the data; for all factors alike, or factor by factor.
Unseen = str | Mapping[str, str]
#: Names of groups made up to be new.
NEW = r"new( \d+)?"
#: Draws from the prior: a data set each.
PRIOR_SETS = 200


def line(
    fitted: Fitted, table: pd.DataFrame, *, unseen: Unseen = "refuse", seed: int = 0
) -> np.ndarray:
    """Draws of the regression line ``X beta + Z b`` at rows, offset added: (draws, rows).

    `unseen`, and what is refused, is explained in `Fit.predict`; `seed` is that of new groups'
    effects.
    """
    design, values = fitted.model.design, fitted.values
    allowed = _by_factor(design, unseen)
    X, of_groups = design.rows(table)
    of_new = []
    for grouping, (_, codes) in zip(design.groupings, of_groups, strict=True):
        labels = grouping.labels(table)[codes < 0]
        if len(labels) and allowed[grouping.name] == "refuse":
            raise ValueError(
                f"The level {labels.tolist()[0]!r} of {grouping.name} was not in the data; "
                "set `unseen` to 'population' to predict a new group."
            )
        of_new.append(labels)
    rng = np.random.default_rng([seed, 0])
    total = draws.population_line(design, values, X) + design.offset_of(table)
    for grouping, (Z, codes), labels in zip(design.groupings, of_groups, of_new, strict=True):
        new = codes < 0
        for name, z in zip(grouping.effects, Z[~new].T, strict=True):
            total[:, ~new] += values[name][:, codes[~new]] * z
        if new.any():
            which, levels = pd.factorize(labels)
            normal = rng.standard_normal((len(total), len(levels), Z.shape[1]))
            effects = np.einsum("skl,sgl->sgk", covariance_root(grouping, values), normal)
            total[:, new] += np.einsum("snk,nk->sn", effects[:, which], Z[new])
    return total


def _by_factor(design: Design, unseen: Unseen) -> dict[str, str]:
    """What to do with new levels of each factor; a factor that is not named refuses them."""
    names = [grouping.name for grouping in design.groupings]
    given = dict.fromkeys(names, unseen) if isinstance(unseen, str) else dict(unseen)
    for factor in given.keys() - set(names):
        raise ValueError(f"unseen: there is no factor {factor!r}; choose from {', '.join(names)}.")
    for word in {unseen} if isinstance(unseen, str) else given.values():
        if word not in UNSEEN:
            raise ValueError(f"unseen: choose from {', '.join(UNSEEN)}, not {word!r}.")
    return dict.fromkeys(names, "refuse") | given


def predict(
    fitted: Fitted,
    table: pd.DataFrame,
    *,
    unseen: Unseen = "refuse",
    probability: float = 0.89,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict rows: the line, and a new observation around it; `Fit.predict` explains."""
    model, rng = fitted.model, np.random.default_rng([seed, 1])
    total = line(fitted, table, unseen=unseen, seed=seed)
    if model.linked:
        trials = _trials(model, table)
        observed = responses.new(model, fitted.values, total, trials, rng)
        linked, total = total, responses.mean(model, fitted.values, total)
    else:
        scale = fitted.values["sigma"][:, None]
        if model.se is not None:
            scale = np.hypot(scale, standard_errors(table, model.se))
        observed = total + scale * draws.standard_noise(fitted.values, total.shape, rng)
    tails = [(1 - probability) / 2, (1 + probability) / 2]
    found = table.assign(mean=total.mean(axis=0), sd=total.std(axis=0, ddof=1))
    kinds = {"": total, "observation_": observed}
    if model.linked and not model.spreads:
        del kinds["observation_"]  # a single answer, of which the mean says all
    for kind, values in kinds.items():
        found[f"{kind}lower"], found[f"{kind}upper"] = np.quantile(values, tails, axis=0)
    if model.thresholds:
        shares = responses.probabilities(model, fitted.values, linked).mean(axis=1)
        for name, share in zip(model.design.answers, shares, strict=True):
            found[f"P({name})"] = share
    return found


def _trials(model: Regression, table: pd.DataFrame) -> np.ndarray | None:
    """Numbers of trials (n,) of some rows; one where the model has none."""
    text = read(model.formula).trials
    if model.design.trials is None or not text:
        return None
    if text.isdecimal():
        return np.full(len(table), float(text))
    made = evaluation.evaluate(f"I({text}) ~ 1", table, model.formula).response
    return np.asarray(made.design_matrix, dtype=float)


def chosen_rows(
    model: Regression, wanted: str | Sequence[Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """The rows for which a report predicts.

    Parameters
    ----------
    model : Regression
    wanted : str or sequence of mappings, optional
        A path or name that `load` takes, or rows as mappings of column to value. When not given:
        the smallest group of the first factor, one of median size, the largest, and a new one, at
        the lowest, the middle and the highest value of the main predictor, or at a group's own
        where that is one number in each; other columns keep what the group has. With several
        factors, rows that are new in one of them, and in those that lie in it, stand before the one
        that is new in all. A column of a factor that is a predictor as well, as the variety in
        ``yield ~ variety + (1 | block/variety)``, has no new level.

    Returns
    -------
    pandas.DataFrame
        With the columns that the model reads, first the groups'.

    Raises
    ------
    ValueError
        For a column that is missing, and for missing values.
    """
    design = model.design
    found = read(design.formula)
    others = {*found.predictors, *([model.se] if model.se else [])}
    if found.trials:
        others |= variables(f"I({found.trials})", design.formula)
    factors = group_columns(design)
    needed = [*factors, *sorted(others - {*factors})]
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
    factors, rows = group_columns(design), []
    if design.groupings:
        first = design.groupings[0]
        present = np.unique(first.codes)
        present = present[np.argsort(first.counts[present], kind="stable")]
        some = dict.fromkeys(present[[0, len(present) // 2, -1]])
        rows = [table[first.codes == j].iloc[[0]] for j in some]
    new = table.iloc[[0]].copy()
    for name in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        middle = table[name].median() if numeric else table[name].mode().iloc[0]
        new[name] = middle if not pd.api.types.is_integer_dtype(table[name]) else round(middle)
    # a level that has a coefficient of its own cannot be a new one
    free = [part for part in factors if part not in read(design.formula).predictors]
    for part in free:
        taken = set(table[part].astype(str))
        new[part] = next(w for w in ("new", *(f"new {k}" for k in range(99))) if w not in taken)
    if len(factors) > 1 and len(design.groupings) > 1:
        known = rows[len(rows) // 2]
        some_new = [known.assign(**new[_new_with(design, part, free)].iloc[0]) for part in free]
        rows += [row for row in some_new if (row[free].to_numpy() != new[free].to_numpy()).any()]
    if free or not factors:
        rows.append(new)
    name = main_predictor(model)
    if name is None or name in factors:
        return pd.concat(rows, ignore_index=True)
    ends = table[name].quantile([0, 0.5, 1], interpolation="nearest").unique()
    by = table[name].groupby
    fixing = [g for g in design.groupings if (by(g.codes).max() == by(g.codes).min()).all()]
    found = []
    for row in rows:
        old = {
            part for part in factors if part not in free or row[part].iloc[0] != new[part].iloc[0]
        }
        fixed = any(old.issuperset(grouping.columns) for grouping in fixing)
        found += [row] if fixed else [row.assign(**{name: value}) for value in ends]
    return pd.concat(found, ignore_index=True)


def _new_with(design: Design, part: str, free: Sequence[str]) -> list[str]:
    """Columns of groups that are new where one is: itself, and those of groups that lie in it."""
    named = {part}
    for inner, outer in permutations(design.groupings, 2):
        if part in outer.columns and inner.within(outer) is not None:
            named |= {*inner.columns}
    return [column for column in free if column in named]


def group_columns(design: Design) -> list[str]:
    """Columns of the table that say in which groups a row is."""
    return list(dict.fromkeys(name for g in design.groupings for name in g.columns))


def main_predictor(model: Regression) -> str | None:
    """The numeric column along which lines are drawn: the first one whose effect varies."""
    for name in model.design.predictors:
        if pd.api.types.is_numeric_dtype(model.table[name]) and np.ptp(model.table[name]) > 0:
            return name
    return None


def row_names(rows: pd.DataFrame, model: Regression) -> list[str]:
    """What to call each row: its values in words, those that all rows share left out."""
    varying = [c for c in rows.columns if len(rows[c].unique()) > 1] or list(rows.columns)
    shown = in_words(model, rows)

    def name(column: str, value: Any, words: str) -> str:
        called, unit = model.words(column), model.units.get(column)
        if words.startswith("a new ") or model.has_label(column, value):
            return words
        if unit and called.startswith(f"{unit} "):  # "5 days of restricted sleep"
            return f"{words} {singular(unit) if value == 1 else unit}{called.removeprefix(unit)}"
        return f"{called} {'= ' * called[-1:].isdigit()}{words}"  # "score at 11 = −2.9"

    return [
        ", ".join(name(c, rows[c].iloc[k], shown[c].iloc[k]) for c in varying)
        for k in range(len(rows))
    ]


def in_words(model: Regression, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the labels of levels in place of codes; a group that the data lack is a new one."""
    shown = pd.DataFrame(index=rows.index)
    for column in rows:
        words = [level_in_words(model, column, value) for value in rows[column]]
        if column in group_columns(model.design):
            known = {level_in_words(model, column, value) for value in model.table[column]}
            words = [one if one in known else _new(model, column, one) for one in words]
        shown[column] = words
    return shown


def _new(model: Regression, column: str, level: str) -> str:
    called = "" if re.fullmatch(NEW, level) else f" ({level})"
    return f"a new {model.words(column)}{called}"


def finding(model: Regression, predicted: pd.DataFrame, output: str | None = None) -> Finding:
    """Predictions as a table; ``predictions.csv`` in the folder `output`, where there is one.

    It is the line that is predicted, or the mean that a family with a link makes of it.
    """
    what = "mean" if model.linked else "line"
    read_of = predicted.columns.intersection(model.table.columns)
    cells = in_words(model, predicted[read_of]).to_dict("list")
    headings = {name: model.words(name) for name in read_of} | {
        "mean": what,
        "sd": f"sd of the {what}",
        "lower": f"{what}, lower",
        "upper": f"{what}, upper",
        "observation_lower": "new observation, lower",
        "observation_upper": "new observation, upper",
    }
    columns = {name: (heading, ESTIMATE) for name, heading in headings.items()}
    columns |= {name: (name, CHANCE) for name in predicted if name.startswith("P(")}
    says = "A run of `make report` writes these rows to `predictions.csv` beside the report."
    found = Finding("predictions", says, table=predicted, columns=columns, index=False, cells=cells)
    if output is None:
        return found
    Path(output).mkdir(parents=True, exist_ok=True)
    found.to_csv(Path(output) / "predictions.csv")
    says = "The same rows with all digits: [predictions.csv](predictions.csv)."
    return replace(found, sentence=says)


def replicate(fitted: Fitted, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """New responses at rows of the data, in the groups that they are in: (replications, n)."""
    some = fitted.thinned(max(REPLICATIONS, REPLICATED // len(rows)))
    return respond(fitted.model, some.values, rows, rng)


def replicate_prior(
    model: Regression, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Responses at rows of the data that the priors alone imply; None if one of them is flat."""
    values = prior_values(model, rng)
    return None if values is None else respond(model, values, rows, rng)


def prior_values(model: Regression, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
    """Draws of every parameter and group effect from the priors; None if one of them is flat."""
    if not model.proper:
        return None
    design = model.design
    truths = [draws.from_prior(design, model.priors, rng) for _ in range(PRIOR_SETS)]
    values = {name: np.array([truth[name] for truth in truths]) for name in truths[0]}
    if "nu" in model.priors:
        values["nu"] = model.priors["nu"].sample(rng, PRIOR_SETS)
    return values | prior_effects(design, values, rng)


def statistics(
    model: Regression, rows: np.ndarray
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Figures by which replications are held against the data: name -> function of (S, n)."""
    design = model.design
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "smallest value": lambda y: y.min(1),
        "largest value": lambda y: y.max(1),
    }
    if model.linked:
        found = _of_counts(model, rows)
    several = len(design.groupings) > 1
    for grouping in design.groupings:
        codes = grouping.codes[rows]
        counts = np.unique(codes, return_counts=True)[1]
        if len(counts) > 1 and counts.max() > 1:
            of = f" of {model.words(grouping.name)}" if several else ""
            found[f"sd of group means{of}"] = partial(_sd_of_means, codes)
            if not model.linked or model.spreads:
                found[f"largest sd within a group{of}"] = partial(_largest_sd, codes)
    if len(found) > 2 or model.linked:
        return found
    return found | {
        "standard deviation": lambda y: y.std(1),
        "mean absolute deviation": lambda y: np.abs(y - y.mean(1)[:, None]).mean(1),
    }


def _of_counts(
    model: Regression, rows: np.ndarray
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Figures of successes, counts or answers."""
    if model.thresholds:
        last = len(model.design.answers)
        return {
            "share of the first answer": lambda y: (y == 1).mean(1),
            "share of the last answer": lambda y: (y == last).mean(1),
        }
    if model.design.trials is None:
        return {
            "share of zeros": lambda y: (y == 0).mean(1),
            "largest value": lambda y: y.max(1),
            "standard deviation": lambda y: y.std(1),
        }
    trials = model.design.trials[rows]
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "share of successes": lambda y: y.sum(1) / trials.sum()
    }
    return found | ({"sd of shares": lambda y: (y / trials).std(1)} if model.spreads else {})


def _sd_of_means(codes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Standard deviation (S,) of the groups' means of y (S, n)."""
    return pd.DataFrame(y.T).groupby(codes).mean().to_numpy().std(0)


def _largest_sd(codes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Largest standard deviation (S,) within a group of y (S, n)."""
    return pd.DataFrame(y.T).groupby(codes).std().max().to_numpy()
