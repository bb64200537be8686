"""From a formula and a table to matrices and group codes.

formulae evaluates the formula; the rows-by-groups matrix that it would build for ``(x | g)`` is
never made.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from formulae import design_matrices, model_description
from formulae.environment import Environment

from partialpool.data.columns import (
    incomplete,
    require_columns,
    require_complete,
    require_finite,
    require_kinds,
    standard_errors,
)
from partialpool.data.moments import Moments
from partialpool.data.names import safe
from partialpool.design.estimable import require_estimable
from partialpool.design.formula import split_formula

#: Functions a formula may call besides formulae's own (center, scale, bs, C, I, ...).
FUNCTIONS = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
ENVIRONMENT = Environment([FUNCTIONS])


@dataclass(frozen=True)
class Design:
    """The matrices of the model (docs/method.md, eq. (1)), rows in the table's order.

    Attributes
    ----------
    formula, response : str
        As written, and the response's name.
    y : (N,) array
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
    group : str
        Name of the grouping factor, empty for a model without groups.
    codes : (N,) int array
        Group of each row, an index into `levels`.
    levels : (J,) array
        Labels of the groups.
    predictors : tuple of str
        Columns of the table on the right-hand side, those of group terms first, then as written.
    moments : Moments, optional
        By group, of all rows, where the rows here are only a sample of them.
    se : (N,) array, optional
        Known standard errors of y.
    """

    formula: str
    response: str
    y: np.ndarray
    X: np.ndarray
    x_names: tuple[str, ...]
    Z: np.ndarray
    z_names: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    group: str
    codes: np.ndarray
    levels: np.ndarray
    predictors: tuple[str, ...]
    moments: Moments | None = field(default=None, repr=False)
    se: np.ndarray | None = field(default=None, repr=False)
    _common: Any = field(default=None, repr=False)
    _varying: tuple[Any, ...] = field(default=(), repr=False)
    _kept: np.ndarray | None = field(default=None, repr=False)

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
        needed = (
            set().union(*(term.var_names for term in self._common.terms.values()))
            if (self._common is not None)
            else set()
        )
        require_columns(table, [str(name) for name in needed if name])  # "" for literals
        X, Z = self.columns(table)
        if not self.group:
            return X, Z, np.zeros(len(table), dtype=np.int64)
        labels = _factor(table, self.group)
        return X, Z, pd.Index(self.levels).get_indexer(labels)

    def columns(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """X and Z of other rows; groups play no part."""
        n = len(table)
        X = _columns(self._common, table, n)
        if self._kept is not None:
            X = X[:, self._kept]
        return X, np.hstack([np.empty((n, 0)), *(_columns(v, table, n) for v in self._varying)])


def build(
    formula: str, table: pd.DataFrame, *, se: str | None = None, estimable: bool = True
) -> Design:
    """Evaluate a formula on a table.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    table : pandas.DataFrame
        One row per observation.
    se : str, optional
        Column of known standard errors of the response.
    estimable : bool
        Whether to insist that the table tells the coefficients apart.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        With one sentence that names what is wrong with formula or table, and the remedy.
    """
    response, common, terms = split_formula(formula)
    factors = {term.factor for term in terms}
    if len(factors) > 1:
        raise ValueError(
            f"{formula!r} has the grouping factors {', '.join(sorted(factors))}; "
            "one grouping factor is supported."
        )
    group = next(iter(factors), "")
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"The table is a {type(table).__name__}; give a pandas DataFrame.")
    if not len(table):
        raise ValueError("The table has no rows.")
    used = used_columns(formula, se)
    require_columns(table, used)
    varying_names = set().union(*(variables(term.expression, formula) for term in terms))
    right, left = variables(common, formula) | varying_names, variables(response, formula)
    require_kinds(table, sorted(right | left), left)
    require_complete(table, used)
    predictors = sorted(right, key=lambda name: (name not in varying_names, formula.find(name)))

    matrices = _evaluate(f"{response} ~ {common}", table, formula)
    y = _response(matrices, formula)
    blocks: list[tuple[int, ...]] = []
    varying: list[Any] = []
    names: list[str] = []
    for term in terms:
        columns = _evaluate(term.expression, table, formula).common
        if columns is None:
            raise ValueError(f"In {formula!r}, the group term on {term.factor} has no columns.")
        labels = ["1" if label == "Intercept" else label for label in _labels(columns)]
        start = len(names)
        members = range(start, start + len(labels))
        blocks += [tuple(members)] if term.correlated else [(k,) for k in members]
        names += labels
        varying.append(columns)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"In {formula!r}, the effect of {twice!r} by {group} is written twice.")
    if group:
        codes, levels = pd.factorize(_factor(table, group), sort=True)
    else:
        codes, levels = np.zeros(len(table), dtype=np.int64), np.array(["all"])
    X, Z = (
        np.hstack([np.empty((len(table), 0)), *(_columns(m, None, len(table)) for m in made)])
        for made in ([matrices.common], varying)
    )
    x_names = tuple(_labels(matrices.common)) if matrices.common is not None else ()
    require_finite(y[:, None], [matrices.response.name], formula)
    require_finite(X, x_names, formula)
    require_finite(Z, names, formula)
    design = Design(
        formula=formula,
        response=safe(matrices.response.name),
        y=y,
        X=X,
        x_names=x_names,
        Z=Z,
        z_names=tuple(names),
        blocks=tuple(blocks),
        group=group,
        codes=np.asarray(codes, dtype=np.int64),
        levels=np.asarray(levels),
        predictors=tuple(predictors),
        se=None if se is None else standard_errors(table, se),
        _common=matrices.common,
        _varying=tuple(varying),
    )
    if estimable:
        require_estimable(design)
    return design


def used_columns(formula: str, se: str | None = None) -> list[str]:
    """Sorted names of all columns that a model reads, those of grouping factors too."""
    response, common, terms = split_formula(formula)
    used = variables(f"{response} ~ {common}", formula)
    for term in terms:
        used |= variables(term.expression, formula) | set(term.factor.split(":"))
    return sorted(used | ({se} if se else set()))


def complete_rows(
    formula: str, table: pd.DataFrame, se: str | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows with a value in every column of a model, and what each column lacked.

    Returns
    -------
    pandas.DataFrame
        The rows kept, numbered anew.
    dict of str to int
        Column -> its missing or infinite values; empty where nothing was left out.
    """
    names = used_columns(formula, se)
    require_columns(table, names)
    bad = incomplete(table, names)
    kept = table[~bad.any(axis=1)].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"No row has a value in each of the columns {', '.join(names)}.")
    return kept, {name: int(n) for name, n in bad.sum().items() if n}


