"""The exact fit: theta by importance sampling, then everything else from its Gaussian.

docs/method.md says how; `exact` has the closed form, `importance` the sampler.
"""

import time
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import Prior
from partialpool.fit import exact, exploration, group_effects, importance, mixed_equations
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
    at = importance.resample(explored.sample, rng)
    values, log_density = drawn(regression.design, explored, at)
    return values, log_density, explored.sample


def drawn(
    design: Design, explored: Explored, at: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every parameter by name at some points (S,) of a sample, and the log density of theta."""
    sample = explored.sample
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
    beta, root = coefficients(small.design, values), covariance_root(small.design, values)
    exact.effect_moments(small.cross, values["sigma"], root, beta)
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


def of_several(
    design: Design, explored: Explored, at: np.ndarray, seed: int, *, draw: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Effects of the groups of several factors at points `at` (S,) of a sample.

    Returns
    -------
    dict
        Name -> draws (S, J); empty unless they are to be drawn.
    dict
        Name -> posterior means and standard deviations (2, J), which have no Monte Carlo error
        beyond that of theta.
    """
    theta, _ = explored.posterior.theta(explored.sample.u[at])
    effects = group_effects.of_draws(explored.posterior, theta, explored.sample.rest[at])
    moments = {
        name: np.stack([figure[:, k] for figure in found])
        for grouping, found in zip(design.groupings, effects.moments(), strict=True)
        for k, name in enumerate(grouping.effects)
    }
    if not draw:
        return {}, moments
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
    each = effects.draw(rng, [*range(len(design.groupings))])
    draws = {
        name: found[:, :, k]
        for grouping, found in zip(design.groupings, each, strict=True)
        for k, name in enumerate(grouping.effects)
    }
    return draws, moments


def with_effects(
    regression: Regression,
    values: dict[str, np.ndarray],
    seed: int,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Draws (chains, draws) with effects (chains, draws, J) added.

    Of all groups, or of some of each grouping.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
    effects = effect_draws(regression, values, rng, groups)
    shape = values["sigma"].shape
    return values | {name: b.reshape(*shape, -1) for name, b in effects.items()}


def effect_draws(
    regression: Regression,
    values: dict[str, np.ndarray],
    rng: np.random.Generator,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Effects of all or some groups given draws of everything else: name -> (draws, groups)."""
    design = regression.design
    flat = {name: value.reshape(-1) for name, value in values.items()}
    beta = coefficients(design, flat)
    roots = [covariance_root(grouping, flat) for grouping in design.groupings]
    found: list[np.ndarray] = []
    if len(roots) == 1:
        cross = regression.cross if groups is None else regression.cross.of(groups[0])
        found = [exact.conditional_effects(cross, flat["sigma"], roots[0], beta, rng)]
    elif roots:
        found = mixed_equations.effect_draws(design, flat["sigma"], roots, beta, rng)
        if groups is not None:
            found = [b[:, :, some] for b, some in zip(found, groups, strict=True)]
    return dict(zip(design.effects, (one for b in found for one in b), strict=True))


def prior_effects(
    design: Design, values: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Group effects from ``N(0, Sigma)``, knowing nothing of y: name -> (draws, groups)."""
    found: dict[str, np.ndarray] = {}
    for grouping in design.groupings:
        L = covariance_root(grouping, values)
        z = rng.standard_normal((*L.shape[:2], grouping.n_levels))
        found |= dict(zip(grouping.effects, np.einsum("sik,skj->isj", L, z), strict=True))
    return found


def coefficients(design: Design, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws of the population's coefficients side by side: (S, p)."""
    columns = [values[name] for name in design.x_names]
    return np.stack(columns, -1) if columns else np.empty((len(values["sigma"]), 0))


def covariance_root(of: Design | Grouping, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Lower triangular L (draws, q, q) with ``L Lᵀ = Sigma``, from sds and correlations.

    Of a grouping's effects, or of those of all groupings of a design side by side.
    """
    q = len(of.sd_names)
    sds = np.stack([values[name] for name in of.sd_names], -1) if q else np.empty((0, 0))
    correlation = np.tile(np.eye(q), (len(values["sigma"]), 1, 1))
    for name, (i, j) in zip(of.cor_names, of.correlated_pairs, strict=True):
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
