"""The exact posterior against dense algebra, independent quadrature, and published values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import partialpool as pp
from partialpool.design import from_table
from partialpool.fit import exact
from partialpool.fit.crossproducts import crossproducts
from partialpool.posterior import checks, draws
from partialpool.simulation import simulate

SLEEP_PRIORS = {
    "Intercept": "Normal(0, 1000)",
    "Days": "Normal(0, 100)",
    "sd": "HalfNormal(100)",
    "sigma": "HalfNormal(100)",
    "cor": "LKJ(2)",
}


def dense_covariance(design, sigma, Sigma, S):
    """``sigma² I + Z Sigma Zᵀ + X S Xᵀ``, rows by rows."""
    same_group = design.only.codes[:, None] == design.only.codes[None, :]
    return (
        sigma**2 * np.eye(len(design.y))
        + same_group * (design.only.Z @ Sigma @ design.only.Z.T)
        + design.X @ S @ design.X.T
    )


def normal_logpdf(y, mean, covariance):
    root = np.linalg.cholesky(covariance)
    z = np.linalg.solve(root, y - mean)
    return -0.5 * z @ z - np.log(np.diag(root)).sum() - len(y) / 2 * np.log(2 * np.pi)


def prior_moments(model):
    arguments = [model.priors[name].arguments for name in model.design.x_names]
    return np.array([a[0] for a in arguments]), np.diag([a[1] ** 2 for a in arguments])


FORMULAS = {
    # p and q from 1 to 4 and 1 to 3; blocks joint, separate and mixed
    "y ~ 1 + (1 | g)": 1,
    "y ~ 0 + x + (0 + x | g)": 1,
    "y ~ x + (x | g)": 2,
    "y ~ x + (x || g)": 2,
    "y ~ x + w + (1 | g) + (0 + x + w | g)": 3,
    "y ~ x + w + v + (x + w | g)": 3,
    "y ~ 0 + w + (x | g)": 2,
}


@st.composite
def problems(draw):
    formula = draw(st.sampled_from(sorted(FORMULAS)))
    sizes = draw(st.lists(st.integers(1, 7), min_size=3, max_size=6).filter(lambda n: sum(n) > 5))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    table = pd.DataFrame({name: rng.normal(size=len(g)) for name in "yxwv"}).assign(g=g)
    return formula, table, rng


def points(target, rng, n=3):
    """Coordinates (n, d) of standard deviations around 1 and of any correlations."""
    u = rng.normal(size=(n, target.dimension))
    for row in u:
        scales = target.coordinates(np.exp(rng.normal(size=len(target.scales))))
        row[: len(target.free)] = scales[: len(target.free)]
    return u


@settings(max_examples=60, deadline=None)
@given(problems())
def test_density_of_theta_is_that_of_the_dense_normal(problem):
    formula, table, rng = problem
    model = pp.Model(formula, table)
    target = model.theta_posterior
    u = points(target, rng)
    scales, correlation = target.parameters(u)
    _, log_prior = target.theta(u)
    m, S = prior_moments(model)
    for s in range(3):
        D = np.diag(scales[s, 1:])
        V = dense_covariance(model.design, scales[s, 0], D @ correlation[s] @ D, S)
        expected = normal_logpdf(model.design.y, model.design.X @ m, V)
        assert target(u)[s] - log_prior[s] == pytest.approx(expected, rel=1e-9, abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(problems(), st.integers(-6, 6), st.integers(-6, 6))
def test_units_do_not_matter(problem, x_power, w_power):
    """Rescaled predictors with rescaled priors give the same density, from 1e-6 to 1e6."""
    formula, table, rng = problem
    factor = {"x": 10.0**x_power, "w": 10.0**w_power}
    model = pp.Model(formula, table)
    scaled = table.assign(**{k: table[k] * f for k, f in factor.items()})
    given_priors = {}
    for name, prior in model.priors.items():
        unit = factor.get(name.split("|")[0], 1.0)
        arguments = [a / unit for a in prior.arguments]
        if prior.family in ("Normal", "HalfNormal"):
            given_priors[name] = f"{prior.family}({', '.join(f'{a!r}' for a in arguments)})"
        elif prior.family != "LKJ":
            given_priors[name] = str(prior)
    other = pp.Model(formula, scaled, given_priors)
    # coordinates are free of units, and so is the density over them
    u = rng.normal(size=(3, model.theta_posterior.dimension))
    np.testing.assert_allclose(model.theta_posterior(u), other.theta_posterior(u), atol=1e-4)


def test_units_do_not_matter_where_columns_explain_every_row():
    """Four rows of one group, four columns: what is left of y is rounding, in either unit."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=6) for name in "yxwv"})
    table = table.assign(g=[0, 0, 0, 0, 1, 2])
    widths = []
    for factor in (1, 10):
        model = pp.Model("y ~ x + w + v + (x + w | g)", table.assign(x=factor * table["x"]))
        widths.append(model.theta_posterior.widths * [1, 1, factor, 1])
    np.testing.assert_allclose(*widths, rtol=0.01)  # default priors have three digits


