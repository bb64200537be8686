"""Parts of a formula evaluated on a table by formulae; what fails becomes one sentence.

Besides formulae's own functions (center, scale, bs, poly, C, I, ...) a formula may call those
below. They bear R's names and mean what they mean there. Those with a state, written as classes,
keep what they learned from the rows of the fit, so that new rows are seen in the same terms.
"""

import contextlib
import io
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from formulae import design_matrices
from formulae.categorical import CategoricalBox
from formulae.environment import Environment
from scipy.interpolate import BSpline

from partialpool.data.columns import require_columns
from partialpool.data.text import safe
from partialpool.design.formula import CONSTANTS, Formula, said


def log(x: Any, base: float | None = None) -> Any:
    """Natural logarithm, or that to a base."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def as_factor(x: Any, levels: list[Any] | None = None) -> CategoricalBox:
    """Values as categories, the first of which is the reference."""
    return CategoricalBox(x, None, levels)


class Cut:
    """Intervals ``(a,b]`` of a column as categories: `breaks` is their ends, or their number.

    As R's ``cut``: a number of intervals is spread evenly over the range, the outermost ends a
    thousandth of it further out; intervals are named with three significant digits, or as many as
    tell them apart.
    """

    __stateful_transform__ = True

    def __init__(self) -> None:
        self.ends: np.ndarray | None = None
        self.levels: list[str] = []

    def __call__(self, x: Any, breaks: Any) -> CategoricalBox:
        """Interval of each value; a ValueError for a value outside all of them."""
        values = np.asarray(x, dtype=float)
        first = self.ends is None
        if first:
            self.ends = _ends(values, breaks)
        assert self.ends is not None
        at = np.searchsorted(self.ends, values) - 1
        if (at < 0).any() or (at >= len(self.ends) - 1).any():
            raise ValueError(
                f"cut() has values outside ({self.ends[0]:g},{self.ends[-1]:g}]; give wider breaks"
            )
        names = np.array(_intervals(self.ends))
        if first:
            self.levels = [str(names[k]) for k in np.unique(at)]
        return CategoricalBox(names[at], None, self.levels if first else None)


def _ends(values: np.ndarray, breaks: Any) -> np.ndarray:
    if np.ndim(breaks):
        return np.sort(np.asarray(breaks, dtype=float))
    low, high = values.min(), values.max()
    ends = np.linspace(low, high, int(breaks) + 1)
    ends[[0, -1]] = low - (high - low) / 1000, high + (high - low) / 1000
    return ends


def _intervals(ends: np.ndarray) -> list[str]:
    names: list[str] = []
    for digits in range(3, 16):
        names = [f"{end:.{digits}g}" for end in ends]
        if len(set(names)) == len(names):
            break
    return [f"({a},{b}]" for a, b in pairwise(names)]


class GroupMean:
    """Mean of a column over the rows that share the values of others, R's ``ave``.

    New rows get the means of the rows of the fit.
    """

    __stateful_transform__ = True

    def __init__(self) -> None:
        self.means: pd.Series | None = None

    def __call__(self, x: Any, *groups: Any) -> np.ndarray:
        """Mean of each row's group; a ValueError for a group that has none."""
        keys = [np.asarray(group) for group in groups] or [np.zeros(len(x))]
        if self.means is None:
            self.means = pd.Series(np.asarray(x, dtype=float)).groupby(keys).mean()
        of = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else pd.Index(keys[0])
        found = self.means.reindex(of).to_numpy()
        if np.isnan(found).any():
            raise ValueError("ave() has groups that were not in the data")
        return found


class NaturalSpline:
    """Basis of natural cubic splines, R's ``splines::ns`` without intercept.

    Cubic B-splines of which those combinations are kept that are linear beyond the outermost
    values (Hastie 1992). Inner knots are quantiles of the column unless they are given.
    """

    __stateful_transform__ = True

    def __init__(self) -> None:
        self.knots: np.ndarray | None = None
        self.linear = np.empty((0, 0))

    def __call__(self, x: Any, df: int = 1, knots: Any = None) -> np.ndarray:
        """Columns (n, df); df is one more than there are inner knots."""
        values = np.asarray(x, dtype=float)
        if self.knots is None:
            low, high = values.min(), values.max()
            if knots is None:
                inner = np.quantile(values, np.linspace(0, 1, int(df) + 1)[1:-1])
            else:
                inner = np.sort(np.atleast_1d(np.asarray(knots, dtype=float)))
            self.knots = np.concatenate([np.repeat(low, 4), inner, np.repeat(high, 4)])
            bent = self._splines(np.array([low, high]), 2)[:, 1:]
            self.linear = np.linalg.qr(bent.T, mode="complete")[0][:, 2:]
        ends = self.knots[[0, -1]]
        basis = self._splines(np.clip(values, *ends), 0)
        for end, beyond in zip(ends, (values < ends[0], values > ends[1]), strict=True):
            slope = self._splines(np.array([end]), 1)
            basis[beyond] += (values[beyond, None] - end) * slope
        return basis[:, 1:] @ self.linear

    def _splines(self, x: np.ndarray, derivative: int) -> np.ndarray:
        """Derivatives (n, k) of the B-splines; at the last knot from the left."""
        assert self.knots is not None
        spline = BSpline(self.knots, np.eye(len(self.knots) - 4), 3)
        return np.asarray(spline(x, derivative))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log": log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "pmax": lambda *values: reduce(np.maximum, values),
    "pmin": lambda *values: reduce(np.minimum, values),
    "ifelse": lambda test, yes, no: np.where(test, yes, no),
    "factor": as_factor,
    "ave": GroupMean,
    "cut": Cut,
    "ns": NaturalSpline,
    "c": lambda *values: [*values],
}
#: Of these, those that must see all rows.
STATEFUL = ("scale", "standardize", "center", "bs", "cc", "cr", "tp", "poly", "ns", "cut", "ave")
#: And those that make categories of what they see.
CATEGORICAL = ("C", "S", "T", "factor")

