"""From a formula and a table in parts to a design of all its rows.

`reduce` reads each part once, in batches, into moments by group and a sample of its rows; what a
part came to is kept under a key made from the file's mark and the formula, so that a new part
leads to reading that part only. Group levels and categories may differ between parts.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd

from partialpool.data import moments, reading
from partialpool.data.distinct import Distinct
from partialpool.data.moments import Moments
from partialpool.data.parts import Parts, Piece, merge_samples, recall, remember
from partialpool.data.reading import Part, is_number
from partialpool.design.batches import Columns, reduce_piece
from partialpool.design.estimable import require_estimable
from partialpool.design.evaluation import CATEGORICAL, STATEFUL
from partialpool.design.formula import Formula, require_no_constant, used_columns, variables
from partialpool.design.formula import read as read_formula
from partialpool.design.matrices import Design


@dataclass(frozen=True)
class Reduced:
    """What all parts together come to, for one formula.

    Attributes
    ----------
    moments : Moments
        By group, of every column that is not constant, the response last.
    sample : pandas.DataFrame
        Random rows, in the columns of the formula.
    columns : Columns
        The formula, evaluated on a few rows with every category.
    read : tuple of str
        Names of the parts that had to be read, rather than remembered.
    """

    moments: moments.Moments
    sample: pd.DataFrame
    columns: Columns
    read: tuple[str, ...]


def reduce(parts: Parts, formula: str) -> Reduced:
    """Moments and sample of all parts for a formula; reads what is not remembered.

    Raises
    ------
    ValueError
        With one sentence that names the part, the column and the remedy.
    """
    asked = read_formula(formula)
    refuse(asked, STATEFUL + CATEGORICAL)
    grouping = asked.factors[0] if asked.factors else ()
    used = used_columns(formula)
    parts.require(used)
    require_no_constant(parts.schema, formula)
    named = asked.predictors | variables(asked.answer, formula)
    categorical = sorted(name for name in named if not is_number(parts.schema[name]))
    labels = {*categorical, *grouping}
    own = {part.name: parts.categories(part, categorical) for part in parts.files}
    levels = {name: sorted(set().union(*(o[name] for o in own.values()))) for name in categorical}
    first = parts.head(used, labels)
    if missing := [name for name, values in levels.items() if not values]:
        raise ValueError(f"The column {missing[0]!r} has no values in any part; leave it out.")
    references = {name: values[0] for name, values in levels.items()}
    read: list[str] = []

    def pieces(part: Part) -> list[Callable[[], Piece]]:
        # The reference category is there in every part, so that columns mean the same in each;
        # and one more, without which there would be no columns to name.
        present = {n: sorted({*levels[n][:2], *values}) for n, values in own[part.name].items()}
        columns = Columns(asked, _template(first, present), parts.schema)
        read.append(part.name)
        arguments = columns, labels, used
        return [
            partial(reduce_piece, part, piece, *arguments, parts.sampler(part))
            for piece in reading.pieces(part)
        ]

    total, sample = streamed(parts, [formula, references], pieces)
    assert isinstance(total, Moments)
    columns = Columns(asked, _template(first, levels), parts.schema)
    return Reduced(total.over(columns.names), sample, columns, tuple(read))


def streamed(
    parts: Parts, what: list[Any], pieces: Callable[[Part], list[Callable[[], Piece]]]
) -> tuple[Moments | Distinct, pd.DataFrame]:
    """What all parts come to, merged, and the sample of their rows.

    Parameters
    ----------
    parts : Parts
    what : list
        What is asked of each part: under this its answer is remembered.
    pieces : callable
        From a part that is not remembered to jobs, each of which reads a piece of it.
    """

    def jobs() -> Iterator[tuple[Path | None, Piece | list[Callable[[], Piece]]]]:
        for part in parts.files:
            place = parts.place(part, "npz", [part.name, *what, parts.sample_rows, parts.seed])
            known = recall(place)
            enough = known is not None and known.halvings <= parts.halvings
            yield place, known if known is not None and enough else pieces(part)

    samples: list[pd.DataFrame] = []

    def found() -> Iterator[Any]:
        for piece in _in_order(jobs(), parts.sample_rows):
            samples.append(piece.sample)
            if len(samples) > 16:
                samples[:] = [merge_samples(samples, parts.sample_rows)]
            yield piece.found

    total = moments.merge_all(found())
    return total, merge_samples(samples, parts.sample_rows).reset_index(drop=True)


def build(formula: str, parts: Parts) -> tuple[Design, pd.DataFrame]:
    """A design of the sample of rows that knows the moments of all, and the sample.

    Parameters
    ----------
    formula : str
    parts : Parts

    Returns
    -------
    Design
        Its rows are the sample's.
    pandas.DataFrame
        The sample.

    Raises
    ------
    ValueError
        As `reduce`, and where the rows cannot tell the coefficients apart.
    """
    found = reduce(parts, formula)
    sample, moments = found.sample, found.moments
    design = found.columns.design
    known = tuple(
        replace(grouping, levels=moments.levels, _counts=moments.counts)
        for grouping in design.groupings
    )
    design = replace(design, groupings=known, moments=moments)
    X, of_groups = design.rows(sample)
    groupings = tuple(
        replace(grouping, Z=Z, codes=codes)
        for grouping, (Z, codes) in zip(known, of_groups, strict=True)
    )
    design = replace(design, y=found.columns.answer(sample), X=X, groupings=groupings)
    require_estimable(design)
    sample.attrs = parts.attrs
    return design, sample


def _in_order(
    jobs: Iterator[tuple[Path | None, Piece | list[Callable[[], Piece]]]], size: int
) -> Iterator[Piece]:
    """Do the jobs on all processors, a few ahead; yield in their order, and remember each."""
    threads = numba.get_num_threads()
    ahead: deque[tuple[Path | None, Piece | list[Future[Piece]]]] = deque()

    def finish() -> Piece:
        place, job = ahead.popleft()
        if isinstance(job, Piece):
            return job
        piece = _combine([future.result() for future in job], size)
        remember(place, piece)
        return piece

    pool = ThreadPoolExecutor(threads)
    try:
        for place, job in jobs:
            ahead.append((place, job if isinstance(job, Piece) else [*map(pool.submit, job)]))
            while len(ahead) > threads + 1:
                yield finish()
        while ahead:
            yield finish()
    finally:
        pool.shutdown(cancel_futures=True)


def _combine(pieces: list[Piece], size: int) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    sample = merge_samples([piece.sample for piece in pieces], size)
    each: Iterator[Any] = (piece.found for piece in pieces)  # all of one kind
    total = moments.merge_all(each)
    return Piece(total, sample, pieces[0].halvings)


def refuse(formula: Formula, names: tuple[str, ...]) -> None:
    """Raise a ValueError for functions of some names, and for several grouping factors."""
    for name in re.findall(r"([A-Za-z_]\w*)\s*\(", formula.text):
        if name in names:
            remedy = (
                "store the column as text"
                if name in CATEGORICAL
                else "write the numbers into the formula, such as I((x - 10) / 2)"
            )
            raise ValueError(
                f"In {formula.text!r}, {name}() must see all rows at once, which data in parts do "
                f"not allow; {remedy}."
            )
    if len(formula.factors) > 1:
        raise ValueError(
            f"In {formula.text!r}, there are {len(formula.factors)} grouping factors, and data in "
            "parts, which are reduced group by group, take one; keep one of them, or read the "
            "parts into one table, as pandas.read_parquet does with a folder, and give that."
        )


def _template(first: pd.DataFrame, levels: dict[str, list[Any]]) -> pd.DataFrame:
    """Rows in which every category occurs."""
    rows = max([len(first), *(len(values) for values in levels.values())])
    table = first.iloc[np.arange(rows) % len(first)].reset_index(drop=True)
    for name, values in levels.items():
        table[name] = [values[k % len(values)] for k in range(rows)]
    table.attrs["template"] = True
    return table
