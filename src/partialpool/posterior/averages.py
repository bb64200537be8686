"""The response's mean at rows, and its changes, averaged within each draw.

For noise about a line that is the line (docs/method.md, eq. (37)); of a family with a link each
row's line goes through the inverse link before rows are averaged.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from partialpool.posterior import draws
from partialpool.posterior.contrasts import Contrast
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.predictions import line
from partialpool.posterior.responses import mean

#: Rows whose line, with its groups, is held at a time.
CHUNK = 1000


def averages(
    fitted: Fitted, table: pd.DataFrame, cells: np.ndarray, *, groups: bool = False
) -> np.ndarray:
    """Draws of the line at rows, averaged over the rows of each cell: (S, cells).

    Parameters
    ----------
    fitted : Fitted
    table : pandas.DataFrame
    cells : (n,) int array
        Cell of each row, numbered from zero.
    groups : bool
        Whether the line is that of each row's group, or the population's: with a link that of a
        group whose effects are zero, a typical one.
    """
    n, sizes = len(cells), np.bincount(cells)
    weights = csr_array((1 / sizes[cells], (cells, np.arange(n))), shape=(len(sizes), n))
    model, design = fitted.model, fitted.model.design
    if not groups and not model.linked:
        X, offset = weights @ design.columns(table)[0], weights @ design.offset_of(table)
        return draws.population_line(design, fitted.population, X) + offset
    total: Any = 0.0
    for first in range(0, n, CHUNK):
        some = slice(first, first + CHUNK)
        rows, values = table.iloc[some], fitted.values if groups else fitted.population
        if groups:
            drawn = line(fitted, rows)
        else:
            drawn = draws.population_line(design, values, design.columns(rows)[0])
            drawn += design.offset_of(rows)
        total = total + mean(model, values, drawn) @ weights[:, some].T
    return np.asarray(total)


def change(
    fitted: Fitted,
    contrast: Contrast,
    table: pd.DataFrame,
    cells: np.ndarray,
    *,
    groups: bool = False,
) -> np.ndarray:
    """Draws of a contrast, averaged as `averages` does: (S, cells)."""
    low, high = (averages(fitted, end, cells, groups=groups) for end in contrast.ends(table))
    return (high - low) / contrast.width
