"""Effects of several factors given everything else, against dense normal distributions."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import partialpool as pp
from partialpool.fit import mixed_equations
from partialpool.fit.exact_fit import coefficients, covariance_root, effect_draws, prior_effects

FORMULAS = [
    "y ~ x + (1 | a) + (1 | b)",
    "y ~ x + (x | a) + (1 | b)",
    "y ~ 1 + (1 | b) + (x | a)",
    "y ~ x + (1 | a / b)",
    "y ~ 0 + x + (x || a) + (0 + x | b) + (1 | c)",
]


def table_of(a, b, n, seed):
    """Rows of which each has a random level of three factors, some seen once and some never."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.integers(a, size=n), "b": rng.integers(b, size=n)})
    table["c"] = np.arange(n) % 2
    return table.assign(x=rng.normal(2, 1, n), y=rng.normal(size=n), se=rng.uniform(0.1, 1, n))


def values_of(design, S, seed, zero=()):
    """Draws of everything but the effects."""
    rng = np.random.default_rng(seed)
    values = {"sigma": rng.uniform(0.3, 1, S)}
    values |= {name: rng.normal(size=S) for name in design.x_names}
    values |= {name: rng.uniform(0.1, 3, S) for name in design.sd_names}
    values |= {name: rng.uniform(-0.9, 0.9, S) for name in design.cor_names}
    return values | {name: np.zeros(S) for name in zero}


def arguments(design, values):
    roots = [covariance_root(grouping, values) for grouping in design.groupings]
    return values["sigma"], roots, coefficients(design, values)


def dense(design, values, s, noise):
    """Columns (N, k) of all effects in the order of their names, and their prior covariance."""
    W, covariance = [], []
    for grouping in design.groupings:
        L = covariance_root(grouping, values)[s]
        W += [
            z[:, None] * (grouping.codes[:, None] == np.arange(grouping.n_levels))
            for z in grouping.Z.T
        ]
        covariance.append(np.kron(L @ L.T, np.eye(grouping.n_levels)))
    ends = np.cumsum([0, *map(len, covariance)])
    G = np.zeros((ends[-1], ends[-1]))
    for block, start, stop in zip(covariance, ends, ends[1:], strict=False):
        G[start:stop, start:stop] = block
    W = np.hstack(W)
    V = W @ G @ W.T + np.diag(noise**2)
    residual = design.y - design.X @ coefficients(design, values)[s]
    return W, G, V, residual


@pytest.mark.parametrize("se", [None, "se"])
@pytest.mark.parametrize("formula", FORMULAS)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(20, 40), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_likelihood_and_rows_are_those_of_the_dense_normal(formula, se, a, b, n, seed):
    design = pp.Model(formula, table_of(a, b, n, seed), {"sigma": "HalfNormal(1)"}, se=se).design
    zero = design.sd_names[:1] if seed % 3 == 0 else ()
    values = values_of(design, 2, seed, zero)
    rows = np.arange(0, n, 3)
    mean, variance = mixed_equations.group_part(design, *arguments(design, values), rows)
    log_likelihood = mixed_equations.log_likelihood(design, *arguments(design, values))
    for s, sigma in enumerate(values["sigma"]):
        noise = np.hypot(sigma, np.zeros(n) if se is None else design.se)
        W, G, V, residual = dense(design, values, s, noise)
        expected = -0.5 * (
            n * np.log(2 * np.pi)
            + np.linalg.slogdet(V)[1]
            + residual @ np.linalg.solve(V, residual)
        )
        assert log_likelihood[s] == pytest.approx(expected, rel=1e-9)
        gain = W @ G @ W.T @ np.linalg.inv(V)
        np.testing.assert_allclose(mean[s], (gain @ residual)[rows], rtol=1e-7, atol=1e-9)
        left = np.diag(W @ G @ W.T - gain @ W @ G @ W.T)[rows]
        np.testing.assert_allclose(variance[s], left, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_effects_have_the_mean_and_covariance_of_the_dense_normal(formula, monkeypatch):
    """Both within five Monte Carlo errors, whitened, of as many draws at one theta."""
    model = pp.Model(formula, table_of(5, 3, 30, 4))
    design, S = model.design, 20_000
    one = values_of(design, 1, 1)
    many = {name: np.repeat(value, S) for name, value in one.items()}
    # the equations are those of the one theta, and are solved once
    solve = mixed_equations.Equations.given
    solved = cache(lambda equations: next(solve(equations, *arguments(design, one))))
    monkeypatch.setattr(
        mixed_equations.Equations, "given", lambda self, sigma, *_: (solved(self) for _ in sigma)
    )
    drawn = effect_draws(model, many, np.random.default_rng(1))
    assert list(drawn) == design.effects
    W, G, V, residual = dense(design, one, 0, np.full(30, one["sigma"][0]))
    covariance = G - G @ W.T @ np.linalg.solve(V, W @ G)
    mean = G @ W.T @ np.linalg.solve(V, residual)
    away = np.hstack(list(drawn.values())) - mean
    values, vectors = np.linalg.eigh(covariance)
    white = away @ vectors / np.sqrt(values)
    np.testing.assert_allclose(white.mean(0), 0, atol=5 / np.sqrt(S))
    np.testing.assert_allclose(np.cov(white.T), np.eye(len(mean)), atol=5 * np.sqrt(2 / S))


def test_draws_are_fewer_where_equations_are_large_and_rows_many():
    """2e11 products over 300³ and what a draw costs at least, 1e8; and 300² for each row."""
    rng = np.random.default_rng(1)
    large, small = (np.r_[:J, rng.integers(J, size=6000 - J)] for J in (2000, 150))
    groupings = [
        SimpleNamespace(n_levels=2000, z_names=("1",), codes=large),
        SimpleNamespace(n_levels=150, z_names=("1", "x"), codes=small),
    ]
    design = SimpleNamespace(groupings=groupings)
    assert mixed_equations.affordable(design, 4000) == 1574
    assert mixed_equations.affordable(design, 4000, 1000) == 921
    assert mixed_equations.affordable(design, 900, 1000) == 900
    assert mixed_equations.affordable(design, 4000, 10**6) == mixed_equations.FEWEST
    # of nested factors nothing is dense
    groupings[1].codes = large % 150
    assert mixed_equations.affordable(design, 4000, 1000) == 2000
    assert mixed_equations.affordable(design, 4000, 1000, nested=False) == 921


def test_effects_of_some_groups_are_those_of_all():
    model = pp.Model(FORMULAS[1], table_of(5, 3, 30, 4))
    values = values_of(model.design, 3, 0)
    every = effect_draws(model, values, np.random.default_rng(1))
    some = effect_draws(model, values, np.random.default_rng(1), [np.array([0, 2]), np.array([1])])
    np.testing.assert_array_equal(some["x|a"], every["x|a"][:, [0, 2]])
    np.testing.assert_array_equal(some["1|b"], every["1|b"][:, [1]])


def test_effects_of_the_prior_have_its_covariance():
    design = pp.Model(FORMULAS[1], table_of(5, 3, 30, 4)).design
    one = values_of(design, 1, 2)
    many = {name: np.repeat(value, 20_000) for name, value in one.items()}
    drawn = prior_effects(design, many, np.random.default_rng(0))
    a = np.cov(drawn["1|a"].ravel(), drawn["x|a"].ravel())
    L = covariance_root(design.groupings[0], one)[0]
    np.testing.assert_allclose(a, L @ L.T, rtol=0.06)
    assert drawn["1|b"].std() == pytest.approx(one["1|b_sigma"][0], rel=0.02)
