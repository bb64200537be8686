"""What the sentences of a page say, where a reader misread them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import comparison, data_fit, leave_one_out, overview
from partialpool.posterior.verdict import DataVerdict, one


def elpd(ks, k):
    return SimpleNamespace(good_k=k, pareto_k=np.array(ks), elpd_i=np.zeros(len(ks)))


@pytest.mark.parametrize(
    ("refitted", "ks", "k", "says"),
    [
        (
            3,
            [0.1, 0.2],
            0.67,
            "3 rows were left out by a fit without, for a Pareto k above 0.67 (the",
        ),
        (0, [0.1, 0.2], 0.7, "No Pareto k is above 0.70: these figures hold."),
        (0, [0.1, 0.9], 0.7, "is above 0.70 in 1 of 2 for a: what is told of these rows is too"),
        (3, [0.1, 0.9], 0.67, "is still above 0.67 in 1 of 2 for a: what is told of these rows"),
    ],
)
def test_rows_left_out_for_real_are_told_from_those_that_are_not(refitted, ks, k, says):
    elpds = {"a": elpd(ks, k)}
    table = pd.DataFrame({"elpd_diff": 0.0, "dse": 0.0}, index=["a"])
    text = leave_one_out.in_words(table, elpds, "", "rows", refitted, leave_one_out.RULE)
    assert says in text
    assert ("no more than 20 rows of a model need one" in text) is (max(ks) > k)


@pytest.mark.parametrize(
    ("gap", "best", "mention"), [(0.6, "complete", True), (-0.6, "partial", True), (-3, "", False)]
)
def test_small_differences_of_evidence_are_no_reason(gap, best, mention):
    model = SimpleNamespace(closed_form=True, design=SimpleNamespace(groupings=()))
    ways = {
        way: SimpleNamespace(model=model, attrs={"log_evidence": value}, reference=None)
        for way, value in (("complete", gap - 10), ("partial", -10))
    }
    says = comparison._evidence(ways)
    assert f"highest for **{best or 'partial'} pooling**" in says
    assert ("no reason to prefer either" in says) is mention
    assert "priors of the standard deviations: the wider they are" in says


def test_the_column_of_some_rows_says_of_how_many(monkeypatch):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"y": rng.standard_normal(60), "g": np.repeat(range(6), 10)})
    fit = pp.Model("y ~ 1 + (1 | g)", table).fit(seed=1, draws=250)
    whole = leave_one_out.comparison({"one": leave_one_out.leave_out(fit)})
    assert whole.columns["elpd"][0] == "log predictive density"
    monkeypatch.setattr(leave_one_out, "MAX_ROWS", 40)
    some = leave_one_out.comparison({"one": leave_one_out.leave_out(fit)})
    assert some.columns["elpd"][0] == "log predictive density of 40 rows"


def test_a_model_says_what_its_numbers_are():
    table = pp.load("sleepstudy")
    model = pp.Model("Reaction ~ Days + (Days | Subject)", table, {"Days": "Normal(0, 100)"})
    assert "square roots of the diagonal of $\\Sigma$ are standard" in (
        overview.equations(model).sentence
    )
    second = "The second number of a Normal prior is a standard deviation."
    assert second in overview.priors(model).sentence
    flat = pp.Model("Reaction ~ Days + (Days | Subject)", table, {"coefficients": "Flat"})
    assert second not in overview.priors(flat).sentence


def test_priors_that_were_set_are_told_from_defaults():
    table = pp.load("sleepstudy")
    formula = "Reaction ~ Days + (1 | Subject)"
    says = {
        name: "; ".join(overview._priors_in_words(pp.Model(formula, table, priors)))
        for name, priors in {
            "none": {},
            "one": {"Days": "Normal(0, 100)"},
            "all": {
                "coefficients": "Normal(0, 9)",
                "sd": "HalfNormal(9)",
                "sigma": "HalfNormal(9)",
            },
        }.items()
    }
    assert says["none"] == "all as by default, scaled to the data"
    assert says["one"] == (
        "slope of Days: set for this study, say why; the others as by default, scaled to the data"
    )
    assert says["all"].startswith("intercept, slope of Days, sd of")
    assert "default" not in says["all"]
    known = pp.Model(
        "est ~ 1 + (1 | school)",
        pp.load("eight_schools"),
        {"sd": "HalfCauchy(5)", "Intercept": "Normal(0, 20)"},
        se="se",
    )
    said = overview._priors_in_words(known)  # that of sigma is no prior of this model
    assert said == [
        "intercept and sd of the intercept between schools: set for this study, say why"
    ]
    assert not any("|" in said for said in says.values())


def test_levels_are_listed_as_people_count():
    table = pd.DataFrame({"y": [1.0, 2, 4, 3, 6], "g": [10, 9, 1, 2, 65], "h": [*"ab"] * 2 + ["c"]})
    table["h"] = table["h"].replace({"a": "S10", "b": "S9", "c": "b"})
    model = pp.Model("y ~ h + (1 | g)", table, labels={"y": "height", "h[b]": "blue"})
    shown = overview.columns(model).table
    assert shown["range"].to_dict() == {"y": "1 to 6", "h": "S9, S10, blue", "g": "1, 2, …, 65"}
    assert shown["in words"].to_dict() == {"y": "height", "h": "h", "g": "g"}
    codes = table.assign(h=[0, 1, 0, 1, 0])
    model = pp.Model("y ~ h + (1 | g)", codes, labels={"h[0]": "low", "h[1]": "high"})
    assert overview.columns(model).table.at["h", "range"] == "0 (low) to 1 (high)"


def test_one_check_was_missed_and_two_were():
    bad, good = one("A", 2, "≤", 1, "a"), one("B", 0, "≤", 1, "b")
    assert DataVerdict([bad, good]).sentence.startswith("1 of 2 checks was missed.")
    assert DataVerdict([bad, bad]).sentence.startswith("2 of 2 checks were missed.")


def test_every_threshold_has_its_rule():
    table = pp.load("sleepstudy")
    fit = pp.Model("Reaction ~ Days + (Days | Subject)", table).fit(seed=1, draws=250)
    rules = ("limit", "none should be", "as many as of chains")
    verdict = [*fit.check().checks, *data_fit.check(fit).checks]
    assert len(verdict) > 9
    assert [c["name"] for c in verdict if not any(rule in c["help"] for rule in rules)] == []
