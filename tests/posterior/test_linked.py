"""Families with a link after the fit: means, effects and predictions against closed forms."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import expit

import partialpool as pp
from partialpool.plots import predictive
from partialpool.posterior import data_fit, effects, headline, leave_one_out, overview, predictions
from partialpool.posterior.responses import Rows, mean, new, observed

RNG = np.random.default_rng(8)
N, J, S = 60, 6, 4000
X = RNG.normal(size=N)
RATE = np.exp(0.5 + 0.4 * X)
TABLE = pd.DataFrame(
    {
        "x": X,
        "g": np.repeat([*"abcdef"], N // J),
        "count": RNG.poisson(RATE),
        "size": RNG.integers(3, 9, N),
        "exposure": RNG.uniform(1, 3, N),
    }
)
TABLE["hits"] = RNG.binomial(TABLE["size"], expit(0.3 + 0.8 * X))
TABLE["hit"] = (TABLE["hits"] > 2).astype(int)
TABLE["said"] = np.where(TABLE["hit"] == 1, "yes", "no")
TABLE["answer"] = np.clip(TABLE["count"], 0, 3) + 2  # answers 2 to 5
FORMULAS = {
    "binomial": "hits | trials(size) ~ x + (1 | g)",
    "poisson": "count ~ x + (1 | g) + offset(log(exposure))",
    "negbinomial": "count ~ x + (1 | g)",
    "cumulative": "answer ~ x + (1 | g)",
}
VALUES = {"Intercept": 0.3, "x": 0.8, "1|g_sigma": 0.5, "shape": 2.5}
VALUES |= {f"threshold[{k}]": c for k, c in ((1, -1.0), (2, 0.4), (3, 1.3))}


def fitted(family, formula=None, spread=0.0, draws=S):
    """A fit whose draws are known: the same values each time, or normal about them."""
    model = pp.Model(formula or FORMULAS[family], TABLE, family=family)
    rng = np.random.default_rng(3)
    values = {
        name: VALUES[name] + spread * rng.standard_normal((4, draws // 4))
        for name in model.parameters
    }
    dims = ("chain", "draw")
    variables = {name: (dims, value) for name, value in values.items()}
    if model.design.groupings:
        effect = values["1|g_sigma"][..., None] * rng.standard_normal((4, draws // 4, J))
        variables["1|g"] = ((*dims, "g"), effect)
    coords = {"chain": range(4), "draw": range(draws // 4), "g": [*"abcdef"]}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(variables, coords)})
    tree.attrs = {"seed": 1, "method": "nutpie", "route": "made up", "fit_seconds": 0.0}
    return pp.Fit(model, tree)


def line(family):
    slope = 0.8 * X + (np.log(TABLE["exposure"].to_numpy()) if family == "poisson" else 0)
    return slope if family == "cumulative" else 0.3 + slope


@pytest.mark.parametrize(("family", "formula"), FORMULAS.items())
def test_average_slopes_are_those_of_the_mean(family, formula):
    eta = line(family)
    if family == "binomial":
        slope = 0.8 * expit(eta) * (1 - expit(eta))
    elif family == "cumulative":  # the mean of the answers 2 to 5
        at = [expit(eta - c) for c in (-1.0, 0.4, 1.3)]
        slope = 0.8 * sum(p * (1 - p) for p in at)
    else:
        slope = 0.8 * np.exp(eta)
    found = fitted(family, draws=8).avg_slopes().table
    np.testing.assert_allclose(found["estimate"], slope.mean(), rtol=1e-5)
    means = fitted(family, draws=8).predictions().table["estimate"]
    expected = {
        "binomial": expit(eta),
        "cumulative": 2 + sum(expit(eta - c) for c in (-1, 0.4, 1.3)),
    }
    np.testing.assert_allclose(means, expected.get(family, np.exp(eta)), rtol=1e-9)


def test_a_comparison_is_of_probabilities_not_of_log_odds():
    found = fitted("binomial", draws=8).comparisons({"x": [0, 1]}, newdata={}).table
    np.testing.assert_allclose(found["estimate"], expit(1.1) - expit(0.3), rtol=1e-9)


def test_a_new_group_is_integrated_over():
    row = pd.DataFrame({"x": [1.0], "g": ["new"], "size": [5]})
    predicted = fitted("binomial").predict(row, unseen="population")
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    p = expit(1.1 + 0.5 * nodes)
    expected = (weights * p).sum() / weights.sum()
    sd = np.sqrt((weights * (p - expected) ** 2).sum() / weights.sum())
    assert abs(predicted["mean"][0] - expected) < 4 * sd / np.sqrt(S)
    np.testing.assert_allclose(predicted["sd"][0], sd, rtol=0.05)
    assert predicted["observation_upper"][0] <= 5
    answers = fitted("cumulative").predict(row, unseen="population")
    shares = [f"P({k})" for k in (2, 3, 4, 5)]
    np.testing.assert_allclose(answers[shares].sum(axis=1), 1)
    np.testing.assert_allclose(answers["mean"], answers[shares] @ [2, 3, 4, 5])


def scipy_of(family, eta, y):
    if family == "binomial":
        return stats.binom(TABLE["size"].to_numpy(), expit(eta)), TABLE["size"].to_numpy()
    if family == "poisson":
        return stats.poisson(np.exp(eta)), 1
    return stats.nbinom(2.5, 2.5 / (2.5 + np.exp(eta))), 1


@pytest.mark.parametrize("family", ["binomial", "poisson", "negbinomial"])
def test_densities_and_moments_are_scipys(family):
    model = pp.Model(FORMULAS[family], TABLE, family=family)
    eta = line(family) + np.array([[0.0], [0.7], [-8.0]])
    values = {name: np.full(3, value) for name, value in VALUES.items()}
    told, y = Rows(model, values, eta, np.arange(N)), model.design.y
    theirs, per = scipy_of(family, eta, y)
    np.testing.assert_allclose(told.log_density(), theirs.logpmf(y), rtol=1e-9, atol=1e-12)
    middle, sd = told.moments()
    np.testing.assert_allclose(middle, theirs.mean() / per, rtol=1e-9)
    np.testing.assert_allclose(sd, theirs.std() / per, rtol=1e-9)
    drawn = new(model, {k: np.full(20_000, v) for k, v in VALUES.items()},
                np.broadcast_to(eta[0], (20_000, N)), model.design.trials, RNG)  # fmt: skip
    z = (drawn.mean(0) - theirs.mean()[0]) / (theirs.std()[0] / np.sqrt(20_000))
    assert np.abs(z).max() < 4.5
    np.testing.assert_allclose(drawn.std(0), theirs.std()[0], rtol=0.1)


def test_ordered_answers_have_their_probabilities():
    model = pp.Model(FORMULAS["cumulative"], TABLE, family="cumulative")
    values = {name: np.full(1, value) for name, value in VALUES.items()}
    eta = line("cumulative")[None]
    below = np.vstack([np.zeros(N), *(expit(c - eta[0]) for c in (-1.0, 0.4, 1.3)), np.ones(N)])
    shares = np.diff(below, axis=0)
    told, place = Rows(model, values, eta, np.arange(N)), model.design.y.astype(int)
    np.testing.assert_allclose(np.exp(told.log_density()[0]), shares[place - 1, np.arange(N)])
    middle, sd = told.moments()
    np.testing.assert_allclose(middle[0], np.array([2, 3, 4, 5]) @ shares)
    np.testing.assert_allclose(sd[0] ** 2, np.array([4, 9, 16, 25]) @ shares - middle[0] ** 2)
    pit = told.below()[0]
    assert ((pit >= below[place - 1, np.arange(N)]) & (pit <= below[place, np.arange(N)])).all()
    np.testing.assert_array_equal(observed(model, np.arange(N)), TABLE["answer"])
    many = {name: np.full(20_000, value) for name, value in VALUES.items()}
    drawn = new(model, many, np.broadcast_to(eta, (20_000, N)), None, RNG)
    for k in range(4):
        error = np.sqrt(shares[k] * (1 - shares[k]) / 20_000)
        assert (np.abs((drawn == k + 1).mean(0) - shares[k]) < 4.5 * error).all()


@pytest.mark.parametrize("family", ["binomial", "poisson", "negbinomial", "cumulative"])
def test_randomized_probabilities_are_uniform_under_the_model(family):
    model = pp.Model(FORMULAS[family], TABLE, family=family)
    values = {name: np.full(1, value) for name, value in VALUES.items()}
    rng, eta = np.random.default_rng(5), line(family)[None]
    pits = []
    for _ in range(60):
        y = new(model, values, eta, model.design.trials, rng)[0]
        told = Rows(model.with_response(y), values, eta, np.arange(N))
        pits.append(told.below(rng)[0])
    assert stats.kstest(np.concatenate(pits), "uniform").pvalue > 1e-3


def test_the_headline_has_a_probability_and_an_odds_ratio():
    says = headline.headline(fitted("binomial", spread=0.05))
    eta = line("binomial")
    slope = (0.8 * expit(eta) * (1 - expit(eta))).mean()
    told = float(re.search(r"adds (0\.\d+) to the probability of hits", says)[1])
    np.testing.assert_allclose(told, slope, rtol=0.02)
    assert f"odds ratio {np.exp(0.8):.1f}" in says
    assert "groups of g differ in level, with a standard deviation of 0.5" in says
    says = headline.headline(fitted("poisson", spread=0.05))
    assert f"rate ratio {np.exp(0.8):.1f}" in says
    assert "the expected count" in says
    ratios = effects.directions(fitted("poisson", spread=0.05)).table
    np.testing.assert_allclose(ratios.loc["x", "ratio"], np.exp(0.8), rtol=0.02)


def test_variance_of_a_latent_response():
    found = effects.variance_explained(fitted("binomial", draws=400), np.arange(N)).table
    share = found.loc["share of the latent variance by g", "mean"]
    np.testing.assert_allclose(share, 0.25 / (0.25 + np.pi**2 / 3), rtol=1e-9)


def test_leaving_out_weighs_each_rows_own_density():
    fit = fitted("poisson", spread=0.02, draws=800)
    left = leave_one_out.leave_out(fit)
    mu = np.exp(line("poisson"))
    # with next to nothing to learn from a row, what is told of it is the model's own
    assert np.corrcoef(left.mean, mu)[0, 1] > 0.9
    assert left.pit.min() >= 0
    assert left.pit.max() <= 1
    checks = data_fit.check(fit, left).checks
    assert [check["name"] for check in checks][:4] == [
        "Replications", "Farthest row", "Far rows", "Noise by group"
    ]  # fmt: skip


@pytest.mark.parametrize("family", FORMULAS)
def test_equations_and_replications_of_each_family(family):
    fit = fitted(family, draws=800)
    assert "begin{aligned}" in overview.equations(fit.model).sentence
    assert "link" in overview.priors(fit.model).sentence
    rows = np.arange(N)
    replicated = predictions.replicate(fit, rows, np.random.default_rng(1))
    assert replicated.min() >= (1 if family == "cumulative" else 0)
    prior = predictions.replicate_prior(fit.model, rows, np.random.default_rng(1))
    assert np.isfinite(prior).all()
    assert 0 <= data_fit.figures(replicated, fit.model, rows)["p"].min() <= 1


def test_words_of_two_levels_say_which_is_the_success():
    fit = fitted("binomial", "said ~ x + (1 | g)", spread=0.05, draws=400)
    assert "`yes` is the success" in overview.priors(fit.model).sentence
    assert "the probability of said = yes" in headline.headline(fit)
    assert list(fit.predict(TABLE.head(1)).columns)[-4:] == ["mean", "sd", "lower", "upper"]
    replicated = predictions.replicate(fit, np.arange(N), np.random.default_rng(1))
    found = predictive.densities(fit.model, replicated, np.arange(N))
    assert found.sentence.startswith("Of 2 values")
    left = leave_one_out.leave_out(fit)
    assert (
        "bins of 6 rows the observed share of successes" in predictive.pit(fit.model, left).sentence
    )


def test_the_mean_of_noise_is_the_line():
    model = pp.Model("exposure ~ x + (1 | g)", TABLE)
    eta = np.zeros((2, 3))
    assert mean(model, {}, eta) is eta
