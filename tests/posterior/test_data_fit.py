"""The verdict on a model against its data: how often it speaks without cause, and what it catches.

The levels are those of `data_fit`: residuals, groups and calibration miss with probability 0.01
under the model, replications with 0.05, counted over all their figures.
"""

import re
from string import ascii_letters
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.plots import predictive
from partialpool.posterior import data_fit, predictions
from partialpool.posterior.leave_one_out import LeftOut

GROUPS, ROWS = 10, 12
LETTERS = [*ascii_letters]


def residuals(z, *factors, family="gaussian", pit=None):
    """A model of data whose leave-one-out residuals (N,) are known, and what was left out."""
    groupings = [
        SimpleNamespace(name=name, codes=codes, levels=LETTERS, n_levels=len(np.unique(codes)))
        for name, codes in zip("gh", factors, strict=False)
    ]
    design = SimpleNamespace(y=z, groupings=groupings, response="y")
    rows, one = np.arange(len(z)), np.ones(len(z))
    pit = stats.norm.cdf(z) if pit is None else pit
    left_out = LeftOut(None, pit, 0 * one, one, rows, len(z), 0, 0)
    words = {"label": str, "labels": {}, "words": str, "linked": False, "formula": "y ~ 1"}
    return SimpleNamespace(design=design, family=family, **words), left_out


def checks_of(z, *factors):
    model, left_out = residuals(z, *factors)
    found = [*data_fit.residual_checks(model, left_out), data_fit.calibration_check(left_out)]
    return {check["name"]: check for check in found}


def data(rng, noise=None, effects=None):
    """Rows of the model ``y ~ x + (1 | g)``, with its own noise unless another is given."""
    g = np.repeat(np.arange(GROUPS), ROWS)
    x = rng.uniform(-1, 1, len(g))
    noise = rng.standard_normal(len(g)) if noise is None else noise
    effects = rng.standard_normal(GROUPS) if effects is None else effects
    return pd.DataFrame({"y": 3 + 2 * x + effects[g] + noise, "x": x, "g": g})


def verdict(table, priors=None):
    fit = pp.Model("y ~ x + (1 | g)", table, priors).fit(draws=250, seed=1)
    found = data_fit.check(fit)
    return found, {check["name"] for check in found.missed}


def test_residuals_of_the_model_miss_each_check_as_rarely_as_stated():
    """200 sets of 120 standard normal residuals in ten groups, held against the binomial."""
    rng = np.random.default_rng(1)
    codes, sets = np.repeat(np.arange(GROUPS), ROWS), 200
    missed = dict.fromkeys(["Farthest row", "Far rows", "Noise by group", "Calibration"], 0)
    for _ in range(sets):
        for name, check in checks_of(rng.standard_normal(len(codes)), codes).items():
            missed[name] += not check["passed"]
    for name, count in missed.items():
        assert count <= stats.binom.ppf(0.9995, sets, data_fit.LEVEL), name
    # P(more than 2 of 120 rows beyond 3 sd), from the binomial distribution
    assert stats.binom.sf(2, 120, 2 * stats.norm.sf(3)) == pytest.approx(0.0044, abs=1e-4)
    assert checks_of(np.zeros(120), codes)["Far rows"]["threshold"] == "≤ 2"
    assert stats.binom.sf([2, 3], 180, 0.0026998) == pytest.approx([0.0134, 0.0016], abs=1e-3)
    assert checks_of(np.zeros(180))["Far rows"]["threshold"] == "≤ 3"


def test_the_limit_of_the_farthest_row_grows_with_the_rows():
    """Two-sided 1 % over 20 and over 2,000 rows: 3.48 and 4.56 in a table of the normal."""
    for n, limit in ((20, 3.48), (2000, 4.56)):
        assert checks_of(np.zeros(n))["Farthest row"]["threshold"] == f"≤ {limit}"


