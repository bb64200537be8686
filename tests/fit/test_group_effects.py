"""Effects of several factors' groups: against dense algebra, and draws against their moments."""

from dataclasses import replace

import factors as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_elimination import theta_of
from test_surrogate import CASES, NEAR_ZERO, crossed, explore, posterior, starts, two

import partialpool as pp
from partialpool.design.priors import Prior
from partialpool.fit import dense, exact, group_effects, importance, surrogate
from partialpool.fit.coordinates import Theta
from partialpool.fit.likelihoods import Reduced
from partialpool.fit.reduction import eliminate
from partialpool.simulation import simulate


def of(target, theta, drawn):
    return group_effects.of_draws(target, theta, drawn)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(fake.designs(), st.sampled_from([0, 8, 100]))
def test_moments_given_one_theta_are_those_of_the_dense_normal(problem, small):
    """Of the large factors given coefficients and small effects; and 3,000 joint draws of them."""
    y, X, factors, rng = problem
    rows = eliminate(y, X, factors, small=small)
    Q = sum(f.q for f in factors)
    target = exact.of_factors(
        rows,
        [Prior("Normal", (0.0, 2.0))] * X.shape[1],
        [Prior("HalfNormal", (1.0,))] * (1 + Q),
        [(k,) for k in range(Q)],
        [1.0] * Q,
    )
    sigma = 1.3
    roots = [sigma * L for L in fake.ratios(factors, rng)]
    theta = theta_of(factors, sigma, roots)
    drawn = rng.normal(size=(1, target.likelihood.n_drawn))
    found = of(target, theta, drawn).moments()
    left = y - X @ drawn[0, : X.shape[1]]
    for f in rows.small:
        left = left - fake.dense(factors[f]) @ drawn[0, rows.slices[f]]
    large = [f for f in range(len(factors)) if f not in rows.small]
    wide = np.hstack([fake.dense(factors[f]) for f in large])
    prior = np.zeros((wide.shape[1],) * 2)
    at = 0
    for f in large:
        n = factors[f].n_effects
        prior[at : at + n, at : at + n] = np.kron(
            np.eye(factors[f].n_levels), roots[f] @ roots[f].T
        )
        at += n
    V = wide @ prior @ wide.T + sigma**2 * np.eye(len(y))
    gain = np.linalg.solve(V, wide @ prior).T
    mean, spread = gain @ left, prior - gain @ wide @ prior
    sd = np.sqrt(np.maximum(np.diag(spread), 0))
    S = 3000
    once = replace(target, likelihood=Once(rows, target.likelihood.prior))
    many = of(once, Theta(*(np.repeat(a, S, 0) for a in theta)), np.repeat(drawn, S, 0))
    draws = np.hstack([b.reshape(S, -1) for b in many.draw(rng, large)])
    at = 0
    size = 1 + np.abs(mean).max(initial=0)
    for f in large:
        n = factors[f].n_effects
        np.testing.assert_allclose(found[f][0].ravel(), mean[at : at + n], atol=1e-7 * size)
        np.testing.assert_allclose(found[f][1].ravel(), sd[at : at + n], atol=1e-6 * size)
        at += n
    assert (np.abs(draws.mean(0) - mean) <= 5.5 * sd / np.sqrt(S) + 1e-6 * size).all()
    scale = np.sqrt(np.outer(np.diag(spread), np.diag(spread)).clip(0)) + 1e-9 * size**2
    assert (np.abs(np.cov(draws.T) - spread) <= 6 * np.sqrt(2 / S) * scale + 1e-6).all()


class Once(Reduced):
    """A likelihood for many draws of one theta."""

    def solve(self, theta, s):
        if s == 0:
            vars(self)["first"] = super().solve(theta, 0)
        return vars(self)["first"]


