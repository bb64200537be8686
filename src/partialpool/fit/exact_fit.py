"""The exact fit: theta by importance sampling, then everything else from its Gaussian.

docs/method.md says how; `exact` has the closed form, `importance` the sampler.
"""

import time
from functools import cache

import numpy as np
import pandas as pd

from partialpool.design.matrices import Design
from partialpool.design.priors import Prior
from partialpool.fit import exact, exploration, group_effects, importance
from partialpool.fit.exploration import Explored
from partialpool.fit.reduction import Factor, eliminate
from partialpool.fit.regression import Regression

#: Key of the stream of the group effects, spawned from the fit's seed.
EFFECT_STREAM = 2


def explore(
    regression: Regression, total: int, rng: np.random.Generator, *, scattered: bool = False
) -> Explored:
    """A weighted sample of everything but the group effects, and how it was come by.

    Parameters
    ----------
    regression : Regression
    total : int
        Number of draws that are wanted.
    rng : numpy.random.Generator
    scattered : bool
        Whether modes are looked for from random places (`exact.scattered`) instead of
        `exact.starts`, as a second fit does that shall see what the first one may have missed.
    """
    target = regression.theta_posterior
    starts = exact.starts(regression.design, target)
    return exploration.explore(target, starts, rng, effective=total, scattered=scattered)


def population_draws(
    regression: Regression, total: int, rng: np.random.Generator, *, scattered: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray, importance.Sample]:
    """Exact draws of everything but the group effects, and the sample they come from.

    Returns
    -------
    dict
        Parameter name -> draws (total,).
    (total,) array
        Log density of the theta they belong to.
    importance.Sample
        Says whether the draws are to be trusted.
    """
    explored = explore(regression, total, rng, scattered=scattered)
    values, log_density = drawn(regression.design, explored, rng)
    return values, log_density, explored.sample


def drawn(
    design: Design, explored: Explored, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draws (total,) of every parameter by name, and the log density of their theta."""
    sample = explored.sample
    at = importance.resample(sample, rng)
    scales, correlations = explored.posterior.parameters(sample.u[at])
    values: dict[str, np.ndarray] = {"sigma": scales[:, 0]}
    values |= dict(zip(design.sd_names, scales[:, 1:].T, strict=True))
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        values[name] = correlations[:, i, j]
    values |= dict(zip(design.x_names, sample.rest[at].T, strict=False))  # small effects follow
    return values, sample.log_density[at]


@cache
def warm_up(several: bool = False) -> float:
    """Compile, or load, what an exact fit runs, once in a process; return the seconds it took.

    So the time of a fit is that of the fit, whether it is the first one or not. With `several`,
    what takes more than one grouping factor.
    """
    begun = time.perf_counter()
    if several:
        _few_rows_of_two_factors()
        return time.perf_counter() - begun
    y = [0.0, 1.0, 0.5, 2.0, 1.0, 3.0]
    small = Regression("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": [0, 0, 1, 1, 2, 2]}))
    values, _, sample = population_draws(small, 10, np.random.default_rng(0))
    small.theta_posterior(sample.u[:2])
    with_effects(small, {name: value[None] for name, value in values.items()}, 0)
    return time.perf_counter() - begun


def _few_rows_of_two_factors() -> None:
    rng = np.random.default_rng(0)
    y, X = rng.normal(size=60), np.ones((60, 1))
    factors = [Factor(rng.integers(n, size=60), X, n) for n in (9, 8)]
    rows = eliminate(y, X, factors, small=0)
    unit = Prior("HalfNormal", (1.0,))
    wide = [Prior("Normal", (0.0, 1.0))]
    target = exact.of_factors(rows, wide, [unit] * 3, [(0,), (1,)], [1.0, 1.0])
    starts = exact.starting_places(target, rows.rms)
    explored = exploration.explore(target, starts, rng, effective=10)
    theta, _ = target.theta(explored.sample.u[:2])
    effects = group_effects.of_draws(explored.posterior, theta, explored.sample.rest[:2])
    effects.moments()
    effects.draw(rng, [0, 1])


def with_effects(
    regression: Regression,
    values: dict[str, np.ndarray],
    seed: int,
    groups: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Draws (chains, draws) with effects (chains, draws, J) of all or some groups added."""
    design = regression.design
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
    effects = effect_draws(regression, values, rng, groups)
    shaped = effects.reshape(len(effects), *values["sigma"].shape, -1)
    return values | {design.effect(k): shaped[k] for k in range(len(effects))}


def effect_draws(
    regression: Regression,
    values: dict[str, np.ndarray],
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Effects of all or some groups given draws of everything else: (q, draws, groups)."""
    cross = regression.cross if groups is None else regression.cross.of(groups)
    flat = {name: value.reshape(-1) for name, value in values.items()}
    beta = coefficients(regression.design, flat)
    L = covariance_root(regression.design, flat)
    return exact.conditional_effects(cross, flat["sigma"], L, beta, rng)


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
