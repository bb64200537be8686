"""From a formula and a table to a design."""

from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import (
    incomplete,
    require_columns,
    require_complete,
    require_finite,
    require_kinds,
    standard_errors,
)
from partialpool.data.text import safe
from partialpool.design import evaluation, nesting, responses
from partialpool.design.estimable import require_estimable
from partialpool.design.families import LINKS
from partialpool.design.formula import (
    Formula,
    read,
    require_no_constant,
    used_columns,
    variables,
)
from partialpool.design.matrices import Design, Grouping

#: More effects than this, and their correlations, no data of groups tell apart.
MOST_VARYING = 20
#: Names in a dataset of draws that a dimension of groups cannot take.
RESERVED = ("chain", "draw", "sample", "sigma", "nu", "shape")
#: Column in which the response stands while the predictors of a family with a link are evaluated.
ANSWER = "response__"


def build(
    formula: str,
    table: pd.DataFrame,
    *,
    se: str | None = None,
    family: str = "gaussian",
    estimable: bool = True,
) -> Design:
    """Evaluate a formula on a table.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    table : pandas.DataFrame
        One row per observation.
    se : str, optional
        Column of known standard errors of the response.
    family : str
        Of the response, see `families`.
    estimable : bool
        Whether to insist that the table tells the coefficients apart.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        With one sentence that names what is wrong with formula or table, and the remedy.
    """
    found = read(formula)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"The table is a {type(table).__name__}; give a DataFrame of pandas or polars, or an "
            "Arrow table."
        )
    if not len(table):
        raise ValueError("The table has no rows.")
    require_no_constant(table.columns, formula)
    used = used_columns(formula, se)
    require_columns(table.columns, used)
    varies = set().union(*(variables(term.expression, formula) for term in found.terms))
    right, left = found.predictors, variables(found.answer, formula)
    responses.require_noise_takes(found, family)
    require_kinds(table, sorted(right | left), left if family not in LINKS else set())
    require_complete(table, used)
    predictors = sorted(right, key=lambda name: (name not in varies, formula.find(name)))

    offset, added, trials = evaluation.offsets(found, table), None, None
    answers: tuple[str, ...] = ()
    if family in LINKS:
        told = responses.evaluate(found, table, family)
        y, answer, trials, answers = told.y, told.name, told.trials, told.answers
        table = table.assign(**{ANSWER: y})
        matrices = evaluation.evaluate(f"{ANSWER} ~ {found.population}", table, formula)
        if offset:
            added = evaluation.columns(offset, len(table)).sum(axis=1)
            require_finite(added[:, None], [" + ".join(found.offsets)], formula)
    else:
        matrices = evaluation.evaluate(f"{found.answer} ~ {found.population}", table, formula)
        y = evaluation.response(matrices, formula)
        answer = matrices.response.name
        answer = answer[2:-1] if found.arithmetic else answer
        if offset:
            y = y - evaluation.columns(offset, len(table)).sum(axis=1)
            answer = " - ".join([answer, *found.offsets])
        require_finite(y[:, None], [answer], formula)
    population = () if matrices.common is None else (matrices.common,)
    X = evaluation.columns(population, len(table))
    x_names = tuple(name for matrix in population for name in evaluation.labels(matrix))
    require_finite(X, x_names, formula)
    kept = None
    if family == "cumulative":  # whose thresholds are its intercepts
        kept = np.array([name != "Intercept" for name in x_names], dtype=bool)
        X, x_names = X[:, kept], tuple(name for name in x_names if name != "Intercept")
    known = {found.population: matrices.common}  # most terms repeat it, or each other
    for term in found.terms:
        if term.expression not in known:
            known[term.expression] = evaluation.evaluate(term.expression, table, formula).common
    varying = [known[term.expression] for term in found.terms]
    groupings = tuple(
        _grouping(found, columns, varying, table, x_names) for columns in found.factors
    )
    effects = [effect for grouping in groupings for effect in grouping.effects]
    if len(set(effects)) < len(effects):
        twice = next(effect for effect in effects if effects.count(effect) > 1)
        raise ValueError(
            f"In {formula!r}, two grouping factors have effects called {twice!r}; rename a column."
        )
    written = [
        evaluation.terms(matrices.common) if population else "0",
        *(
            f"({evaluation.terms(made)} {'|' if term.correlated else '||'} {term.factor})"
            for term, made in zip(found.terms, varying, strict=True)
        ),
    ]
    if family in LINKS:
        written += [f"offset({text})" for text in found.offsets]
    trials_of = f" | trials({found.trials})" if found.trials else ""
    design = Design(
        formula=formula,
        response=safe(answer),
        written=f"{answer}{trials_of} ~ {' + '.join(written)}",
        y=y,
        X=X,
        x_names=x_names,
        groupings=groupings,
        predictors=tuple(predictors),
        se=None if se is None else standard_errors(table, se),
        trials=trials,
        offset=added,
        answers=answers,
        nesting=nesting.sentence(groupings, table),
        _common=population,
        _offset=offset,
        _kept=kept,
    )
    if estimable:
        require_estimable(design, family)
    return design


def _grouping(
    found: Formula,
    columns: tuple[str, ...],
    varying: list[Any],
    table: pd.DataFrame,
    x_names: tuple[str, ...],
) -> Grouping:
    """A grouping factor with all its terms, `varying` the matrices of all terms of the formula."""
    factor = ":".join(columns)
    blocks: list[tuple[int, ...]] = []
    mine: list[Any] = []
    names: list[str] = []
    for term, made in zip(found.terms, varying, strict=True):
        if term.columns != columns:
            continue
        if made is None:
            raise ValueError(f"In {found.text!r}, the group term on {factor} has no columns.")
        labels = ["1" if name == "Intercept" else name for name in evaluation.labels(made)]
        members = range(len(names), len(names) + len(labels))
        blocks += [tuple(members)] if term.correlated else [(k,) for k in members]
        names += labels
        mine.append(made)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"In {found.text!r}, the effect of {twice!r} by {factor} is written twice."
        )
    if len(names) > MOST_VARYING:
        pairs = sum(len(block) * (len(block) - 1) // 2 for block in blocks)
        raise ValueError(
            f"In {found.text!r}, {len(names)} effects would vary by {factor}, such as "
            f"{names[-1]!r}, with {len(names)} standard deviations and {pairs} correlations; at "
            f"most {MOST_VARYING} can. Let fewer columns vary, or turn text into numbers."
        )
    Z = evaluation.columns(tuple(mine), len(table))
    require_finite(Z, names, found.text)
    codes, levels = pd.factorize(evaluation.factor(table, columns), sort=True)
    name = safe(factor)
    return Grouping(
        columns,
        Z,
        tuple(names),
        tuple(blocks),
        np.asarray(codes, dtype=np.int64),
        np.asarray(levels),
        f"{name}__factor_dim" if name in {*x_names, *RESERVED} else name,
        _varying=tuple(mine),
    )


def complete_rows(
    formula: str, table: pd.DataFrame, se: str | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows with a value in every column of a model, and what each column lacked.

    Returns
    -------
    pandas.DataFrame
        The rows kept, numbered anew.
    dict of str to int
        Column -> its missing or infinite values; empty where nothing was left out.
    """
    require_no_constant(table.columns, formula)
    names = used_columns(formula, se)
    require_columns(table.columns, names)
    bad = incomplete(table, names)
    whole = ~np.any([np.zeros(len(table), dtype=bool), *bad.values()], axis=0)
    kept = table[whole].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"No row has a value in each of the columns {', '.join(names)}.")
    return kept, {name: int(own.sum()) for name, own in bad.items() if own.any()}
