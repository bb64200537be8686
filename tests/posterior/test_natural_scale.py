"""A logged response back on its natural scale, against closed forms and simulated new rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.plots import natural_levels
from partialpool.posterior import draws, natural_scale
from partialpool.posterior.natural_scale import Levels, Natural

DOSE = {"name": "dose", "unit": "mg", "limit": 6.0}


def table(n=60, groups=6, seed=3):
    rng = np.random.default_rng(seed)
    g = np.arange(n) % groups
    x, two = rng.normal(size=n), np.repeat([0, 1], n // 2)
    per = np.linspace(-1, 1, groups)[g]
    y = 1.5 + 0.4 * x - 0.7 * two + 0.3 * per + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "two": two, "per": per, "g": [f"g{k}" for k in g]})


def test_factors_are_those_of_least_squares_under_flat_priors():
    """Exponentials of its t intervals, whose ends 4,000 draws know to 0.034 standard deviations."""
    rows = table()
    flat = dict.fromkeys(["Intercept", "x", "two"], "Flat()") | {"sigma": "Uniform(0, 100)"}
    fit = pp.Model("y ~ x + two", rows, flat).fit(seed=1)
    found = natural_scale.times(fit, Natural("dose"))
    X = np.column_stack([np.ones(60), rows["x"], rows["two"]])
    beta, rss, *_ = np.linalg.lstsq(X, rows["y"], rcond=None)
    # a flat prior of sigma leaves one degree of freedom less than least squares has
    sd = np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * rss[0] / 56)
    says = beta[1:, None] + sd[1:, None] * stats.t(56).ppf([0.5, 0.05, 0.95])
    assert np.allclose(np.log(found.table.to_numpy()), says, atol=4 * 0.034 * sd[1:].max())
    assert found.sentence.startswith("One unit more of x goes with **45 % more** dose (90 %")
    strong = natural_scale._times_in_words("x", np.array([3.0, 2.5, 3.6]), Natural("dose"))
    assert strong == "x goes with **3.00 times** as much dose (90 % interval 2.50 to 3.60)"


def test_levels_and_the_share_above_the_limit():
    rows = table()
    model = pp.Model("y ~ x + two + per + (1 | g)", rows)
    fit = model.fit(seed=1)
    found = Levels.of(fit, Natural.of(model, DOSE))
    assert found.place == "at the mean x and two 0"
    at = rows.drop_duplicates("g").assign(x=rows["x"].mean(), two=0)
    line = pp.posterior.predictions.line(fit, at)
    assert np.allclose(found.median, np.exp(np.median(line, 0)))
    assert np.allclose([found.lower, found.upper], np.exp(draws.interval(line)))
    rng = np.random.default_rng(0)
    new = line + fit.values["sigma"][:, None] * rng.standard_normal((4, *line.shape))
    share = (np.exp(new) > 6).reshape(-1, line.shape[1]).mean(0)
    assert np.abs(found.above - share).max() < 4 * 0.5 / np.sqrt(4 * len(line))


def test_the_words_say_where_there_is_most_and_how_many_pass_the_limit():
    model = pp.Model("y ~ two + per + (1 | g)", table(), labels={"two[0]": "low", "two[1]": "high"})
    fit, dose = model.fit(seed=1), Natural.of(model, DOSE)
    levels = Levels.of(fit, dose)
    says = natural_scale.in_words(fit, dose)
    times = natural_scale.times(fit, dose).table.iloc[0]
    assert times["upper"] < 1
    less, low, high = (f"{100 * (1 - times[name]):.0f}" for name in ("times", "upper", "lower"))
    assert says.startswith(
        f"High instead of low goes with {less} % less dose (90 % interval {low} to {high} %)"
    )
    most = levels.median.argmax()
    assert f"; dose (low) is highest in {levels.names[most]}, with a median of" in says
    line = np.log(levels.median)
    assert levels.extreme.sum(0).tolist() == [1, 1]
    assert levels.extreme[most, 0] == levels.extreme[:, 0].max()
    assert levels.extreme[line.argmin(), 1] == levels.extreme[:, 1].max()
    assert f"; in {(levels.above > 0.5).sum()} of 6 groups of g a new measurement" in says
    found = natural_levels.levels(fit, dose)
    assert list(found.table.columns) == ["median", "lower", "upper", "above"]
    assert found.table["median"].is_monotonic_decreasing


def test_without_groups_a_limit_or_predictors_there_is_nothing_to_say_of_them():
    model = pp.Model("y ~ 1 + (1 | g)", table())
    says = natural_scale.in_words(model.fit(seed=1), Natural("dose", "mg"))
    assert says.startswith("Dose is highest in g")
    assert "new measurement" not in says
    model = pp.Model("y ~ x", table())
    assert natural_levels.levels(model.fit(seed=1), Natural("dose")) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nmae": "dose"}, "natural: there is no 'nmae'; did you mean 'name'"),
        ({"unit": "mg"}, "natural: give the name of what the response is the logarithm of."),
        ({"name": "dose", "limit": -1}, "natural: limit must be a positive number, not -1."),
    ],
)
def test_a_setting_that_is_none_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        Natural.of(pp.Model("y ~ x", table()), given)


def test_a_family_with_a_link_has_no_logarithm_of_the_response():
    model = pp.Model("two ~ x", table(), family="binomial")
    with pytest.raises(ValueError, match="natural: this needs Gaussian or Student's t noise"):
        Natural.of(model, DOSE)
    assert Natural.of(model, {}) is None
