"""The line at rows, and its changes, averaged within each draw: docs/method.md, eq. (37)."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from partialpool.posterior import draws
from partialpool.posterior.contrasts import Contrast
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.predictions import line

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
        Whether the line is that of each row's group, or the population's.
    """
    n, sizes = len(cells), np.bincount(cells)
    weights = csr_array((1 / sizes[cells], (cells, np.arange(n))), shape=(len(sizes), n))
    if not groups:
        design = fitted.model.design
        X, offset = weights @ design.columns(table)[0], weights @ design.offset_of(table)
        return draws.population_line(design, fitted.population, X) + offset
    total: Any = 0.0
    for first in range(0, n, CHUNK):
        some = slice(first, first + CHUNK)
        total = total + line(fitted, table.iloc[some]) @ weights[:, some].T
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
