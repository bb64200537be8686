"""The form: what is typed, what it says, and that it writes what `new_study` writes."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import partialpool as pp
from partialpool.batch import study_file

REPOSITORY = Path(__file__).parents[2]
FORMULA = "wage ~ `<b>years</b>` + (`<b>years</b>` | person)"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").symlink_to(REPOSITORY / "notebooks")
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(8), 5)
    wage = 2 + rng.normal(0, 0.2, 8)[person] + rng.normal(0, 0.1, 40)
    table = pd.DataFrame({"wage": wage, "<b>years</b>": rng.uniform(0, 20, 40), "person": person})
    table["sort"] = pd.Categorical(np.where(person > 4, "<i>a", "b"))
    table.loc[3:5, "sort"] = None
    table.to_csv(tmp_path / "wages.csv", index=False)
    return tmp_path


@pytest.fixture
def form(root, monkeypatch):
    monkeypatch.chdir(root)
    return pp.Form()


def filled(form, **values):
    for name, value in values.items():
        form.fields[name].value = value
    return form


def test_columns_are_shown_as_soon_as_data_can_be_read(form):
    assert "Data: choose an example set" in form.problem.value
    filled(form, data="wagse.csv")
    assert "There is no file" in form.problem.value
    filled(form, data="wages.csv")
    assert "Formula: write one" in form.problem.value
    assert "<b>years" not in form.columns.value
    shown = pd.read_html(io.StringIO(form.columns.value), index_col=0)[0]
    assert shown.loc["<b>years</b>", "kind"] == "number"
    assert shown.loc["sort"].tolist()[:3] == ["text", 2, 3]
    filled(form, data="sleepstudy")
    assert "Reaction" in form.columns.value


def test_priors_appear_with_their_defaults_and_stay_when_changed(form):
    filled(form, data="wages.csv", formula="wage ~ yaers + (1 | person)")
    assert "The table has no column 'yaers'" in form.problem.value
    assert not form.priors
    filled(form, formula=FORMULA)
    model = pp.Model(FORMULA, pp.load("wages.csv"))
    usual = {name: str(prior) for name, prior in model.priors.items()}
    assert {name: field.value for name, field in form.priors.items()} == usual
    form.priors["sigma"].value = "HalfNormal(0)"
    assert "In the prior 'HalfNormal(0)', sigma must be positive." in form.problem.value
    assert form.study == form.file.value == ""
    form.priors["sigma"].value = "HalfNormal(2)"
    assert "sigma: HalfNormal(2)" in form.study
    assert "All but sigma are defaults" in form.study
    filled(form, formula="wage ~ 1 + (1 | person)")
    assert list(form.priors) == ["Intercept", "1|person_sigma", "sigma"]
    assert form.priors["sigma"].value == "HalfNormal(2)"
    form.priors["sigma"].value = ""
    assert form.priors["sigma"].value == usual["sigma"]
    assert "These are the defaults" in form.study


def test_it_writes_what_new_study_writes(form, root):
    filled(form, data="wages.csv", formula=FORMULA, seed=7)
    assert "Name: give the study one" in form.problem.value
    assert form.button.disabled
    filled(form, name="../w")
    assert "cannot name a study" in form.problem.value
    form.priors["sigma"].value = "HalfNormal(2)"
    filled(form, name="wages")
    assert form.problem.value == ""
    study = form.study
    assert "&lt;b&gt;years" in form.file.value
    form.button.click()
    assert (root / "params" / "wages.yml").read_text() == study
    assert "make report STUDY=wages" in form.said.value
    assert form.button.disabled
    [run] = study_file.plan(root, [root / "params" / "wages.yml"])
    assert run.seed == 7
    assert run.settings["priors"]["sigma"] == "HalfNormal(2)"
    assert yaml.safe_load(study)["settings"]["formula"] == FORMULA
    same = pp.new_study("same", "wages.csv", FORMULA, priors={"sigma": "HalfNormal(2)"}, seed=7)
    assert same.read_text() == study
    filled(form, seed=8)
    assert "There is a study 'wages' already" in form.problem.value
    assert form.said.value == ""


def test_what_was_taken_meanwhile_is_not_written_over(form, root):
    filled(form, name="wages", data="wages.csv", formula=FORMULA)
    (root / "params" / "wages.yml").write_text("notebook: regression\n")
    form.button.click()
    assert "There is a study 'wages' already" in form.said.value
    assert (root / "params" / "wages.yml").read_text() == "notebook: regression\n"


def test_parameters_that_share_a_prior_have_one_field(form):
    filled(form, data="Exam", formula="normexam ~ standLRT + sex + (standLRT + sex | school)")
    assert [name for name in form.priors if name.startswith("cor")] == ["cor|school"]
    form.priors["cor|school"].value = "LKJ(4)"
    assert yaml.safe_load(form.study)["settings"]["priors"]["cor(1,standLRT|school)"] == "LKJ(4)"


def test_other_responses_and_missing_values(form):
    filled(form, data="wages.csv", formula="wage ~ sort + (1 | person)")
    assert "3 in 'sort'" in form.problem.value
    filled(form, missing="drop")
    assert "Left out: 3 of 40 rows" in form.study
    filled(form, family="poisson")
    assert "poisson" in form.problem.value
    assert form.study == ""
    filled(form, family="student")
    assert "nu" in form.priors


def test_outside_a_project_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="partialpool init"):
        pp.Form()
