"""How many rows and groups there are, and how factors lie to each other, in words and a table."""

from itertools import combinations

import numpy as np
import pandas as pd

from partialpool.design.matrices import Grouping
from partialpool.fit.regression import Regression
from partialpool.posterior.names import groups_of


def sizes(model: Regression) -> pd.DataFrame:
    """How many groups each factor has, and how many rows these."""
    groupings = model.design.groupings
    return pd.DataFrame(
        {
            "groups": [grouping.n_levels for grouping in groupings],
            "fewest rows": [grouping.counts.min() for grouping in groupings],
            "median": [float(np.median(grouping.counts)) for grouping in groupings],
            "most rows": [grouping.counts.max() for grouping in groupings],
        },
        index=[model.words(grouping.name) for grouping in groupings],
    )


def rows_and_groups(model: Regression) -> str:
    """How many rows there are, in how many groups, and what was left out."""
    design = model.design
    says = f"{design.n_rows:,} rows."
    if design.groupings:
        factors = [
            f"in **{grouping.n_levels:,} {groups_of(model, grouping)}**, {_each(grouping.counts)}"
            for grouping in design.groupings
        ]
        known = "; bars are one known standard error either way" if design.se is not None else ""
        says = f"**{design.n_rows:,} rows** {', and '.join(factors)}{known}."
    shown = len(design.y)
    if shown < design.n_rows:
        says += f" Figures show a random sample of {shown:,} of them; the fit knows all."
    else:
        says += "".join(f" {_crossing(model, *pair)}" for pair in combinations(design.groupings, 2))
    return " ".join([says, model.dropped, model.unidentified]).strip()


def _each(counts: np.ndarray) -> str:
    """How many rows groups have."""
    low, high = counts.min(), counts.max()
    if low == high:
        return f"{low:,} {'row' if low == 1 else 'rows'} each"
    return f"{low:,} to {high:,} rows each, median {np.median(counts):,g}"


def _crossing(model: Regression, one: Grouping, other: Grouping) -> str:
    """Whether the groups of two factors are nested or crossed, and how far."""
    words = {grouping.name: model.words(grouping.name) for grouping in (one, other)}
    pairs = len(np.unique(np.column_stack([one.codes, other.codes]), axis=0))
    possible = one.n_levels * other.n_levels
    if pairs == possible:
        return f"Every {words[one.name]} occurs with every {words[other.name]} (crossed)."
    for inner, outer in ((one, other), (other, one)):
        if inner.within(outer) is not None:
            return f"Each {words[inner.name]} occurs with one {words[outer.name]} only (nested)."
    both = " and ".join(words.values())
    return f"Of {possible:,} pairs of {both}, {pairs:,} occur (partly crossed)."
