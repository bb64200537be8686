"""The table of sensitivities and its sentence read one threshold."""

import re

import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import sensitivity


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
    assert set(table.index[table["diagnosis"] == sensitivity.CONFLICT]) == set(
        table.index[moved & data]
    )
    assert set(table.index[table["diagnosis"] == sensitivity.STRONG]) == set(
        table.index[moved & ~data]
    )
    assert sensitivity.conflicts(table) == list(table.index[moved & data])
    says = sensitivity.sentence(table)
    assert named(says) == set(table.index[moved])
    assert f"{threshold:g}" in says
    assert says.startswith("None of the 4 parameters") == (not moved.any())
    if threshold == 0.05:
        assert "Days" in sensitivity.conflicts(table)


def test_a_sentence_tells_conflict_from_a_strong_prior():
    """A value above the threshold is never called below it, whatever the other parameters are."""
    table = pd.DataFrame(
        {
            "prior": [0.3, 0.2, 0.04],
            "likelihood": [0.2, 0.01, 0.2],
            "diagnosis": [sensitivity.CONFLICT, sensitivity.STRONG, "✓"],
        },
        index=["a", "b", "c"],
    )
    says = sensitivity.sentence(table)
    assert says.index("**a** (pull between prior and data") < says.index("**b** (the prior speaks")
    assert says.endswith("The other 1 are not.")
    assert sensitivity.sentence(table.loc[["c"]]).startswith("None of the 1 parameters")
    assert "the largest 0.040 (c)" in sensitivity.sentence(table.loc[["c"]])


def test_flat_priors_have_nothing_to_scale():
    """No draw weighs more under them than another, so that nothing follows them."""
    flat = {"coefficients": "Flat", "sd": "HalfFlat", "sigma": "HalfFlat", "cor": "LKJ(1)"}
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"), flat)
    table = sensitivity.power_scaling(model.fit(seed=1))
    assert table["prior"].max() < 1e-6
    assert table["likelihood"].min() > 0.01
    assert sensitivity.conflicts(table) == []
