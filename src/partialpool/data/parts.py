"""Tables in parts that need not fit into memory: a folder or a glob of Parquet or CSV files.

Of each part, moments by group or its distinct rows, and a random sample of rows, are kept, one file
each, under a key made from the part's mark and from what was asked of it; so a changed part is read
again, and an unchanged one never.

Every row has a number that depends on the seed, the part's name and its place in the part; the
sample are the rows with the smallest numbers. So it depends neither on the order in which parts
are read nor on how many are read at once, and samples of parts merge into a sample of all.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from partialpool.data import paths, reading
from partialpool.data.columns import require_columns
from partialpool.data.distinct import Distinct
from partialpool.data.moments import Moments
from partialpool.data.reading import Part, is_number

#: Rows of the sample of a table in parts, unless told otherwise.
SAMPLE = 10_000
#: Part of every key: raise it when what is kept of a part changes.
VERSION = 2


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
        if not self.files[0].is_parquet:
            return None
        rows = 0
        for part in self.files:
            with part.open() as file:
                rows += pq.read_metadata(file).num_rows
        return rows

    @cached_property
    def halvings(self) -> int:
        """How often the range of rows' numbers can be halved and the sample still be found.

        Twice as many rows as needed are then left on average: with 100 rows wanted, ten standard
        deviations more than needed.
        """
        return max(0, ((self.n_rows or 0) // (2 * max(self.sample_rows, 100))).bit_length() - 1)

    @property
    def attrs(self) -> dict[str, Any]:
        """Where the data come from, as a table of `load` says it."""
        told = [*dict.fromkeys(filter(None, map(reading.read_as, self.files)))]
        return {"source": self.source, "sha256": self.digest, "read_as": " ".join(told)}

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
                keep(kept, content)
            total.update(f"{part.name}\0{content}\0".encode())
        return total.hexdigest()

    def require(self, names: list[str]) -> None:
        """Raise a ValueError for a column that a part lacks or holds as another kind."""
        for part in self.files:
            schema = reading.schema(part)
            require_columns(schema.names, names, f"The part {part.name}")
            for name in names:
                if not reading.is_usable(schema.field(name).type):
                    raise ValueError(
                        f"The column {name!r} holds {schema.field(name).type} in {part.name}, "
                        "which a formula cannot use; turn it into numbers, or into text for "
                        "categories."
                    )
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
        place = self.place(part, "json", names)
        if place is not None and place.is_file():
            return json.loads(place.read_text())
        seen: dict[str, set[Any]] = {name: set() for name in names}
        for _, batch in reading.batches(part, names, {*names}):
            for name in names:
                seen[name] |= {*pc.unique(batch.column(name)).to_pylist()} - {None}
        found = {name: sorted(values) for name, values in seen.items()}
        keep(place, json.dumps(found))
        return found

    def head(self, used: list[str], labels: set[str]) -> pd.DataFrame:
        """The first rows: something to evaluate a formula on."""
        for _, batch in reading.batches(self.files[0], used, labels):
            if batch.num_rows:
                return batch.slice(0, 64).to_pandas().dropna()
        raise ValueError(f"The part {self.files[0].name} has no rows.")

    def place(self, part: Part, ending: str, what: list[Any]) -> Path | None:
        """Where the answer to `what` is kept for a part; None when nothing is kept."""
        if self.cache is None:
            return None
        key = json.dumps([VERSION, part.mark, what], sort_keys=True)
        return self.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{ending}"

    def sampler(self, part: Part) -> "Sampler":
        """What collects the sample's rows of a part, or a piece of it."""
        return Sampler(part.name, self.sample_rows, self.seed, self.halvings)


@dataclass(frozen=True)
class Piece:
    """What a part, or a piece of it, came to; `halvings` as in `Sampler`."""

    found: Moments | Distinct
    sample: pd.DataFrame
    halvings: int