def test_replications_count_against_the_data_in_the_right_tail():
    """Of replications 1, ..., 1,000 of one row each, 200 have a largest value of 801 or more."""
    design = SimpleNamespace(y=np.array([801.0, 0.5]), codes=np.array([0, 0]), groupings=())
    replicated = np.column_stack([np.arange(1.0, 1001), np.zeros(1000)])
    model = SimpleNamespace(design=design, linked=False)
    found = data_fit.figures(replicated, model, np.arange(2))
    assert found.at["largest value", "above"] == pytest.approx(0.2)
    assert found.at["largest value", "p"] == pytest.approx(2 * 201 / 1001)  # the data count too
    assert found.at["largest value", "corrected"] == 1.0
    assert found.at["smallest value", "above"] == 0.0
    # the smallest value lies beyond all; two-sided, over as many figures as there are
    check = data_fit.statistics_check(found)
    assert check["value"] == pytest.approx(2 * len(found) / 1001)
    assert not check["passed"]


def test_data_of_the_model_pass():
    """Six data sets of the model, whole fits; a check may miss as often as its level explains."""
    missed = []
    for seed in range(6):
        missed += verdict(data(np.random.default_rng([2, seed])))[1]
    assert missed.count("Replications") <= stats.binom.ppf(0.9995, 6, 5 * data_fit.LEVEL)
    for name in ("Farthest row", "Far rows", "Noise by group", "Calibration"):
        assert missed.count(name) <= stats.binom.ppf(0.9995, 6, data_fit.LEVEL), name
    assert "Prior and data" not in missed


def test_labels_that_start_anew_are_a_check_of_the_fit():
    """Classes numbered anew in schools of 2, 5, 3, 12, 4 and 2; with labels of their own, none."""
    rng = np.random.default_rng(1)
    pairs = [(s, c) for s, n in enumerate([2, 5, 3, 12, 4, 2]) for c in range(n) for _ in range(3)]
    table = pd.DataFrame(pairs, columns=["school", "class"])
    table["y"] = rng.normal(size=6)[table["school"]] + rng.normal(size=len(table))
    for formula, expected in (("(1 | class)", [False]), ("(1 | school:class)", [])):
        fitted = pp.Model(f"y ~ 1 + (1 | school) + {formula}", table).fit(draws=100, chains=2)
        found = [c for c in data_fit.check(fitted).checks if c["name"] == "Labels of groups"]
        assert [check["passed"] for check in found] == expected
        assert all("(1 | school/class)" in check["help"] for check in found)


def test_an_outlier_is_caught_and_named():
    table = data(np.random.default_rng(3))
    table.loc[40, "y"] += 8
    found, missed = verdict(table)
    assert "Farthest row" in missed
    assert "row 41 (g 3)" in found.sentence
    assert found.status == "look"


def test_noise_that_differs_between_groups_is_caught():
    """Noise of five groups three times as wide as that of the others."""
    rng = np.random.default_rng(4)
    width = np.repeat(np.where(np.arange(GROUPS) % 2, 3.0, 1.0), ROWS)
    _, missed = verdict(data(rng, width * rng.standard_normal(len(width))))
    assert missed == {"Noise by group"}


def test_skewed_noise_is_caught():
    """Lognormal noise: no replication reaches so far up, and no probability is uniform."""
    rng = np.random.default_rng(5)
    noise = rng.lognormal(0, 1, GROUPS * ROWS)
    found, missed = verdict(data(rng, noise))
    assert {"Calibration", "Replications", "Farthest row"} <= missed
    assert "the largest value" in found.sentence
    assert found.status == "poor"


def test_a_prior_that_the_data_contradict_is_caught():
    """The slope is 2 with a standard error of about 0.17; the prior says 0 ± 0.5."""
    found, missed = verdict(data(np.random.default_rng(6)), {"x": "Normal(0, 0.5)"})
    assert "Prior and data" in missed
    assert re.search(r"opposite sides: ([^;]+, )?slope of x[,;]", found.sentence)


def test_status_tells_none_few_and_most():
    def status(missed):
        checks = [{"passed": k >= missed, "name": "a", "help": "b"} for k in range(6)]
        return data_fit.DataVerdict(checks).status

    assert [status(k) for k in (0, 1, 3, 4)] == ["good", "look", "look", "poor"]


