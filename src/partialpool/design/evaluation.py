"""Parts of a formula evaluated on a table by formulae; what fails becomes one sentence."""

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
from formulae import design_matrices
from formulae.environment import Environment

from partialpool.data.columns import require_columns
from partialpool.design.choices import safe
from partialpool.design.formula import CONSTANTS, Formula, said
from partialpool.design.functions import FUNCTIONS

ENVIRONMENT = Environment([FUNCTIONS | CONSTANTS])


def evaluate(part: str, table: pd.DataFrame, formula: str) -> Any:
    """Matrices of a part of a formula, which remember the state of its transformations."""
    try:
        # what comes of it is checked; formulae prints some of its errors before it raises them
        with np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            return design_matrices(part, table, na_action="error", env=ENVIRONMENT)
    except KeyError as error:
        raise ValueError(
            f"In {formula!r}, {error} is not a known function; there are {', '.join(FUNCTIONS)}, "
            "and formulae's own, such as center, scale, poly and bs."
        ) from None
    except Exception as error:
        raise ValueError(f"{part!r} cannot be evaluated on the table: {said(error)}") from None


def offsets(found: Formula, table: pd.DataFrame) -> tuple[Any, ...]:
    """Matrices of a formula's offsets; a ValueError for one that is not a number."""
    made = []
    for text in found.offsets:
        matrix = evaluate(f"0 + I({text})", table, found.text).common
        if [term.kind for term in matrix.terms.values()] != ["numeric"]:
            raise ValueError(f"In {found.text!r}, the offset {text!r} must be numbers.")
        made.append(matrix)
    return tuple(made)


def response(matrices: Any, formula: str) -> np.ndarray:
    """The response (N,); a ValueError unless it is one numeric column."""
    y = np.asarray(matrices.response.design_matrix)
    if matrices.response.kind != "numeric" or y.ndim != 1:
        raise ValueError(
            f"The response of {formula!r} is {matrices.response.kind}; it must be one numeric "
            "column. For categories, or successes out of trials, use Bambi."
        )
    return y.astype(float)


def columns(made: tuple[Any, ...], n: int, table: pd.DataFrame | None = None) -> np.ndarray:
    """Columns (n, k) of some matrices side by side, on their own table or another one."""
    sources = [m if table is None else m.evaluate_new_data(table) for m in made]
    arrays = [np.asarray(s.design_matrix, dtype=float).reshape(n, -1) for s in sources]
    return np.hstack([np.empty((n, 0)), *arrays])


def labels(matrix: Any) -> list[str]:
    """Names of a matrix' columns."""
    return [safe(str(label)) for term in matrix.terms.values() for label in term.labels]


def terms(matrix: Any) -> str:
    """A matrix' terms as a formula would say them."""
    names = ["1" if name == "Intercept" else str(name) for name in matrix.terms]
    return " + ".join(names if "1" in names else ["0", *names])


def factor(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    """Group of each row: the column's values, or text ``a:b`` for an interaction of columns.

    A part that holds a colon itself stands in quotes, doubled within, as in CSV; so no two
    combinations have one text.
    """
    require_columns(table.columns, [*names])
    if len(names) == 1:
        return table[names[0]]
    # the text of each combination once, for there are far more rows
    number = table.groupby([*names], sort=False, dropna=False, observed=True).ngroup()
    first = ~number.duplicated()
    text = table.loc[first, [*names]].astype(str)
    for name in names:
        odd = text[name].str.contains('[:"]')
        quoted = '"' + text[name].str.replace('"', '""') + '"'
        text[name] = text[name].where(~odd, quoted)
    distinct = text[names[0]].str.cat([text[name] for name in names[1:]], sep=":").to_numpy()
    return pd.Series(distinct[pd.factorize(number)[0]], index=table.index)
