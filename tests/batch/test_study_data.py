"""Studies held against their data: one line each, before anything runs."""

import numpy as np
import pandas as pd
import pytest
from test_survival import processes, wait_for

from conftest import Project, marks
from partialpool.__main__ import main
from partialpool.batch import study_data, study_file
from test_house import loaded

STUDY = "notebook: regression\nsettings:\n  data: data/w.csv\n  formula: {}\n"
RIGHT = STUDY.format("wage ~ years + (years | person)")


@pytest.fixture
def project(project, monkeypatch):
    monkeypatch.chdir(project.root)
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(8), 5)
    table = pd.DataFrame({"wage": rng.normal(size=40), "years": rng.uniform(0, 9, 40)})
    (project.root / "data").mkdir()
    table["town"] = np.where(person % 2, "a", "b")
    table.assign(person=person).to_csv(project.root / "data" / "w.csv", index=False)
    table.assign(person=person).head(3).drop(columns="years").to_csv(
        project.root / "data" / "new.csv", index=False
    )
    return project


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (STUDY.format("wage ~ yaers + (1 | person)"), "did you mean 'years'?"),
        (STUDY.format("wage ~ years +"), "wage ~ years +"),
        (RIGHT + "  priors: {yeers: 'Normal(0, 1)'}", "did you mean 'years'?"),
        (RIGHT + "  priors: {years: HalfNormal(1)}", "years"),
        (RIGHT + "  se: error", "The table has no column 'error'"),
        (RIGHT + "  predict: [{years: 1}]", "predict: The table has no column 'person'"),
        (RIGHT + "  predict: data/new.csv", "predict: The table has no column 'years'"),
        (
            STUDY.format("wage ~ town + (1 | person)") + "  predict: [{town: c, person: 1}]",
            "town",
        ),
        (RIGHT.replace("data/w.csv", "sleepstdy"), "did you mean 'sleepstudy'?"),
        ("notebook: samplers\nsettings: {formula: y ~ z + (0 + x | i)}", "no column 'z'"),
        (RIGHT.replace("formula:", "formla:"), "did you mean 'formula'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(project, capsys, text, says):
    project.study("wages", text)
    project.study("right", RIGHT)
    assert main(["check"]) == 1
    right, wrong, total = capsys.readouterr().out.splitlines()
    assert right == "  ✓ right  1 run; 40 rows in 8 groups of person"
    assert wrong.startswith("  ✗ wages  params/wages.yml: settings")
    assert says in wrong
    assert total == "1 of 2 studies cannot run."
    assert not list((project.root / "reports").iterdir())


def test_a_guess_at_how_a_table_is_written_is_said(project, capsys):
    """By `check`, and in the study that `new` writes."""
    place = project.root / "data" / "w.csv"
    pd.read_csv(place).to_csv(place, index=False, sep=";", decimal=",")
    assert main(["new", "wages", "data/w.csv", "wage ~ years + (1 | person)"]) == 0
    guess = "Read with semicolons between fields, with decimal commas."
    says = ["40 rows in 8 groups of person.", guess]
    lines = (project.root / "params" / "wages.yml").read_text().splitlines()
    assert lines[1:3] == [f"# {sentence}" for sentence in says]
    capsys.readouterr()
    assert main(["check"]) == 0
    # a study that is written has a label for its groups
    assert capsys.readouterr().out == f"  ✓ wages  1 run; 40 rows in 8 persons. {guess}\n"


def test_each_run_of_a_grid_counts_and_each_design_once(project, capsys):
    grid = "grid: {formula: [wage ~ years, wage ~ 1 + (1 | person)], draws: [10, 20]}"
    project.study("grid", f"notebook: regression\nsettings: {{data: data/w.csv}}\n{grid}")
    assert main(["check", "grid"]) == 0
    says = "  ✓ grid  4 runs; 40 rows; 40 rows in 8 groups of person\n"
    assert capsys.readouterr().out == says
    project.study("grid", f"notebook: regression\n{grid.replace('years', 'yaers')}")
    assert main(["check", "grid"]) == 1


def test_a_formula_of_another_kind_is_left_to_its_notebook(project):
    """Only ``Model(formula, ...)`` says that the setting is a formula of this package."""
    text = (project.root / "notebooks" / "quick.ipynb").read_text()
    assert '"data = ' in text
    (project.root / "notebooks" / "own.ipynb").write_text(
        text.replace('"data = ', '"formula = \\"\\"\\n", "data = ')
    )
    path = project.study("own", "notebook: own\nsettings: {formula: E = m c², data: data/w.csv}")
    assert study_data.look(study_file.plan(project.root, [path])) == ([], {})


def test_a_report_leaves_out_what_does_not_go_with_its_data(project: Project):
    project.study("wages", STUDY.format("wage ~ yaers + (1 | person)"))
    status, output = project.call("report")
    assert status == 2
    wait_for(lambda: not any("snakemake" in one for one in processes(project)))
    [line] = output.splitlines()
    assert line.startswith("params/wages.yml: settings: The table has no column 'yaers'")
    project.study("quick", "notebook: quick")
    status, output = project.call("report")
    assert status == 1
    assert output.startswith(f"{line}\n1 run to do")
    assert f"Not run:\n  ✗ {line}\n" in output
    assert list(marks(project)) == ["quick/seed-0"]


def test_checking_imports_neither_pymc_nor_what_draws_pictures(project):
    project.study("wages", RIGHT)
    modules = loaded("from partialpool.__main__ import main; main(['check'])")
    assert "numpy" in modules
    assert not modules & {"pymc", "pytensor", "arviz_stats", "matplotlib", "nutpie", "IPython"}