def test_small_groups_are_left_out_of_the_comparison_of_noise():
    """Groups of four rows cannot say how noisy they are; two groups of five can, of SciPy's test.

    Brown and Forsythe's statistic is an analysis of variance of distances from the medians.
    """
    rng = np.random.default_rng(7)
    z, codes = rng.standard_normal(14), np.repeat([0, 1, 2], [5, 5, 4])
    model, left_out = residuals(z, codes)
    expected = stats.levene(z[:5], z[5:10], center="median").pvalue
    found = data_fit.same_noise(model, left_out, model.design.groupings[0])
    assert found == pytest.approx(expected)
    model, left_out = residuals(z[5:], codes[5:])
    assert data_fit.same_noise(model, left_out, model.design.groupings[0]) is None


def test_each_factor_has_its_test_of_noise_and_a_row_is_named_by_all_its_groups():
    """Noise of two groups of h differs by ten; those of g, crossed with them, are alike."""
    g, h = np.tile(np.arange(5), 20), np.repeat(np.arange(10), 10)
    z = np.where(h < 2, 3.0, 0.3) * np.random.default_rng(8).standard_normal(100)
    z[57] = 12.0
    found = checks_of(z, g, h)
    assert not found["Noise by h"]["passed"]
    assert found["Noise by g"]["passed"]
    assert "row 58 (g c, h f)" in found["Farthest row"]["help"]


def test_a_row_that_students_t_lets_lie_far_is_not_far():
    """At 6 scales from the line: 1e-9 of a normal, but 0.0019 of a t with four degrees."""
    n = 100
    pit = np.linspace(0.02, 0.98, n)
    pit[7] = stats.t.sf(6, 4)
    y = np.zeros(n)
    y[7] = -6.0
    farthest = {}
    for family in ("student", "gaussian"):
        model, left_out = residuals(y, family=family, pit=pit)
        farthest[family] = data_fit.residual_checks(model, left_out)[0]
    assert farthest["student"]["value"] == pytest.approx(2.8876, abs=1e-4)
    assert farthest["student"]["passed"]
    assert farthest["student"]["help"].count("in standard normal quantiles;")
    assert farthest["gaussian"]["value"] == 6
    assert "student" in farthest["gaussian"]["help"]


def test_the_sentence_on_residuals_is_that_of_the_checks():
    """Of a model with Student's t, and of noise whose far row Bartlett's test would not forgive."""
    z = 0.7 * np.random.default_rng(9).standard_normal(100)
    z[3] = -6.0
    groups = np.repeat(np.arange(10), 10)
    model, left_out = residuals(z, groups, family="student", pit=stats.t.cdf(z, 4))
    said = predictive.residuals(model, left_out).sentence
    assert "0 of 100 rows lie more than 3 standard normal quantiles" in said
    assert "at -2.9 (limit ≤ 3.89" in said
    assert "family" not in said
    model, left_out = residuals(z, groups)
    found = predictive.residuals(model, left_out)
    assert "at -6.0 (limit ≤ 3.89" in found.sentence
    assert 'Try "family: student"' in found.sentence
    parts = [z[groups == j] for j in range(10)]
    assert stats.bartlett(*parts).pvalue < 0.01
    p = stats.levene(*parts, center="median").pvalue
    assert p > 0.01
    said = "Brown and Forsythe's test of these distances does not reject that groups are equally"
    assert f"{said} noisy (p = {p:.2g}, limit 0.01)" in found.sentence


