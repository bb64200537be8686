"""Tables in parts that need not fit into memory: a folder or a glob of Parquet or CSV files.

`reduce` reads each part once, in batches, into moments by group and a sample of its rows; what a
part came to is kept under a key made from the file's mark and the formula, so that a new part
leads to reading that part only. Group levels and categories may differ between parts.
"""

import difflib
import hashlib
import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pyarrow as pa

from partialpool.data import moments, part_cache, reading, row_sample
from partialpool.data.reading import Part
from partialpool.data.tables import SAMPLE
from partialpool.design import matrices as designs
from partialpool.design.batches import Columns, Piece, is_number, reduce_piece
from partialpool.design.estimable import require_estimable
from partialpool.design.formula import split_formula

#: What formulae must see all rows for.
STATEFUL = ("scale", "standardize", "center", "bs", "cc", "cr", "tp", "poly", "C", "S", "T")


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
                if kept:
                    part_cache.write(kept, content.encode())
            total.update(f"{part.name}\0{content}\0".encode())
        return total.hexdigest()


@dataclass(frozen=True)
class Reduced:
    """What all parts together come to, for one formula.

    Attributes
    ----------
    moments : Moments
        By group, of every column that is not constant, the response last.
    sample : pandas.DataFrame
        Random rows, in the columns of the formula.
    template : pandas.DataFrame
        A few rows with every category, from which the formula's columns get their names.
    read : tuple of str
        Names of the parts that had to be read, rather than remembered.
    """

    moments: moments.Moments
    sample: pd.DataFrame
    template: pd.DataFrame
    read: tuple[str, ...]


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
    return Parts(source, tuple(reading.find(source)), sample_rows, seed, _cache_folder())


def _cache_folder() -> Path | None:
    from partialpool.batch.project import find_root

    try:
        return find_root() / ".cache" / "partialpool" / "parts"
    except FileNotFoundError:
        return None


def reduce(parts: Parts, formula: str) -> Reduced:
    """Moments and sample of all parts for a formula; reads what is not remembered.

    Raises
    ------
    ValueError
        With one sentence that names the part, the column and the remedy.
    """
    response, common, terms = split_formula(formula)
    _refuse_stateful(formula)
    used = designs.used_columns(formula)
    grouping = sorted({name for term in terms for name in term.factor.split(":")})
    if terms:
        grouping = terms[0].factor.split(":")
    predictors = designs.variables(f"{response} ~ {common}", formula).union(
        *(designs.variables(term.expression, formula) for term in terms)
    )
    for part in parts.files:
        _require_columns(part, used, parts.schema)
    categorical = sorted(name for name in predictors if not is_number(parts.schema[name]))
    labels = {*categorical, *grouping}
    own = [_categories(parts, part, categorical) for part in parts.files]
    levels = {name: sorted(set().union(*(o[name] for o in own))) for name in categorical}
    references = {name: values[0] for name, values in levels.items()}
    first = _head(parts.files[0], used, labels)
    halvings = row_sample.halvings(parts.n_rows, parts.sample_rows)
    read: list[str] = []

    def pieces(part: Part, present: dict[str, list[Any]]) -> list[Callable[[], Piece]]:
        # The reference category is there in every part, so that columns mean the same in each;
        # and one more, without which there would be no columns to name.
        present = {name: sorted({*levels[name][:2], *values}) for name, values in present.items()}
        columns = Columns(formula, response, _template(first, present), parts.schema)
        sampler = partial(row_sample.Sampler, part.name, parts.sample_rows, parts.seed, halvings)
        read.append(part.name)
        arguments = columns, grouping, labels, used
        return [
            partial(reduce_piece, part, piece, *arguments, sampler())
            for piece in reading.pieces(part)
        ]

    def jobs() -> Iterator[tuple[Path | None, Piece | list[Callable[[], Piece]]]]:
        for part, present in zip(parts.files, own, strict=True):
            what = [part.name, formula, references, parts.sample_rows, parts.seed]
            place = part_cache.place(parts.cache, part, "npz", what)
            known = part_cache.recall(place)
            enough = known is not None and known.halvings <= halvings
            yield place, known if known is not None and enough else pieces(part, present)

    samples: list[pd.DataFrame] = []

    def merged() -> Iterator[moments.Moments]:
        for piece in _in_order(jobs(), parts.sample_rows):
            samples.append(piece.sample)
            if len(samples) > 16:
                samples[:] = [row_sample.merge(samples, parts.sample_rows)]
            yield piece.moments

    total = moments.merge_all(merged())
    template = _template(first, levels)
    names = Columns(formula, response, template, parts.schema).names
    sample = row_sample.merge(samples, parts.sample_rows).reset_index(drop=True)
    return Reduced(total.over(names), sample, template, tuple(read))


