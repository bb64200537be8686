"""The vocabulary of priors: densities, PyMC's distributions, and what is refused."""

import numpy as np
import pymc as pm
import pytest
from scipy import integrate

import partialpool as pp
from partialpool.design import priors
from partialpool.design.default_priors import resolve
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
        prior.logpdf(x), pm.logp(distribution, x).eval(), rtol=1e-7
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
