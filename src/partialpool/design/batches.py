"""One part, streamed: batches of rows to moments by group, or distinct rows, and a sample."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from partialpool.data import distinct, moments, reading
from partialpool.data.parts import Piece, Sampler
from partialpool.data.reading import Part, is_number
from partialpool.data.text import safe
from partialpool.design import evaluation, from_table
from partialpool.design.formula import Formula
from partialpool.design.totals import CONSTANT


class Columns:
    """The distinct columns of ``[X Z y]`` that are not constant, for batches of rows.

    Columns that stand in the file as they are, are taken from there; a formula that computes
    something is evaluated batch by batch.

    Parameters
    ----------
    formula : Formula
    template : pandas.DataFrame
        A few rows with every category.
    types : dict
        Arrow's types of the columns in the files.
    """

    def __init__(
        self, formula: Formula, template: pd.DataFrame, types: dict[str, pa.DataType]
    ) -> None:
        self.design = from_table.build(formula.text, template, estimable=False)
        self._answer = evaluation.evaluate(f"0 + {formula.answer}", template, formula.text).common
        places = {name: ("X", k) for k, name in enumerate(self.design.x_names)}
        places |= {name: ("Z", k) for k, name in enumerate(self.design.only.z_names)}
        places = {name: place for name, place in places.items() if name not in CONSTANT}
        self.places = places | {self.design.response: ("y", 0)}
        self.names = tuple(self.places)
        raw = {safe(name): name for name, kind in types.items() if is_number(kind)}
        self.raw = [raw.get(name) for name in self.names]
        if formula.offsets:
            self.raw[-1] = None

    def of(self, batch: pa.RecordBatch) -> np.ndarray:
        """Values (d, n) of a batch."""
        values = np.empty((len(self.names), batch.num_rows))
        if all(self.raw):
            for row, name in zip(values, self.raw, strict=True):
                row[:] = batch.column(name).to_numpy(zero_copy_only=False)
            return values
        table = batch.to_pandas()
        X, Z = self.design.columns(table)
        found = {"X": X, "Z": Z, "y": self.answer(table)[:, None]}
        for row, (matrix, k) in zip(values, self.places.values(), strict=True):
            row[:] = found[matrix][:, k]
        return values

    def answer(self, table: pd.DataFrame) -> np.ndarray:
        """The response (n,) of some rows."""
        y = evaluation.columns((self._answer,), len(table), table)[:, 0]
        return y - self.design.offset_of(table)


def reduce_piece(
    part: Part,
    piece: tuple[int, int] | None,
    columns: Columns,
    labels: set[str],
    used: list[str],
    sample: Sampler,
) -> Piece:
    """Read a piece of a part once.

    Parameters
    ----------
    part, piece
        See `reading.batches`.
    columns : Columns
    labels : set of str
        Columns that are labels rather than numbers.
    used : list of str
        All columns to read.
    sample : Sampler
    """
    groups = moments.Groups(moments.width(len(columns.names)))
    for first, batch in reading.batches(part, used, labels, piece):
        if any(batch.column(name).null_count for name in used):
            raise ValueError(_incomplete(part, used, labels))
        values = columns.of(batch)
        groups.add(_labels(batch, columns.design.only.columns), values)
        sample.offer(first, batch)
    levels, records = groups.result()
    if not np.isfinite(records).all():
        raise ValueError(_incomplete(part, used, labels))
    found = moments.without_zeros(moments.Moments(columns.names, levels, records))
    return Piece(found, sample.result(), sample.halvings)


def count_piece(
    part: Part, piece: tuple[int, int] | None, labels: set[str], used: list[str], sample: Sampler
) -> Piece:
    """Read a piece of a part once, into its distinct rows; arguments as for `reduce_piece`."""

    def each() -> Iterator[distinct.Distinct]:
        for first, batch in reading.batches(part, used, labels, piece):
            same = distinct.plain(batch)
            floats = [c for c in same.columns if pa.types.is_floating(c.type)]
            whole = all(pc.all(pc.is_finite(c), min_count=0).as_py() for c in floats)
            if not whole or any(c.null_count for c in same.columns):
                raise ValueError(_incomplete(part, used, labels))
            sample.offer(first, same)
            yield distinct.of_batch(same)

    counted = each()
    first = next(counted, distinct.nothing(used))
    found = moments.merge_all(chain([first], counted))
    return Piece(found, sample.result(), sample.halvings)


def _labels(batch: pa.RecordBatch, factors: tuple[str, ...]) -> Any:
    """Group of each row: an array of whole numbers, or Arrow's dictionary of anything else.

    Of an interaction the text that `evaluation.factor` makes.
    """
    if not factors:
        return np.zeros(batch.num_rows, dtype=np.int64)
    if len(factors) > 1:
        text = [_quoted(batch.column(name)) for name in factors]
        return pc.binary_join_element_wise(*text, ":").dictionary_encode()
    column = batch.column(factors[0])
    if pa.types.is_integer(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _quoted(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type) or pa.types.is_temporal(column.type):
        # which Arrow writes otherwise
        return pa.array(column.to_pandas().astype(str), type=pa.string())
    text = pc.cast(column, pa.string())
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(text, '[:"]'), quoted, text)


def _incomplete(part: Part, used: list[str], labels: set[str]) -> str:
    """The sentence on missing values, with their numbers column by column."""
    bad = dict.fromkeys(used, 0)
    for _, batch in reading.batches(part, used, labels):
        for name in used:
            column = batch.column(name)
            bad[name] += column.null_count
            if pa.types.is_floating(column.type):
                finite = np.isfinite(column.drop_null().to_numpy(zero_copy_only=False))
                bad[name] += int((~finite).sum())
    where = ", ".join(f"{count} in {name!r}" for name, count in bad.items() if count)
    if not where:
        return f"In {part.name}, the formula gives values that are missing or infinite."
    return (
        f"Rows with missing or infinite values in {part.name}: {where}. "
        "Drop these rows or fill them in."
    )
