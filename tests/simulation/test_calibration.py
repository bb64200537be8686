"""Many simulated data sets: the right fit is calibrated, and wrong ones are found out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from partialpool.fit import compiled
from partialpool.fit.regression import Regression
from partialpool.posterior import agreement
from partialpool.simulation import calibration, lines, many_fits, plans

#: Few data, so that every parameter's prior matters; as many data sets as the default studies have.
DATA_SETS = 500
#: Half of them find out what is wrong as well.
HALF = DATA_SETS // 2
PRIORS = {
    "Intercept": "Normal(1, 2)",
    "x": "Normal(-1, 1)",
    "sd": "HalfNormal(1)",
    "sigma": "Exponential(2)",
}
PLANS = {
    "origin": plans.Plan("origin", {"n": 15, "x_max": 2}, {}, PRIORS, draws=200),
    "grouped": plans.Plan(
        "grouped", {"groups": 6, "per_group": 4, "x_max": 2}, {}, PRIORS, draws=200
    ),
    "crossed": plans.Plan("crossed", {"groups": 6, "items": 4, "x_max": 2}, {}, PRIORS, draws=200),
}


def many(plan, seed, fit=None, data_sets=DATA_SETS):
    numbers = range(data_sets // many_fits.BATCH)
    batches = [many_fits.run_batch(plan, seed, k, many_fits.BATCH, fit) for k in numbers]
    return pd.concat(batches, ignore_index=True)


def missed(table):
    return {c["name"] for c in calibration.verdict(table).checks if not c["passed"]}


@pytest.mark.parametrize("kind", PLANS)
def test_the_exact_fit_is_calibrated(kind):
    """Fails a right fit with probability 2e-3 for a new seed (two checks, `FALSE_ALARM` each)."""
    assert not missed(many(PLANS[kind], seed=1))


def test_intervals_hold_a_truth_that_is_like_the_draws_as_often_as_they_say():
    """However few the draws: of 39 the least and the greatest are the ends of a 95 % interval.

    Interpolated as numpy does on its own they would hold 90 %, of 400 draws still 94.5 %.
    """
    plan = replace(PLANS["grouped"], truth={}, draws=39)

    def fit(model, rng, draws):
        def about(truth):
            return truth + rng.standard_normal() + rng.standard_normal(draws)

        grouping = model.design.only
        effects = {n: np.zeros((draws, grouping.n_levels)) for n in grouping.effects}
        return {name: about(plan.truth[name]) for name in model.parameters}, effects, True

    names = plans.template(plan, np.random.default_rng(0)).parameters
    plan = replace(plan, truth=dict.fromkeys(names, 1.0))
    table = many_fits.run_batch(plan, 1, 0, 2000, fit)
    table = table[table["parameter"].isin(names)]
    for nominal in calibration.INTERVALS:
        share = calibration.held(table, nominal)
        error = np.sqrt(nominal * (1 - nominal) / len(table))
        assert abs(share.mean() - nominal) < 4 * error, nominal


def test_a_rank_is_one_of_as_many_as_draws_and_one_more():
    """Among S draws a truth has S + 1 places, 0 to S: docs/method.md, eq. (35)."""

    def fit(below):
        def made(model, rng, draws):
            far, grouping = -1e9 if below else 1e9, model.design.only
            values = {name: np.full(draws, far) for name in model.parameters}
            effects = {n: np.full((draws, grouping.n_levels), far) for n in grouping.effects}
            return values, effects, True

        return made

    plan = replace(PLANS["origin"], draws=9)
    last, first = (
        many_fits.run_batch(plan, 1, 0, 20, fit(below))["rank"].to_numpy()
        for below in (True, False)
    )
    assert ((last > 0.9) & (last < 1)).all()
    assert ((first > 0) & (first < 0.1)).all()
    # uniform within the place
    assert stats.kstest(first * 10, "uniform").pvalue > 0.001


def test_a_wrong_prior_scale_is_found_out():
    """Group effects fitted as if the scale of their prior were half of what it is."""

    def fit(model, rng, draws):
        other = Regression(model.formula, model.table, PRIORS | {"sd": "HalfNormal(0.5)"})
        return lines.fit_exactly(other.with_response(model.design.y), rng, draws)

    assert "Ranks uniform" in missed(many(PLANS["origin"], seed=2, fit=fit, data_sets=HALF))


def test_a_sign_error_in_the_group_covariance_is_found_out():
    def fit(model, rng, draws):
        values, effects, trusted = lines.fit_exactly(model, rng, draws)
        name = "cor(1,x|group)"
        return values | {name: -values[name]}, effects, trusted

    plan = replace(PLANS["grouped"], sizes={"groups": 30, "per_group": 6})
    assert {"Ranks uniform", "Coverage"} <= missed(many(plan, seed=3, fit=fit, data_sets=HALF))


def test_narrow_draws_are_found_out():
    """Draws a fifth too narrow, about their own mean."""

    def fit(model, rng, draws):
        values, effects, trusted = lines.fit_exactly(model, rng, draws)
        narrow = {n: d.mean() + 0.8 * (d - d.mean()) for n, d in values.items()}
        own = {name: b.mean(0) + 0.8 * (b - b.mean(0)) for name, b in effects.items()}
        return narrow, own, trusted

    assert {"Ranks uniform", "Coverage"} <= missed(
        many(PLANS["grouped"], seed=4, fit=fit, data_sets=HALF)
    )


def test_fits_that_distrust_themselves_fail_the_study():
    def fit(model, rng, draws):
        values, effects, _ = lines.fit_exactly(model, rng, draws)
        return values, effects, rng.uniform() > 0.05

    table = many(replace(PLANS["origin"], sizes={"n": 5}), seed=5, fit=fit)
    assert missed(table) == {"Alarms"}
    found = calibration.alarms({"calibration": table})
    assert found.table.at["calibration", "off_trusted"] == pytest.approx(0.05, abs=0.02)
    wrong = int(found.table.at["calibration", "distrusted"])
    assert f"Calibration: {wrong} of 500 fits raised an alarm" in found.sentence


def test_false_alarms_are_as_rare_as_stated():
    """200 studies with uniform ranks and intervals that hold what they say, two checks each."""
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(200):
        table = pd.DataFrame(
            {
                "parameter": np.repeat(["a", "b", "c"], 200),
                "data_set": np.tile(np.arange(200), 3),
                "rank": rng.uniform(size=600),
                "truth": rng.standard_normal(600),
                "trusted": True,
            }
        )
        for nominal, ends in calibration.INTERVALS.items():
            table[list(ends)] = stats.norm.interval(nominal)
        alarms += bool(missed(table))
    assert alarms <= stats.binom.ppf(0.999, 200, 2 * agreement.FALSE_ALARM)


def test_errors_of_the_coverage_are_those_of_scipy():
    """None, some and all of twenty intervals hold the truth."""
    for k in (0, 13, 20):
        table = pd.DataFrame({"parameter": "a", "truth": np.where(np.arange(20) < k, 0.0, 9.0)})
        for ends in calibration.INTERVALS.values():
            table[list(ends)] = [-1.0, 1.0]
        for row in calibration.coverage(table).itertuples():
            found = stats.binomtest(k, 20, row.nominal)
            ci = found.proportion_ci(0.95, method="exact")
            expected = [k / 20, ci.low, ci.high, found.pvalue]
            assert [row.covered, row.low, row.high, row.p] == pytest.approx(expected)


def test_nothing_depends_on_workers_or_interruption(tmp_path):
    plan = replace(PLANS["origin"], truth={"Intercept": 1, "x": 0, "x|i_sigma": 1, "sigma": 0.5})
    alone = many_fits.run(plan, 7, 150, workers=1, cache=tmp_path / "a")
    together = many_fits.run(plan, 7, 150, workers=2, cache=tmp_path / "b")
    drop = ["seconds"]
    pd.testing.assert_frame_equal(alone.drop(columns=drop), together.drop(columns=drop))
    kept = tmp_path / "a" / many_fits.digest(plan, 7)
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    (kept / "1.parquet").unlink()
    again = many_fits.run(plan, 7, 150, workers=1, cache=tmp_path / "a")
    pd.testing.assert_frame_equal(alone.drop(columns=drop), again.drop(columns=drop))
    after = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["1.parquet"]


def test_pooling_is_compared_on_the_same_data():
    """With groups that hardly differ complete pooling is as good; no pooling is never better."""
    truth = {"Intercept": 1, "x": 2, "1|group_sigma": 0.01, "x|group_sigma": 0.01, "sigma": 1}
    plan = replace(
        PLANS["grouped"],
        truth=truth | {"cor(1,x|group)": 0.0},
        pooling=True,
        sizes={"groups": 8, "per_group": 4},
    )
    found = calibration.pooling(many_fits.run_batch(plan, 8, 0, 50))
    assert found.at["partial", "ratio"] == 1
    assert found.at["complete", "high"] < 1.05
    assert found.at["none", "low"] > 1.5


def test_pooling_of_two_crossed_factors():
    """Where no level differs no pooling pays for 6 + 4 effects, as least squares of 24 rows does.

    Its line has 10 coefficients (6 + 4 - 1, and the slope) and complete pooling's 2, so that the
    ratio of their errors is about √5.
    """
    truth = {"Intercept": 1, "x": 2, "1|group_sigma": 0.0, "1|item_sigma": 0.0, "sigma": 1.0}
    found = calibration.pooling(
        many_fits.run_batch(replace(PLANS["crossed"], truth=truth, pooling=True), 8, 0, 50)
    )
    assert found.at["none", "error"] / found.at["complete", "error"] == pytest.approx(
        np.sqrt(5), rel=0.25
    )


def test_recovery_counts_errors():
    table = pd.DataFrame(
        {
            "parameter": "a",
            "data_set": range(4),
            "truth": 1.0,
            "mean": [1.0, 2.0, 3.0, 2.0],
            "sd": 0.5,
            "q2.5": [0, 0.5, 2, 1.5],
            "q10": [0.2, 0.8, 2.2, 1.6],
            "q25": [0.5, 1.5, 2.5, 1.8],
            "q75": [1.5, 2.5, 3.5, 2.2],
            "q90": [1.8, 3.2, 3.8, 2.4],
            "q97.5": [2, 3.5, 4, 2.5],
        }
    )
    found = calibration.recovery(table, {"a": 1.0})
    row = found.table.loc["a"]
    assert row["bias"] == 1
    assert row["rmse"] == pytest.approx(np.sqrt(6 / 4))
    assert row["covered"] == 0.5
    assert row["contraction"] == 0.75
    assert "least about `a`: 75.0 %" in found.sentence
    readable = found.readable().loc["a"]
    assert readable["bias"] == "1.00"  # to two digits of its error, 0.41
    assert readable["contraction"] == "75.0 %"
    assert calibration.recovery(table, {"a": 1e3}).readable().at["a", "contraction"] == "> 99.9 %"


def test_one_compiled_model_serves_all_data_sets(tmp_path):
    plan = plans.Plan("origin", {"n": 30}, {}, PRIORS, draws=200, method="nutpie")
    table = many_fits.run_batch(plan, 9, 0, 4)
    assert len(compiled.COMPILED) == 1
    assert set(table["parameter"]) >= {"Intercept", "x", "sigma", "x|i_sigma", "x|i[0]"}
    exact = many_fits.run_batch(replace(plan, method="exact"), 9, 0, 1)
    ours, theirs = (t[t["data_set"] == 0].set_index("parameter") for t in (table, exact))
    assert (ours["truth"] == theirs["truth"]).all()
    gap = (ours["mean"] - theirs["mean"]).abs() / theirs["sd"]
    assert gap.loc[["Intercept", "x"]].max() < 4 * np.sqrt(2 / 50)


def test_flat_priors_cannot_be_drawn_from():
    priors = PRIORS | {"sd": "HalfFlat"}
    with pytest.raises(ValueError, match="cannot draw from the prior HalfFlat"):
        many_fits.run_batch(replace(PLANS["origin"], priors=priors), 0, 0, 1)


def test_a_plan_takes_sizes_and_truths_of_its_kind():
    sizes = {"n": 7, "groups": 3, "per_group": 2, "items": 4}
    settings = ["intercept", "slope", "sd_intercept", "sd_slope", "cor", "noise"]
    truth = {name: k / 10 for k, name in enumerate(settings)}
    origin = plans.plan("origin", sizes, truth, {})
    assert origin.sizes == {"n": 7}
    assert origin.truth == {"Intercept": 0.0, "x": 0.1, "x|i_sigma": 0.3, "sigma": 0.5}
    grouped = plans.plan("grouped", sizes, truth, {"sd": "HalfNormal(1)"})
    assert grouped.sizes == {"groups": 3, "per_group": 2}
    assert list(grouped.truth.values()) == list(truth.values())
    crossed = plans.plan("crossed", sizes, truth | {"sd_item": 0.7}, {})
    assert crossed.sizes == {"groups": 3, "items": 4}
    assert crossed.truth["1|group_sigma"] == 0.2
    assert crossed.truth["1|item_sigma"] == 0.7
    assert grouped.priors == plans.PRIORS["gaussian"] | {"sd": "HalfNormal(1)"}


def test_what_cannot_be_studied_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no kind of data 'orign'"):
        plans.plan("orign", {}, {}, {})
    with pytest.raises(ValueError, match="fitted by exact or nutpie, not 'metropolis'"):
        many_fits.run(replace(PLANS["origin"], method="metropolis"), 0, 50, cache=tmp_path)


def test_coverage_at_fixed_truths_is_explained():
    """No interval holds a standard deviation that is 0, and one that errs most is named."""
    rng = np.random.default_rng(0)
    rows = []
    for name, truth, sd in (("x", 2.0, 0.5), ("x|i_sigma", 1.0, 1.0), ("sigma", 0.0, 1.0)):
        centre = (
            np.abs(rng.normal(size=200)) + 4 if truth == 0 else truth + sd * rng.normal(size=200)
        )
        table = pd.DataFrame({"data_set": range(200), "mean": centre, "sd": 1.0, "truth": truth})
        for quantiles in calibration.INTERVALS.values():
            for column in quantiles:
                z = stats.norm.ppf(float(column[1:]) / 100)
                table[column] = centre + z
        rows.append(table.assign(parameter=name))
    table = pd.concat(rows, ignore_index=True)
    said = calibration.recovery(table, {"x": 5.0, "x|i_sigma": 5.0, "sigma": 5.0}).sentence
    assert "No interval can hold the truth of `sigma`: it is 0" in said
    share = calibration.held(table[table["parameter"] == "x"], 0.5).mean()
    assert f"the 50 % intervals of `x`: {100 * share:.0f} % hold the truth" in said
    # six intervals were looked at, and the data leave a quarter of nothing of a prior of sd 5
    p = calibration.coverage(table[table["parameter"] == "x"])["p"].min() * 6
    assert p < 1e-4
    assert "p below 0.0001, corrected for so many" in said
    assert "its prior can, of whose variance the data leave 4 %" in said
    wide = calibration.recovery(table, {"x": 50.0, "x|i_sigma": 5.0, "sigma": 50.0}).sentence
    assert "nor does its own prior, of whose variance the data leave 0.0 %; that of `x|i_s" in wide
    assert "may, of which they leave 4 %." in wide
    widest = calibration.recovery(table, dict.fromkeys(["x", "x|i_sigma", "sigma"], 50.0)).sentence
    assert "nor any other: it is bad luck or a fault, and another seed tells which." in widest
    few = table[table["data_set"] < 10]
    assert (
        "Chance explains that by the limit of 0.001."
        in calibration.recovery(few, {"x": 5.0}).sentence
    )
    without = calibration.recovery(table[table["parameter"] != "sigma"], {"x": 5.0})
    assert "No interval can hold" not in without.sentence
