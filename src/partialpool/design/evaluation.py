"""Parts of a formula evaluated on a table by formulae; what fails becomes one sentence."""

from typing import Any

import numpy as np
import pandas as pd
from formulae import design_matrices
from formulae.environment import Environment

from partialpool.data.columns import require_columns
from partialpool.design.choices import safe
from partialpool.design.formula import said

#: Functions a formula may call besides formulae's own (center, scale, bs, C, I, ...).
FUNCTIONS = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
ENVIRONMENT = Environment([FUNCTIONS])


def evaluate(part: str, table: pd.DataFrame, formula: str) -> Any:
    """Matrices of a part of a formula, which remember the state of its transformations."""
    try:
        with np.errstate(all="ignore"):  # what comes of it is checked
            return design_matrices(part, table, na_action="error", env=ENVIRONMENT)
    except KeyError as error:
        raise ValueError(
            f"In {formula!r}, {error} is not a known function; beside formulae's own there are "
            f"{', '.join(FUNCTIONS)}."
        ) from None
    except Exception as error:
        raise ValueError(f"{part!r} cannot be evaluated on the table: {said(error)}") from None


def response(matrices: Any, formula: str) -> np.ndarray:
    """The response (N,); a ValueError unless it is one numeric column."""
    y = np.asarray(matrices.response.design_matrix)
    if matrices.response.kind != "numeric" or y.ndim != 1:
        raise ValueError(
            f"The response of {formula!r} is {matrices.response.kind}; "
            "it must be one numeric column."
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


def factor(table: pd.DataFrame, group: str) -> pd.Series:
    """Group labels of the rows; those of an interaction are joined by colons."""
    parts = group.split(":")
    require_columns(table.columns, parts)
    if len(parts) == 1:
        return table[group]
    return table[parts].astype(str).agg(":".join, axis=1)