@settings(max_examples=25, deadline=None)
@given(problems())
def test_coordinates_have_their_jacobian_and_their_mirror_images(problem):
    """Every kind of prior: the Jacobian by differences, the way back, and no edge at zero."""
    formula, table, rng = problem
    priors = ["HalfNormal(2)", "Gamma(0.3, 1)", "Uniform(0.1, 3)", "HalfFlat", "Exponential(0.1)"]
    model = pp.Model(formula, table)
    scales = {n: str(rng.choice(priors)) for n in ("sigma", *model.design.sd_names)}
    target = pp.Model(formula, table, scales).theta_posterior
    u = np.abs(rng.normal(size=(4, target.dimension))) + 0.1
    values, jacobian = target.scale_values(u)
    k, h = len(scales), 1e-6
    step = np.r_[np.full(k, h), np.zeros(target.dimension - k)]
    slope = (target.scale_values(u + step)[0] - target.scale_values(u - step)[0]) / (2 * h)
    np.testing.assert_allclose(np.log(slope).sum(1), jacobian, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(target.coordinates(values[0])[:k], u[0, :k])
    for signs in target.mirrors:
        np.testing.assert_allclose(target(u * signs), target(u))
        np.testing.assert_allclose(target.parameters(u * signs)[1], target.parameters(u)[1])


def test_signs_of_standard_deviations_turn_correlations():
    """A negative sd is the same covariance with the correlation turned, so zero is no edge."""
    table = simulate.grouped(np.random.default_rng(0), groups=6, per_group=5)
    target = pp.Model("y ~ x + (x | group)", table).theta_posterior
    near = np.array([[0.3, 1e-9, 0.5, 0.7], [0.3, -1e-9, 0.5, 0.7]])
    assert target(near)[0] == pytest.approx(target(near)[1], rel=1e-7)
    assert target.parameters(near)[1][:, 1, 0] == pytest.approx([np.tanh(0.7), -np.tanh(0.7)])


def test_lkj_is_a_density_for_three_columns():
    """Correlations drawn from the partial ones have LKJ's known marginals, Beta on (-1, 1)."""
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=list("yxw"))
    model = pp.Model("y ~ x + w + (x + w | g)", table.assign(g=np.arange(40) % 8))
    target, rng, eta, q = model.theta_posterior, np.random.default_rng(1), 2.0, 3
    # Importance sampling from normals; each correlation ~ Beta(a, a) with a = eta - 1 + q / 2
    u = np.zeros((200_000, target.dimension))
    u[:, -3:] = 0.8 * rng.standard_normal((len(u), 3))
    factors, log_density = target.correlation_factors(u)
    w = np.exp(log_density - stats.norm(scale=0.8).logpdf(u[:, -3:]).sum(1))
    assert abs(w.mean() - 1) < 4 * w.std() / np.sqrt(len(w))
    variance = 1 / (2 * (eta - 1 + q / 2) + 1)
    for i, j in [(1, 0), (2, 0), (2, 1)]:
        square = (factors @ np.swapaxes(factors, 1, 2))[:, i, j] ** 2
        error = np.std(w * (square - variance)) / np.sqrt(len(w))
        assert abs(np.mean(w * (square - variance))) < 4 * error


