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
from partialpool.fit import (
    exact,
    exploration,
    group_effects,
    importance,
    integrated_fit,
    mixed_equations,
)
from partialpool.fit.coordinates import Theta
from partialpool.fit.exploration import Explored
from partialpool.fit.integrated import Values
from partialpool.fit.reduction import Factor, eliminate
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import split
from partialpool.fit.surrogate import Interpolated

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
def warm_up(several: bool = False, linked: bool = False) -> float:
    """Compile, or load, what an exact fit runs, once in a process; return the seconds it took.

    So the time of a fit is that of the fit, whether it is the first one or not. With `several`,
    what takes more than one grouping factor; with `linked`, a family with a link.
    """
    begun = time.perf_counter()
    if linked:
        table = pd.DataFrame({"y": [0, 1, 1, 0, 1, 0], "g": [0, 0, 1, 1, 2, 2]})
        small = Regression("y ~ 1 + (1 | g)", table, family="binomial")
        found = integrated_fit.explore(small, 10, np.random.default_rng(0))
        values = integrated_fit.drawn(small, found.posterior, found.sample.u[found.at])
        effect_draws(small, values, np.random.default_rng(0))
        return time.perf_counter() - begun
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
    """Crossed, nested, and one of them small: each way of elimination has loops of its own."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(9, size=60), rng.integers(8, size=60)
    y, X = rng.normal(size=60), np.ones((60, 1))
    unit, wide = Prior("HalfNormal", (1.0,)), Prior("Normal", (0.0, 1.0))
    for other, n, small in ((b, 8, 0), (a // 2, 5, 0), (b, 8, 8)):
        rows = eliminate(y, X, [Factor(a, X, 9), Factor(other, X, n)], small=small)
        target = exact.of_factors(rows, [wide], [unit] * 3, [(0,), (1,)], [1.0, 1.0])
        starts = exact.starting_places(target, rows.rms)
        explored = exploration.explore(target, starts, rng, effective=10)
        theta, _ = target.theta(explored.sample.u[:2])
        effects = group_effects.of_draws(explored.posterior, theta, explored.sample.rest[:2])
        effects.moments()
        effects.draw(rng, [0, 1])


def of_several(
    regression: Regression, explored: Explored, at: np.ndarray, seed: int, *, draw: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Effects of the groups of several factors at points `at` (S,) of a sample.

    Returns
    -------
    dict
        Name -> draws (S, J); of small factors only, unless all are to be drawn.
    dict
        Name -> posterior means and standard deviations (2, J), which have no Monte Carlo error
        beyond that of theta.
    """
    design = regression.design
    theta, _ = explored.posterior.theta(explored.sample.u[at])
    effects = group_effects.of_draws(explored.posterior, theta, explored.sample.rest[at])
    figures = _by_name(design, [np.stack(found) for found in effects.moments()])
    factors = range(len(design.groupings)) if draw else effects.rows.small
    regression.sampled = group_effects.forget(explored.posterior)
    found = dict(zip(factors, effects.draw(_effect_stream(seed), factors), strict=True))
    return _by_name(design, [found.get(f) for f in range(len(design.groupings))]), figures


def draws_of_several(
    regression: Regression, total: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], importance.Sample]:
    """Draws (total,) of every parameter of several factors and (total, J) of all effects."""
    explored = explore(regression, total, rng)
    at, design = importance.resample(explored.sample, rng), regression.design
    theta, _ = explored.posterior.theta(explored.sample.u[at])
    effects = group_effects.of_draws(explored.posterior, theta, explored.sample.rest[at])
    each = effects.draw(rng, range(len(design.groupings)))
    return drawn(design, explored, at)[0] | _by_name(design, each), explored.sample


