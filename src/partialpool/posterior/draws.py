"""Draws: what those of a scalar say of themselves, and what all make of a design's rows."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from partialpool.design.families import thresholds
from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit.exact_fit import n_draws

#: Most rows of the data at which lines are drawn; of more, a random sample.
MAX_ROWS = 10_000
#: Probability of the intervals in figures and in their sentences; all are equal-tailed.
PROBABILITY = 0.9


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
    import arviz_stats as azs  # takes long to import, and no check of a study needs it

    arviz: dict[str, Any] = {
        "ess_bulk": partial(azs.ess, method="bulk"),
        "ess_tail": partial(azs.ess, method="tail"),
        "rhat": azs.rhat,
        "mcse_mean": partial(azs.mcse, method="mean"),
    }
    inflation = float(dataset.attrs.get("inflation", 1.0))
    independent = "inflation" in dataset.attrs
    found = []
    for name, variable in dataset.data_vars.items():
        one = dataset[[name]]
        if independent and variable.ndim > 2:
            found.append(_of_independent(values_of(one)))
        else:
            found.append({figure: _each(by, one) for figure, by in arviz.items()})
    result = {figure: np.concatenate([each[figure] for each in found]) for figure in arviz}
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
    from scipy.stats import wasserstein_distance

    return np.array([wasserstein_distance(*pair) for pair in zip(draws, others, strict=True)])


def interval(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Lower and upper end of the equal-tailed interval of draws along an axis: (2, ...)."""
    tail = (1 - PROBABILITY) / 2
    return np.quantile(values, [tail, 1 - tail], axis=axis)


def coefficient(z_name: str) -> str:
    """The population's coefficient from which groups deviate, by its name among theirs."""
    return "Intercept" if z_name == "1" else z_name


def some_rows(design: Design, most: int = MAX_ROWS, seed: int = 0) -> np.ndarray:
    """All rows of the data, or a random sample of `most` of them, in order."""
    n = len(design.y)
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def line(design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The line ``X beta + Z b`` at rows (n,) of the data, an offset of a link added: (S, n)."""
    total = population_line(design, values, design.X[rows])
    if design.offset is not None:
        total += design.offset[rows]
    for grouping in design.groupings:
        for name, z in zip(grouping.effects, grouping.Z[rows].T, strict=True):
            total += values[name][:, grouping.codes[rows]] * z
    return total


def population_line(design: Design, values: Mapping[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    """The population's part of the line, ``X beta``, at rows X (n, p): (S, n)."""
    total = np.zeros((n_draws(values), len(X)))
    for k, name in enumerate(design.x_names):
        total += values[name][:, None] * X[:, k]
    return total


def noise(design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Scale of the noise at rows (n,), known standard errors included: (S, n)."""
    sigma = values["sigma"][:, None]
    if design.se is None:
        return np.broadcast_to(sigma, (len(sigma), len(rows)))
    return np.hypot(sigma, design.se[rows])


def standard_noise(
    values: Mapping[str, np.ndarray], shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Noise of scale one, of shape (S, ...): Student's t where there are degrees of freedom."""
    if "nu" not in values:
        return rng.standard_normal(shape)
    return rng.standard_t(values["nu"].reshape(-1, *[1] * (len(shape) - 1)), shape)


def from_prior(
    design: Design, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[str, float]:
    """Values of everything but group effects, drawn from the priors.

    Raises
    ------
    ValueError
        For a flat prior, from which one cannot draw.
    """
    own = [name for name in ("sigma", "shape") if name in priors]
    truth = {
        name: float(priors[name].sample(rng)) for name in [*design.x_names, *own, *design.sd_names]
    }
    cuts = [name for name in thresholds(len(design.answers)) if name in priors]
    if cuts:  # the density of those in order is that of independent ones put in order
        sample = np.sort(priors[cuts[0]].sample(rng, len(cuts)))
        truth |= dict(zip(cuts, map(float, sample), strict=True))
    cors = dict(zip(design.correlated_pairs, design.cor_names, strict=True))
    for block in design.blocks:
        L = np.zeros((len(block), len(block)))
        for i in range(len(block)):
            left = 1.0
            for j in range(i):
                eta = priors[cors[block[j], block[i]]].arguments[0]
                alpha = eta + (len(block) - 2 - j) / 2  # as in ThetaPosterior
                z = 2 * rng.beta(alpha, alpha) - 1
                L[i, j] = z * np.sqrt(left)
                left *= 1 - z**2
            L[i, i] = np.sqrt(left)
        for i, j in cors.keys() & {(a, b) for a in block for b in block}:
            truth[cors[i, j]] = float(L[block.index(i)] @ L[block.index(j)])
    return truth
