"""Counts, means and centred cross-products by group, of rows that come in any order and in pieces.

A group's record is ``[n, shift, s, S]`` for d columns v: the count, a point near the mean, and the
sums ``Σ (v - shift)`` and ``Σ (v - shift)(v - shift)ᵀ``, upper triangle row by row. The shift moves
to the group's mean whenever the count has doubled, and when records merge; so sums never grow far
beyond what they are meant to measure, and columns with a mean of 1e6 and a standard deviation of
1e-3 keep their digits, in whatever order rows and pieces come (docs/method.md, eq. (23) and (24);
Chan, Golub & LeVeque 1983).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numba
import numpy as np

#: Widest range of whole-number group labels for which labels serve as addresses.
SPAN = 1 << 22


class Mergeable(Protocol):
    """What some rows come to, and merges with what others come to."""

    def merge(self, other: Self) -> Self:
        """What the rows of both come to."""


@dataclass(frozen=True)
class Moments:
    """Records of some groups.

    Attributes
    ----------
    names : tuple of str
        The d columns, constant ones left out.
    levels : (J,) array
        Labels of the groups, sorted.
    records : (J, 1 + 2 d + d (d + 1) / 2) array
        See the module.
    """

    names: tuple[str, ...]
    levels: np.ndarray
    records: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Rows (J,) in each group."""
        return self.records[:, 0].astype(np.int64)

    def means(self, origin: np.ndarray) -> np.ndarray:
        """Means (J, d) as distances from `origin` (d,), to the last digit where it is near."""
        d = len(self.names)
        shift, s = self.records[:, 1 : 1 + d], self.records[:, 1 + d : 1 + 2 * d]
        return (shift - origin) + s / self.records[:, :1]

    def centred(self) -> np.ndarray:
        """Cross-products (J, d, d) about each group's own mean."""
        d = len(self.names)
        s = self.records[:, 1 + d : 1 + 2 * d]
        rows, columns = np.triu_indices(d)
        upper = self.records[:, 1 + 2 * d :] - s[:, rows] * s[:, columns] / self.records[:, :1]
        result = np.empty((len(self.records), d, d))
        result[:, rows, columns] = result[:, columns, rows] = upper
        return result

    def total(self) -> "Moments":
        """All groups as one."""
        records = self.records
        while len(records) > 1:
            half = (len(records) + 1) // 2
            merged = records[:half].copy()
            _absorb(merged, np.arange(len(records) - half), records[half:], len(self.names))
            records = merged
        return Moments(self.names, np.array(["all"]), records)

    def merge(self, other: "Moments") -> "Moments":
        """Moments of the rows of both; groups and columns may differ."""
        names = (*self.names, *(name for name in other.names if name not in self.names))
        one, other = self.over(names), other.over(names)
        if len(one.levels) == len(other.levels) and np.array_equal(one.levels, other.levels):
            levels, records = one.levels, one.records.copy()
            at = np.arange(len(levels))
        else:
            levels = np.union1d(one.levels, other.levels)
            records = np.zeros((len(levels), width(len(names))))
            records[np.searchsorted(levels, one.levels)] = one.records
            at = np.searchsorted(levels, other.levels)
        _absorb(records, at, other.records, len(names))
        return Moments(names, levels, records)

    def over(self, names: tuple[str, ...]) -> "Moments":
        """The same for other columns; one that is not there is zero throughout.

        So enters a category that a part does not have.
        """
        if names == self.names:
            return self
        d, m = len(self.names), len(names)
        common = [(k, names.index(name)) for k, name in enumerate(self.names) if name in names]
        records = np.zeros((len(self.records), width(m)))
        records[:, 0] = self.records[:, 0]
        mine, theirs = _places(d), _places(m)
        for c, to in common:
            records[:, 1 + to] = self.records[:, 1 + c]
            records[:, 1 + m + to] = self.records[:, 1 + d + c]
            for e, other in common:
                records[:, theirs[to, other]] = self.records[:, mine[c, e]]
        return Moments(names, self.levels, records)


def _places(d: int) -> np.ndarray:
    """Where a record of d columns has the product of two of them: (d, d)."""
    place = np.zeros((d, d), dtype=int)
    place[np.triu_indices(d)] = np.arange(1 + 2 * d, width(d))
    return np.maximum(place, place.T)


def without_zeros(found: Moments) -> Moments:
    """The same without columns that are zero throughout."""
    d = len(found.names)
    used = [
        name
        for k, name in enumerate(found.names)
        if found.records[:, [1 + k, 1 + d + k, _places(d)[k, k]]].any()
    ]
    return found.over(tuple(used))


def width(d: int) -> int:
    """Length of a record of d columns."""
    return 1 + 2 * d + d * (d + 1) // 2


