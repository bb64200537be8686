"""Streaming the parts of a table: batches of columns, never a whole file in memory.

A part is a Parquet or CSV file, on this machine or wherever fsspec reaches.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

#: Rows worked on at a time: few enough to stay in a processor's own cache.
BATCH = 1 << 16
#: Row groups of up to this many rows are read whole, which is twice as fast as in batches.
ROW_GROUP = 1 << 21
#: A Parquet file is cut into pieces of at least this many rows, so that one large file still
#: occupies all processors; where it is cut depends on the file alone.
PIECE = 4_000_000
ENDINGS = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class Part:
    """One file of a table in parts.

    Attributes
    ----------
    path : str
        For `filesystem`.
    name : str
        Below what all parts have in common: the same wherever the folder lies.
    mark : str
        Changes when the file does: from its size and time of change, or what a store says of it.
    filesystem : fsspec.AbstractFileSystem
    """

    path: str
    name: str
    mark: str
    filesystem: Any

    @property
    def is_parquet(self) -> bool:
        """Whether the part is Parquet, rather than CSV."""
        return self.path.endswith(".parquet")

    def open(self) -> Any:
        """The file, to be read in blocks; Arrow's own reader where the file is local."""
        if isinstance(self.filesystem, fsspec.get_filesystem_class("file")):
            return pa.OSFile(self.path)
        return self.filesystem.open(self.path, "rb")


def find(source: str) -> list[Part]:
    """Find the parts that a folder or a glob stands for, sorted by name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If they are not all of one kind.
    """
    filesystem, path = fsspec.url_to_fs(source)
    paths = filesystem.glob(path) if any(c in path for c in "*?[") else filesystem.find(path)
    paths = sorted(p for p in paths if p.endswith(ENDINGS) and p.rsplit("/", 1)[-1][0] not in "._")
    if not paths:
        raise FileNotFoundError(f"There are no files {', '.join(ENDINGS)} at {source}.")
    if len({p.endswith(".parquet") for p in paths}) > 1:
        raise ValueError(f"{source} has both Parquet and CSV files; name one kind with a glob.")
    common = paths[0].rsplit("/", 1)[0]
    while common and not all(p.startswith(f"{common}/") for p in paths):
        common = common.rpartition("/")[0]
    return [Part(p, p[len(common) :].lstrip("/"), _mark(filesystem, p), filesystem) for p in paths]


def _mark(filesystem: Any, path: str) -> str:
    info = filesystem.info(path)
    keys = ("size", "mtime", "ino", "ETag", "etag", "LastModified", "last_modified", "generation")
    found = {key: str(info[key]) for key in keys if key in info}
    return hashlib.sha256(f"{path}{found}".encode()).hexdigest()


def schema(part: Part) -> pa.Schema:
    """Names and types of a part's columns."""
    with part.open() as file:
        if part.is_parquet:
            return pq.read_schema(file)
        with _csv(part, file, None, {}) as reader:
            return reader.schema


def pieces(part: Part) -> list[tuple[int, int] | None]:
    """Ranges of row groups that can be read side by side; None is the whole part."""
    if not part.is_parquet:
        return [None]
    with part.open() as file:
        found = pq.ParquetFile(file)
        sizes = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
    result: list[tuple[int, int] | None] = []
    begin = rows = 0
    for i, size in enumerate(sizes):
        rows += size
        if rows >= PIECE or i == len(sizes) - 1:
            result.append((begin, i + 1))
            begin, rows = i + 1, 0
    return result or [None]


def rows(part: Part) -> int | None:
    """Number of rows, where the file says it without being read."""
    if not part.is_parquet:
        return None
    with part.open() as file:
        return int(pq.read_metadata(file).num_rows)


def batches(
    part: Part, columns: list[str], labels: set[str], piece: tuple[int, int] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches of some columns, each with the number of its first row within the part.

    Parameters
    ----------
    part : Part
    columns : list of str
    labels : set of str
        Columns that are categories or groups: in CSV these keep whole numbers and text, while
        all others are numbers.
    piece : tuple of int, optional
        From `pieces`; default is everything.
    """
    with part.open() as file:
        if part.is_parquet:
            found = pq.ParquetFile(file)
            begin, end = piece or (0, found.num_row_groups)
            at = sum(found.metadata.row_group(i).num_rows for i in range(begin))
            for group in range(begin, end):
                if found.metadata.row_group(group).num_rows <= ROW_GROUP:
                    table = found.read_row_group(group, columns=columns, use_threads=False)
                    stream = iter(table.to_batches(BATCH))
                else:
                    stream = found.iter_batches(
                        BATCH, row_groups=[group], columns=columns, use_threads=False
                    )
                for batch in stream:
                    yield at, batch.select(columns)
                    at += batch.num_rows
        else:
            at = 0
            with _csv(part, file, None, {}) as reader:
                inferred = {field.name: field.type for field in reader.schema}
            types = {name: _csv_type(inferred[name], name in labels) for name in columns}
            with part.open() as again:
                for batch in _csv(part, again, columns, types):
                    yield at, batch
                    at += batch.num_rows


def _csv_type(inferred: pa.DataType, label: bool) -> pa.DataType:
    # The first block decides; a column of whole numbers may go on with fractions.
    if label:
        return pa.int64() if pa.types.is_integer(inferred) else pa.string()
    numeric = pa.types.is_integer(inferred) or pa.types.is_null(inferred)
    return pa.float64() if numeric else inferred


def _csv(part: Part, file: Any, columns: list[str] | None, types: dict[str, pa.DataType]) -> Any:
    if part.path.endswith(".gz"):
        file = pa.CompressedInputStream(file, "gzip")
    return csv.open_csv(
        file,
        read_options=csv.ReadOptions(use_threads=False, block_size=1 << 22),
        convert_options=csv.ConvertOptions(
            include_columns=columns, column_types=types, strings_can_be_null=True
        ),
    )


def uniques(part: Part, columns: list[str]) -> dict[str, list[Any]]:
    """Sorted distinct values of some columns of a part."""
    found: dict[str, set[Any]] = {name: set() for name in columns}
    for _, batch in batches(part, columns, set(columns)):
        for name in columns:
            found[name] |= set(pc.unique(batch.column(name)).to_pylist()) - {None}
    return {name: sorted(values) for name, values in found.items()}
