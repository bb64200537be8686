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

from itertools import permutations
from math import comb

import numpy as np
import pandas as pd

from partialpool.design.matrices import Grouping

#: How often chance may give every group the first labels.
CHANCE = 1e-3


def sentence(groupings: tuple[Grouping, ...], table: pd.DataFrame) -> str:
    """Say which factor's labels seem to start anew, and what to write; empty if none do."""
    known = {frozenset(grouping.columns) for grouping in groupings}
    # where either could be the inner one, it is more likely the one of fewer labels
    for outer, inner in sorted(permutations(groupings, 2), key=lambda pair: pair[1].n_levels):
        if frozenset([*outer.columns, *inner.columns]) in known:
            continue
        number = outer.codes * inner.n_levels + inner.codes
        pairs, cell = np.unique(number, return_inverse=True)
        above, below = np.divmod(pairs, inner.n_levels)
        if len(pairs) in (outer.n_levels, inner.n_levels) or 2 * len(pairs) > len(number):
            continue  # nested as it is, or hardly a combination with several rows
        name = _naming(table, [*outer.columns, *inner.columns], cell, len(pairs))
        if name:
            why = f"{name!r} names their combinations"
        elif _first_labels(above, below, inner):
            why = "every group has the first ones, as many as it has"
        else:
            continue
        nested = f"{outer.name}/{inner.name}"
        return (
            f"The labels of {inner.name!r} seem to start anew in every group of {outer.name!r}: "
            f"{why}. If one label stands for different things there, write (1 | {nested}) in the "
            f"place of (1 | {inner.name})."
        )
    return ""


def _naming(table: pd.DataFrame, own: list[str], cell: np.ndarray, cells: int) -> str:
    """A column of labels, other than the factors' `own`, one to one with the combinations."""
    first = np.unique(cell, return_index=True)[1]
    for name in table.columns.difference(own, sort=False):
        column = table[name]
        if pd.api.types.is_float_dtype(column) or column.iloc[first].nunique() < cells:
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
