"""Mean and spread of a design's columns over all rows, also where only a sample is in memory."""

from dataclasses import dataclass

import numpy as np

from partialpool.data.moments import Moments

#: Names of columns of ones.
CONSTANT = ("Intercept", "1")


@dataclass(frozen=True)
class Totals:
    """Figures of some columns, each array with one element for each column.

    Attributes
    ----------
    mean, sd, rms : arrays
        Mean, standard deviation (with divisor N), and root of the mean square.
    """

    mean: np.ndarray
    sd: np.ndarray
    rms: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """The standard deviation; of a constant column its absolute value."""
        return np.where(self.sd > 0, self.sd, self.rms)


def of_columns(columns: np.ndarray, repeats: np.ndarray | None = None) -> Totals:
    """Figures of the columns (N, k) of a matrix, each row of which is there `repeats` times."""
    # column by column: NumPy sums contiguous memory more precisely
    columns = np.ascontiguousarray(columns.T)
    if repeats is not None:
        mean, square = (np.average(c, axis=1, weights=repeats) for c in (columns, columns**2))
        away = np.average((columns - mean[:, None]) ** 2, axis=1, weights=repeats)
        return Totals(mean, np.sqrt(away), np.sqrt(square))
    return Totals(columns.mean(1), columns.std(1), np.sqrt((columns**2).mean(1)))


def products(moments: Moments, names: tuple[str, ...]) -> np.ndarray:
    """Cross-products (k, k) of all rows of the columns that are not constant.

    About their means, where there is a constant column to take these up.
    """
    whole = moments.total()
    at = [whole.names.index(name) for name in names if name not in CONSTANT]
    found = whole.centred()[0]
    if not {*names} & {*CONSTANT}:
        mean = whole.means(np.zeros(len(whole.names)))[0]
        found = found + whole.records[0, 0] * np.outer(mean, mean)
    return found[np.ix_(at, at)]


def of_moments(moments: Moments, names: tuple[str, ...]) -> Totals:
    """Figures of some columns of a table in parts; a constant column has no moments."""
    whole = moments.total()
    mean = dict(zip(whole.names, whole.means(np.zeros(len(whole.names)))[0], strict=True))
    n = whole.records[0, 0]
    variance = dict(zip(whole.names, np.diag(whole.centred()[0]) / n, strict=True))
    means = np.array([1.0 if name in CONSTANT else mean[name] for name in names])
    sds = np.array([0.0 if name in CONSTANT else variance[name] ** 0.5 for name in names])
    return Totals(means, sds, np.hypot(means, sds))
