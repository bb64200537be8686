"""Pareto-smoothed importance sampling of what is left out in turn, as ArviZ does it."""

from typing import Any

import arviz_stats as azs
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

#: The limit of Pareto k for many draws (Vehtari et al. 2024); `good_k` is below it for few.
FEW_DRAWS_LIMIT = 0.7
#: Rows that are smoothed together: what they take at a time stays in a processor's cache.
AT_ONCE = 16
#: Of the prior of a Pareto k, in draws, and its mean; and where its scale lies (Zhang & Stephens).
PRIOR_DRAWS, PRIOR_K, PRIOR_SCALE = 10, 0.5, 3


def psis(tree: xr.DataTree) -> Any:
    """ArviZ's estimate from densities, `Fitted.with_densities`, of what is left out in turn.

    `arviz_stats.loo` smooths and adds up one row after another, which takes ten times as long.
    """
    draws, log = tree["posterior"].to_dataset(), tree["log_likelihood"].to_dataset()["density"]
    dims = ["chain", "draw"]
    (row,) = set(log.dims) - {*dims}
    n = draws.sizes["chain"] * draws.sizes["draw"]
    sizes = azs.ess(draws, method="mean")
    size = np.hstack([sizes[name].values.ravel() for name in sizes.data_vars]).mean()
    by_row = log.transpose(row, *dims)
    flat = by_row.to_numpy().reshape(-1, n)
    weights, k = smoothed(flat, size / n if len(draws.chain) > 1 else 1.0)
    elpd = _log_sums(weights + flat)
    p = float((_log_sums(flat) - np.log(n) - elpd).sum())
    pointwise = log.isel(dict.fromkeys(dims, 0), drop=True)
    kept = by_row.copy(data=weights.reshape(by_row.shape)).transpose(*log.dims)
    return estimated(pointwise.copy(data=elpd), pointwise.copy(data=k), n, p=p, log_weights=kept)


def estimated(elpd: xr.DataArray, pareto_k: xr.DataArray, n: int, **more: Any) -> Any:
    """ArviZ's estimate from its terms and their Pareto k, from n draws."""
    good_k = min(1 - 1 / np.log10(n), FEW_DRAWS_LIMIT)
    found = ELPDDataLOO(
        elpd=0.0,
        se=0.0,
        n_samples=n,
        n_data_points=elpd.size,
        scale="log",
        warning=bool((pareto_k > good_k).any()),
        good_k=good_k,
        elpd_i=elpd,
        pareto_k=pareto_k,
        **{"p": np.nan} | more,
    )
    add_up(found)
    return found


def smoothed(log: np.ndarray, r_eff: float) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed log weights of draws when a row is left out, and their Pareto k.

    ArviZ's `psislw` (Vehtari, Simpson, Gelman, Yao & Gabry 2024), of many rows at a time.

    Parameters
    ----------
    log : (n, S) array
        Log density of each row at each draw.
    r_eff : float
        Effective draws per draw.

    Returns
    -------
    log_weights : (n, S) array
        Normalized.
    pareto_k : (n,) array
        Where the largest weights are all the same, as those of a chain that is stuck far out, there
        is no tail to smooth: the weights stay as they are, and k is infinite; or zero where all
        weights are the same.
    """
    n = log.shape[1]
    tail = int(3 * (n / r_eff) ** 0.5 if n * r_eff > 225 else n / 5)
    weights, k = np.empty(log.shape), np.empty(len(log))
    for first in range(0, len(log), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        weights[some], k[some] = _with_tail(-log[some], tail)
    return weights, k


def _with_tail(log: np.ndarray, tail: int) -> tuple[np.ndarray, np.ndarray]:
    """Log weights (n, S), the largest those of a generalized Pareto distribution, and its k."""
    log = log - log.max(1, keepdims=True)
    k = np.where(np.ptp(log, axis=1) == 0, 0.0, np.inf)
    order = np.argsort(log, axis=1)[:, -tail - 1 :]
    largest = np.take_along_axis(log, order, 1)
    vary = np.flatnonzero((largest[:, -1] - largest[:, 1] >= np.finfo(float).tiny) & (tail >= 5))
    if len(vary):
        weight = np.exp(largest[vary])
        cutoff = weight[:, :1]
        k[vary], sigma = _pareto(weight[:, 1:] - cutoff)
        shape, p = k[vary, None], np.arange(0.5, tail) / tail
        with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is not taken
            above = np.expm1(-shape * np.log1p(-p)) / shape
            above = np.where(shape == 0, -np.log1p(-p), above)
            drawn = np.log(cutoff + np.where(sigma > 0, sigma, np.nan)[:, None] * above)
        largest[vary, 1:] = np.where(np.isfinite(shape), np.minimum(drawn, 0), largest[vary, 1:])
        np.put_along_axis(log, order, largest, 1)
    return log - _log_sums(log)[:, None], k


def _pareto(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape and scale (n,) of generalized Pareto distributions of ordered samples (n, m).

    Posterior means on a grid (Zhang & Stephens 2009, *Technometrics* 51, 316-325), the shape with
    the prior of Vehtari et al. (2024).
    """
    n = x.shape[1]
    quarter = x[:, int(n / 4 + 0.5) - 1]
    grid = 30 + int(n**0.5)
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample that is far from Pareto's
        b = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
        b = b / (PRIOR_SCALE * quarter[:, None]) + 1 / x[:, -1:]
        k = np.log1p(-b[..., None] * x[:, None]).mean(2)
        log = n * (np.log(-b / k) - k - 1)
        share = np.exp(log - _log_sums(log)[:, None])
        share = np.where(share < 10 * np.finfo(float).eps, 0, share)
        b_mean = (b * share).sum(1) / share.sum(1)
        k_mean = np.log1p(-b_mean[:, None] * x).mean(1)
        sigma = -k_mean / b_mean
    k_mean = (n * k_mean + PRIOR_DRAWS * PRIOR_K) / (n + PRIOR_DRAWS)
    k_mean = np.where(np.isnan(k_mean), np.inf, k_mean)
    return np.where(quarter > x[:, 0], k_mean, np.nan), sigma


def _log_sums(log: np.ndarray) -> np.ndarray:
    """Logarithms of the sums of rows, in half the time that SciPy takes for any shape."""
    most = log.max(1)
    return most + np.log(np.exp(log - most[:, None]).sum(1))


def add_up(elpd: Any) -> None:
    """Make sum and standard error of an estimate those of its terms: docs/method.md, eq. (33)."""
    elpd.elpd = float(elpd.elpd_i.sum())
    elpd.se = float(np.sqrt(elpd.elpd_i.size * np.var(elpd.elpd_i)))
