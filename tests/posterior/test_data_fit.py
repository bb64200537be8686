"""The verdict on a model against its data: how often it speaks without cause, and what it catches.

The levels are those of `data_fit`: residuals, groups and calibration miss with probability 0.01
under the model, replications with 0.05, counted over all their figures.
"""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.posterior import data_fit
from partialpool.posterior.leave_one_out import LeftOut

GROUPS, ROWS = 10, 12


def residuals(z, codes=None):
    """A fit of data whose leave-one-out residuals (N,) are known, and what it left out."""
    codes = np.zeros(len(z), dtype=int) if codes is None else codes
    design = SimpleNamespace(y=z, codes=codes, group="g", levels=list("abcdefghij"))
    rows, one = np.arange(len(z)), np.ones(len(z))
    left_out = LeftOut(None, stats.norm.cdf(z), 0 * one, one, rows, len(z), 0, 0)
    return SimpleNamespace(model=SimpleNamespace(design=design, family="gaussian")), left_out


def checks_of(z, codes=None):
    fitted, left_out = residuals(z, codes)
    found = [*data_fit.residual_checks(fitted, left_out), data_fit.calibration_check(left_out)]
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


def test_the_limit_of_the_farthest_row_grows_with_the_rows():
    """Two-sided 1 % over 20 and over 2,000 rows: 3.48 and 4.56 in a table of the normal."""
    for n, limit in ((20, 3.48), (2000, 4.56)):
        assert checks_of(np.zeros(n))["Farthest row"]["threshold"] == f"≤ {limit}"


def test_replications_count_against_the_data_in_the_right_tail():
    """Of replications 1, ..., 100 of one row each, 20 have a largest value of 81 or more."""
    design = SimpleNamespace(y=np.array([81.0, 0.5]), codes=np.array([0, 0]))
    fitted = SimpleNamespace(model=SimpleNamespace(design=design, family="gaussian"))
    replicated = np.column_stack([np.arange(1.0, 101), np.zeros(100)])
    shares = data_fit.tail_shares(replicated, design, np.arange(2))
    assert shares["largest value"] == pytest.approx(0.2)
    assert shares["smallest value"] == 0.0
    # the smallest value lies beyond all; two-sided, over as many figures as there are
    check = data_fit.statistics_check(replicated, fitted, np.arange(2))
    assert check["value"] == 0.0
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


def test_an_outlier_is_caught_and_named():
    table = data(np.random.default_rng(3))
    table.loc[40, "y"] += 8
    found, missed = verdict(table)
    assert "Farthest row" in missed
    assert "row 40 (g 3)" in found.sentence
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
    assert re.search(r"different places: ([^;]+, )?x[,;]", found.sentence)


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
    fitted, left_out = residuals(z, codes)
    away = [np.abs(part - np.median(part)) for part in (z[:5], z[5:10])]
    assert data_fit.same_noise(fitted, left_out) == pytest.approx(stats.f_oneway(*away).pvalue)
    assert data_fit.same_noise(*residuals(z[5:], codes[5:])) is None


def test_a_row_that_students_t_lets_lie_far_is_not_far():
    """At 6 scales from the line: 1e-9 of a normal, but 0.0019 of a t with four degrees."""
    n = 100
    pit = np.linspace(0.02, 0.98, n)
    pit[7] = stats.t.sf(6, 4)
    y = np.zeros(n)
    y[7] = -6.0
    design = SimpleNamespace(y=y, codes=np.zeros(n, dtype=int), group="")
    left_out = LeftOut(None, pit, np.zeros(n), np.ones(n), np.arange(n), n, 0, 0)
    farthest = {}
    for family in ("student", "gaussian"):
        fitted = SimpleNamespace(model=SimpleNamespace(design=design, family=family))
        farthest[family] = data_fit.residual_checks(fitted, left_out)[0]
    assert farthest["student"]["value"] == pytest.approx(2.8876, abs=1e-4)
    assert farthest["student"]["passed"]
    assert farthest["gaussian"]["value"] == 6
    assert "student" in farthest["gaussian"]["help"]
