"""Tables in parts that need not fit into memory: a folder or a glob of Parquet or CSV files."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from partialpool.data import part_cache, paths, reading
from partialpool.data.columns import require_columns
from partialpool.data.reading import Part, is_number

#: Rows of the sample of a table in parts, unless told otherwise.
SAMPLE = 10_000


@dataclass(frozen=True)
class Parts:
    """A table in parts; give it to `Model` in the place of a table.

    Attributes
    ----------
    source : str
        The folder or glob.
    files : tuple of Part
        Sorted by name.
    sample_rows, seed : int
        Size of the random sample of rows for plots, and where it comes from.
    cache : Path or None
        Folder in which parts that were read are remembered.
    """

    source: str
    files: tuple[Part, ...] = field(repr=False)
    sample_rows: int = SAMPLE
    seed: int = 0
    cache: Path | None = field(default=None, repr=False)

    @cached_property
    def schema(self) -> dict[str, pa.DataType]:
        """Types of the columns, as the first part has them."""
        return {f.name: f.type for f in reading.schema(self.files[0])}

    @cached_property
    def n_rows(self) -> int | None:
        """Number of rows, where all files say it without being read."""
        rows = [reading.rows(part) for part in self.files]
        return None if None in rows else sum(map(int, filter(None, rows)))

    @property
    def attrs(self) -> dict[str, Any]:
        """Where the data come from, as a table of `load` says it."""
        return {"source": self.source, "sha256": self.digest}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of all parts."""
        total = hashlib.sha256()
        for part in self.files:
            kept = self.cache and self.cache / f"{part.mark[:32]}.sha256"
            if part.is_local:
                content = part.mark
            elif kept and kept.is_file():
                content = kept.read_text()
            else:
                content = part.content()
                part_cache.write(kept, content)
            total.update(f"{part.name}\0{content}\0".encode())
        return total.hexdigest()

    def require(self, names: list[str]) -> None:
        """Raise a ValueError for a column that a part lacks or holds as another kind."""
        for part in self.files:
            schema = reading.schema(part)
            require_columns(schema.names, names, f"The part {part.name}")
            for name in names:
                mine, first = (is_number(k) for k in (schema.field(name).type, self.schema[name]))
                if mine != first:
                    kinds = ("text", "a number")
                    raise ValueError(
                        f"The column {name!r} is {kinds[mine]} in {part.name} and {kinds[first]} "
                        "in the first part; store it alike in all parts."
                    )

    def categories(self, part: Part, names: list[str]) -> dict[str, list[Any]]:
        """Sorted distinct values of some columns of a part."""
        if not names:
            return {}
        place = part_cache.place(self.cache, part, "json", names)
        if place is not None and place.is_file():
            return json.loads(place.read_text())
        found = reading.uniques(part, names)
        part_cache.write(place, json.dumps(found))
        return found

    def head(self, used: list[str], labels: set[str]) -> pd.DataFrame:
        """The first rows: something to evaluate a formula on."""
        for _, batch in reading.batches(self.files[0], used, labels):
            if batch.num_rows:
                return batch.slice(0, 64).to_pandas().dropna()
        raise ValueError(f"The part {self.files[0].name} has no rows.")


def open_parts(source: str, *, sample_rows: int = SAMPLE, seed: int = 0) -> Parts:
    """Find the parts of a table; reads none of them.

    Parameters
    ----------
    source : str
        A folder or a glob of ``.parquet``, ``.csv`` or ``.csv.gz`` files; a local path or a URL
        that fsspec knows.
    sample_rows, seed : int
        Size and seed of the sample of rows.
    """
    if sample_rows < 1:
        raise ValueError(f"sample_rows: must be at least 1, not {sample_rows}.")
    found = tuple(reading.find(source))
    return Parts(source, found, sample_rows, seed, paths.cache_folder("parts"))
