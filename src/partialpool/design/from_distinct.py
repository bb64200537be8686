"""From a formula and a table in parts to a design whose rows collapse to counts.

What a family with a link needs of its rows are the distinct ones, each with how often it is there:
of a few predictors of few values these are few, however many rows there are. The formula is
evaluated on them as on a table.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from partialpool.data import distinct, reading
from partialpool.data.distinct import Distinct
from partialpool.data.parts import Parts, Piece
from partialpool.data.reading import Part, is_number
from partialpool.data.text import listed
from partialpool.design import from_table
from partialpool.design.batches import count_piece
from partialpool.design.estimable import require_estimable
from partialpool.design.evaluation import STATEFUL
from partialpool.design.formula import read, require_no_constant, used_columns
from partialpool.design.from_parts import refuse, streamed
from partialpool.design.matrices import Design

#: Columns with more values than this are named where distinct rows are too many.
MANY_VALUES = 100


def build(formula: str, parts: Parts, family: str) -> tuple[Design, pd.DataFrame]:
    """A design of the sample of rows that knows the distinct rows of all, and the sample.

    Parameters
    ----------
    formula : str
    parts : Parts
    family : str
        With a link; see `families`.

    Raises
    ------
    ValueError
        As `from_parts.build` and `from_table.build`, and where distinct rows are too many.
    """
    asked = read(formula)
    refuse(asked, STATEFUL)
    used = used_columns(formula)
    parts.require(used)
    require_no_constant(parts.schema, formula)
    labels = {name for name in used if not is_number(parts.schema[name])}
    labels |= {name for factor in asked.factors for name in factor}
    parts.head(used, labels)  # there is one row at least

    def pieces(part: Part) -> list[Callable[[], Piece]]:
        return [
            partial(count_piece, part, piece, labels, used, parts.sampler(part))
            for piece in reading.pieces(part)
        ]

    try:
        found, sample = streamed(parts, ["distinct", used, sorted(labels)], pieces)
    except distinct.TooMany as error:
        raise ValueError(_too_many(error, parts, family)) from None
    assert isinstance(found, Distinct)
    table, repeats = found.table()
    table.attrs["template"] = True  # whose rows are not those of a file
    try:
        design = from_table.build(formula, table, family=family, estimable=False)
    except ValueError as error:
        raise ValueError(f"Of the distinct rows of {parts.source}: {error}") from None
    groupings = tuple(
        replace(g, _counts=np.bincount(g.codes, repeats, g.n_levels).astype(np.int64))
        for g in design.groupings
    )
    design = replace(design, repeats=repeats, groupings=groupings)
    require_estimable(design, family)
    sample = sample.astype(dict(table.dtypes))
    known = table.assign(**{distinct.NUMBER: np.arange(len(table))})
    places = sample.merge(known, on=used, how="left")[distinct.NUMBER].to_numpy(np.int64)
    sample.attrs = parts.attrs
    return design.sampled_at(places), sample


def _too_many(error: distinct.TooMany, parts: Parts, family: str) -> str:
    rows = Distinct(error.rows).table()[0]
    values = {name: rows[name].nunique() for name in rows}
    many = [name for name in rows if values[name] > MANY_VALUES]
    many = sorted(many, key=lambda name: -values[name])[:3] or [max(values, key=values.__getitem__)]
    such = listed([f"{name!r} with {values[name]:,} values or more" for name in many])
    return (
        f"{parts.source} has more than {distinct.MOST:,} distinct rows in the columns of the "
        f"formula, and with `family: {family}` data in parts are fitted where rows collapse to "
        f"counts; round numbers in the files, or put them into classes (there is {such}), leave a "
        "column out, or read the parts into one table, if it fits into memory."
    )