@pytest.mark.parametrize("route", ["few rows", "many rows"])
def test_conditional_draws_have_the_conditional_moments(route):
    rng = np.random.default_rng(5)
    sizes = [1, 2, 3, 8] if route == "few rows" else [40] * 4
    table = simulate.grouped(rng, groups=4, per_group=sizes, cor=0.5)
    model = pp.Model("y ~ x + (x | group)", table)
    design, target = model.design, model.theta_posterior
    u = np.tile([[0.1, -0.2, -0.5, 0.4]], (40_000, 1))
    beta = target.with_coefficients(u, rng)[1]
    sigma, correlation = target.parameters(u[:1])
    D = np.diag(sigma[0, 1:])
    Sigma = D @ correlation[0] @ D
    L = np.tile(np.linalg.cholesky(Sigma), (len(u), 1, 1))
    b = exact.conditional_effects(model.cross, np.full(len(u), sigma[0, 0]), L, beta, rng)
    # The joint prior of (beta, b) and y is Gaussian; condition densely.
    m, S = prior_moments(model)
    n, J = len(design.y), design.only.n_levels
    wide = np.hstack([design.X, np.zeros((n, 2 * J))])
    for j in range(J):
        rows = design.only.codes == j
        wide[rows, 2 + 2 * j : 4 + 2 * j] = design.only.Z[rows]
    prior = np.zeros((2 + 2 * J, 2 + 2 * J))
    prior[:2, :2] = S
    prior[2:, 2:] = np.kron(np.eye(J), Sigma)
    mean = np.concatenate([m, np.zeros(2 * J)])
    V = wide @ prior @ wide.T + sigma[0, 0] ** 2 * np.eye(n)
    gain = np.linalg.solve(V, wide @ prior).T
    expected_mean = mean + gain @ (design.y - wide @ mean)
    expected_cov = prior - gain @ wide @ prior
    draws = np.hstack([beta, np.moveaxis(b, 0, -1).reshape(len(beta), -1)])
    sd = np.sqrt(np.diag(expected_cov))
    assert np.abs((draws.mean(0) - expected_mean) / sd).max() < 4.5 / np.sqrt(len(draws))
    gap = np.cov(draws.T) / np.outer(sd, sd) - expected_cov / np.outer(sd, sd)
    assert np.abs(gap).max() < 4.5 * np.sqrt(2 / len(draws))


@pytest.mark.parametrize("seed", [1, 2])
def test_sleepstudy_reference_values(seed):
    """Known values of this posterior and its evidence, to four standard errors."""
    posterior = pp.Model(
        "Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"), SLEEP_PRIORS
    ).fit(seed=seed)
    summary = checks.summarize(posterior.dataset)
    means = {
        "1|Subject_sigma": 27.245,
        "Days|Subject_sigma": 6.578,
        "cor(1,Days|Subject)": 0.0658,
        "sigma": 25.899,
        "Intercept": 251.393,
        "Days": 10.4646,
    }
    for name, value in means.items():
        assert abs(summary.at[name, "mean"] - value) < 4 * summary.at[name, "mcse_mean"], name
    for name, value in {"cor(1,Days|Subject)": 0.275, "Intercept": 7.538, "Days": 1.727}.items():
        # relative error of an sd from n draws: sqrt((kurtosis - 1) / 4 n), at most 1.4 / sqrt(n)
        assert abs(summary.at[name, "sd"] / value - 1) < 4 * 1.4 / np.sqrt(4000), name
    error = posterior.attrs["log_evidence_se"]
    assert error < 0.02
    assert abs(posterior.attrs["log_evidence"] + 895.17395) < 4 * error


def centres(edge, n=400):
    """Centres and widths of n equal cells from zero."""
    return (np.arange(n) + 0.5) * edge / n, np.full(n, edge / n)


def quadrature(model, sigma, tau):
    """Weights (S, T) of sigma and the group sd on a grid of cells, and the log evidence.

    Independent of the package: dense covariances by eigenvalues would be slow, so each group's
    covariance is inverted as (I - c 1 1ᵀ) for the random intercept model.
    """
    design = model.design
    sizes = np.bincount(design.only.codes)
    priors = model.priors
    m, s = priors["Intercept"].arguments
    a, b = np.meshgrid(sigma[0], tau[0], indexing="ij")
    log_p = priors["sigma"].logpdf(a) + priors[design.sd_names[0]].logpdf(b)
    one_one, one_y, y_y = 1 / s**2, m / s**2, m**2 / s**2
    log_p = log_p - np.log(s) - len(design.y) / 2 * np.log(2 * np.pi)
    for j, n in enumerate(sizes):
        y = design.y[design.only.codes == j]
        shrink = b**2 / (a**2 * (a**2 + n * b**2))
        one_one = one_one + n / a**2 - shrink * n**2
        one_y = one_y + y.sum() / a**2 - shrink * n * y.sum()
        y_y = y_y + (y**2).sum() / a**2 - shrink * y.sum() ** 2
        log_p = log_p - (n - 1) * np.log(a) - 0.5 * np.log(a**2 + n * b**2)
    log_p = log_p - 0.5 * np.log(one_one) - 0.5 * (y_y - one_y**2 / one_one)
    weights = np.exp(log_p - log_p.max()) * np.outer(sigma[1], tau[1])
    evidence = log_p.max() + np.log(weights.sum())
    return weights / weights.sum(), evidence


