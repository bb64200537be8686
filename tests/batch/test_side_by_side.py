"""Two runs side by side."""

import json

import pytest

from conftest import summary
from partialpool.__main__ import main
from partialpool.batch import side_by_side, study_file

FIGURES = {"mean": 10.0, "sd": 2.0, "mcse_mean": 0.03, "q05": 6.0, "q95": 14.0}
CHECK = {"name": "R-hat", "value": 1.001, "threshold": "≤ 1.01", "passed": True, "help": ""}


def put(project, run, shown=(), digests=(), **changes):
    folder = project.root / "reports" / "s" / run
    folder.mkdir(parents=True)
    content = {
        "run": run,
        "estimates": ["Days"],
        "parameters": {"Days": FIGURES},
        "checks": [CHECK],
    }
    content |= {"findings": [{"name": n, "sentence": t, "files": []} for n, t in shown]}
    (folder / "summary.json").write_text(json.dumps(summary(**content | changes)))
    (folder / "digests.json").write_text(json.dumps(dict(digests)))
    return folder


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_what_differs_is_said_in_the_units_that_decide(project, capsys):
    shown = [("same", "x"), ("words", "5 of 18"), ("numbers", "y"), ("mine", "z")]
    folder = put(
        project, "a", shown, [("findings/numbers.csv", "01")], settings={"method": "exact"}
    )
    others = [("same", "x"), ("words", "6 of 18"), ("numbers", "y"), ("yours", "z")]
    put(
        project,
        "b",
        others,
        [("findings/numbers.csv", "02")],
        settings={"method": "nutpie", "tune": 5},
        parameters={"Days": FIGURES | {"mean": 10.5, "mcse_mean": 0.04}, "nu": {"mean": 3.0}},
        estimates=["Days", "nu"],
        checks=[CHECK | {"passed": False, "value": 1.2}],
        status="passed",
    )
    status = main(["--root", str(project.root), "diff", str(folder), "s/b"])
    assert status == 0
    found = lines(capsys.readouterr().out)
    assert "method exact nutpie" in found
    assert "tune – 5" in found
    assert "computation failed passed" in found
    assert "R-hat 1.001, passed 1.2, missed" in found
    # 0.5 is a quarter of the sd 2, and ten times the error, hypot(0.03, 0.04) = 0.05
    assert "Days 10.0 10.5 0.5 0.25 10" in found
    assert "nu – 3 – – –" in found
    assert "Findings that differ: words, numbers" in found
    assert "Findings that are the same: same" in found
    assert "Findings of A alone: mine" in found
    assert "Findings of B alone: yours" in found


def test_the_same_run_twice(project):
    put(project, "a", [("f", "x")])
    found = lines(side_by_side.compare(project.root, "s/a", "s/a"))
    assert "The settings are the same." in found
    assert "Days 10.0 10.0 0.0 0 0" in found
    assert not any("differ" in line for line in found)


def test_a_run_that_is_not_there_is_one_sentence(project, capsys):
    put(project, "a")
    assert main(["--root", str(project.root), "diff", "s/a", "s/nowhere"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "There is no finished run s/nowhere" in said.err
    assert said.out == ""


def test_a_run_of_earlier_code_has_no_findings(project):
    old = summary(run="a")
    old.pop("findings", None)
    folder = put(project, "a")
    (folder / "summary.json").write_text(json.dumps(old))
    assert "Findings" not in side_by_side.compare(project.root, "s/a", "s/a")


def test_a_summary_that_is_none_is_said(project):
    (put(project, "a") / "summary.json").write_text("{}")
    with pytest.raises(study_file.StudyError, match="not the summary"):
        side_by_side.compare(project.root, "s/a", "s/a")