ENVIRONMENT = Environment([FUNCTIONS | CONSTANTS])
#: What mgcv, brms and Bambi call a term whose smoothness is estimated, and what there is instead.
SMOOTH = {"s", "te", "ti", "t2", "gp", "hsgp"}
WAY_OUT = (
    "ns(x, 4) and bs(x, df=4) are splines of a fixed size; brms has s() and gp(), Bambi hsgp()."
)


def evaluate(part: str, table: pd.DataFrame, formula: str) -> Any:
    """Matrices of a part of a formula, which remember the state of its transformations."""
    try:
        # what comes of it is checked; formulae prints some of its errors before it raises them
        with np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            return design_matrices(part, table, na_action="error", env=ENVIRONMENT)
    except KeyError as error:
        if error.args[0] in SMOOTH:
            says = f"is a smooth term, which this package has not: {WAY_OUT}"
        else:
            says = (
                f"is not a known function; there are {', '.join(FUNCTIONS)}, and formulae's own, "
                "such as center, scale, poly and bs."
            )
        raise ValueError(f"In {formula!r}, {error} {says}") from None
    except Exception as error:
        raise ValueError(f"{part!r} cannot be evaluated on the table: {said(error)}") from None


def offsets(found: Formula, table: pd.DataFrame) -> tuple[Any, ...]:
    """Matrices of a formula's offsets; a ValueError for one that is not a number."""
    made = []
    for text in found.offsets:
        matrix = evaluate(f"0 + I({text})", table, found.text).common
        if [term.kind for term in matrix.terms.values()] != ["numeric"]:
            raise ValueError(f"In {found.text!r}, the offset {text!r} must be numbers.")
        made.append(matrix)
    return tuple(made)


def response(matrices: Any, formula: str) -> np.ndarray:
    """The response (N,); a ValueError unless it is one numeric column."""
    y = np.asarray(matrices.response.design_matrix)
    if matrices.response.kind != "numeric" or y.ndim != 1:
        raise ValueError(
            f"The response of {formula!r} is {matrices.response.kind}; it must be one numeric "
            "column. For two categories, or successes out of trials, set `family: binomial`."
        )
    return y.astype(float)


def columns(made: tuple[Any, ...], n: int, table: pd.DataFrame | None = None) -> np.ndarray:
    """Columns (n, k) of some matrices side by side, on their own table or another one."""
    sources = [m if table is None else m.evaluate_new_data(table) for m in made]
    arrays = [np.asarray(s.design_matrix, dtype=float).reshape(n, -1) for s in sources]
    return np.hstack([np.empty((n, 0)), *arrays])


def labels(matrix: Any) -> list[str]:
    """Names of a matrix' columns."""
    return [safe(str(label)) for term in matrix.terms.values() for label in term.labels]


def terms(matrix: Any) -> str:
    """A matrix' terms as a formula would say them."""
    names = ["1" if name == "Intercept" else str(name) for name in matrix.terms]
    return " + ".join(names if "1" in names else ["0", *names])


def factor(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    """Group of each row: the column's values, or text ``a:b`` for an interaction of columns.

    A part that holds a colon itself stands in quotes, doubled within, as in CSV; so no two
    combinations have one text.
    """
    require_columns(table.columns, [*names])
    if len(names) == 1:
        return table[names[0]]
    # the text of each combination once, for there are far more rows
    number = table.groupby([*names], sort=False, dropna=False, observed=True).ngroup()
    first = ~number.duplicated()
    text = table.loc[first, [*names]].astype(str)
    for name in names:
        odd = text[name].str.contains('[:"]')
        quoted = '"' + text[name].str.replace('"', '""') + '"'
        text[name] = text[name].where(~odd, quoted)
    distinct = text[names[0]].str.cat([text[name] for name in names[1:]], sep=":").to_numpy()
    return pd.Series(distinct[pd.factorize(number)[0]], index=table.index)