def moments_of(weights, values):
    """Mean and sd of values with weights."""
    mean = (weights * values).sum()
    return mean, np.sqrt((weights * (values - mean) ** 2).sum())


@pytest.mark.parametrize("prior", ["HalfNormal(5)", "HalfStudentT(4, 5)", "Exponential(0.5)"])
@pytest.mark.parametrize("seed", [0, 1])
def test_dyestuff2_against_quadrature(prior, seed):
    """The group sd whose likelihood is largest at zero, where log scales are hardest."""
    model = pp.Model(
        "Yield ~ 1 + (1 | Batch)",
        pp.load("Dyestuff2"),
        {"Intercept": "Normal(5, 10)", "sd": prior, "sigma": prior},
    )
    posterior = model.fit(seed=seed)
    assert checks.check(posterior).status == "passed"
    sigma, tau = centres(15), centres(25)
    weights, evidence = quadrature(model, sigma, tau)
    moments = {
        "sigma": moments_of(weights.sum(1), sigma[0]),
        "1|Batch_sigma": moments_of(weights.sum(0), tau[0]),
    }
    summary = checks.summarize(posterior.dataset)
    for name, (mean, sd) in moments.items():
        assert abs(summary.at[name, "mean"] - mean) < 4 * summary.at[name, "mcse_mean"]
        assert summary.at[name, "sd"] == pytest.approx(sd, rel=0.12)
    assert abs(posterior.attrs["log_evidence"] - evidence) < 4 * posterior.attrs["log_evidence_se"]


def test_uniform_prior_is_exact_up_to_its_edge():
    """With the edge in the middle of the likelihood the posterior is cut there, not bent."""
    table = pp.load("Dyestuff")
    given_priors = {"Intercept": "Normal(1500, 100)", "sd": "Uniform(0, 40)"}
    narrow = pp.Model(
        "Yield ~ 1 + (1 | Batch)", table, given_priors | {"sigma": "Uniform(0, 50)"}
    ).fit(seed=3)
    wide = pp.Model(
        "Yield ~ 1 + (1 | Batch)", table, given_priors | {"sigma": "Uniform(0, 500)"}
    ).fit(seed=4, draws=4000)
    sigma = narrow.dataset["sigma"].to_numpy().ravel()
    cut = wide.dataset["sigma"].to_numpy().ravel()
    inside = cut[cut < 50]
    assert sigma.max() < 50
    assert stats.ks_2samp(sigma, inside).pvalue > 1e-3
    # p(y | narrow) / p(y | wide) = 500 / 50 * P(sigma < 50 | wide)
    share = len(inside) / len(cut)
    expected = np.log(10 * share)
    error = np.hypot(narrow.attrs["log_evidence_se"], wide.attrs["log_evidence_se"])
    error = np.hypot(error, np.sqrt((1 - share) / share / len(cut)))
    gap = narrow.attrs["log_evidence"] - wide.attrs["log_evidence"] - expected
    assert abs(gap) < 4 * error


UNEVEN = {"groups": 5, "per_group": [1, 2, 30, 500, 10_000]}
FLAT = {"sd": "HalfFlat", "sigma": "HalfFlat", "Intercept": "Flat"}
HARD = {
    "origin, no noise": ("y ~ x + (0 + x | i)", "origin", simulate.ORIGIN_PRIORS),
    "one row per group, intercepts": ("y ~ x + (1 | i)", "origin", simulate.ORIGIN_PRIORS),
    "two groups": ("y ~ x + (x | group)", {"groups": 2}, {}),
    "three groups, Cauchy": ("y ~ x + (x | group)", {"groups": 3}, {"sd": "HalfCauchy(1)"}),
    "sizes 1 to 10,000": (
        "y ~ x + (x | group)",
        {"groups": 5, "per_group": [1, 2, 30, 500, 10_000]},
        {},
    ),
    "radon, slope barely varies": ("log.radon ~ basement + (basement | county)", "radon", {}),
    "flat": (
        "Yield ~ 1 + (1 | Batch)",
        "Dyestuff2",
        {"sd": "HalfFlat", "sigma": "HalfFlat", "Intercept": "Flat"},
    ),
    "three columns": ("normexam ~ standLRT + sex + (standLRT + sex | school)", "Exam", {}),
}