def moments(regression: Regression, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Posterior means and standard deviations (2, J) of the only factor's effects, by name.

    They are averages over draws of all else of what the effects are given those, `exact`.
    """
    design, flat = regression.design, {name: v.reshape(-1) for name, v in values.items()}
    root, beta = covariance_root(design, flat), coefficients(design, flat)
    found = exact.effect_moments(regression.cross, flat["sigma"], root, beta)
    return _by_name(design, [np.stack(found)])


def _by_name(design: Design, found: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """Effects (..., J, q) of each grouping, or None, by their names: (..., J)."""
    return {
        name: effects[..., k]
        for grouping, effects in zip(design.groupings, found, strict=True)
        if effects is not None
        for k, name in enumerate(grouping.effects)
    }


def _effect_stream(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))


def with_effects(
    regression: Regression,
    values: dict[str, np.ndarray],
    seed: int,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Draws (chains, draws) with effects (chains, draws, J) added.

    Of all groups, or of some of each grouping.
    """
    effects = effect_draws(regression, values, _effect_stream(seed), groups)
    shape = next(iter(values.values())).shape
    return values | {name: b.reshape(*shape, -1) for name, b in effects.items()}


def effect_draws(
    regression: Regression,
    values: dict[str, np.ndarray],
    rng: np.random.Generator,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Effects of all or some groups given draws of everything else: name -> (draws, groups).

    Those of small factors were drawn with everything else.
    """
    design = regression.design
    flat = {name: value.reshape(-1) for name, value in values.items()}
    beta = coefficients(design, flat)
    roots = [covariance_root(grouping, flat) for grouping in design.groupings]
    found: list[np.ndarray] = []
    if roots and regression.certifiable:
        seed, place = int(rng.integers(2**63)), integrated_values(regression, flat)
        wanted = [np.arange(g.n_levels) for g in design.groupings] if groups is None else groups
        some = dict(zip((g.name for g in design.groupings), map(np.asarray, wanted), strict=True))
        chain, beside = split(design)
        own = [some[grouping.name] for grouping in chain]
        drawn = integrated_fit.effect_draws(regression, place, seed, own)
        by_name = {g.name: b for g, b in zip(chain, drawn, strict=True)}
        for grouping in beside:
            known = [flat[name].reshape(len(beta), -1) for name in grouping.effects]
            by_name[grouping.name] = np.stack(known)[:, :, some[grouping.name]]
        found = [by_name[grouping.name] for grouping in design.groupings]
    elif len(roots) == 1:
        cross = regression.cross if groups is None else regression.cross.of(groups[0])
        found = [exact.conditional_effects(cross, flat["sigma"], roots[0], beta, rng)]
    elif roots and (effects := given_draws(regression, flat)) is not None:
        return _by_name(design, effects.draw(rng, range(len(roots)), groups))
    elif roots:
        found = mixed_equations.effect_draws(design, flat["sigma"], roots, beta, rng)
        if groups is not None:
            found = [b[:, :, some] for b, some in zip(found, groups, strict=True)]
    return dict(zip(design.effects, (one for b in found for one in b), strict=True))


def integrated_values(regression: Regression, values: Mapping[str, np.ndarray]) -> Values:
    """Draws (S,) of a family with a link as the integral over its group effects takes them."""
    return integrated_fit.as_values(regression, values, covariance_root(regression.design, values))


def interpolated(regression: Regression) -> bool:
    """Whether a fit of several factors went through a surrogate, which serves its draws too."""
    sampled = regression.sampled
    return sampled is not None and isinstance(sampled.likelihood, Interpolated)


def given_draws(
    regression: Regression, values: Mapping[str, np.ndarray]
) -> group_effects.GroupEffects | None:
    """The effects of several factors given draws (S,) of the population and of small factors.

    None where the draws hold no small factor's effects, or nothing is eliminated.
    """
    if not regression.closed_form:
        return None
    design, S = regression.design, len(values["sigma"])
    small = [design.groupings[f] for f in regression.eliminated.small]
    if not {name for grouping in small for name in grouping.effects} <= values.keys():
        return None
    each = [
        np.stack([values[n].reshape(S, -1) for n in g.effects], -1).reshape(S, -1) for g in small
    ]
    drawn = np.hstack([coefficients(design, values), *each])
    posterior = group_effects.forget(regression.sampled or regression.theta_posterior)
    return group_effects.of_draws(posterior, _theta(design, values), drawn)


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
    return np.stack(columns, -1) if columns else np.empty((n_draws(values), 0))


def n_draws(values: Mapping[str, np.ndarray]) -> int:
    """Number of draws S."""
    return len(next(iter(values.values())))


def covariance_root(of: Design | Grouping, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Lower triangular L (draws, q, q) with ``L Lᵀ = Sigma``, from sds and correlations.

    Of a grouping's effects, or of those of all groupings of a design side by side.
    """
    q = len(of.sd_names)
    sds = np.stack([values[name] for name in of.sd_names], -1) if q else np.empty((0, 0))
    root = _correlation_root(of, values)
    return sds[:, :, None] * root if q else root


def _correlation_root(of: Design | Grouping, values: Mapping[str, np.ndarray]) -> np.ndarray:
    q = len(of.sd_names)
    correlation = np.tile(np.eye(q), (n_draws(values), 1, 1))
    for name, (i, j) in zip(of.cor_names, of.correlated_pairs, strict=True):
        correlation[:, i, j] = correlation[:, j, i] = values[name]
    return _semidefinite_root(correlation)


def _theta(design: Design, values: Mapping[str, np.ndarray]) -> Theta:
    """Theta of draws (S,) of every parameter."""
    root = _correlation_root(design, values)
    sds = np.stack([values[name] for name in design.sd_names], -1)
    partial = np.zeros((len(root), len(design.correlated_pairs)))
    for at, (j, i) in enumerate(design.correlated_pairs):
        left = 1 - (root[:, i, :j] ** 2).sum(-1)
        partial[:, at] = root[:, i, j] / np.sqrt(np.maximum(left, 1e-300))
    return Theta(values["sigma"], sds, partial, sds[:, :, None] * root)


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