class Groups:
    """Records that grow with the labels that come.

    Whole numbers within `SPAN` of each other are addresses themselves; all else is looked up.
    """

    def __init__(self, width: int) -> None:
        self.records = np.zeros((0, width))
        self.low: int | None = None
        self.known: dict[Any, int] | None = None

    def add(self, labels: Any, values: np.ndarray) -> None:
        """Add rows (d, n) by their labels: an array of whole numbers, or Arrow's dictionary."""
        if not len(labels):
            return
        if isinstance(labels, np.ndarray) and self.known is None:
            low, high = int(labels.min()), int(labels.max())
            if self.low is not None:
                low, high = min(low, self.low), max(high, self.low + len(self.records) - 1)
            if high - low < SPAN:
                self._cover(low, high)
                add_rows(self.records, labels, low, values)
                return
        codes = self._codes(labels)  # may replace the records by longer ones
        add_rows(self.records, codes, 0, values)

    def _cover(self, low: int, high: int) -> None:
        old = self.low if self.low is not None else low
        if self.low is None or low < old or high >= old + len(self.records):
            records = np.zeros((high - low + 1, self.records.shape[1]))
            records[old - low : old - low + len(self.records)] = self.records
            self.records, self.low = records, low

    def _codes(self, labels: Any) -> np.ndarray:
        if self.known is None:  # from addresses to a dictionary
            used = np.flatnonzero(self.records[:, 0])
            self.known = {int(self.low or 0) + int(k): i for i, k in enumerate(used)}
            self.records = self.records[used]
        if isinstance(labels, np.ndarray):
            distinct, codes = np.unique(labels, return_inverse=True)
            names: Iterable[Any] = distinct.tolist()
        else:
            names = labels.dictionary.to_pylist()
            codes = labels.indices.to_numpy(zero_copy_only=False)
        known = self.known
        place = np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
        if len(known) > len(self.records):
            more = max(len(known) - len(self.records), len(self.records))
            self.records = np.concatenate([self.records, np.zeros((more, self.records.shape[1]))])
        return place[codes]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Levels, sorted, and their records."""
        if self.known is None:
            used = np.flatnonzero(self.records[:, 0])
            return used + (self.low or 0), self.records[used]
        levels = np.array(list(self.known))
        order = np.argsort(levels)
        order = order[self.records[order, 0] > 0]
        return levels[order], self.records[order]


def merge_all[Merged: Mergeable](pieces: Iterable[Merged]) -> Merged:
    """Merge pairwise, as in a knock-out: few at a time are held, and each is merged log₂ times."""
    waiting: list[tuple[int, Merged]] = []
    for piece in pieces:
        rounds = 0
        while waiting and waiting[-1][0] == rounds:
            piece = waiting.pop()[1].merge(piece)
            rounds += 1
        waiting.append((rounds, piece))
    if not waiting:
        raise ValueError("There is nothing to merge.")
    result = waiting.pop()[1]
    while waiting:
        result = waiting.pop()[1].merge(result)
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_rows(records, codes, first, columns):
    """Add rows, the columns (d, n) of which belong to groups ``codes - first``."""
    d, n = columns.shape
    if d == 2:  # the usual case, written out: one predictor and the response
        for i in range(n):
            record = records[codes[i] - first]
            x, y = columns[0, i], columns[1, i]
            count = record[0]
            if count == 0.0:
                record[1], record[2] = x, y
            x -= record[1]
            y -= record[2]
            count += 1.0
            record[0] = count
            record[3] += x
            record[4] += y
            record[5] += x * x
            record[6] += x * y
            record[7] += y * y
            whole = np.int64(count)
            if whole & (whole - 1) == 0:
                recentre(record, 2)
        return
    row = np.empty(d)
    for i in range(n):
        record = records[codes[i] - first]
        if record[0] == 0.0:
            for c in range(d):
                record[1 + c] = columns[c, i]
        record[0] += 1.0
        at = 1 + 2 * d
        for c in range(d):
            row[c] = columns[c, i] - record[1 + c]
            record[1 + d + c] += row[c]
        for c in range(d):
            for e in range(c, d):
                record[at] += row[c] * row[e]
                at += 1
        whole = np.int64(record[0])
        if whole & (whole - 1) == 0:
            recentre(record, d)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def recentre(record, d):
    """Move the shift of a record to its mean, as near as a double can be."""
    n = record[0]
    step = np.empty(d)
    for c in range(d):
        goal = record[1 + c] + record[1 + d + c] / n
        step[c] = goal - record[1 + c]
        record[1 + c] = goal
    _move(record, step, d)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _move(record, step, d):
    """The sums of a record for a shift that lies `step` further."""
    n = record[0]
    at = 1 + 2 * d
    for c in range(d):
        for e in range(c, d):
            s, t = record[1 + d + c], record[1 + d + e]
            record[at] += n * step[c] * step[e] - step[c] * t - step[e] * s
            at += 1
    for c in range(d):
        record[1 + d + c] -= n * step[c]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _absorb(records, at, others, d):
    """Add records `others` to those at `at`."""
    step = np.empty(d)
    moved = np.empty(others.shape[1])
    for j in range(len(others)):
        mine = records[at[j]]
        if others[j, 0] == 0.0:
            continue
        if mine[0] == 0.0:
            mine[:] = others[j]
            continue
        moved[:] = others[j]
        if moved[0] > mine[0]:  # the smaller one moves
            for k in range(len(moved)):
                mine[k], moved[k] = moved[k], mine[k]
        for c in range(d):
            step[c] = mine[1 + c] - moved[1 + c]
        _move(moved, step, d)
        mine[0] += moved[0]
        for k in range(1 + d, len(moved)):
            mine[k] += moved[k]
        recentre(mine, d)
