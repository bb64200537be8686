"""Calibration over many simulated data sets.

If truths come from the prior and data from the model, the rank of each truth among its posterior
draws is uniform, whatever the model (Cook, Gelman & Rubin 2006; Talts et al. 2018). A fit whose
ranks are not uniform does not tell the truth about its uncertainty.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import chi2

from partialpool.checks import flat
from partialpool.model import Model

#: How one data set is fitted: model of that data set and a seed -> posterior.
Fit = Callable[[Model, int], xr.DataTree]


def draw_from_prior(model: Model, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """A response simulated from the model, and the truth that made it.

    Returns
    -------
    (N,) array
        A new response for the model's own predictors and groups.
    dict
        The value of every scalar parameter, group effects as ``1|Subject[308]``.

    Raises
    ------
    ValueError
        For a flat prior, from which one cannot draw.
    """
    design = model.design
    truth = {
        name: float(model.priors[name].sample(rng))
        for name in [*design.x_names, "sigma", *design.sd_names]
    }
    q = len(design.z_names)
    L = np.zeros((q, q))
    cors = dict(zip(design.correlated_pairs, design.cor_names, strict=True))
    for block in design.blocks:
        for i, row in enumerate(block):
            left = 1.0
            for j in range(i):
                eta = model.priors[cors[block[j], row]].arguments[0]
                alpha = eta + (len(block) - 2 - j) / 2  # as in ThetaPosterior
                z = 2 * rng.beta(alpha, alpha) - 1
                L[row, block[j]] = z * np.sqrt(left)
                left *= 1 - z**2
            L[row, row] = np.sqrt(left)
    truth |= {name: float((L @ L.T)[pair]) for pair, name in cors.items()}
    sds = np.array([truth[name] for name in design.sd_names])
    b = rng.standard_normal((design.n_groups, q)) @ (sds[:, None] * L).T
    for k in range(q):
        names = [f"{design.effect(k)}[{level}]" for level in design.levels]
        truth |= dict(zip(names, b[:, k].tolist(), strict=True))
    beta = np.array([truth[name] for name in design.x_names])
    mean = design.X @ beta + (design.Z * b[design.codes]).sum(1)
    return mean + truth["sigma"] * rng.standard_normal(len(mean)), truth


def fit_exactly(model: Model, seed: int) -> xr.DataTree:
    """The exact fit with few draws: enough for a rank."""
    return model.fit(draws=25, seed=seed)


def ranks(
    model: Model, seed: int, data_sets: int, fit: Fit = fit_exactly
) -> Iterator[dict[str, float]]:
    """Normalized rank of each truth among its posterior draws, data set by data set.

    Data set k has a stream of its own, spawned from the seed, so that no result depends on how
    many there are or in which order they are made.

    Yields
    ------
    dict
        Parameter name -> rank in [0, 1], ties within a rank broken at random.
    """
    for stream in np.random.SeedSequence(seed).spawn(data_sets):
        rng = np.random.default_rng(stream)
        y, truth = draw_from_prior(model, rng)
        posterior = fit(model.with_response(y), int(rng.integers(2**31)))
        draws = flat(posterior["posterior"].to_dataset())
        yield {
            name: (np.sum(draws[name] < value) + rng.uniform()) / (draws[name].size + 1)
            for name, value in truth.items()
            if name in draws
        }


def uniformity(table: pd.DataFrame, bins: int = 20) -> pd.Series:
    """p-value of each column's ranks being uniform, by chi-squared over equal bins."""
    expected = len(table) / bins
    result = {}
    for name, values in table.items():
        counts = np.histogram(values, bins=bins, range=(0, 1))[0]
        result[name] = float(chi2.sf(((counts - expected) ** 2 / expected).sum(), bins - 1))
    return pd.Series(result, name="p")
