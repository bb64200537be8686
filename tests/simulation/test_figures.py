"""Figures over many fits, from tables small enough to do by hand."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from partialpool.plots import recovery
from partialpool.simulation import calibration, figures, headline, many_fits, plans


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def table(**columns):
    """Four data sets of one parameter, with what the figures read."""
    return pd.DataFrame({"parameter": "a", "data_set": range(4), "truth": 1.0} | columns)


def test_pooling_is_a_geometric_mean_with_its_normal_interval():
    """Ratios 2, 2, 8, 8: mean of logs 2 log 2, their sd 2/√3 log 2, its error half of that."""
    ways = table(partial=[1.0, 2, 1, 2], complete=[2.0, 4, 8, 16], none=[0.5, 1, 0.5, 4])
    found = calibration.pooling(ways)
    half = 1.96 * 2 / np.sqrt(3) / 2
    assert found.loc["complete", ["ratio", "low", "high"]].tolist() == pytest.approx(
        [4, 2 ** (2 - half), 2 ** (2 + half)]
    )
    assert found["error"].to_dict() == pytest.approx({"complete": 7.5, "none": 1.5, "partial": 1.5})
    assert found.loc[["complete", "none"], "wins"].tolist() == [1, 0.25]
    assert np.isnan(found.at["partial", "wins"])


def test_a_bias_has_the_error_of_a_mean():
    """Errors 0, 1, 2, 1 about the truth: sd √(2/3), over four data sets."""
    ends = {"q2.5": 0.0, "q97.5": 3.0, "sd": 0.5}
    row = calibration.errors(table(mean=[1.0, 2, 3, 2], **ends), {"a": 2.0}).loc["a"]
    assert row["bias_se"] == pytest.approx(np.sqrt(2 / 3) / 2)
    assert row["contraction"] == pytest.approx(1 - 0.25 / 4)
    assert row["width"] == 3


def test_p_values_count_all_parameters_of_a_study():
    """Two parameters, and two times three intervals: each smallest p-value by as many."""
    rng = np.random.default_rng(1)
    both = pd.concat(
        [
            pd.DataFrame(
                {
                    "parameter": name,
                    "data_set": range(200),
                    "rank": rng.uniform(size=200),
                    "truth": rng.standard_normal(200),
                    "trusted": True,
                }
            )
            for name in "ab"
        ]
    )
    for nominal, half in ((0.5, 0.6745), (0.8, 1.2816), (0.95, 1.96)):
        lower, upper = calibration.INTERVALS[nominal]
        both[lower], both[upper] = -half, half
    checks = {check["name"]: check["value"] for check in calibration.verdict(both).checks}
    ranks, covered = calibration.uniformity(both), calibration.coverage(both)
    assert checks["Ranks uniform"] == pytest.approx(min(1, 2 * ranks.min()))
    assert checks["Coverage"] == pytest.approx(min(1, 6 * covered["p"].min()))
    # the smallest of two p-values is below a half, or the product would say nothing
    assert 0.01 < ranks.min() < 0.5


def test_the_summary_of_a_study_has_quantiles_of_the_estimates():
    found = calibration.parameters(table(mean=[0.0, 1, 2, 3], sd=0.5))
    expected = {"mean": 1.5, "sd": 0.5, "q05": 0.15, "q50": 1.5, "q95": 2.85}
    assert found == {"a": pytest.approx(expected)}


def test_errors_of_lines_are_compared_with_partial_pooling():
    ends = dict.fromkeys(["q2.5", "q10", "q25"], 0.0) | dict.fromkeys(["q75", "q90", "q97.5"], 3.0)
    ways = {"partial": 1.0, "complete": 2.0, "none": 3.0}
    whole = table(mean=1.0, sd=0.5, seconds=[1.0, 2, 3, 2], **ends, **ways)
    found = calibration.metrics(whole, whole)
    ratios = found[figures.RATIO]
    assert found[figures.PROMISE] == {"a": 1.0}
    assert ratios == pytest.approx({"complete pooling": 2, "no pooling": 3})


def test_a_truth_on_the_boundary_is_no_reproach():
    """No interval can hold a standard deviation of zero, and no alarm can be blamed for it."""
    ends = dict.fromkeys(["q2.5", "q10", "q25"], 0.5) | dict.fromkeys(["q75", "q90", "q97.5"], 3.0)
    ways = {"partial": 1.0, "complete": 2.0, "none": 3.0}
    zero = table(mean=1.0, sd=0.5, trusted=True, **ends, **ways)
    zero = zero.assign(parameter="sigma", truth=0.0)
    one = zero.assign(parameter="x", truth=1.0)
    both = pd.concat([zero, one])
    assert calibration.on_the_edge(both) == ["sigma"]
    assert calibration.alarms({"recovery": both}).table.at["recovery", "off_trusted"] == 0
    found = calibration.metrics(both, both)["coverage of 95% intervals at the true values"]
    assert found == {"x": 1.0}


def test_without_noise_no_pooling_has_no_error_and_no_ratio():
    ends = dict.fromkeys(["q2.5", "q10", "q25"], 0.5) | dict.fromkeys(["q75", "q90", "q97.5"], 3.0)
    ways = {"partial": 0.05, "complete": 5.0, "none": [0.0, 1e-9, 1e-9, 0.0]}
    one = table(mean=1.0, sd=0.5, **ends, **ways)
    exact = pd.concat([one, one.assign(parameter="sigma", truth=0.0)])
    assert figures.RATIO not in calibration.metrics(exact, exact)
    says = headline.headline(exact.assign(truth=1.0), exact)
    for sentence in (says, recovery.pooling_errors(exact).sentence):
        assert "very group's own line passes through its points" in sentence.replace("\n", " ")
        assert "off by 0.050 on average with partial pooling and by 5.0 with complete" in sentence
        assert "times" not in sentence


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_errors_of_lines_are_those_of_conditional_means(noise):
    """With one row a group the errors are e, and ``x² / (x² + 1)`` of its variance is left.

    The rest goes to what partial pooling has to estimate: four parameters from 300 rows.
    """
    truth = {"Intercept": 2, "x": 2, "x|i_sigma": 1, "sigma": noise}
    plan = plans.Plan("origin", {"n": 300}, truth, plans.PRIORS["gaussian"], pooling=True)
    found = calibration.pooling(many_fits.run_batch(plan, 1, 0, 10))
    if not noise:
        # what is left is the prior of a group on its own, ten thousand spreads wide
        assert found.at["none", "error"] < 1e-3
        return
    error = 1 / np.sqrt(2 * 300 * 10)
    assert found.at["none", "error"] == pytest.approx(1, abs=4 * error)
    # x² / (x² + 1) averaged over x from 0 to 10
    expected = 1 / np.sqrt(1 - np.arctan(10) / 10)
    assert found.at["none", "ratio"] == pytest.approx(expected, rel=4 / 300)


def test_data_sets_with_a_fixed_truth_have_predictors_of_their_own():
    """Fifty shared theirs and erred together: Monte Carlo errors were up to six times too small."""
    seen = []

    def fit(model, rng, draws):
        seen.append(model.design.X[:, 1])
        values = {name: np.zeros(draws) for name in model.parameters}
        effects = {n: np.zeros((draws, model.design.only.n_levels)) for n in model.design.effects}
        return values, effects, True

    plan = plans.plan("origin", {"n": 5}, dict.fromkeys(plans.TRUTH.values(), 1), {})
    many_fits.run_batch(replace(plan, pooling=False), 1, 0, 3, fit)
    assert not any(np.array_equal(seen[0], other) for other in seen[1:])
    many_fits.run_batch(plans.calibrating(plan), 1, 0, 3, fit)
    assert all(np.array_equal(seen[3], other) for other in seen[3:])


@pytest.mark.parametrize(("far", "low", "high"), [(1e6, 0, 0.1), (-1e6, 0.9, 1)])
def test_a_rank_is_uniform_between_its_neighbours(far, low, high):
    """Nine draws above or below every truth: ranks spread over the first or last tenth."""

    def fit(model, rng, draws):
        values = {name: np.full(draws, far) for name in model.priors}
        (grouping,) = model.design.groupings
        effects = {name: np.full((draws, grouping.n_levels), far) for name in grouping.effects}
        return values, effects, True

    plan = plans.Plan("origin", {"n": 5}, {}, plans.PRIORS["gaussian"], draws=9)
    ranks = many_fits.run_batch(plan, 1, 0, 40, fit)["rank"]
    assert ranks.between(low, high).all()
    error = 0.1 / np.sqrt(12 * len(ranks))
    assert ranks.mean() == pytest.approx((low + high) / 2, abs=4 * error)
    assert ranks.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.2)


def test_the_answer_is_how_far_off_estimates_are():
    """Errors 0, 1, 2, 1 have a root mean square of √1.5; no pooling is twice as far off."""
    ends = dict.fromkeys(["q2.5", "q10", "q25"], 0.5) | dict.fromkeys(["q75", "q90", "q97.5"], 3.5)
    ways = {"partial": 1.0, "complete": 5.0, "none": 2.0}
    one = table(mean=[1.0, 2, 3, 2], sd=0.5, **ends, **ways)
    every = [one.assign(parameter=name) for name in ("x", "1|g_sigma", "1|g[0]")]
    every.append(one.assign(parameter="sigma", mean=[4.0, 5, 4, 5]))  # 3.5 too high, ± 0.3
    names = {"x": "slope of x", "1|g_sigma": "sd of the intercept", "sigma": "sd of the noise"}
    says = headline.headline(pd.concat(every), pd.concat(every), names=names)
    assert says.startswith(
        "Estimates are off by 1.2 for the slope of x (true value 1), 1.2 for the sd of the "
        "intercept (1) and 3.5 for the sd of the noise (1) (root mean square over 4 data sets with "
        "these values), for its size most for the sd of the noise, on average 3.5 too high; the "
        "groups' lines are 2.00 times as far off with no pooling, and 5.00 times as far with "
        "complete pooling, as with partial pooling."
    )
    assert says.endswith(
        " Of 4 data sets with truths from the prior, 95 % intervals hold the truth in 100.0 % to "
        "100.0 %, by parameter."
    )


def test_a_loss_of_partial_pooling_is_named_with_its_reason():
    """0.72 times as far off with no pooling was told as if partial pooling had won."""
    ends = dict.fromkeys(["q2.5", "q10", "q25"], 0.5) | dict.fromkeys(["q75", "q90", "q97.5"], 3.5)
    ways = {"partial": [1.0, 1.1, 1.0, 1.1], "complete": 5.0, "none": 0.7}
    lost = table(mean=[2.8, 2.9, 2.8, 2.7], sd=0.5, **ends, **ways).assign(parameter="sigma")
    says = headline.headline(lost, lost)
    assert "so that no pooling is the better one here." in says
    said = recovery.pooling_errors(lost)
    assert "No pooling is the better one here." in said.sentence
    assert "take the noise for larger than it is, 2.8 for 1 on average" in said.sentence
    right = recovery.pooling_errors(lost.assign(mean=[1.1, 0.9, 1.2, 0.8])).sentence
    assert "larger than it is" not in right
    labels = [text for axes in said.figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())]
    assert all(label.endswith("(log scale)") for label in labels)
    for axis in [axis for axes in said.figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = axis.get_view_interval()
        assert sum(low <= tick <= high for tick in axis.get_majorticklocs()) >= 3
    level = lost.assign(none=lost["partial"])
    assert "lines are as far off with no pooling, and " in headline.headline(level, level)
    won = headline.headline(lost.assign(none=2.0), lost.assign(none=2.0))
    assert "better" not in won


def test_a_figure_of_some_data_sets_says_so():
    ends = {"q2.5": 0.0, "q97.5": 3.0, "sd": 0.5}
    found = table(mean=[1.0, 2, 3, 2], **ends)
    assert recovery.estimates(found, most=3).sentence.startswith(
        "Drawn are the first 3 of 4 data sets. Over all 4 the average posterior mean"
    )
    assert recovery.estimates(found).sentence.startswith("Over 4 data sets the average")


def test_one_data_set_is_shown_and_is_the_first():
    plan = plans.plan(
        "crossed", {"groups": 4, "items": 3}, dict.fromkeys(plans.TRUTH.values(), 1), {}
    )
    seen = []

    def fit(model, rng, draws):
        seen.append(model.design.y)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        many_fits.run_batch(plan, 3, 0, 1, fit)
    assert (many_fits.example(plan, 3).design.y == seen[0]).all()
    found = recovery.first(plan, 3)
    assert "12 rows" in found.sentence
    assert "4 subjects" in found.sentence
    said = plans.describe(plan).sentence
    assert "4 subjects and 3 items" in said
    assert "drawn evenly from 0 to 10, anew for every data set" in said


def test_curves_that_leave_their_band_are_counted():
    """The farthest was told beside the band, and not that it lies beyond."""
    ranks = np.random.default_rng(0).uniform(size=200)
    uniform, bent = (
        pd.DataFrame({"parameter": n, "rank": r}) for n, r in (("a", ranks), ("b", ranks**2))
    )
    assert "leave" not in recovery.rank_curves(uniform).sentence.split("1990")[1]
    both = recovery.rank_curves(pd.concat([uniform, bent])).sentence
    assert both.endswith(" Of 2 curves 1 leaves it.")