@pytest.mark.parametrize("case", HARD)
def test_two_seeds_agree_on_hard_cases(case):
    formula, source, given_priors = HARD[case]
    if source == "origin":
        table = simulate.origin(np.random.default_rng(5))
    elif isinstance(source, dict):
        table = simulate.grouped(np.random.default_rng(0), **source)
    else:
        table = pp.load(source)
    model = pp.Model(formula, table, given_priors)
    fits = [model.fit(seed=seed) for seed in (1, 2)]
    for fit in fits:
        assert fit.attrs["route"].startswith("importance")
        missed = {check["name"] for check in checks.check(fit).checks if not check["passed"]}
        assert missed <= ({"Identified"} if model.unidentified else set())
    assert bool(model.unidentified) == (case == "one row per group, intercepts")
    comparison = checks.compare(*(fit.posterior for fit in fits))
    assert comparison["z"].abs().max() < stats.norm.isf(5e-4 / len(comparison))
    if "log_evidence" in fits[0].attrs:
        gap = fits[0].attrs["log_evidence"] - fits[1].attrs["log_evidence"]
        assert abs(gap) < 4 * np.hypot(*(fit.attrs["log_evidence_se"] for fit in fits))
    else:
        assert case == "flat"


def test_draws_are_uncorrelated():
    posterior = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(seed=7)
    for values in draws.values_of(posterior.dataset):
        chain = values.ravel() - values.mean()
        lag_one = (chain[1:] * chain[:-1]).mean() / chain.var()
        assert abs(lag_one) < 4.5 / np.sqrt(len(chain))


def test_same_seed_same_numbers():
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    assert model.fit(seed=3).dataset.identical(model.fit(seed=3).dataset)
    assert not model.fit(seed=3).dataset.equals(model.fit(seed=4).dataset)


def sizes(cross):
    """What R, G and E are large against: of E the residuals of its columns."""
    size = np.sqrt(np.diag(cross.E))
    return {"R": np.abs(cross.R).max(), "G": np.abs(cross.G).max(), "E": np.outer(size, size)}


OFFSET = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + (0 + x | g) + (1 | g)",
    "y ~ 0 + x + (1 | g)",
]


@pytest.mark.parametrize("formula", OFFSET)
@pytest.mark.parametrize("offset", [1e3, 3e8])
def test_the_distance_between_groups_costs_no_digits(formula, offset, tmp_path):
    """A table, its parts, and the same rows without the distance: one sum of squares within."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 9)
    table = pd.DataFrame({"x": rng.normal(size=108), "g": g, "e": rng.normal(size=108)})
    # a distance that a double adds without rounding
    apart = np.round(offset * rng.normal(size=12))[g]
    noise = np.round(table["e"] * 2**20) / 2**20
    table = table.assign(y=apart + noise)
    for i in range(3):
        table.iloc[i::3].to_parquet(tmp_path / f"{i}.parquet")
    whole = pp.Model(formula, table).cross
    parts = pp.Model(formula, pp.load(str(tmp_path / "*.parquet"))).cross
    near = pp.Model(formula, table.assign(y=noise)).cross
    for name, size in sizes(whole).items():
        assert (np.abs(getattr(parts, name) - getattr(whole, name)) <= 1e-12 * size).all(), name
    unit = np.r_[np.ones(len(whole.E) - 1), whole.y_scale / near.y_scale]
    gap = np.abs(whole.E * np.outer(unit, unit) - near.E)
    assert (gap <= 1e-12 * sizes(near)["E"]).all()


def test_a_response_far_from_zero_without_an_intercept_is_fitted():
    """The varying intercept alone carries 1e8, under a prior that lets it."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 9)
    table = pd.DataFrame({"x": rng.normal(size=108), "g": g})
    table["y"] = table["x"] + 0.5 * rng.normal(size=108) + 1e8
    fit = pp.Model("y ~ 0 + x + (1 | g)", table, {"sd": "HalfNormal(1e8)"}).fit(seed=1)
    assert fit.attrs["route"].startswith("importance")
    # sigma's posterior given 108 rows, 12 means and a slope: 0.5 within four standard errors
    assert abs(fit.dataset["sigma"].mean() / 0.5 - 1) < 4 / np.sqrt(2 * 95)


def test_crossproducts_are_those_of_the_rows():
    table = simulate.grouped(np.random.default_rng(0), groups=4, per_group=[1, 2, 5, 9])
    design = from_table.build("y ~ x + (x | group)", table.assign(x=table["x"] + 1e6))
    cross = crossproducts(design)
    assert cross.counts.tolist() == [1, 2, 5, 9]
    Z = np.linalg.solve(cross.T.T, design.only.Z.T).T
    for j in range(4):
        rows = Z[design.only.codes == j]
        np.testing.assert_allclose(cross.R[j].T @ cross.R[j], rows.T @ rows, atol=1e-8)