def test_the_sentence_on_replications_is_that_of_the_check():
    """A share of 2 % is 42 / 1,001 by both tails and 0.17 of four figures, which passes."""
    fit = pp.Model("y ~ x + (1 | g)", data(np.random.default_rng(10))).fit(draws=250, seed=1)
    model, rows, y = fit.model, np.arange(GROUPS * ROWS), fit.model.design.y
    replicated = predictions.replicate(fit, rows, np.random.default_rng(0)).clip(min=y.min() + 0.1)
    replicated[20:, y.argmin()] = y.min() - 0.1  # of 1,000 smallest values, 20 are not below
    said = predictive.statistics_check(model, replicated, rows).sentence
    assert "smallest value 2.0%" in said
    assert "p = 0.042 by both tails, 0.17 when corrected for 4 figures (limit 0.05)" in said
    assert said.endswith("The model reproduces all of them.")
    replicated[5:, y.argmin()] = y.min() - 0.1
    said = predictive.statistics_check(model, replicated, rows).sentence
    assert "does not reproduce: **smallest value**" in said


def test_every_draw_is_replicated_where_that_is_cheap():
    """So that two fits of one posterior do not differ in their words by 400 draws' chance."""
    fit = pp.Model("y ~ x + (1 | g)", data(np.random.default_rng(11))).fit(draws=250, seed=1)
    rows = np.arange(GROUPS * ROWS)
    assert len(predictions.replicate(fit, rows, np.random.default_rng(0))) == 1000
    many = np.repeat(rows, 200)
    assert len(predictions.replicate(fit, many, np.random.default_rng(0))) == 336  # every third


def test_calibration_looks_at_the_tails_too():
    """52 of 236 rows beyond 90 % intervals, the rest so that the curve is hardly off.

    The binomial p-value is 4e-8 where Kolmogorov and Smirnov's is above the limit.
    """
    inside = np.linspace(0.06, 0.94, 184)
    pit = np.concatenate([inside, np.linspace(0.001, 0.049, 26), np.linspace(0.951, 0.999, 26)])
    model, left_out = residuals(np.zeros(236), pit=pit)
    found = data_fit.calibration(left_out)
    assert found.curve > 0.01
    assert found.outside == 52 / 236
    assert found.tails == pytest.approx(
        stats.binom.sf(51, 236, 0.1), rel=0.2
    )  # and those of so few
    assert not data_fit.calibration_check(left_out)["passed"]
    assert "22%" in predictive.pit(model, left_out).sentence


def test_a_few_groups_with_enough_rows_do_not_speak_for_all():
    """Of a sample of very many rows most groups have one or two."""
    rng = np.random.default_rng(3)
    codes = np.concatenate([np.repeat([0, 1], 6), np.arange(2, 30)])
    model, left_out = residuals(rng.standard_normal(len(codes)), codes)
    grouping = model.design.groupings[0]
    assert len(data_fit.spreads(model, left_out, grouping)) == 2
    assert data_fit.same_noise(model, left_out, grouping) is None
    said = predictive.residuals(model, left_out).sentence
    assert "is not tested: 2 of 30 have 5 rows or more among these 40" in said


def test_calibration_is_said_with_its_limit_and_no_other_test_marks_points():
    model, left_out = residuals(np.zeros(60), pit=np.linspace(0.005, 0.995, 60))
    found = predictive.pit(model, left_out)
    assert "do not reject that" in found.sentence
    assert "times two is 1 (limit 0.01)" in found.sentence
    model, left_out = residuals(np.zeros(60), pit=np.linspace(0.005, 0.3, 60))
    found = predictive.pit(model, left_out)
    assert "Two tests together reject that" in found.sentence
    assert not data_fit.calibration_check(left_out)["passed"]
    assert not [
        c for axes in found.figure.axes for c in axes.collections if len(c.get_offsets()) > 1
    ]


def test_far_rows_that_share_the_smallest_value_are_pointed_at():
    """Readings of nothing that were given a number, such as radon's four of 0.1 pCi/L."""
    z = np.concatenate([np.linspace(-2, 2, 97), [-5.0, -5.0, -5.0]])
    model, left_out = residuals(z)
    said = predictive.residuals(model, left_out).sentence
    assert " 3 of them have one value, −5, the smallest there is" in said
    model, left_out = residuals(np.append(z[:98], 6.0))
    assert "of them have one value" not in predictive.residuals(model, left_out).sentence
