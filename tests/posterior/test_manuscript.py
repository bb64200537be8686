"""Numbers and words that a manuscript takes from a run: the same as on its page."""

import re

import pandas as pd
import pytest
from test_finding import HOSTILE

import partialpool as pp
from partialpool.data.text import rounded
from partialpool.posterior import manuscript
from partialpool.posterior.finding import Finding

DEFINED = re.compile(r"\\newcommand\{\\([A-Za-z]+)\}\{([^{}]|\\ensuremath\{-\})*\}")


def result(fit, verdict, **changes):
    figures = verdict.summary.to_dict("index")
    return {
        "checks": verdict.checks,
        "parameters": figures,
        "estimates": fit.model.parameters,
        "names": {"Days": "slope of Days"},
        "headline": "Each day adds.",
        "findings": [],
    } | changes


@pytest.fixture(scope="module")
def fit():
    return pp.Model("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy")).fit(seed=1, draws=250)


def test_numbers_are_those_of_summary_and_tables_with_the_digits_of_the_page(fit):
    table = pd.DataFrame({"gap": [-1.2345, None], "of": ["x", "y"]}, index=["a", "b"])
    shown = Finding("far", table=table, columns={"gap": ("gap", "{:.1f}")})
    figures = fit.check().summary.to_dict("index")
    found = manuscript.values(figures, [("far", shown)])
    assert found["far.a.gap"] == {"value": -1.2345, "shown": "−1.2"}
    assert [name for name in found if name.startswith("far")] == ["far.a.gap"]
    assert found["Days.mean"]["value"] == figures["Days"]["mean"]
    days = rounded(figures["Days"]["mean"], figures["Days"]["sd"])
    assert found["Days.mean"]["shown"] == days
    lines = manuscript.latex("sleepstudy", found).splitlines()
    assert rf"\newcommand{{\sleepstudyDaysMean}}{{{days}}}" in lines
    assert r"\newcommand{\sleepstudyFarAGap}{\ensuremath{-}1.2}" in lines
    assert len(lines) == len(found) + 1


def test_names_of_commands_are_letters_and_no_two_the_same():
    names = [*HOSTILE, "x_1", "x.1", "τ", "é", "日本", "x1", ""]
    parameters = {name: {"mean": 1.0, "sd": 0.1} for name in names}
    shown = Finding(
        "f", table=pd.DataFrame({"a": [0.5]}), columns={"a": (r"\input{x}", "{:.0%}$\\x")}
    )
    lines = manuscript.latex(
        "my-study_2", manuscript.values(parameters, [("f", shown)])
    ).splitlines()
    commands = [DEFINED.fullmatch(line)[1] for line in lines[1:]]
    assert len(set(commands)) == len(commands) == 2 * len(names) + 1
    assert {"myStudyTwoXOneMean", "myStudyTwoXOneMeanB", "myStudyTwoTauMean"} <= {*commands}
    assert lines[-1].endswith(r"{50 \%x}")


def test_many_groups_are_numbers_but_no_commands():
    parameters = {f"1|g[{k}]": {"mean": 1.0} for k in range(manuscript.COMMANDS)}
    found = manuscript.values(parameters | {"sigma": {"mean": 2.0}}, [])
    assert len(found) == manuscript.COMMANDS + 1
    assert len(manuscript.latex("s", found).splitlines()) == 2


def test_methods_say_what_was_done_and_cite_what_was_used(fit):
    verdict = fit.check()
    days = verdict.summary.loc["Days"]
    text = manuscript.methods(fit, result(fit, verdict), ["leave_one_out"])
    for words in (
        "`Reaction ~ Days + (1 | Subject)`",
        "Gaussian noise",
        "180 rows in 18 groups of Subject",
        str(fit.model.priors["sigma"]),
        "1,000 independent draws, seed 1",
        f"{len(verdict.checks)} were passed",
        "Each day adds.",
        f"slope of Days {rounded(days['mean'], days['sd'])} (",
        "10.21105/joss.01143",
        "s11222-016-9696-4",
    ):
        assert words in text
    assert "peerj" not in text  # an exact fit does without PyMC
    far = {"name": "Farthest row", "value": 6.13, "threshold": "≤ 4.03", "passed": False}
    held = {"fit": {"checks": [far, far | {"name": "Far rows", "passed": True}]}}
    text = manuscript.methods(fit, result(fit, verdict) | held, [])
    assert "2 checks of the model against the data 1 missed: Farthest row 6.13 (wanted ≤ 4" in text
    held["fit"]["checks"].pop(0)
    text = manuscript.methods(fit, result(fit, verdict) | held, [])
    assert "Of 1 check of the model against the data none was missed." in text
    fit.posterior.attrs["method"], before = "nutpie", fit.posterior.attrs["method"]
    assert "peerj" in manuscript.methods(fit, result(fit, verdict), [])
    fit.posterior.attrs["method"] = before
