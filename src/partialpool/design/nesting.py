"""Whether labels of one grouping factor start anew in every group of another.

Pupils in classes in schools: if the classes of every school are called 1, 2, 3, then ``(1 | school)
+ (1 | class)`` takes the first classes of all schools for one class, and ``(1 | school/class)`` was
meant. A table in which the classes of all schools are called 1 to 3 is the table of a crossed
design too, such as raters and products, so nothing can be said of most tables. Two things speak for
labels that start anew, where there are at least two rows for a combination (else the combinations
could not be told from the noise) and the formula has no term on them:

* every group of the outer factor has the first labels, as many as it has: schools of two, three
  and five classes have 1-2, 1-3 and 1-5. Sets of labels of these sizes, chosen at random, would do
  so less often than once in a thousand.
* another column names the combinations, one to one.
"""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from partialpool.design.matrices import Grouping

#: How often chance may give every group the first labels.
CHANCE = 1e-3


def sentence(groupings: tuple[Grouping, ...], table: pd.DataFrame) -> str:
    """Say which factor's labels seem to start anew, and what to write; empty if none do."""
    known = {frozenset(grouping.columns) for grouping in groupings}
    for pair in combinations(groupings, 2):
        columns = [column for grouping in pair for column in grouping.columns]
        if frozenset(columns) in known:
            continue
        # where either could be the inner one, it is more likely the one of fewer labels
        outer, inner = sorted(pair, key=lambda grouping: -grouping.n_levels)
        number = outer.codes * inner.n_levels + inner.codes
        cell, pairs = pd.factorize(number)
        if len(pairs) == outer.n_levels or 2 * len(pairs) > len(number):
            continue  # nested as it is, or hardly a combination with several rows
        first = np.unique(cell, return_index=True)[1]
        name = _naming(table, columns, first, cell)
        if name:
            return _says(outer, inner, f"{name!r} names their combinations")
        for one, other in ((outer, inner), (inner, outer)):
            if _first_labels(one.codes[first], other.codes[first], other):
                return _says(one, other, "every group has the first ones, as many as it has")
    return ""


def _says(outer: Grouping, inner: Grouping, why: str) -> str:
    return (
        f"The labels of {inner.name!r} seem to start anew in every group of {outer.name!r}: "
        f"{why}. If one label stands for different things there, write "
        f"(1 | {outer.name}/{inner.name}) in the place of (1 | {inner.name})."
    )


def _naming(table: pd.DataFrame, own: list[str], first: np.ndarray, cell: np.ndarray) -> str:
    """A column of labels, other than the factors' `own`, one to one with the combinations.

    `first` is a row of each combination, `cell` the combination of each row.
    """
    for name in table.columns.difference(own, sort=False):
        column = table[name]
        if pd.api.types.is_float_dtype(column) or column.iloc[first].nunique() < len(first):
            continue  # measured, or combinations that share a label
        codes = pd.factorize(column)[0]
        if np.array_equal(codes, codes[first][cell]):
            return str(name)
    return ""


def _first_labels(above: np.ndarray, below: np.ndarray, inner: Grouping) -> bool:
    """Whether each group's labels are the first of all, in a way that chance hardly gives."""
    numbers = pd.to_numeric(pd.Series(inner.levels), errors="coerce")
    if numbers.notna().all():  # "10" comes after "9"
        below = numbers.rank().to_numpy(dtype=int)[below] - 1
    sizes, last = np.bincount(above), np.zeros(above.max() + 1, dtype=int)
    np.maximum.at(last, above, below)
    if not np.array_equal(last, sizes - 1):
        return False
    ways = 1
    for size in sizes:
        ways *= comb(inner.n_levels, size)
        if ways * CHANCE > 1:
            return True
    return False
