"""Pareto-smoothed importance sampling of what is left out in turn, ArviZ's."""

from typing import Any

import arviz_stats as azs
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDDataLOO
from scipy import special

#: The limit of Pareto k for many draws (Vehtari et al. 2024); `good_k` is below it for few.
FEW_DRAWS_LIMIT = 0.7


def psis(tree: xr.DataTree) -> Any:
    """ArviZ's estimate from densities, `Fitted.with_densities`, of what is left out in turn.

    The smoothed weights are ArviZ's. `arviz_stats.loo` would add them up one row at a time, which
    takes as long as the smoothing.
    """
    draws, log = tree["posterior"].to_dataset(), tree["log_likelihood"].to_dataset()["density"]
    dims = ["chain", "draw"]
    n = draws.sizes["chain"] * draws.sizes["draw"]
    sizes = azs.ess(draws, method="mean")
    size = np.hstack([sizes[name].values.ravel() for name in sizes.data_vars]).mean()
    weights, pareto_k = _smoothed(log, size / n if len(draws.chain) > 1 else 1.0, dims)
    weights = weights.transpose(*log.dims)
    elpd = (weights + log).reduce(special.logsumexp, dims)
    p = float((log.reduce(special.logsumexp, dims) - np.log(n) - elpd).sum())
    return estimated(elpd, pareto_k, n, p=p, log_weights=weights)


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


def _smoothed(
    log: xr.DataArray, r_eff: float, dims: list[str]
) -> tuple[xr.DataArray, xr.DataArray]:
    """ArviZ's smoothed log weights and their Pareto k.

    Where the largest weights are all the same, as those of a chain that is stuck far out, there is
    no tail to smooth, and ArviZ raises: the weights stay as they are, and k is infinite; or zero
    where all weights are the same.
    """
    try:
        return log.azstats.psislw(r_eff=r_eff, dim=dims)
    except ValueError:
        pass
    (row,) = set(log.dims) - set(dims)
    found = []
    for at in range(log.sizes[row]):
        one = log.isel({row: [at]})
        try:
            found.append(one.azstats.psislw(r_eff=r_eff, dim=dims))
        except ValueError:
            spread = one.max(dims) - one.min(dims)
            found.append(
                (-one - (-one).reduce(special.logsumexp, dims), spread.where(spread == 0, np.inf))
            )
    weights, pareto_k = zip(*found, strict=True)
    return xr.concat(weights, row), xr.concat(pareto_k, row)


def add_up(elpd: Any) -> None:
    """Make sum and standard error of an estimate those of its terms: docs/method.md, eq. (33)."""
    elpd.elpd = float(elpd.elpd_i.sum())
    elpd.se = float(np.sqrt(elpd.elpd_i.size * np.var(elpd.elpd_i)))
