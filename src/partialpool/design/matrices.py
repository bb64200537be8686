"""Matrices and groups of a regression; the matrix of rows by groups is never made."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_columns
from partialpool.data.moments import Moments
from partialpool.data.text import safe
from partialpool.design import evaluation, totals
from partialpool.design.formula import CONSTANTS
from partialpool.design.totals import Totals


@dataclass(frozen=True, eq=False)
class Grouping:
    """A grouping factor, and the coefficients that vary by it.

    Attributes
    ----------
    columns : tuple of str
        Columns of the table whose combination is the group.
    Z : (N, q) array
        Columns whose coefficients vary by group.
    z_names : tuple of str
        Name of each column of `Z`, ``"1"`` for the intercept.
    blocks : tuple of tuple of int
        Columns of `Z` whose coefficients are correlated with each other, block by block.
    codes : (N,) int array
        Group of each row, an index into `levels`.
    levels : (J,) array
        Labels of the groups; see `evaluation.factor`.
    dim : str
        Dimension of the group effects: the factor's name, unless something else has that name.
    """

    columns: tuple[str, ...]
    Z: np.ndarray
    z_names: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    codes: np.ndarray
    levels: np.ndarray
    dim: str
    _varying: tuple[Any, ...] = field(default=(), repr=False)
    _counts: np.ndarray | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name of the factor, such as ``Subject`` or ``a:b``."""
        return ":".join(self.columns)

    @property
    def n_levels(self) -> int:
        """Number of groups J."""
        return len(self.levels)

    @property
    def counts(self) -> np.ndarray:
        """Rows (J,) in each group, those that are not in the sample too."""
        if self._counts is not None:
            return self._counts
        return np.bincount(self.codes, minlength=self.n_levels)

    def within(self, other: "Grouping") -> np.ndarray | None:
        """In which group (J,) of another factor each group lies; None where one lies in several."""
        found = np.full(self.n_levels, -1)
        found[self.codes] = other.codes
        nested = (found >= 0).all() and (found[self.codes] == other.codes).all()
        return found if nested else None

    def effect(self, k: int) -> str:
        """Name of the group effects of column `k` of `Z`, such as ``Days|Subject``."""
        return f"{self.z_names[k]}|{safe(self.name)}"

    @property
    def effects(self) -> list[str]:
        """Names of the group effects of all columns of `Z`."""
        return [self.effect(k) for k in range(len(self.z_names))]

    @property
    def sd_names(self) -> list[str]:
        """Names of the q standard deviations, such as ``Days|Subject_sigma``."""
        return [f"{effect}_sigma" for effect in self.effects]

    @property
    def correlated_pairs(self) -> list[tuple[int, int]]:
        """Pairs of columns of `Z` with a correlation, row by row of the lower triangle."""
        return _pairs(self.blocks)

    @property
    def cor_names(self) -> list[str]:
        """Names of the correlations, such as ``cor(1,Days|Subject)``."""
        return [
            f"cor({self.z_names[i]},{self.z_names[j]}|{safe(self.name)})"
            for i, j in self.correlated_pairs
        ]

    def labels(self, table: pd.DataFrame) -> pd.Series:
        """Group of each of some rows, by the names of `levels`."""
        return evaluation.factor(table, self.columns)

    def rows(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Z and group codes of new rows; the code of a level unseen in fitting is -1."""
        Z = evaluation.columns(self._varying, len(table), table)
        return Z, pd.Index(self.levels).get_indexer(self.labels(table))


def _pairs(blocks: tuple[tuple[int, ...], ...]) -> list[tuple[int, int]]:
    return [
        (block[j], block[i]) for block in blocks for i in range(1, len(block)) for j in range(i)
    ]


@dataclass(frozen=True)
class Design:
    """The matrices of the model (docs/method.md, eq. (1)), rows in the table's order.

    Attributes
    ----------
    formula, response : str
        As written, and the response's name; ``y - x`` where ``offset(x)`` is taken from it.
    written : str
        The formula as it was read: every term of the population, and the group terms.
    y : (N,) array
        The response, less the offset; for a family with a link the counts, or places of answers,
        see `responses.Response`.
    X : (N, p) array
        Population columns; may have p = 0.
    x_names : tuple of str
        Name of each column of `X`: the names of the population coefficients.
    groupings : tuple of Grouping
        One for each grouping factor, in the order first written; empty without group terms.
    predictors : tuple of str
        Columns of the table on the right-hand side, those of group terms first, then as written.
    moments : Moments, optional
        By group, of all rows, where the rows here are only a sample of them.
    se : (N,) array, optional
        Known standard errors of y.
    trials : (N,) array, optional
        Of how many trials y counts the successes, for `binomial`; 1 for a 0/1 response.
    offset : (N,) array, optional
        What the formula's offsets add to the line of a family with a link.
    repeats : (N,) int array, optional
        How many rows of the data each row stands for; one where they are not given.
    whole : Design, optional
        The distinct rows of all the data, where the rows here are only a sample of them.
    places : (N,) int array, optional
        Which row of `whole` each row is.
    answers : tuple of str
        Labels of failure and success, or of ordered answers; empty where they are numbers alone.
    nesting : str
        A sentence where labels of one factor seem to start anew in every group of another, which
        the formula does not say; see `nesting.sentence`.
    """

    formula: str
    response: str
    written: str
    y: np.ndarray
    X: np.ndarray
    x_names: tuple[str, ...]
    groupings: tuple[Grouping, ...]
    predictors: tuple[str, ...]
    moments: Moments | None = field(default=None, repr=False)
    se: np.ndarray | None = field(default=None, repr=False)
    trials: np.ndarray | None = field(default=None, repr=False)
    offset: np.ndarray | None = field(default=None, repr=False)
    repeats: np.ndarray | None = field(default=None, repr=False)
    whole: "Design | None" = field(default=None, repr=False)
    places: np.ndarray | None = field(default=None, repr=False)
    answers: tuple[str, ...] = ()
    nesting: str = ""
    _common: tuple[Any, ...] = field(default=(), repr=False)
    _offset: tuple[Any, ...] = field(default=(), repr=False)
    _kept: np.ndarray | None = field(default=None, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows N, those that are not in the sample too."""
        if self.moments is not None:
            return int(self.moments.records[:, 0].sum())
        repeats = self.all_rows.repeats
        return len(self.y) if repeats is None else int(repeats.sum())

    @property
    def sampled(self) -> bool:
        """Whether the rows here are only a sample of the data's."""
        return self.moments is not None or self.whole is not None

    @property
    def all_rows(self) -> "Design":
        """The design of all rows of a family with a link, equal ones once: itself, or `whole`."""
        return self if self.whole is None else self.whole

    def sampled_at(self, places: np.ndarray) -> "Design":
        """The design of some of its rows (n,), as a sample that knows all."""
        return replace(self.of_rows(places), repeats=None, whole=self, places=places)

    def figures(self, names: tuple[str, ...], columns: np.ndarray) -> Totals:
        """Figures of some columns (N, k) over all rows, those that are not in the sample too."""
        if self.moments is None:
            return totals.of_columns(columns, self.repeats)
        return totals.of_moments(self.moments, names)

    @cached_property
    def totals(self) -> tuple[Totals, Totals, Totals]:
        """Figures of X, of the columns of all groupings side by side, and of y over all rows."""
        if self.whole is not None:
            return self.whole.totals
        z_names = [name for grouping in self.groupings for name in grouping.z_names]
        Z = np.hstack([np.empty((len(self.y), 0)), *(grouping.Z for grouping in self.groupings)])
        return (
            self.figures(self.x_names, self.X),
            self.figures(tuple(z_names), Z),
            self.figures((self.response,), self.y[:, None]),
        )

    def is_categorical(self, column: str) -> bool:
        """Whether the formula takes a column of the table for categories."""
        varying = [matrix for grouping in self.groupings for matrix in grouping._varying]
        return any(
            part.kind == "categoric" and column in part.var_names
            for matrix in (*self._common, *varying)
            for term in matrix.terms.values()
            for part in getattr(term, "components", ())
        )

    def partners(self, column: str) -> list[str]:
        """Columns that share a term of the population's part with a column: its interactions."""
        terms = [term.var_names for matrix in self._common for term in matrix.terms.values()]
        shared = set().union(*(names for names in terms if column in names))
        return [name for name in self.predictors if name in shared and name != column]

    @property
    def effects(self) -> list[str]:
        """Names of the group effects of all groupings."""
        return [name for grouping in self.groupings for name in grouping.effects]

    @property
    def sd_names(self) -> list[str]:
        """Names of the standard deviations of all groupings, such as ``Days|Subject_sigma``."""
        return [name for grouping in self.groupings for name in grouping.sd_names]

    @property
    def cor_names(self) -> list[str]:
        """Names of the correlations of all groupings, such as ``cor(1,Days|Subject)``."""
        return [name for grouping in self.groupings for name in grouping.cor_names]

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Blocks of all groupings, whose columns stand side by side."""
        found: list[tuple[int, ...]] = []
        start = 0
        for grouping in self.groupings:
            found += [tuple(start + k for k in block) for block in grouping.blocks]
            start += len(grouping.z_names)
        return tuple(found)

    @property
    def correlated_pairs(self) -> list[tuple[int, int]]:
        """Pairs of correlated columns of all groupings side by side, as in `cor_names`."""
        return _pairs(self.blocks)

    @cached_property
    def only(self) -> Grouping:
        """The only grouping; for a model without groups one of no columns, all rows one group."""
        if len(self.groupings) > 1:
            raise NotImplementedError(f"{self.formula!r} has several grouping factors.")
        if self.groupings:
            return self.groupings[0]
        n = len(self.y)
        nobody, everybody = np.empty((n, 0)), np.zeros(n, dtype=np.int64)
        return Grouping(
            (), nobody, (), (), everybody, np.array(["all"]), "", _counts=np.array([self.n_rows])
        )

    def of_rows(self, rows: np.ndarray) -> "Design":
        """The design of some of its rows; columns and levels stay."""
        return replace(
            self,
            y=self.y[rows],
            X=self.X[rows],
            se=None if self.se is None else self.se[rows],
            trials=None if self.trials is None else self.trials[rows],
            offset=None if self.offset is None else self.offset[rows],
            repeats=None if self.repeats is None else self.repeats[rows],
            places=None if self.places is None else self.places[rows],
            groupings=tuple(
                replace(grouping, Z=grouping.Z[rows], codes=grouping.codes[rows])
                for grouping in self.groupings
            ),
        )

    def without_population(self, grouping: Grouping | None = None) -> "Design":
        """The design in which a grouping's effects carry the whole coefficient, each on its own.

        Population columns that its groups can absorb are left out, and none of its effects are
        correlated; other groupings stay as they are. The only grouping need not be given.
        """
        if self.whole is not None and self.places is not None:  # of one grouping at most
            return self.whole.without_population().sampled_at(self.places)
        grouping = grouping or self.only
        absorbed = {self.x_names[column] for column in self.absorbed(grouping)}
        kept = np.array([name not in absorbed for name in self.x_names], dtype=bool)
        alone = replace(grouping, blocks=tuple((k,) for k in range(len(grouping.z_names))))
        return replace(
            self,
            X=self.X[:, kept],
            x_names=tuple(name for name in self.x_names if name not in absorbed),
            groupings=tuple(alone if g is grouping else g for g in self.groupings),
            _kept=kept
            if self._kept is None
            else np.isin(np.arange(len(self._kept)), np.flatnonzero(self._kept)[kept]),
        )

    def absorbed(self, grouping: Grouping | None = None) -> dict[int, tuple[int, np.ndarray]]:
        """Population columns that are, in each group, a multiple of a varying column.

        Those that vary themselves, with factor one; and predictors of the group, or their products
        with a varying column: a group's own coefficient cannot be told from theirs.

        Parameters
        ----------
        grouping : Grouping
            Whose groups; the only grouping need not be given.

        Returns
        -------
        dict
            Column of X -> column of Z and the factor in each group (J,).
        """
        if self.whole is not None:
            return self.whole.absorbed()
        grouping = grouping or self.only
        found: dict[int, tuple[int, np.ndarray]] = {}
        for c, name in enumerate(self.x_names):
            for k, z_name in enumerate(grouping.z_names):
                if name == ("Intercept" if z_name == "1" else z_name):
                    found[c] = k, np.ones(grouping.n_levels)
                    break
                factor = None if self.moments is not None else self._factor(c, grouping, k)
                if factor is not None:
                    found[c] = k, factor
                    break
        return found

    def _factor(self, c: int, grouping: Grouping, k: int) -> np.ndarray | None:
        """What multiplies column k of Z to give column c of X, by group; None if nothing does."""
        column, z = self.X[:, c], grouping.Z[:, k]
        used = z != 0
        if np.any(column[~used] != 0):
            return None
        ratio, codes = column[used] / z[used], grouping.codes[used]
        counts = np.bincount(codes, minlength=grouping.n_levels)
        mean = np.bincount(codes, ratio, grouping.n_levels) / np.maximum(counts, 1)
        off = np.abs(ratio - mean[codes])
        if self.repeats is not None:
            counts = np.bincount(codes, self.repeats[used], grouping.n_levels)
        # a group of one row would give a factor to any column
        if counts.max() < 2 or np.any(off > 1e-9 * (1e-300 + np.abs(ratio).max())):
            return None
        return mean

    def rows(self, table: pd.DataFrame) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """X of new rows, and for each grouping their Z and group codes; see `Grouping.rows`.

        Transformations such as ``scale(x)`` keep the state they had in fitting.
        """
        made = (*self._common, *self._offset)
        needed = {n for m in made for term in m.terms.values() for n in term.var_names}
        require_columns(table.columns, sorted(str(n) for n in needed - {*CONSTANTS} if n))
        return self._population(table), [grouping.rows(table) for grouping in self.groupings]

    def offset_of(self, table: pd.DataFrame) -> np.ndarray:
        """What the formula's offsets add to the line at some rows: (n,)."""
        return evaluation.columns(self._offset, len(table), table).sum(axis=1)

    def columns(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """X of other rows, and Z of all groupings side by side; groups play no part."""
        varying = tuple(made for grouping in self.groupings for made in grouping._varying)
        return self._population(table), evaluation.columns(varying, len(table), table)

    def _population(self, table: pd.DataFrame) -> np.ndarray:
        X = evaluation.columns(self._common, len(table), table)
        return X if self._kept is None else X[:, self._kept]
