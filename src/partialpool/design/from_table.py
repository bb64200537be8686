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
from partialpool.design import evaluation
from partialpool.design.estimable import require_estimable
from partialpool.design.formula import read, require_no_constant, used_columns, variables
from partialpool.design.matrices import Design

#: More effects than this, and their correlations, no data of groups tell apart.
MOST_VARYING = 20


def build(
    formula: str, table: pd.DataFrame, *, se: str | None = None, estimable: bool = True
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
    factors = found.factors
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"The table is a {type(table).__name__}; give a pandas DataFrame.")
    if not len(table):
        raise ValueError("The table has no rows.")
    require_no_constant(table.columns, formula)
    used = used_columns(formula, se)
    require_columns(table.columns, used)
    varies = set().union(*(variables(term.expression, formula) for term in found.terms))
    right, left = found.predictors, variables(found.answer, formula)
    require_kinds(table, sorted(right | left), left)
    require_complete(table, used)
    predictors = sorted(right, key=lambda name: (name not in varies, formula.find(name)))

    matrices = evaluation.evaluate(f"{found.answer} ~ {found.population}", table, formula)
    population = () if matrices.common is None else (matrices.common,)
    y, offset = evaluation.response(matrices, formula), evaluation.offsets(found, table)
    answer = matrices.response.name
    answer = answer[2:-1] if found.arithmetic else answer
    if offset:
        y = y - evaluation.columns(offset, len(table)).sum(axis=1)
        answer = " - ".join([answer, *found.offsets])
    blocks: list[tuple[int, ...]] = []
    varying: list[Any] = []
    names: list[str] = []
    written = [evaluation.terms(matrices.common) if population else "0"]
    for term in found.terms:
        columns = evaluation.evaluate(term.expression, table, formula).common
        if columns is None:
            raise ValueError(f"In {formula!r}, the group term on {term.factor} has no columns.")
        labels = ["1" if name == "Intercept" else name for name in evaluation.labels(columns)]
        start = len(names)
        members = range(start, start + len(labels))
        blocks += [tuple(members)] if term.correlated else [(k,) for k in members]
        names += labels
        varying.append(columns)
        bar = "|" if term.correlated else "||"
        written.append(f"({evaluation.terms(columns)} {bar} {term.factor})")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"In {formula!r}, the effect of {twice!r} by {':'.join(factors)} is written twice."
        )
    if len(names) > MOST_VARYING:
        pairs = sum(len(block) * (len(block) - 1) // 2 for block in blocks)
        raise ValueError(
            f"In {formula!r}, {len(names)} effects would vary by {':'.join(factors)}, such as "
            f"{names[-1]!r}, with {len(names)} standard deviations and {pairs} correlations; at "
            f"most {MOST_VARYING} can. Let fewer columns vary, or turn text into numbers."
        )
    if factors:
        codes, levels = pd.factorize(evaluation.factor(table, factors), sort=True)
    else:
        codes, levels = np.zeros(len(table), dtype=np.int64), np.array(["all"])
    X, Z = (evaluation.columns(made, len(table)) for made in (population, tuple(varying)))
    x_names = tuple(name for matrix in population for name in evaluation.labels(matrix))
    require_finite(y[:, None], [answer], formula)
    require_finite(X, x_names, formula)
    require_finite(Z, names, formula)
    design = Design(
        formula=formula,
        response=safe(answer),
        written=f"{answer} ~ {' + '.join(written)}",
        y=y,
        X=X,
        x_names=x_names,
        Z=Z,
        z_names=tuple(names),
        blocks=tuple(blocks),
        factors=factors,
        codes=np.asarray(codes, dtype=np.int64),
        levels=np.asarray(levels),
        predictors=tuple(predictors),
        se=None if se is None else standard_errors(table, se),
        _common=population,
        _varying=tuple(varying),
        _offset=offset,
    )
    if estimable:
        require_estimable(design)
    return design


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
    names = used_columns(formula, se)
    require_columns(table.columns, names)
    bad = incomplete(table, names)
    kept = table[~bad.any(axis=1)].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"No row has a value in each of the columns {', '.join(names)}.")
    return kept, {name: int(n) for name, n in bad.sum().items() if n}
