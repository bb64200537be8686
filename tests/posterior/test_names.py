"""Readable names of parameters, and where they are shown."""

import re
from pathlib import Path

import docx
import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.data.text import renamed, typeset
from partialpool.posterior import checks, overview
from partialpool.posterior.finding import CHANCE, ESTIMATE, Finding
from partialpool.posterior.names import groups_of, readable

ROOT = Path(__file__).resolve().parents[2]


def test_every_parameter_has_words():
    model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    names = readable(model)
    assert names == {
        "Intercept": "intercept",
        "Days": "slope of Days",
        "1|Subject": "intercept of Subject",
        "Days|Subject": "slope of Days of Subject",
        "1|Subject_sigma": "sd of the intercept between subjects",
        "Days|Subject_sigma": "sd of the slope of Days between subjects",
        "cor(1,Days|Subject)": "correlation of intercept and slope of Days between subjects",
        "sigma": "sd of the noise",
        "nu": "degrees of freedom of the noise",
    }
    assert {*model.parameters} <= {*names}


@pytest.mark.parametrize(
    ("formula", "name", "words"),
    [
        ("y ~ x * sex + (1 | g)", "x:sex[M]", "interaction of x and sex: M"),
        ("y ~ x * sex + (1 | g)", "sex[M]", "sex: M"),
        ("y ~ two + (1 | g)", "two", "effect of two"),
        ("y ~ log(x) + (1 | g)", "log(x)", "slope of log(x)"),
        ("y ~ x + (1 | g)", "1|g_sigma", "sd of the intercept between groups of g"),
    ],
)
def test_coefficients_of_levels_and_interactions(formula, name, words):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.uniform(1, 2, 20), "y": rng.normal(size=20)})
    table = table.assign(sex=[*"FM"] * 10, two=[0, 1] * 10, g=np.arange(20) % 5)
    assert readable(pp.Model(formula, table))[name] == words


def test_coefficients_are_called_by_their_labels():
    """That of 0/1 by the label of the 1, whose effect it is; the column may be named for its 0."""
    table = pd.DataFrame({"basement": [0, 1] * 10, "age": np.linspace(1, 2, 20)})
    table = table.assign(sex=[*"FFMM"] * 5, y=np.arange(20.0) ** 0.5, g=np.arange(20) % 5)
    labels = {"basement": "floor", "basement[0]": "basement", "basement[1]": "first floor"}
    labels |= {"age": "years of age", "sex[M]": "man", "g": "county"}
    formula = "y ~ basement + age * sex + log(age) + (basement | g)"
    names = readable(pp.Model(formula, table, labels=labels))
    assert names["basement"] == "effect of first floor"
    assert names["basement|g_sigma"] == "sd of the effect of first floor between counties"
    assert names["age"] == "slope of years of age"
    assert names["log(age)"] == "slope of log(age)"
    assert names["sex[M]"] == "man"
    assert names["age:sex[M]"] == "interaction of years of age and man"
    both = pp.Model("y ~ sex + (1 | g)", table, labels={"sex": "gender", "sex[M]": "man"})
    assert readable(both)["sex[M]"] == "gender: man"


@pytest.mark.parametrize(
    ("labels", "words"),
    [({}, "groups of Subject"), ({"Subject": "Subject"}, "subjects"), ({"Subject": "man"}, "mans")],
)
def test_a_label_may_be_the_name_itself_where_that_is_a_word(labels, words):
    table = pp.load("sleepstudy")
    model = pp.Model("Reaction ~ Days + (1 | Subject)", table, labels=labels)
    assert groups_of(model, model.design.only) == words
    short = pp.Model("Reaction ~ 1 + (1 | g)", table.rename(columns={"Subject": "g"}))
    short.labels = {"g": "g"}
    assert groups_of(short, short.design.only) == "groups of g"


def test_a_table_shows_words_and_keeps_the_short_name_at_hand():
    fitted = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(draws=50)
    found = checks.estimates(fitted)
    shown = found.to_html()
    for name, words in (
        ("Days|Subject_sigma", "sd of the slope of Days between subjects"),
        ("Days", "slope of Days"),
    ):
        assert f'<th title="{name}">{words}</th>' in shown
        assert f"<th>{name}</th>" not in shown
        assert name in str(found)  # what one types


def test_names_from_data_stay_text():
    evil = '"><script>'
    found = Finding("a", table=pd.DataFrame({"x": [1]}, [evil]), names={evil: f"slope of {evil}"})
    assert "<script>" not in found.to_html()
    assert 'slope of "&gt;&lt;script&gt;' in found.to_html()
    assert 'title="&quot;&gt;&lt;script&gt;"' in found.to_html()


