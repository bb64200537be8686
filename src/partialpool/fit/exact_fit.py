"""The exact fit: theta by importance sampling, then everything else from its Gaussian.

docs/method.md says how; `exact` has the closed form, `importance` the sampler.
"""

import time
from functools import cache

import numpy as np
import pandas as pd

from partialpool.design.matrices import Design
from partialpool.fit import exact, importance
from partialpool.fit.regression import Regression

#: Largest number of group effects drawn with a fit (draws x groups x columns), 8 bytes each.
MAX_EFFECTS = 100_000_000
#: Key of the stream of the group effects, spawned from the fit's seed.
EFFECT_STREAM = 2


def population_draws(
    regression: Regression, total: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, importance.Sample]:
    """Exact draws of everything but the group effects, and the sample they come from.

    Returns
    -------
    dict
        Parameter name -> draws (total,).
    (total, d) array
        The coordinates of theta they belong to.
    importance.Sample
        Says whether the draws are to be trusted.
    """
    target, design = regression.theta_posterior, regression.design
    sample = importance.sample(target, exact.start(design, target), rng, effective=total)
    u = importance.resample(sample, total, rng)
    scales, correlations = target.parameters(u)
    values: dict[str, np.ndarray] = {"sigma": scales[:, 0]}
    values |= dict(zip(design.sd_names, scales[:, 1:].T, strict=True))
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        values[name] = correlations[:, i, j]
    beta = exact.conditional_coefficients(target, u, rng)
    return values | dict(zip(design.x_names, beta.T, strict=True)), u, sample


@cache
def warm_up() -> float:
    """Compile, or load, what an exact fit runs, once in a process; return the seconds it took.

    So the time of a fit is that of the fit, whether it is the first one or not.
    """
    begun = time.perf_counter()
    y = [0.0, 1.0, 0.5, 2.0, 1.0, 3.0]
    small = Regression("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": [0, 0, 1, 1, 2, 2]}))
    values, u, _ = population_draws(small, 10, np.random.default_rng(0))
    small.theta_posterior(u)
    with_effects(small, {name: value[None] for name, value in values.items()}, 0)
    return time.perf_counter() - begun


def with_effects(
    regression: Regression, values: dict[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Draws (chains, draws) with group effects (chains, draws, J) added, unless these are many."""
    design = regression.design
    q = len(design.z_names)
    chains, draws = values["sigma"].shape
    if not q or chains * draws * design.n_groups * q > MAX_EFFECTS:
        return values
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
    effects = effect_draws(regression, values, rng)
    shaped = effects.reshape(q, chains, draws, design.n_groups)
    return values | {design.effect(k): shaped[k] for k in range(q)}


def effect_draws(
    regression: Regression, values: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Group effects given draws of everything else: (q, draws, groups)."""
    flat = {name: value.reshape(-1) for name, value in values.items()}
    beta = coefficients(regression.design, flat)
    L = covariance_root(regression.design, flat)
    return exact.conditional_effects(regression.cross, flat["sigma"], L, beta, rng)


def prior_effects(
    design: Design, values: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Group effects from ``N(0, Sigma)``, knowing nothing of y: (q, draws, groups)."""
    L = covariance_root(design, values)
    return np.einsum("sik,skj->isj", L, rng.standard_normal((*L.shape[:2], design.n_groups)))


def coefficients(design: Design, values: dict[str, np.ndarray]) -> np.ndarray:
    """Draws of the population's coefficients side by side: (S, p)."""
    columns = [values[name] for name in design.x_names]
    return np.stack(columns, -1) if columns else np.empty((len(values["sigma"]), 0))


def covariance_root(design: Design, values: dict[str, np.ndarray]) -> np.ndarray:
    """Lower triangular L (draws, q, q) with ``L Lᵀ = Sigma``, from sds and correlations."""
    q = len(design.z_names)
    sds = np.stack([values[name] for name in design.sd_names], -1) if q else np.empty((0, 0))
    correlation = np.tile(np.eye(q), (len(values["sigma"]), 1, 1))
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        correlation[:, i, j] = correlation[:, j, i] = values[name]
    return sds[:, :, None] * _semidefinite_root(correlation) if q else correlation


def _semidefinite_root(correlation: np.ndarray) -> np.ndarray:
    """A lower triangular root (S, q, q), also where rounding left a pivot at or below zero."""
    q = correlation.shape[-1]
    root = np.zeros_like(correlation)
    for i in range(q):
        for j in range(i):
            rest = correlation[:, i, j] - (root[:, i, :j] * root[:, j, :j]).sum(-1)
            root[:, i, j] = rest / np.maximum(root[:, j, j], 1e-150)
        left = 1 - (root[:, i, :i] ** 2).sum(-1)
        root[:, i, i] = np.sqrt(np.maximum(left, 0))
    return root
