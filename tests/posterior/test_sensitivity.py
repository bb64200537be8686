"""The table of sensitivities and its sentence read one threshold."""

import re

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.plots import predictive
from partialpool.posterior import data_fit, sensitivity


@pytest.fixture(scope="module")
def narrow():
    """A prior of 0 ± 1 for a slope that is 10 with a standard error of 1.5."""
    priors = {"Days": "Normal(0, 1)"}
    return pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"), priors).fit(seed=1)


def named(sentence):
    """Parameters that a sentence names in bold."""
    found = re.findall(r"\*\*(.+?)\*\*", sentence)
    return {name for names in found for name in names.split(", ")}


@pytest.mark.parametrize("threshold", [0.05, 1e-9, 1e9])
def test_sentence_and_table_follow_the_threshold(narrow, monkeypatch, threshold):
    """Kallioinen et al. (2024), table 1: the prior moves it, and the likelihood too or not."""
    monkeypatch.setattr(sensitivity, "THRESHOLD", threshold)
    table = sensitivity.power_scaling(narrow)
    moved, data = table["prior"] >= threshold, table["likelihood"] >= threshold
    both = table["diagnosis"].isin([sensitivity.CONFLICT, sensitivity.BOTH])
    assert list(table.index[both]) == list(table.index[moved & data])
    strong = table["diagnosis"] == sensitivity.STRONG
    assert list(table.index[strong]) == list(table.index[moved & ~data])
    says = sensitivity.sentence(table)
    # where none is moved, the one that comes closest is named
    assert named(says) == (set(table.index[moved]) or {table["prior"].idxmax()})
    assert f"{threshold:g}" in says
    assert ("below" in says.split(" for ")[0]) == (not moved.any())
    if threshold == 0.05:
        assert "Days" in sensitivity.conflicts(table)


def test_a_conflict_is_a_pull_to_opposite_sides():
    """Eight schools: with prior and with likelihood to the power 1.25, tau falls from 3.6.

    To 3.21 and 3.29; so the prior matters, but does not contradict the data.
    """
    priors = {"Intercept": "Normal(0, 20)", "sd": "HalfCauchy(5)"}
    fit = pp.Model("est ~ 1 + (1 | school)", pp.load("eight_schools"), priors, se="se").fit(seed=1)
    table = sensitivity.power_scaling(fit)
    tau = table.loc["1|school_sigma"]
    assert tau["prior"] > sensitivity.THRESHOLD < tau["likelihood"]
    # to first order, by log2(1.25) = 0.32 of a doubling, in posterior sds of 3.2
    assert tau["prior_shift"] * 0.32 == pytest.approx((3.21 - 3.6) / 3.2, abs=0.06)
    assert tau["likelihood_shift"] * 0.32 == pytest.approx((3.29 - 3.6) / 3.2, abs=0.06)
    assert sensitivity.conflicts(table) == []
    says = sensitivity.sentence(table)
    assert "**1|school_sigma** (the prior matters here" in says
    assert data_fit.conflict_check(table)["passed"]


def test_the_shift_is_the_derivative_of_the_mean(narrow):
    """A slope of 10 ± 1.5 under Normal(0, 1), whose weight doubles: by the conjugate normal.

    With precision 1 of the prior and the likelihood's left, the mean's derivative by the logarithm
    to base two of either weight is of one size, and the signs differ.
    """
    table = sensitivity.power_scaling(narrow)
    shifts = table.loc["Days", ["prior_shift", "likelihood_shift"]].astype(float)
    assert shifts.iloc[0] == pytest.approx(-shifts.iloc[1], rel=0.1)
    days = narrow.population["Days"]
    # the covariance of a normal with its own prior's log density: -mean · variance
    assert shifts.iloc[0] == pytest.approx(-np.log(2) * days.mean() * days.std(), rel=0.4)


def test_a_sentence_tells_conflict_from_a_strong_prior():
    """A value above the threshold is never called below it, whatever the other parameters are."""
    table = pd.DataFrame(
        {
            "prior": [0.3, 0.2, 0.2, 0.04],
            "likelihood": [0.2, 0.2, 0.01, 0.2],
            "diagnosis": [sensitivity.CONFLICT, sensitivity.BOTH, sensitivity.STRONG, "✓"],
        },
        index=["a", "b", "c", "d"],
    )
    says = sensitivity.sentence(table)
    at = [says.index(words) for words in ("**a** (prior and data pull", "**b** (the prior matters")]
    assert at[0] < at[1] < says.index("**c** (the prior speaks")
    assert says.endswith(", and below that for the other.")
    calm = sensitivity.sentence(table.loc[["d"]])
    assert calm == (
        "Power-scaling sensitivity to the prior is below 0.05 for every parameter; the largest is "
        "0.040 (**d**)."
    )


def test_draws_that_cannot_be_weighed_are_said_to_be(narrow, monkeypatch):
    """As of a chain that is stuck far out: ArviZ finds no tail and raises."""
    density = np.zeros(4000)
    density[:1000] = -1e10
    monkeypatch.setattr(sensitivity, "_log_likelihood", lambda fitted: density)
    found = predictive.sensitivities(narrow)
    assert found.figure is None
    assert found.sentence.startswith("How prior and likelihood move the posterior cannot be told")
    assert data_fit.conflict_check(found.table)["passed"]


def test_flat_priors_have_nothing_to_scale():
    """No draw weighs more under them than another, so that nothing follows them."""
    flat = {"coefficients": "Flat", "sd": "HalfFlat", "sigma": "HalfFlat", "cor": "LKJ(1)"}
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"), flat)
    table = sensitivity.power_scaling(model.fit(seed=1))
    assert table["prior"].max() < 1e-6
    assert table["likelihood"].min() > 0.01
    assert sensitivity.conflicts(table) == []