def test_figures_of_a_row_have_the_digits_of_its_width():
    rows = {"mean": [251.3934, -0.56321], "sd": [7.512, 0.0124]}
    columns = {name: (name, ESTIMATE) for name in rows}
    found = Finding("a", table=pd.DataFrame(rows), columns=columns).readable()
    assert found["mean"].tolist() == ["251.4", "−0.563"]
    assert found["sd"].tolist() == ["7.5", "0.012"]
    ends = pd.DataFrame({"mean": [1.23456], "q05": [1.0], "q95": [1.4]})
    columns = {name: (name, ESTIMATE) for name in ends}
    assert Finding("a", table=ends, columns=columns).readable().iloc[0].tolist() == [
        "1.23",
        "1.00",
        "1.40",
    ]


def test_sentences_are_set_alike_wherever_they_come_from():
    found = Finding("a", "Down by -0.5, 50% of `-1|g_sigma` ($-1$); **x** and 1|g_sigma.")
    names = {"1|g_sigma": "the spread", "x": "slope of x"}
    shown = Finding("a", found.sentence, names=names)._as_text()
    assert shown == "Down by −0.5, 50 % of `-1|g_sigma` ($-1$); **slope of x** and the spread."


def test_a_name_that_begins_a_sentence_begins_with_a_capital():
    names = {"x": "slope of x"}
    assert Finding("a", "**x** is 2.", names=names)._as_text() == "**Slope of x** is 2."
    assert Finding("a", "y is **x**.", names=names)._as_text() == "y is **slope of x**."


@pytest.mark.parametrize("text", ["2026-01-01", "g-1", "x-2", "(Days-1)", "a -b", "1-2", "%d"])
def test_what_is_no_minus_stays(text):
    assert typeset(text) == text


def test_effects_of_groups_are_named_with_their_group():
    assert (
        renamed("1|g[308]; 1|g_sigma", {"1|g": "intercept of g"}) == "intercept of g 308; 1|g_sigma"
    )


def test_on_paper_parameters_stand_in_words(tmp_path):
    """In a file nobody can point at a short name; CSV keeps it."""
    names = {"1|g_sigma": "sd of the intercept", "x": "slope of x"}
    table = pd.DataFrame({"of": ["x", "1|g_sigma"], "mean": [1.0, 2.0]}, index=["1|g_sigma", "x"])
    found = Finding("both", table=table, names=names)
    assert re.findall(r"(?m)^(.*?) & (.*?) &", found.to_latex())[1:] == [
        ("sd of the intercept", "slope of x"),
        ("slope of x", "sd of the intercept"),
    ]
    cells = docx.Document(found.to_word(tmp_path / "found.docx")).tables[0].rows[1].cells
    assert [cell.text for cell in cells][:2] == ["sd of the intercept", "slope of x"]
    assert found.to_csv(tmp_path / "found.csv").read_text().splitlines()[1] == "1|g_sigma,x,1.0"


def test_no_probability_is_told_as_certain_and_no_zero_has_a_sign():
    """Draws that all agree do not know a probability of 1."""
    table = pd.DataFrame({"p": [1.0, 0.0, 0.25], "shift": [-0.001, 0.004, -0.2]})
    found = Finding("p", table=table, columns={"p": ("p", CHANCE), "shift": ("s", "{:+.2f}")})
    assert found.readable()["p"].tolist() == ["> 0.999", "< 0.001", "0.250"]
    assert found.readable()["s"].tolist() == ["0.00", "0.00", "−0.20"]
    assert r"\ensuremath{>} 0.999" in found.to_latex()
    assert "<td>&gt; 0.999</td>" in found.to_html()  # a figure, which stands to the right


def test_a_sentence_that_begins_with_a_name_has_a_capital():
    """Also where name and words begin alike: ``trt[progabide]``, treatment: progabide."""
    found = Finding("a", "**trt[p]** is one.", names={"trt[p]": "treatment: p"})
    assert found._as_text() == "**Treatment: p** is one."
    assert (
        Finding("a", "**nutpie** is one.", names={"x": "slope"})._as_text() == "**nutpie** is one."
    )


def test_headings_that_the_checklist_names_are_those_of_the_page():
    headings = re.findall(
        r'"## (.*?)(?:\\n)?"', (ROOT / "notebooks" / "regression.ipynb").read_text()
    )
    for heading in overview.HEADINGS.values():
        assert heading in [*headings, "Checks in full"]
