"""Functions that a formula may call besides formulae's own (center, scale, bs, poly, C, I, ...).

They bear R's names and mean what they mean there. Those with a state, written as classes, keep what
they learned from the rows of the fit, so that new rows are seen in the same terms.
"""

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from formulae.categorical import CategoricalBox
from scipy.interpolate import BSpline


def log(x: Any, base: float | None = None) -> Any:
    """Natural logarithm, or that to a base."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def ifelse(test: Any, yes: Any, no: Any) -> np.ndarray:
    """`yes` where the test holds, else `no`; numbers, or text for categories."""
    return np.where(test, yes, no)


def factor(x: Any, levels: list[Any] | None = None) -> CategoricalBox:
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
    "ifelse": ifelse,
    "factor": factor,
    "cut": Cut,
    "ns": NaturalSpline,
    "c": lambda *values: [*values],
}
#: Of these, those that must see all rows.
STATEFUL = ("scale", "standardize", "center", "bs", "cc", "cr", "tp", "poly", "ns", "cut")
#: And those that make categories of what they see.
CATEGORICAL = ("C", "S", "T", "factor")
