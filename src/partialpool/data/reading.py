"""Streaming the parts of a table: batches of columns, never a whole file in memory.

A part is a Parquet or CSV file, on this machine or wherever fsspec reaches.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from partialpool.data import paths
from partialpool.data.csv_file import dialect, require_names

#: Rows worked on at a time: few enough to stay in a processor's own cache.
BATCH = 1 << 16
#: Row groups of up to this many rows are read whole, which is twice as fast as in batches.
ROW_GROUP = 1 << 21
#: A Parquet file is cut into pieces of at least this many rows, so that one large file still
#: occupies all processors; where it is cut depends on the file alone.
PIECE = 4_000_000
ENDINGS = (".parquet", ".csv", ".csv.gz")
#: What a store may say of a file that changes whenever its content does.
VERSIONS = ("mtime", "created", "ETag", "etag", "LastModified", "last_modified", "generation")


@dataclass(frozen=True)
class Part:
    """One file of a table in parts.

    Attributes
    ----------
    path : str
        For `filesystem`.
    name : str
        Below what all parts have in common: the same wherever the folder lies.
    filesystem : fsspec.AbstractFileSystem
    """

    path: str
    name: str
    filesystem: Any

    @property
    def is_local(self) -> bool:
        """Whether the part lies on this machine."""
        return isinstance(self.filesystem, fsspec.get_filesystem_class("file"))

    @cached_property
    def mark(self) -> str:
        """Changes when the file does: its content's digest, or what a store says of its version.

        Size and times of a local file are not enough: it can be edited in place with both kept.
        """
        if not self.is_local:
            info = self.filesystem.info(self.path)
            version = {key: str(info[key]) for key in VERSIONS if info.get(key) is not None}
            if version:
                return hashlib.sha256(f"{self.path}{info['size']}{version}".encode()).hexdigest()
        return self.content()

    def content(self) -> str:
        """SHA-256 of the file; reads all of it."""
        with self.filesystem.open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def is_parquet(self) -> bool:
        """Whether the part is Parquet, rather than CSV."""
        return self.path.lower().endswith(".parquet")

    def open(self) -> Any:
        """The file, to be read in blocks; Arrow's own reader where the file is local."""
        if self.is_local:
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
    if isinstance(filesystem, fsspec.get_filesystem_class("file")):
        found = paths.files(path)
    else:
        found = filesystem.glob(path) if any(c in path for c in "*?[") else filesystem.find(path)
    found = sorted(filter(is_part, found))
    if not found:
        raise FileNotFoundError(f"There are no files {', '.join(ENDINGS)} at {source}.")
    if len({p.lower().endswith(".parquet") for p in found}) > 1:
        raise ValueError(f"{source} has both Parquet and CSV files; name one kind with a glob.")
    common = found[0].rsplit("/", 1)[0]
    while common and not all(p.startswith(f"{common}/") for p in found):
        common = common.rpartition("/")[0]
    return [Part(p, p[len(common) :].lstrip("/"), filesystem) for p in found]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column is a number, rather than a category."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_part(path: str) -> bool:
    """Whether a file is read as a part: by its ending, and unless it is hidden."""
    return path.lower().endswith(ENDINGS) and path.rsplit("/", 1)[-1][0] not in "._"


def schema(part: Part) -> pa.Schema:
    """Names and types of a part's columns."""
    with part.open() as file:
        try:
            if part.is_parquet:
                found = pq.read_schema(file)
            else:
                with _csv(part, file, None, {}) as reader:
                    found = reader.schema
        except (pa.ArrowException, EOFError) as error:
            raise ValueError(f"The part {part.name} cannot be read ({error}).") from None
    require_names(found.names, f"The part {part.name}")
    return found


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
                    yield at, plain(batch.select(columns))
                    at += batch.num_rows
        else:
            at = 0
            with _csv(part, file, None, {}) as reader:
                inferred = {field.name: field.type for field in reader.schema}
            types = {name: _csv_type(inferred[name], name in labels) for name in columns}
            with part.open() as again:
                try:
                    for batch in _csv(part, again, columns, types):
                        yield at, batch
                        at += batch.num_rows
                except (pa.ArrowException, EOFError) as error:
                    raise ValueError(f"The part {part.name} cannot be read ({error}).") from None


def plain(table: Any) -> Any:
    """The same table or batch, with numbers of fixed decimals as floating-point numbers."""
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
        for field in table.schema
    ]
    wanted = pa.schema(fields, table.schema.metadata)
    return table if wanted.equals(table.schema) else table.cast(wanted)


def _csv_type(inferred: pa.DataType, label: bool) -> pa.DataType:
    # The first block decides; a column of whole numbers may go on with fractions.
    if label:
        return pa.int64() if pa.types.is_integer(inferred) else pa.string()
    numeric = pa.types.is_integer(inferred) or pa.types.is_null(inferred)
    return pa.float64() if numeric else inferred


def _csv(part: Part, file: Any, columns: list[str] | None, types: dict[str, pa.DataType]) -> Any:
    packed = part.path.lower().endswith(".gz")
    with part.open() as again:
        head = (pa.CompressedInputStream(again, "gzip") if packed else again).read(1 << 16)
    delimiter, decimal = dialect(head.decode("utf-8", errors="replace"))
    return csv.open_csv(
        pa.CompressedInputStream(file, "gzip") if packed else file,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        read_options=csv.ReadOptions(use_threads=False, block_size=1 << 22),
        convert_options=csv.ConvertOptions(
            include_columns=columns,
            column_types=types,
            strings_can_be_null=True,
            decimal_point=decimal,
        ),
    )


def uniques(part: Part, columns: list[str]) -> dict[str, list[Any]]:
    """Sorted distinct values of some columns of a part."""
    found: dict[str, set[Any]] = {name: set() for name in columns}
    for _, batch in batches(part, columns, set(columns)):
        for name in columns:
            found[name] |= set(pc.unique(batch.column(name)).to_pylist()) - {None}
    return {name: sorted(values) for name, values in found.items()}
