"""Pareto-smoothed importance sampling of what is left out in turn, as ArviZ does it."""

from typing import Any

import arviz_stats as azs
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from partialpool.fit.pareto import log_sums, smoothed

#: The limit of Pareto k for many draws (Vehtari et al. 2024); `good_k` is below it for few.
FEW_DRAWS_LIMIT = 0.7


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
    elpd = log_sums(weights + flat)
    p = float((log_sums(flat) - np.log(n) - elpd).sum())
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


def add_up(elpd: Any) -> None:
    """Make sum and standard error of an estimate those of its terms: docs/method.md, eq. (33)."""
    elpd.elpd = float(elpd.elpd_i.sum())
    elpd.se = float(np.sqrt(elpd.elpd_i.size * np.var(elpd.elpd_i)))
