"""Many data sets of families with a link: certified fits are calibrated, wrong ones found out.

Certified fits cost some 50 ms each, so that there are fewer data sets than with Gaussian noise.
"""

from dataclasses import replace

import numpy as np
import pytest

from partialpool.data.text import listed
from partialpool.fit.kernels import threads
from partialpool.fit.regression import Regression
from partialpool.plots import recovery
from partialpool.simulation import calibration, headline, lines, many_fits, plans

FAMILIES = tuple(plans.WORDS)
#: Few data, so that every parameter's prior matters.
SMALL = {"groups": 3, "per_group": 4, "x_max": 1.0}
TRUTH = {"intercept": -0.5, "slope": 1.0, "sd_intercept": 0.8, "sd_slope": 0.5, "cor": 0.2}
TRUTH |= {"shape": 4.0, "thresholds": [-0.5, 0.5, 1.5]}


@pytest.fixture(autouse=True)
def one_thread():
    """As in a study, which has a process for each processor."""
    with threads(0):
        yield


def plan_of(family, sizes=SMALL, **priors):
    priors = plans.PRIORS[family] | priors
    return plans.Plan("intercepts", sizes, {}, priors, draws=200, family=family)


def missed(table, *left_out):
    table = table[~table["parameter"].isin(left_out)]
    return {c["name"] for c in calibration.verdict(table).checks if not c["passed"]}


