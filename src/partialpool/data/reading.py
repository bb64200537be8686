"""Reading the parts of a table, streamed in batches.

A part is a Parquet or CSV file, on this machine or wherever fsspec reaches; it is never whole in
memory.
"""

import contextlib
import hashlib
import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, open_csv

from partialpool.data import paths
from partialpool.data.csv_files import decoded, dialect, require_names, told

#: Scheme of an object store's addresses -> the extra of this package that reaches it.
EXTRAS = {
    "http": "http",
    "https": "http",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
}
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
        return isinstance(self.filesystem, LocalFileSystem)

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

    @cached_property
    def written(self) -> tuple[str, str, str]:
        """Delimiter, decimal mark and encoding of a CSV file, as its beginning has them."""
        name = f"The part {self.name}"
        with self.open() as file:
            head = _unpacked(self, file).read(1 << 16)
        text, encoding = decoded(head, name, whole=False)
        if not text.strip():
            raise ValueError(f"{name} is empty.")
        return *dialect(text[: text.rfind("\n") + 1] or text, name), encoding

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
    try:
        filesystem, path = fsspec.url_to_fs(source)
    except ImportError as error:  # of the package that reaches this kind of store
        scheme = source.partition("://")[0]
        extra = EXTRAS.get(scheme)
        remedy = f'pip install "partialpool[{extra}]"' if extra else "install it"
        raise ValueError(f"{source} needs another package ({error}): {remedy}.") from None
    except ValueError as error:
        raise ValueError(f"{source} cannot be reached ({error}); write a path or a URL.") from None
    if isinstance(filesystem, LocalFileSystem):
        found = paths.files(path)
    else:
        found = filesystem.glob(path) if paths.is_glob(path) else filesystem.find(path)
    hidden = (".", "_")
    found = sorted(
        p
        for p in found
        if p.lower().endswith(ENDINGS) and not p.rsplit("/", 1)[-1].startswith(hidden)
    )
    if not found:
        raise FileNotFoundError(f"There are no files {', '.join(ENDINGS)} at {source}.")
    common = posixpath.commonpath([posixpath.dirname(p) for p in found])
    parts = [Part(p, p.removeprefix(common).lstrip("/"), filesystem) for p in found]
    if len({part.is_parquet for part in parts}) > 1:
        raise ValueError(f"{source} has both Parquet and CSV files; name one kind with a glob.")
    return parts


def is_number(kind: pa.DataType) -> bool:
    """Whether a column is a number, rather than a category."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_usable(kind: pa.DataType) -> bool:
    """Whether a column is a number or a category."""
    others = (t := pa.types).is_boolean, t.is_string, t.is_large_string, t.is_dictionary, t.is_null
    return is_number(kind) or any(is_kind(kind) for is_kind in others)


def schema(part: Part) -> pa.Schema:
    """Names and types of a part's columns."""
    with _opened(part) as file:
        if part.is_parquet:
            found = pq.read_schema(file)
        else:
            with _csv(part, _unpacked(part, file)) as reader:
                found = reader.schema
        names = found.names  # which may be no text either
    require_names(names, f"The part {part.name}")
    return found


def read_as(part: Part) -> str:
    """What was told from the beginning of a part, as `csv_files.told`; empty for Parquet."""
    return "" if part.is_parquet else told(*part.written)


@contextlib.contextmanager
def _opened(part: Part) -> Iterator[Any]:
    """The file; what is wrong with it, as a sentence that names the part."""
    with part.open() as file:
        try:
            yield file
        except (pa.ArrowException, EOFError, OSError, UnicodeDecodeError) as error:
            remedy = "write it anew"
            if not part.is_parquet:
                remedy += ", in UTF-8, with as many fields in each row as in the header"
            raise ValueError(f"The part {part.name} cannot be read ({error}); {remedy}.") from None


def pieces(part: Part) -> list[tuple[int, int] | None]:
    """Ranges of row groups that can be read side by side; None is the whole part."""
    if not part.is_parquet:
        return [None]
    with _opened(part) as file:
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
    with _opened(part) as file:
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
            at, kinds = 0, schema(part)
            types = {name: _csv_type(kinds.field(name).type, name in labels) for name in columns}
            quotes = _Quotes(_unpacked(part, file))
            for batch in _csv(part, quotes, columns, types):
                yield at, batch
                at += batch.num_rows
            # a quote at the beginning of a field takes in what follows, to the end of the file
            if quotes.count % 2 and (lines := _lines(part)) > at + 1:
                raise ValueError(
                    f"The part {part.name} has a quote that is not closed: {lines:,} lines make "
                    f"{at:,} rows. Close it, or write a quote within text twice."
                )


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


class _Quotes(io.RawIOBase):
    """A file that counts the quotes which are read from it."""

    def __init__(self, file: Any) -> None:
        self.file, self.count = file, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self.file.read(size)
        self.count += found.count(b'"')
        return bytes(found)


def _lines(part: Part) -> int:
    with part.open() as packed:
        file = _unpacked(part, packed)
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))


def _unpacked(part: Part, file: Any) -> Any:
    return pa.CompressedInputStream(file, "gzip") if part.path.lower().endswith(".gz") else file


def _csv(
    part: Part,
    file: Any,
    columns: list[str] | None = None,
    types: dict[str, pa.DataType] | None = None,
) -> Any:
    delimiter, decimal, encoding = part.written
    return open_csv(
        file,
        parse_options=ParseOptions(delimiter=delimiter),
        read_options=ReadOptions(
            use_threads=False, block_size=1 << 22, encoding=encoding.removesuffix("-sig")
        ),
        convert_options=ConvertOptions(
            include_columns=columns,
            column_types=types,
            strings_can_be_null=True,
            decimal_point=decimal,
        ),
    )
