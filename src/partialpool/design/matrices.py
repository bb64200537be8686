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
        The response, less the offset.
    X : (N, p) array
        Population columns; may have p = 0.
    x_names : tuple of str
        Name of each column of `X`: the names of the population coefficients.
    Z : (N, q) array
        Columns whose coefficients vary by group; q = 0 for a model without groups.
    z_names : tuple of str
        Name of each column of `Z`, ``"1"`` for the intercept.
    blocks : tuple of tuple of int
        Columns of `Z` whose coefficients are correlated with each other, block by block.
    factors : tuple of str
        Columns whose combination is the group; empty for a model without groups.
    codes : (N,) int array
        Group of each row, an index into `levels`.
    levels : (J,) array
        Labels of the groups; see `evaluation.factor`.
    predictors : tuple of str
        Columns of the table on the right-hand side, those of group terms first, then as written.
    moments : Moments, optional
        By group, of all rows, where the rows here are only a sample of them.
    se : (N,) array, optional
        Known standard errors of y.
    """

    formula: str
    response: str
    written: str
    y: np.ndarray
    X: np.ndarray
    x_names: tuple[str, ...]
    Z: np.ndarray
    z_names: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    factors: tuple[str, ...]
    codes: np.ndarray
    levels: np.ndarray
    predictors: tuple[str, ...]
    moments: Moments | None = field(default=None, repr=False)
    se: np.ndarray | None = field(default=None, repr=False)
    _common: tuple[Any, ...] = field(default=(), repr=False)
    _varying: tuple[Any, ...] = field(default=(), repr=False)
    _offset: tuple[Any, ...] = field(default=(), repr=False)
    _kept: np.ndarray | None = field(default=None, repr=False)

    @property
    def group(self) -> str:
        """Name of the grouping factor, empty for a model without groups."""
        return ":".join(self.factors)

    @property
    def n_groups(self) -> int:
        """Number of groups J."""
        return len(self.levels)

    @property
    def counts(self) -> np.ndarray:
        """Rows (J,) in each group."""
        if self.moments is not None:
            return self.moments.counts
        return np.bincount(self.codes, minlength=self.n_groups)

    @property
    def n_rows(self) -> int:
        """Number of rows N, those that are not in the sample too."""
        return len(self.y) if self.moments is None else int(self.moments.records[:, 0].sum())

    @cached_property
    def totals(self) -> tuple[Totals, Totals, Totals]:
        """Figures of X, Z and y over all rows, those that are not in the sample too."""
        of, moments = totals.of_columns, self.moments
        if moments is None:
            return of(self.X), of(self.Z), of(self.y[:, None])
        X, Z, y = (
            totals.of_moments(moments, names)
            for names in (self.x_names, self.z_names, (self.response,))
        )
        return X, Z, y

    def is_categorical(self, column: str) -> bool:
        """Whether the formula takes a column of the table for categories."""
        return any(
            part.kind == "categoric" and column in part.var_names
            for matrix in (*self._common, *self._varying)
            for term in matrix.terms.values()
            for part in getattr(term, "components", ())
        )

    def partners(self, column: str) -> list[str]:
        """Columns that share a term of the population's part with a column: its interactions."""
        terms = [term.var_names for matrix in self._common for term in matrix.terms.values()]
        shared = set().union(*(names for names in terms if column in names))
        return [name for name in self.predictors if name in shared and name != column]

    def effect(self, k: int) -> str:
        """Name of the group effects of column `k` of `Z`, such as ``Days|Subject``."""
        return f"{self.z_names[k]}|{safe(self.group)}"

    @property
    def sd_names(self) -> list[str]:
        """Names of the q standard deviations, such as ``Days|Subject_sigma``."""
        return [f"{self.effect(k)}_sigma" for k in range(len(self.z_names))]

    @property
    def correlated_pairs(self) -> list[tuple[int, int]]:
        """Pairs of columns of `Z` with a correlation, row by row of the lower triangle."""
        return [
            (block[j], block[i])
            for block in self.blocks
            for i in range(1, len(block))
            for j in range(i)
        ]

    @property
    def cor_names(self) -> list[str]:
        """Names of the correlations, such as ``cor(1,Days|Subject)``."""
        return [
            f"cor({self.z_names[i]},{self.z_names[j]}|{safe(self.group)})"
            for i, j in self.correlated_pairs
        ]

    @property
    def group_dim(self) -> str:
        """Dimension of the group effects: the factor's name, unless a coefficient has that name."""
        name = safe(self.group)
        return f"{name}__factor_dim" if name in self.x_names else name

    def without_population(self) -> "Design":
        """The design in which the effects carry the whole coefficient, each on its own.

        Population columns that groups can absorb are left out, and no effects are correlated.
        """
        absorbed = {self.x_names[column] for column in self.absorbed()}
        kept = np.array([name not in absorbed for name in self.x_names], dtype=bool)
        return replace(
            self,
            X=self.X[:, kept],
            x_names=tuple(name for name in self.x_names if name not in absorbed),
            blocks=tuple((k,) for k in range(len(self.z_names))),
            _kept=kept,
        )

    def absorbed(self) -> dict[int, tuple[int, np.ndarray]]:
        """Population columns that are, in each group, a multiple of a varying column.

        Those that vary themselves, with factor one; and predictors of the group, or their products
        with a varying column: a group's own coefficient cannot be told from theirs.

        Returns
        -------
        dict
            Column of X -> column of Z and the factor in each group (J,).
        """
        found: dict[int, tuple[int, np.ndarray]] = {}
        for c, name in enumerate(self.x_names):
            for k, z_name in enumerate(self.z_names):
                if name == ("Intercept" if z_name == "1" else z_name):
                    found[c] = k, np.ones(self.n_groups)
                    break
                factor = None if self.moments is not None else self._factor(self.X[:, c], k)
                if factor is not None:
                    found[c] = k, factor
                    break
        return found

    def _factor(self, column: np.ndarray, k: int) -> np.ndarray | None:
        """What multiplies column k of Z to give this column, by group; None if nothing does."""
        z = self.Z[:, k]
        used = z != 0
        if np.any(column[~used] != 0):
            return None
        ratio, codes = column[used] / z[used], self.codes[used]
        counts = np.bincount(codes, minlength=self.n_groups)
        mean = np.bincount(codes, ratio, self.n_groups) / np.maximum(counts, 1)
        off = np.abs(ratio - mean[codes])
        # a group of one row would give a factor to any column
        if counts.max() < 2 or np.any(off > 1e-9 * (1e-300 + np.abs(ratio).max())):
            return None
        return mean

    def rows(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, Z and group codes of new rows; the code of a level unseen in fitting is -1.

        Transformations such as ``scale(x)`` keep the state they had in fitting.
        """
        made = (*self._common, *self._offset)
        needed = {n for m in made for term in m.terms.values() for n in term.var_names}
        require_columns(table.columns, sorted(str(n) for n in needed - {*CONSTANTS} if n))
        X, Z = self.columns(table)
        if not self.factors:
            return X, Z, np.zeros(len(table), dtype=np.int64)
        return X, Z, pd.Index(self.levels).get_indexer(self.labels(table))

    def labels(self, table: pd.DataFrame) -> pd.Series:
        """Group of each of some rows, by the names of `levels`."""
        return evaluation.factor(table, self.factors)

    def offset(self, table: pd.DataFrame) -> np.ndarray:
        """What the formula's offsets take from the response of some rows: (n,)."""
        return evaluation.columns(self._offset, len(table), table).sum(axis=1)

    def columns(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """X and Z of other rows; groups play no part."""
        X = evaluation.columns(self._common, len(table), table)
        if self._kept is not None:
            X = X[:, self._kept]
        return X, evaluation.columns(self._varying, len(table), table)