def build(formula: str, parts: Parts) -> tuple[designs.Design, pd.DataFrame]:
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
    design = designs.build(formula, found.template, estimable=False)
    design = replace(design, levels=found.moments.levels, moments=found.moments)
    X, Z, codes = design.rows(found.sample)
    response = split_formula(formula)[0]
    answer = designs.build(f"{response} ~ 0 + {response}", found.template, estimable=False)
    y = answer.columns(found.sample)[0][:, 0]
    design = replace(design, y=y, X=X, Z=Z, codes=codes)
    require_estimable(design)
    sample = found.sample
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
        part_cache.remember(place, piece)
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
    sample = row_sample.merge([piece.sample for piece in pieces], size)
    total = moments.merge_all(piece.moments for piece in pieces)
    return Piece(total, sample, pieces[0].halvings)


def _refuse_stateful(formula: str) -> None:
    for name in re.findall(r"([A-Za-z_]\w*)\s*\(", formula):
        if name in STATEFUL:
            remedy = (
                "store the column as text"
                if name in ("C", "S", "T")
                else "write the numbers into the formula, such as I((x - 10) / 2)"
            )
            raise ValueError(
                f"In {formula!r}, {name}() must see all rows at once, which data in parts do not "
                f"allow; {remedy}."
            )


def _require_columns(part: Part, used: list[str], types: dict[str, pa.DataType]) -> None:
    schema = reading.schema(part)
    there = schema.names
    for name in used:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(there)}."
            raise ValueError(f"The part {part.name} has no column {name!r}; {hint}")
        if name in types and is_number(schema.field(name).type) != is_number(types[name]):
            kinds = ("text", "a number")
            mine, first = (kinds[is_number(k)] for k in (schema.field(name).type, types[name]))
            raise ValueError(
                f"The column {name!r} is {mine} in {part.name} and {first} in the first part; "
                "store it alike in all parts."
            )


def _categories(parts: Parts, part: Part, names: list[str]) -> dict[str, list[Any]]:
    if not names:
        return {}
    place = part_cache.place(parts.cache, part, "json", names)
    if place is not None and place.is_file():
        return json.loads(place.read_text())
    found = reading.uniques(part, names)
    if place is not None:
        part_cache.write(place, json.dumps(found).encode())
    return found


def _head(part: Part, used: list[str], labels: set[str]) -> pd.DataFrame:
    """The first rows of a part: something to evaluate a formula on."""
    for _, batch in reading.batches(part, used, labels):
        if batch.num_rows:
            return batch.slice(0, 64).to_pandas().dropna()
    raise ValueError(f"The part {part.name} has no rows.")


def _template(first: pd.DataFrame, levels: dict[str, list[Any]]) -> pd.DataFrame:
    """Rows in which every category occurs."""
    rows = max([len(first), *(len(values) for values in levels.values())])
    table = first.iloc[np.arange(rows) % len(first)].reset_index(drop=True)
    for name, values in levels.items():
        table[name] = list(itertools.islice(itertools.cycle(values), rows))
    return table
