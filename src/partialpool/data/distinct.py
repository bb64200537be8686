"""Distinct rows with how often each is there, of rows that come in any order and in pieces."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

#: Column in which the numbers of rows stand beside those of the rows.
NUMBER = "number of rows__"
#: Most distinct rows that are kept: with ten columns, to read and to collapse so many took half a
#: minute of one processor and 4 GB.
MOST = 3_000_000


class TooMany(ValueError):
    """There are more distinct rows than `MOST`.

    Parameters
    ----------
    rows : pyarrow.Table
        Those that were met so far.
    """

    def __init__(self, rows: pa.Table) -> None:
        super().__init__(f"There are more than {MOST:,} distinct rows.")
        self.rows = rows


@dataclass(frozen=True)
class Distinct:
    """Distinct rows of some columns.

    Attributes
    ----------
    rows : pyarrow.Table
        Each row once, and in the last column, `NUMBER`, how often it is there.
    """

    rows: pa.Table

    def merge(self, other: "Distinct") -> "Distinct":
        """Those of the rows of both.

        Raises
        ------
        TooMany
        """
        # a column may be of whole numbers in one part and of fractions in another
        both = pa.concat_tables([self.rows, other.rows], promote_options="permissive")
        names = self.names
        found = both.group_by(names, use_threads=False).aggregate([(NUMBER, "sum")])
        found = found.select([*names, f"{NUMBER}_sum"]).rename_columns([*names, NUMBER])
        if found.num_rows > MOST:
            raise TooMany(found)
        return Distinct(found)

    @property
    def names(self) -> list[str]:
        """Names of the columns, without that of the numbers."""
        return [name for name in self.rows.column_names if name != NUMBER]

    def table(self) -> tuple[pd.DataFrame, np.ndarray]:
        """The rows, sorted by all columns, and the number of each (n,).

        So they do not depend on the order in which rows came.
        """
        rows = self.rows.sort_by([(name, "ascending") for name in self.names])
        number = rows.column(NUMBER).to_numpy().astype(np.int64)
        return rows.select(self.names).to_pandas(), number


def of_batch(batch: pa.RecordBatch) -> Distinct:
    """The distinct rows of a batch; see `plain`."""
    table = pa.Table.from_batches([batch])
    names = table.column_names
    found = table.group_by(names, use_threads=False).aggregate([([], "count_all")])
    return Distinct(found.select([*names, "count_all"]).rename_columns([*names, NUMBER]))


def nothing(names: list[str]) -> Distinct:
    """No rows of some columns."""
    empty = {name: pa.nulls(0) for name in names}
    return Distinct(pa.table(empty | {NUMBER: pa.nulls(0, pa.int64())}))


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch in which equal values are equal to the bit: text without codes, zero without sign."""
    columns = []
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        elif pa.types.is_floating(column.type):
            column = pc.add(column.cast(pa.float64()), 0.0)
        elif pa.types.is_large_string(column.type):
            column = column.cast(pa.string())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
