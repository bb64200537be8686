"""A reproducible random sample of rows, taken while they stream by.

Every row has a number that depends on the seed, the part's name and its place in the part; the
sample are the rows with the smallest numbers. So it depends neither on the order in which parts
are read nor on how many are read at once, and samples of parts merge into a sample of all.
"""

import hashlib

import numba
import numpy as np
import pandas as pd
import pyarrow as pa


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
        How often the range of numbers is halved before any row is looked at; see `halvings`.
    """

    def __init__(self, name: str, size: int, seed: int, halvings: int = 0) -> None:
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


def halvings(rows: int | None, size: int) -> int:
    """How often the range of numbers can be halved and the sample still be found.

    Of `rows` rows, twice as many as needed are then left on average: with 100 rows wanted, ten
    standard deviations more than needed.
    """
    if rows is None:
        return 0
    return max(0, (rows // (2 * max(size, 100))).bit_length() - 1)


def merge(samples: list[pd.DataFrame], size: int) -> pd.DataFrame:
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
