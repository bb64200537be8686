"""Rows of binary, counted and ordered responses, brought to two kinds and collapsed.

Four families, two kinds of row (docs/method.md, eq. (50) to (53)): a negative binomial count is a
binomial row whose trials hang on the shape, and an ordered answer two binomial rows, one at each
threshold beside it. Rows of a group that share every column are one row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import digamma, gammaln


@dataclass(frozen=True, eq=False)
class CountedRows:
    """Rows sorted by group, those alike collapsed into one (docs/method.md, eq. (50) to (53)).

    The log likelihood of row i at the linear predictor e is ``y e - m log(1 + exp(e))`` for the
    binomial kind, with ``m = trials + shape count``, and ``y e - exp(e)`` for Poisson's.

    Attributes
    ----------
    family : str
    y : (n,) array
        Successes, or counts.
    trials, count : (n,) int array
        What m is made of; `count` is zero but for the negative binomial.
    offset : (n,) array
    X : (n, p + t) array
        Columns of the coefficients, then of the t thresholds of an ordered response.
    Z : (n, q) array
        Columns whose coefficients vary; one of zeros where none does.
    start : (J + 1,) int array
        First row of each group, and the end.
    n_thresholds : int
    constant : (J,) array
        What the log likelihoods of each group's rows have, whatever the parameters.
    values : (V,) array
        Distinct responses: counts of the negative binomial, categories of an ordered response.
    histogram : (J, V) sparse array
        How many rows of each group have each of them.
    """

    family: str
    y: np.ndarray
    trials: np.ndarray
    count: np.ndarray
    offset: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    start: np.ndarray
    n_thresholds: int
    constant: np.ndarray
    values: np.ndarray
    histogram: sparse.csr_array

    @property
    def poisson(self) -> bool:
        """Whether the rows are of Poisson's kind."""
        return self.family == "poisson"

    @property
    def n_groups(self) -> int:
        """Number of groups J."""
        return len(self.start) - 1

    @property
    def groups(self) -> np.ndarray:
        """Group (n,) of each row."""
        return np.repeat(np.arange(self.n_groups), np.diff(self.start))

    @cached_property
    def common(self) -> bool:
        """Whether one coefficient varies, and its column is one number in each group."""
        first = self.Z[self.start[self.groups]]
        return self.Z.shape[1] == 1 and bool((first == self.Z).all())

    @cached_property
    def totals(self) -> np.ndarray:
        """How many rows (V,) have each response."""
        return np.asarray(self.histogram.sum(axis=0))

    def weights(self, eta: np.ndarray, shape: float) -> tuple[np.ndarray, np.ndarray]:
        """Curvature (n,) and slope (n,) of each row's log likelihood by its line ``eta`` (n,)."""
        if self.poisson:
            mean = np.exp(eta)
            return mean, self.y - mean
        m = self.trials + shape * self.count
        p = 1 / (1 + np.exp(np.log(shape) * self.count - eta))
        return m * p * (1 - p), self.y - m * p

    def constants(
        self, shape: np.ndarray, coefficients: np.ndarray, *, by_group: bool = False
    ) -> np.ndarray:
        """What is added to the log likelihoods of the rows: (S,), or by group (S, J).

        Parameters
        ----------
        shape : (S,) array
            Of the negative binomial; else not used.
        coefficients : (S, p + t) array
            The thresholds are their last ones.
        by_group : bool
        """
        each = np.zeros((len(coefficients), len(self.values)))
        if self.family == "negbinomial":
            each = gammaln(self.values + shape[:, None]) - gammaln(shape)[:, None]
        elif self.family == "cumulative":
            gaps = np.diff(coefficients[:, -self.n_thresholds :], axis=1)
            with np.errstate(divide="ignore"):
                each[:, 1:-1] = np.log(-np.expm1(-gaps))
        if by_group:
            return self.constant + (self.histogram @ each.T).T
        return self.constant.sum() + each @ self.totals

    def constants_gradient(
        self, shape: np.ndarray, coefficients: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of `constants` by the shape (S,) and by the coefficients (S, p + t)."""
        by_shape, by_coefficients = np.zeros(len(coefficients)), np.zeros_like(coefficients)
        if self.family == "negbinomial":
            by_shape = (digamma(self.values + shape[:, None]) - digamma(shape)[:, None]) @ (
                self.totals
            )
        if self.family == "cumulative" and self.n_thresholds > 1:
            gaps = np.diff(coefficients[:, -self.n_thresholds :], axis=1)
            by_gap = self.totals[1:-1] / np.expm1(gaps)
            by_coefficients[:, -self.n_thresholds + 1 :] += by_gap
            by_coefficients[:, -self.n_thresholds : -1] -= by_gap
        return by_shape, by_coefficients


def counted_rows(
    family: str,
    y: np.ndarray,
    X: np.ndarray,
    Z: np.ndarray,
    codes: np.ndarray,
    n_groups: int,
    *,
    trials: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    n_thresholds: int | None = None,
    repeats: np.ndarray | None = None,
) -> CountedRows:
    """The rows of a response, brought to their kind, sorted by group and collapsed.

    Parameters
    ----------
    family : {"binomial", "poisson", "negbinomial", "cumulative"}
    y : (N,) array
        Successes, counts, or categories 1, 2, ... of an ordered response.
    X, Z : (N, p) and (N, q) arrays
    codes : (N,) int array
        Group of each row.
    n_groups : int
    trials : (N,) array, optional
        Of the binomial family; one each where they are not given.
    offset : (N,) array, optional
        Added to the linear predictor.
    n_thresholds : int, optional
        Of an ordered response, where these may not be all its rows; else told by y.
    repeats : (N,) int array, optional
        How often each row is there; once where they are not given.
    """
    y = np.asarray(y, dtype=float)
    trials = np.ones(len(y)) if trials is None else np.asarray(trials, dtype=float)
    offset = np.zeros(len(y)) if offset is None else np.asarray(offset, dtype=float)
    Z = np.zeros((len(y), 1)) if not Z.shape[1] else Z
    times = np.ones(len(y)) if repeats is None else np.asarray(repeats, dtype=float)
    none = np.zeros(len(y), dtype=np.int64)
    fixed, count = np.zeros(len(y)), none
    values, kind = np.unique(y, return_inverse=True)
    if family != "cumulative":
        n_thresholds = 0
    else:
        n_thresholds = int(y.max()) - 1 if n_thresholds is None else n_thresholds
        values, kind = np.arange(1, n_thresholds + 2), y.astype(np.int64) - 1
    shape = (n_groups, len(values))
    histogram = sparse.coo_array((times, (codes, kind.reshape(-1))), shape).tocsr()
    if family == "binomial":
        m = trials.astype(np.int64)
        fixed = gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)
    elif family == "poisson":
        # a weight exp(offset) of the rate, so that rows with other offsets are alike too
        fixed, m = y * offset - gammaln(y + 1), none
    elif family == "negbinomial":
        fixed, m, count = -gammaln(y + 1), y.astype(np.int64), none + 1
    constant = np.bincount(codes, times * fixed, n_groups)
    if family == "cumulative":
        y, at, columns = _at_thresholds(y, n_thresholds)
        X, Z = np.hstack([X[at], columns]), Z[at]
        offset, codes, times = offset[at], codes[at], times[at]
        m, count = np.ones(len(y), dtype=np.int64), np.zeros(len(y), dtype=np.int64)
    weight = np.exp(offset) if family == "poisson" else np.zeros(len(y))
    key = np.column_stack([codes, Z, X, 0 * offset if family == "poisson" else offset])
    unique, into = np.unique(key, axis=0, return_inverse=True)
    total = [np.bincount(into.reshape(-1), times * v, len(unique)) for v in (y, m, count, weight)]
    groups, q = unique[:, 0].astype(np.int64), Z.shape[1]
    offset = np.log(total[3]) if family == "poisson" else unique[:, -1]
    if family == "poisson":
        constant -= np.bincount(groups, total[0] * offset, n_groups)
    return CountedRows(
        family=family,
        # of no rows at all it counts in integers, for which the kernels would be compiled anew
        y=total[0].astype(float),
        trials=total[1].astype(np.int64),
        count=total[2].astype(np.int64),
        offset=np.ascontiguousarray(offset),
        X=np.ascontiguousarray(unique[:, 1 + q : -1]),
        Z=np.ascontiguousarray(unique[:, 1 : 1 + q]),
        start=np.searchsorted(groups, np.arange(n_groups + 1)),
        n_thresholds=n_thresholds,
        constant=constant,
        values=values,
        histogram=histogram,
    )


def _at_thresholds(y: np.ndarray, n_thresholds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row once for every threshold beside its category (docs/method.md, eq. (52)).

    Whether it succeeded, as at the one below, or failed, as at the one above; which row it is; and
    the columns of the thresholds.
    """
    below, above = np.flatnonzero(y > 1), np.flatnonzero(y <= n_thresholds)
    at = np.concatenate([below, above])
    threshold = np.concatenate([y[below] - 2, y[above] - 1]).astype(np.int64)
    columns = -np.eye(n_thresholds)[threshold]
    success = np.repeat([1.0, 0.0], [len(below), len(above)])
    return success, at, columns