@pytest.mark.parametrize("case", CASES)
def test_moments_between_nodes_are_those_of_every_draw(case):
    """Interpolated means and sds against a solution for each of 400 draws; and joint draws."""
    target, through, _ = two(case)
    sample = through.sample
    at = importance.resample(sample, np.random.default_rng(0))[:400]
    theta, _ = target.theta(sample.u[at])
    rest = sample.rest[at]
    between = of(through.posterior, theta, rest)
    every = of(target, theta, rest)
    draws = between.draw(np.random.default_rng(1), [0, 1])
    pairs = zip(between.moments(), every.moments(), draws, strict=True)
    for (mean, sd), (expected, spread), drawn in pairs:
        assert np.abs((mean - expected) / spread).max() < 0.01
        np.testing.assert_allclose(sd, spread, rtol=0.01)
        # draws of one level depend on each other only through theta and the coefficients
        z = (drawn.mean(0) - expected) / spread * np.sqrt(len(at))
        assert np.abs(z).max() < 5
        ratio = drawn.std(0) / spread
        assert np.abs(ratio - 1).max() < 6 / np.sqrt(2 * len(at)) * 1.3


def test_draws_near_a_zero_variance_spread_like_the_normal_whatever_the_columns():
    """The middle factor's columns are not orthogonal: one theta, solved for without a surrogate."""
    target = posterior(crossed(**NEAR_ZERO), correlated=True)
    assert not np.allclose(target.likelihood.rows.T[1], np.eye(2), atol=0.5)
    built, S = surrogate.build(target, starts(target)[0], degree=6), 4000
    theta, _ = target.theta(np.repeat(built.mode[None], S, 0))
    drawn = np.zeros((S, target.likelihood.n_drawn))
    between = of(built.posterior, theta, drawn)
    assert not between._narrow
    once = Theta(*(part[:1] for part in theta))
    expected = of(target, once, drawn[:1]).moments()
    draws = between.draw(np.random.default_rng(0), [0, 1])
    for (_, sd), found in zip(expected, draws, strict=True):
        np.testing.assert_allclose(found.std(0), sd, rtol=5 / np.sqrt(2 * S) + 0.02)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.7])
def test_moments_of_one_factor_are_those_of_many_draws(sigma):
    """With one draw of theta the Gaussian's own, with several the mixture's; also without noise."""
    rng = np.random.default_rng(0)
    table = simulate.grouped(rng, groups=5, per_group=[1, 2, 3, 8, 20], cor=0.5)
    model = pp.Model("y ~ x + (x | group)", table)
    n = 4
    sigmas = sigma * np.exp(0.1 * rng.normal(size=n))
    L = np.linalg.cholesky([[1.0, 0.3], [0.3, 0.5]]) * np.exp(0.2 * rng.normal(size=(n, 2, 1)))
    beta = rng.normal(size=(n, 2))
    mean, sd = exact.effect_moments(model.cross, sigmas, L, beta)
    S = 20_000
    many = [np.repeat(part, S, 0) for part in (sigmas + 1e-9, L, beta)]
    b = np.moveaxis(exact.conditional_effects(model.cross, *many, rng), 0, -1)
    np.testing.assert_array_less(np.abs(b.mean(0) - mean), 5 * sd / np.sqrt(n * S) + 1e-9)
    # of a mixture of normals: the sd's relative error is below that of one
    np.testing.assert_allclose(b.std(0), sd, rtol=5 / np.sqrt(2 * S), atol=1e-7)


@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_threads_change_no_number(slope, monkeypatch):
    found = []
    for worth in (10, 10**9):
        monkeypatch.setattr(dense, "WORTH_THREADS", worth)
        target = posterior(crossed(sds=(0.5, 0.4), slope=slope), correlated=slope > 0)
        explored = explore(target, seed=0)
        theta, _ = target.theta(explored.sample.u[:200])
        moments = of(explored.posterior, theta, explored.sample.rest[:200]).moments()
        found.append(
            (explored, np.concatenate([part.ravel() for pair in moments for part in pair]))
        )
    (one, own), (other, expected) = found
    assert one.certificate.evaluations == other.certificate.evaluations
    assert one.certificate.rms == other.certificate.rms
    np.testing.assert_array_equal(one.sample.u, other.sample.u)
    np.testing.assert_array_equal(own, expected)