def recall(path: Path | None) -> Piece | None:
    """What was remembered, or None."""
    if path is None:
        return None
    try:
        with np.load(path) as kept:
            sample = _table(kept["sample"]).to_pandas()
            sample.index = pd.Index(kept["numbers"])
            found: Moments | Distinct
            if "distinct" in kept:
                found = Distinct(_table(kept["distinct"]))
            else:
                found = Moments(tuple(kept["names"].tolist()), kept["levels"], kept["records"])
            return Piece(found, sample, int(kept["halvings"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged, as after a power cut: the checksums in the file tell


def remember(path: Path | None, piece: Piece) -> None:
    """Keep what a part came to."""
    if path is None:
        return
    if isinstance(found := piece.found, Distinct):
        own: dict[str, Any] = {"distinct": _bytes(found.rows)}
    else:
        own = {"names": np.array(found.names), "levels": found.levels, "records": found.records}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        halvings=piece.halvings,
        numbers=piece.sample.index.to_numpy(),
        sample=_bytes(pa.Table.from_pandas(piece.sample, preserve_index=False)),
        **own,
    )
    keep(path, buffer.getbuffer())


def _bytes(table: pa.Table) -> np.ndarray:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _table(kept: np.ndarray) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(kept.tobytes())).read_all()


def keep(path: Path | None, content: str | memoryview) -> None:
    """Keep what only saves time: not at all where there is no room, or no place."""
    if path is not None:
        with contextlib.suppress(OSError):
            paths.write(path, content)


class Sampler:
    """Collects the rows of one part, or a piece of it.

    Parameters
    ----------
    name : str
        The part's.
    size : int
        Rows of the sample.
    seed : int
    halvings : int
        How often the range of numbers is halved before any row is looked at; see `Parts.halvings`.
    """

    def __init__(self, name: str, size: int, seed: int, halvings: int) -> None:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        self.key = np.uint64(int.from_bytes(digest[:8], "little"))
        self.size = size
        self.halvings = halvings
        self.limit = np.uint64((2**64 - 1) >> halvings)
        self.numbers = np.empty(0, dtype=np.uint64)
        self.tables: list[pa.Table] = []

    def offer(self, first: int, batch: pa.RecordBatch) -> None:
        """Look at a batch, the first row of which has the number `first` in its part."""
        numbers, rows = _below(self.key, first, batch.num_rows, self.limit)
        if len(rows):
            self.numbers = np.concatenate([self.numbers, numbers])
            self.tables.append(pa.Table.from_batches([batch.take(pa.array(rows))]))
            if len(self.numbers) > 4 * self.size:
                self._prune()

    def _prune(self) -> None:
        keep = np.argsort(self.numbers, kind="stable")[: self.size]
        table = pa.concat_tables(self.tables, promote_options="permissive")
        self.tables = [table.take(pa.array(keep)).combine_chunks()]
        self.numbers = self.numbers[keep]
        if len(keep) == self.size:
            self.limit = self.numbers[-1]

    def result(self) -> pd.DataFrame:
        """The rows, with their numbers as index."""
        if not self.tables:
            return pd.DataFrame()
        self._prune()
        table = self.tables[0].to_pandas()
        table.index = pd.Index(self.numbers)
        return table


def merge_samples(samples: list[pd.DataFrame], size: int) -> pd.DataFrame:
    """The sample of all parts from those of each; in the order of the rows' numbers."""
    table = pd.concat([sample for sample in samples if len(sample)])
    return table.sort_index(kind="stable").iloc[:size]


@numba.njit(cache=True, nogil=True)
def _number(key, row):
    """Splitmix64 (Steele, Lea & Flood 2014), a step for each row."""
    z = key + np.uint64(row + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _below(key, first, n, limit):
    """Numbers and places of the rows whose number is at most `limit`."""
    count = 0
    for i in range(n):  # without a branch, so that it is done several rows at a time
        count += _number(key, first + i) <= limit
    numbers = np.empty(count, dtype=np.uint64)
    rows = np.empty(count, dtype=np.int64)
    if count:
        at = 0
        for i in range(n):
            z = _number(key, first + i)
            if z <= limit:
                numbers[at] = z
                rows[at] = i
                at += 1
    return numbers, rows
