"""Every scalar of a posterior: its name, its draws, and what they say of themselves."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import arviz_stats as azs
import numpy as np
import xarray as xr
from scipy.stats import wasserstein_distance

#: Columns of a summary and ArviZ's functions for them.
DIAGNOSTICS: dict[str, Any] = {
    "ess_bulk": partial(azs.ess, method="bulk"),
    "ess_tail": partial(azs.ess, method="tail"),
    "rhat": azs.rhat,
    "mcse_mean": partial(azs.mcse, method="mean"),
}


def names_of(dataset: xr.Dataset) -> list[str]:
    """Names of all scalars, such as ``1|Subject[308]``."""
    names: list[str] = []
    for name, variable in dataset.data_vars.items():
        levels = variable[variable.dims[-1]].to_numpy() if variable.ndim > 2 else ()
        names += [f"{name}[{level}]" for level in levels] or [str(name)]
    return names


def values_of(dataset: xr.Dataset) -> np.ndarray:
    """All draws of every scalar: (parameters, chains, draws)."""
    each = [v.transpose(..., "chain", "draw").to_numpy() for v in dataset.data_vars.values()]
    return np.concatenate([v.reshape(-1, *v.shape[-2:]) for v in each])


def diagnostics(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Effective draws, R-hat and Monte Carlo error of the mean of every scalar.

    They are ArviZ's. Draws of an exact fit are independent but for what importance sampling takes
    away, which the dataset's attribute ``inflation`` says (docs/method.md, eq. (20)) and ArviZ
    cannot know; it divides effective numbers. Of independent draws ArviZ is asked about the
    population's parameters only, for it takes milliseconds for each.
    """
    inflation = float(dataset.attrs.get("inflation", 1.0))
    independent = "inflation" in dataset.attrs
    found = []
    for name, variable in dataset.data_vars.items():
        one = dataset[[name]]
        if independent and variable.ndim > 2:
            found.append(_of_independent(values_of(one)))
        else:
            found.append({figure: _each(by, one) for figure, by in DIAGNOSTICS.items()})
    result = {figure: np.concatenate([each[figure] for each in found]) for figure in DIAGNOSTICS}
    for figure in ("ess_bulk", "ess_tail"):
        result[figure] = result[figure] / inflation
    result["mcse_mean"] = result["mcse_mean"] * np.sqrt(inflation)
    return result


def _of_independent(values: np.ndarray) -> dict[str, np.ndarray]:
    """Diagnostics of independent draws (parameters, chains, draws), with split R-hat."""
    K, chains, draws = values.shape
    count = np.full(K, float(chains * draws))
    n = draws // 2
    halves = values[:, :, : 2 * n].reshape(K, 2 * chains, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = halves.mean(2).var(1, ddof=1) / halves.var(2, ddof=1).mean(1)
    return {
        "ess_bulk": count,
        "ess_tail": count,
        "rhat": np.sqrt((n - 1) / n + between),
        "mcse_mean": values.std((1, 2)) / np.sqrt(count),
    }


def _each(diagnostic: Callable[[xr.Dataset], xr.Dataset], dataset: xr.Dataset) -> np.ndarray:
    """One of ArviZ's diagnostics of every scalar.

    Of what never moved, a fixed parameter or a stuck chain, ArviZ warns and returns NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = diagnostic(dataset)
    return np.concatenate([np.atleast_1d(v.to_numpy()) for v in found.data_vars.values()])


def wasserstein(draws: np.ndarray, others: np.ndarray) -> np.ndarray:
    """1-Wasserstein distances (parameters,) of two samples each."""
    draws, others = draws.reshape(len(draws), -1), others.reshape(len(others), -1)
    if draws.shape == others.shape:  # scipy's, for all at once
        return np.abs(np.sort(draws, 1) - np.sort(others, 1)).mean(1)
    return np.array([wasserstein_distance(*pair) for pair in zip(draws, others, strict=True)])
