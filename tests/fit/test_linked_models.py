"""Families with a link in PyMC: densities against SciPy's, and a posterior against quadrature."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

import partialpool as pp
from conftest import op_by_op
from partialpool.fit import centring, fitting, pymc_models

RNG = np.random.default_rng(4)
N = 24
COUNTS = RNG.poisson(3, N)
TABLE = pd.DataFrame(
    {
        "g": np.repeat([*"abcd"], 6),
        "x": RNG.normal(size=N),
        "log_e": RNG.normal(size=N),
        "y": COUNTS,
        "n": COUNTS + RNG.integers(1, 5, N),
        "hit": (COUNTS > 2).astype(int),
        "answer": np.clip(COUNTS, 1, 4),
    }
)
CUTS = np.array([-1.0, 0.3, 1.5])


def ordered(y, line):
    edges = np.concatenate([[-np.inf], CUTS, [np.inf]])
    return np.log(expit(edges[y] - line) - expit(edges[y - 1] - line))


DENSITIES = {
    "hit": ("binomial", lambda t, line: stats.bernoulli.logpmf(t.hit, expit(line))),
    "y | trials(n)": ("binomial", lambda t, line: stats.binom.logpmf(t.y, t.n, expit(line))),
    "y": ("poisson", lambda t, line: stats.poisson.logpmf(t.y, np.exp(line))),
    "1 * y": ("negbinomial", lambda t, line: stats.nbinom.logpmf(t.y, 3, 3 / (3 + np.exp(line)))),
    "answer": ("cumulative", lambda t, line: ordered(t.answer.to_numpy(), line)),
}


@pytest.mark.parametrize("response", DENSITIES)
def test_rows_have_the_density_of_their_family(response):
    family, density = DENSITIES[response]
    formula = f"{response} ~ x + (x | g) + offset(log_e)"
    model = pp.Model(formula, TABLE, family=family)
    built = pymc_models.build(model, "noncentered")
    observed = built.observed_RVs[0]
    z = RNG.normal(size=(2, 4))
    values = {"x": 0.4, "Intercept": -0.2, "shape": 3.0, pymc_models.THRESHOLDS: CUTS}
    values |= {"1|g_offset": z[0], "x|g_offset": z[1], "1|g_sigma": 0.7, "x|g_sigma": 0.3}
    values |= {"cor(1,x|g)_partial": 0.7}
    given = {
        built.rvs_to_values[rv]: built.rvs_to_transforms[rv]
        .forward(np.asarray(values[rv.name]), *rv.owner.inputs)
        .eval(mode=op_by_op())
        if built.rvs_to_transforms[rv]
        else np.asarray(values[rv.name])
        for rv in built.free_RVs
    }
    logp = built.compile_logp(observed, sum=False, mode=op_by_op())
    got = logp({variable.name: value for variable, value in given.items()})[0]
    cor = 2 * 0.7 - 1
    effects = 0.7 * z[0], 0.3 * (cor * z[0] + np.sqrt(1 - cor**2) * z[1])
    code = model.design.only.codes
    line = 0.4 * TABLE.x + TABLE.log_e + effects[0][code] + effects[1][code] * TABLE.x
    line = (line if family == "cumulative" else line - 0.2).to_numpy()
    np.testing.assert_allclose(got, density(TABLE, line), rtol=1e-10)


@pytest.mark.parametrize("method", ["exact", "nutpie"])
def test_without_groups_a_posterior_is_that_of_quadrature(method):
    priors = {"Intercept": "Normal(0, 2)", "x": "Normal(0, 1)"}
    model = pp.Model("y | trials(n) ~ x", TABLE, priors, family="binomial")
    fit = model.fit(method, draws=500, tune=300, seed=1)
    assert fit.attrs["method"] == method
    assert ("not certified" in fit.attrs["route"]) == (method == "nutpie")
    a, b = np.meshgrid(np.linspace(-2, 4, 201), np.linspace(-3, 3, 201), indexing="ij")
    line = a[..., None] + b[..., None] * TABLE.x.to_numpy()
    log = stats.binom.logpmf(TABLE.y, TABLE.n, expit(line)).sum(-1)
    log += stats.norm.logpdf(a, 0, 2) + stats.norm.logpdf(b, 0, 1)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = fit.summary()
    for name, value in (("Intercept", a), ("x", b)):
        mean = (weight * value).sum()
        sd = np.sqrt((weight * (value - mean) ** 2).sum())
        error = sd / np.sqrt(found.loc[name, "ess_bulk"])
        assert abs(found.loc[name, "mean"] - mean) < 4 * error
        assert abs(found.loc[name, "sd"] / sd - 1) < 0.15


def test_an_intercept_far_from_the_rows_goes_by_way_of_their_middle():
    """The same density of the same parameters: the middle differs by a shift that slopes tell."""
    table = TABLE.assign(year=1995 + TABLE.x)
    priors = {"Intercept": "Normal(1, 900)", "year": "Normal(0, 0.5)", "1|g_sigma": "HalfNormal(1)"}
    model = pp.Model("hit ~ year + (1 | g)", table, priors, family="binomial")
    built = model.pymc("centered")
    middle, slope, sd, whole = 0.4, 0.3, 0.7, np.array([0.1, 0.9, -0.5, 0.3])
    point = {pymc_models.MIDDLE: middle, "year": slope, "1|g_whole": whole}
    given = {built.rvs_to_values[built[name]].name: np.asarray(v) for name, v in point.items()}
    given["1|g_sigma_log__"] = np.log(np.asarray(sd))
    found = built.compile_logp(jacobian=False, mode=op_by_op())(given)
    intercept = middle - slope * table.year.mean()
    line = intercept + slope * table.year + (whole - middle)[model.design.only.codes]
    expected = stats.norm.logpdf(intercept, 1, 900) + stats.norm.logpdf(slope, 0, 0.5)
    expected += stats.halfnorm.logpdf(sd) + stats.norm.logpdf(whole, middle, sd).sum()
    expected += stats.bernoulli.logpmf(table.hit, expit(line)).sum()
    assert found == pytest.approx(expected, rel=1e-8)
    start = {"Intercept": intercept, "year": slope, "1|g": whole - middle}
    values = pymc_models.initial_values(model, start, built)
    assert values.keys() == {pymc_models.MIDDLE, "year", "1|g_whole"}
    assert values[pymc_models.MIDDLE] == pytest.approx(middle)
    np.testing.assert_allclose(values["1|g_whole"], whole)
    near = pp.Model("hit ~ x + (1 | g)", TABLE, family="binomial").pymc("centered")
    assert pymc_models.MIDDLE not in near.named_vars


@pytest.mark.parametrize(("family", "rows"), [("poisson", 40), ("binomial", 80), ("poisson", 1)])
def test_forms_follow_how_much_a_groups_rows_say(family, rows):
    """Many counts, or answers, of a group leave little doubt of its effect, one leaves all."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(30), rows)
    line = 0.3 + (1.5 if rows > 1 else 0.1) * rng.normal(size=30)[group]
    y = rng.poisson(np.exp(line)) if family == "poisson" else rng.random(len(line)) < expit(line)
    table = pd.DataFrame({"y": y.astype(int), "group": group})
    model = pp.Model("y ~ 1 + (1 | group)", table, family=family)
    forms, why = fitting._forms(model)
    assert forms == ["centered" if rows > 1 else "noncentered"]
    assert "its groups' rows explain" in why


def test_the_response_on_the_scale_of_the_line_has_every_kind_of_answer():
    """Half an answer of each kind is added, and what is known beforehand taken off.

    Errors are those of the delta method.
    """
    counts = pp.Model("y ~ x + (1 | g) + offset(log_e)", TABLE, family="poisson")
    found = centring.with_gaussian_noise(counts)
    assert found.family == "gaussian"
    np.testing.assert_allclose(found.design.y, np.log(TABLE.y + 0.5) - TABLE.log_e)
    np.testing.assert_allclose(found.design.se**2, 1 / (TABLE.y + 0.5))
    shares = pp.Model("y | trials(n) ~ x + (1 | g)", TABLE, family="binomial")
    expected = np.log((TABLE.y + 0.5) / (TABLE.n - TABLE.y + 0.5))
    found = centring.with_gaussian_noise(shares).design
    np.testing.assert_allclose(found.y, expected)
    variance = 1 / (TABLE.y + 0.5) + 1 / (TABLE.n - TABLE.y + 0.5)
    np.testing.assert_allclose(found.se**2, variance)
