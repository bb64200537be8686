"""From a table and a formula to a study file, or one sentence that says why not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import partialpool as pp
from partialpool.__main__ import main
from partialpool.batch import notebooks, study_file
from partialpool.data import paths

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").symlink_to(REPOSITORY / "notebooks")
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(8), 5)
    years = rng.uniform(0, 20, 40)
    log_wage = 2 + 0.05 * years + rng.normal(0, 0.2, 8)[person] + rng.normal(0, 0.1, 40)
    table = pd.DataFrame({"wage: <b>#1</b>": np.exp(log_wage), "years": years, "person": person})
    table.to_csv(tmp_path / "wages.csv", index=False)
    table.mask(table.index.to_series() < 3).to_csv(tmp_path / "gaps.csv", index=False)
    return tmp_path


FORMULA = "log(`wage: <b>#1</b>`) ~ years + (years | person)"


def test_a_study_with_every_setting(root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    assert main(["--root", str(root), "new", "wages", "wages.csv", FORMULA]) == 0
    assert "make report STUDY=wages" in capsys.readouterr().out
    path = root / "params" / "wages.yml"
    [run] = study_file.plan(root, [path])
    declared = notebooks.parameters(notebooks.read_notebook(run.notebook))
    assert set(run.settings) == set(declared) - set(study_file.RESERVED)
    table = pp.load(root / "wages.csv")
    spelled = pp.Model(FORMULA, table, run.settings["priors"])
    assert spelled.priors == pp.Model(FORMULA, table).priors  # the defaults, by their names
    assert yaml.safe_load(path.read_text())["settings"]["formula"] == FORMULA
    before = path.read_text()
    assert main(["--root", str(root), "new", "Wages", "wages.csv", FORMULA]) == 2
    assert "There is a study 'Wages' already" in capsys.readouterr().err
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("name", "data", "formula", "words"),
    [
        ("../w", "wages.csv", FORMULA, "cannot name a study"),
        ("w", "wagse.csv", FORMULA, "There is no file"),
        ("w", "sleepstdy", FORMULA, "did you mean 'sleepstudy'"),
        ("w", "wages.csv", "years ~ yaers + (1 | person)", "did you mean 'years'"),
        ("w", "wages.csv", "years", "needs the form"),
        ("w", "gaps.csv", FORMULA, "3 in 'years'"),
    ],
)
def test_nothing_is_written_for_bad_input(root, capsys, monkeypatch, name, data, formula, words):
    monkeypatch.chdir(root)
    assert main(["--root", str(root), "new", name, data, formula]) == 2
    assert words in capsys.readouterr().err
    assert not list((root / "params").iterdir())


def test_standard_errors_and_hints_are_written_down(root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    table = pd.DataFrame({"effect": [1.0, 2, 4, 3, 5, 2], "error": 1.0, "diet": [1, 2, 3, 1, 2, 3]})
    table.assign(study=range(6)).to_csv("trials.csv", index=False)
    words = ["new", "trials", "trials.csv", "effect ~ diet + (1 | study)"]
    assert main(["--root", str(root), *words, "--se", "error"]) == 0
    text = (root / "params" / "trials.yml").read_text()
    assert "write C(diet)" in text
    assert "sigma: Fixed(0)" in text
    [run] = study_file.plan(root, [root / "params" / "trials.yml"])
    assert run.settings["se"] == "error"
    words[1] = "again"
    assert main(["--root", str(root), *words]) == 0
    assert "Every row is a group of its own" in (root / "params" / "again.yml").read_text()
    words[1] = "third"
    assert main(["--root", str(root), *words, "--se", "eror"]) == 2
    assert "did you mean 'error'" in capsys.readouterr().err


def test_dropped_rows_are_counted(root):
    path = pp.new_study("gaps", root / "gaps.csv", FORMULA, missing="drop", root=root)
    assert "Left out: 3 of 40 rows (7.5%)" in path.read_text().splitlines()[2]
    gaps = pd.read_csv(root / "gaps.csv")
    model = pp.Model(FORMULA, gaps, missing="drop")
    same = pp.Model(FORMULA, gaps.iloc[3:].reset_index(drop=True))
    assert "3 in years" in model.dropped
    assert not same.dropped
    np.testing.assert_array_equal(model.design.X, same.design.X)
    with pytest.raises(ValueError, match="No row has a value"):
        pp.Model(FORMULA, gaps.iloc[:3], missing="drop")
    with pytest.raises(ValueError, match="missing: choose from refuse, drop"):
        pp.Model(FORMULA, gaps, missing="omit")


@pytest.mark.parametrize(
    "words",
    [
        ["new", "trees", "sleepstudy", "Reaction ~ Days + (Days | Subject)"],
        ["report"],
        ["run", "trees", "seed-1"],
        ["verify"],
        ["index"],
        ["lab"],
        ["check"],
        ["preview", "trees"],
        ["schema"],
        ["eject", "regression"],
        ["notebooks", "--fix"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("root", [[], ["--root", "."], ["--root", "nowhere"]], ids=str)
def test_outside_a_project_a_command_says_so_and_writes_nothing(
    tmp_path, monkeypatch, capsys, root, words
):
    """In particular not into the repository that this package was installed from."""
    before = sorted(REPOSITORY.glob("params/*")), (REPOSITORY / "reports" / "index.html").exists()
    monkeypatch.chdir(tmp_path)
    assert main([*root, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Make one: partialpool init NAME" in said.err
    assert "partialpool --root FOLDER" in said.err
    assert list(tmp_path.iterdir()) == []
    after = sorted(REPOSITORY.glob("params/*")), (REPOSITORY / "reports" / "index.html").exists()
    assert after == before


def test_a_project_is_found_from_a_folder_in_it_and_named_ones_must_be_it(root, monkeypatch):
    (root / "data").mkdir()
    monkeypatch.chdir(root / "data")
    assert paths.find_root() == root.resolve()
    assert paths.cache_folder("parts") == root.resolve() / ".cache" / "partialpool" / "parts"
    assert paths.find_root(root) == root.resolve()
    with pytest.raises(FileNotFoundError, match="data is no project"):
        paths.find_root(root / "data")
    monkeypatch.chdir(root.parent)
    assert paths.cache_folder("parts") is None