def other(model, family, **priors):
    """The same rows and priors for another family."""
    own = {name: str(prior) for name, prior in model.priors.items() if name != "shape"}
    table = model.table.assign(y=np.arange(len(model.table)))
    return Regression(model.formula, table, own | priors, family=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_certified_fit_is_calibrated(family):
    """Fails a right fit with probability 2e-3 for a new seed (two checks, `FALSE_ALARM` each).

    A hundred data sets are five in each of the 20 bins, as many as the chi-squared test needs.
    """
    assert not missed(many_fits.run_batch(plan_of(family), 1, 0, 100))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_certified_fit_of_two_crossed_factors_is_calibrated(family):
    """Effects of four items stand among the coefficients; their first is among what is ranked."""
    sizes = {"groups": 8, "items": 4, "x_max": 1.0}
    plan = plans.Plan("crossed", sizes, {}, plans.PRIORS[family], draws=200, family=family)
    table = many_fits.run_batch(plan, 1, 0, 100)
    assert not missed(table)
    assert "1|item[0]" in set(table["parameter"])


def test_rows_that_are_counted_several_times_are_found_out():
    """Binary answers whose table repeats each row four times, so that intervals are too narrow."""

    def fit(model, rng, draws):
        design = model.design
        often = replace(design, y=4 * design.y, trials=4 * design.trials)
        return lines.fit_exactly(model.with_design(often), rng, draws)

    plan = plan_of("binomial", SMALL | {"groups": 6, "per_group": 6})
    assert "Coverage" in missed(many_fits.run_batch(plan, 2, 0, 50, fit))


def test_gaussian_noise_about_logarithms_of_counts_is_found_out():
    """``log(y + 1/2)`` in the place of a Poisson regression."""

    def fit(model, rng, draws):
        gaussian = other(model, "gaussian", sigma="HalfNormal(1)")
        logs = np.log(model.design.y + 0.5)
        return lines.fit_exactly(gaussian.with_response(logs), rng, draws)

    plan = plan_of("poisson", SMALL | {"groups": 8, "per_group": 5})
    assert {"Ranks uniform", "Coverage"} <= missed(many_fits.run_batch(plan, 3, 0, 60, fit))


def test_poisson_without_extra_spread_is_found_out():
    """Counts that are negative binomial, fitted by Poisson."""

    def fit(model, rng, draws):
        poisson = other(model, "poisson").with_response(model.design.y)
        values, effects, trusted = lines.fit_exactly(poisson, rng, draws)
        return values | {"shape": np.ones(draws)}, effects, trusted

    plan = plan_of("negbinomial", SMALL | {"groups": 5, "per_group": 6}, shape="Exponential(2)")
    assert "Coverage" in missed(many_fits.run_batch(plan, 4, 0, 60, fit), "shape")


def test_thresholds_without_their_jacobian_are_found_out():
    """Draws of ordered thresholds by their logarithmic distances, eq. (59), without the latter."""

    def fit(model, rng, draws):
        values, effects, trusted = lines.fit_exactly(model, rng, draws)
        gaps = np.diff([values[name] for name in model.thresholds], axis=0)
        weight = 1 / gaps.prod(axis=0)
        at = rng.choice(draws, draws, p=weight / weight.sum())
        parts = [{name: drawn[at] for name, drawn in part.items()} for part in (values, effects)]
        return *parts, trusted

    plan = plan_of("cumulative", SMALL | {"groups": 3, "per_group": 3})
    plan = replace(plan, answers=5)
    assert "Ranks uniform" in missed(many_fits.run_batch(plan, 5, 0, 80, fit))


@pytest.mark.parametrize("family", FAMILIES)
def test_responses_are_those_of_the_truth(family):
    """With effects that hardly vary and many rows, shares are those of the family's mean."""
    sizes = {"groups": 200, "per_group": 50}
    plan = plans.plan("intercepts", sizes, TRUTH | {"sd_intercept": 1e-6}, {}, family=family)
    rng = np.random.default_rng(6)
    model = plans.template(plan, rng)
    _, line, y = many_fits.respond(model, plan.truth, rng)
    error = 4 / np.sqrt(len(y))
    if family == "cumulative":  # the line starts at the middle threshold, which is 0.5
        for k, cut in enumerate(TRUTH["thresholds"], start=1):
            expected = 1 / (1 + np.exp(cut - 0.5 - line))
            assert np.mean((y > k) - expected) == pytest.approx(0, abs=0.5 * error)
        return
    mean = 1 / (1 + np.exp(-line)) if family == "binomial" else np.exp(line)
    spread = mean + (mean**2 / TRUTH["shape"] if family == "negbinomial" else 0)
    spread = mean * (1 - mean) if family == "binomial" else spread
    assert np.mean((y - mean) / np.sqrt(spread)) == pytest.approx(0, abs=error)
    # of Pearson's residuals the mean square is one
    kurtosis = np.mean(((y - mean) ** 2 / spread) ** 2)
    assert np.mean((y - mean) ** 2 / spread) == pytest.approx(1, abs=error * np.sqrt(kurtosis))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_has_the_parameters_of_its_family(family):
    sizes = {"groups": 5, "per_group": 3}
    plan = plans.plan("grouped", sizes, TRUTH, {"sd": "HalfNormal(2)"}, family=family)
    assert plan.truth["x"] == TRUTH["slope"]
    assert plan.truth["cor(1,x|group)"] == TRUTH["cor"]
    assert "sigma" not in plan.truth
    assert ("Intercept" in plan.truth) == (family != "cumulative")
    assert plan.truth.get("shape") == (4.0 if family == "negbinomial" else None)
    assert plan.priors == plans.PRIORS[family] | {"sd": "HalfNormal(2)"}
    model = plans.template(plan, np.random.default_rng(0))
    assert model.proper
    assert len(model.thresholds) == (3 if family == "cumulative" else 0)
    said = plans.describe(plan).sentence
    assert plans.WORDS[family][0] in said
    assert "`x` is drawn evenly from 0 to 1," in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"family": "poison"}, "not simulated from 'poison'; did you mean 'poisson'"),
        ({"family": "student"}, "not simulated from 'student'; choose from gaussian, binomial"),
        ({"kind": "origin"}, "groups have several rows: choose from grouped, intercepts, crossed"),
        ({"thresholds": [1, 0]}, r"in ascending order, such as \[0, 1, 2\], not \[1.0, 0.0\]"),
        ({"thresholds": []}, "in ascending order"),
    ],
)
def test_what_cannot_be_studied_is_refused(options, says):
    given = {"kind": "grouped", "family": "cumulative"} | options
    truth = TRUTH | {"thresholds": given.pop("thresholds", TRUTH["thresholds"])}
    sizes = {"groups": 5, "per_group": 3, "items": 3}
    with pytest.raises(ValueError, match=says):
        plans.plan(given["kind"], sizes, truth, {}, family=given["family"])


def test_pooling_is_told_on_the_scale_of_the_line():
    """With groups that hardly differ complete pooling is as good, and no pooling is worse."""
    sizes = {"groups": 5, "per_group": 6}
    plan = plans.plan("intercepts", sizes, TRUTH | {"sd_intercept": 0.01}, {}, family="cumulative")
    table = many_fits.run_batch(replace(plan, draws=200), 7, 0, 10)
    found = calibration.pooling(table)
    assert found.at["complete", "ratio"] < 1.02
    assert found.at["none", "low"] > 1.5
    said = recovery.pooling_errors(table, plan.scale).sentence
    assert f"Errors are in {plan.scale}" in said
    assert "a normal distribution of sd 10 holds a group" in said
    assert f"in {plan.scale}" in headline.headline(table, table, plan.scale)
    # thresholds are parameters of the population, though their names have brackets
    own = set(calibration.metrics(table, table)["bias"])
    assert own == set(plan.truth), listed(sorted(own))
    assert set(calibration.recovery(table, plans.prior_sds(plan)).table.index) == set(plan.truth)