def variables(part: str, formula: str) -> set[str]:
    """Names of the columns that a part of a formula reads."""
    try:
        return {str(name) for name in model_description(part).var_names if name}  # "" for literals
    except Exception as error:
        raise ValueError(f"The formula {formula!r} cannot be read: {_said(error)}") from None


def _evaluate(part: str, table: pd.DataFrame, formula: str) -> Any:
    try:
        with np.errstate(all="ignore"):  # what comes of it is checked
            return design_matrices(part, table, na_action="error", env=ENVIRONMENT)
    except KeyError as error:
        raise ValueError(
            f"In {formula!r}, {error} is not a known function; beside formulae's own there are "
            f"{', '.join(FUNCTIONS)}."
        ) from None
    except Exception as error:
        raise ValueError(f"{part!r} cannot be evaluated on the table: {_said(error)}") from None


def _said(error: Exception) -> str:
    """What another package says went wrong, as the end of a sentence."""
    return " ".join(str(error).split()).rstrip(". ") + "."


def _response(matrices: Any, formula: str) -> np.ndarray:
    y = np.asarray(matrices.response.design_matrix)
    if matrices.response.kind != "numeric" or y.ndim != 1:
        raise ValueError(
            f"The response of {formula!r} is {matrices.response.kind}; "
            "it must be one numeric column."
        )
    return y.astype(float)


def _columns(matrix: Any, table: pd.DataFrame | None, n: int) -> np.ndarray:
    if matrix is None:
        return np.empty((n, 0))
    source = matrix if table is None else matrix.evaluate_new_data(table)
    return np.asarray(source.design_matrix, dtype=float).reshape(n, -1)


def _labels(matrix: Any) -> list[str]:
    return [safe(str(label)) for term in matrix.terms.values() for label in term.labels]


def _factor(table: pd.DataFrame, group: str) -> pd.Series:
    parts = group.split(":")
    require_columns(table, parts)
    if len(parts) == 1:
        return table[group]
    return table[parts].astype(str).agg(":".join, axis=1)
