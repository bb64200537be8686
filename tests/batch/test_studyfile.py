"""Study files: what is wrong with them is said before anything runs, and runs get their names."""

from pathlib import Path

import pytest

from partialpool.batch import study_file
from partialpool.batch.runs import run_name

WRONG = {
    "notebook: nosuch": "notebook: there is no notebooks/nosuch.ipynb",
    "notebook: quik": "did you mean 'quick'?",
    "notebook: ../quick": "there is no notebooks/../quick.ipynb",
    "notebook: 3": "notebook: names a notebook: one of",
    "notebook: undeclared": "needs exactly one cell tagged 'parameters', and has 0",
    "notebook: quick\nsettings: {levle: 2}": (
        "settings.levle: quick.ipynb declares no such setting; did you mean 'level'?"
    ),
    "notebook: quick\ngrid: {levle: [2]}": "grid.levle: quick.ipynb declares no such setting",
    "notebook: quick\nsettings: {level: 1.5}": "settings.level: needs a whole number, not 1.5",
    "notebook: quick\nsettings: {level: true}": "settings.level: needs a whole number, not True",
    "notebook: quick\nsettings: {level: [1]}": "settings.level: needs a whole number, not [1]",
    "notebook: quick\nsettings: {name: {levle: 1}}": "settings.name: needs text, not {'levle': 1}",
    "notebook: quick\nsettings: {rate: fast}": "needs a number, not the text 'fast'",
    "notebook: quick\nsettings: {rate: .inf}": "settings.rate: inf is not text, a number",
    "notebook: quick\nsettings: {rate: null}": "settings.rate: needs a number, not None",
    "notebook: quick\nsettings: {name: no}": "settings.name: needs text, not False; put it in",
    "notebook: quick\nsettings: {name: 2024-01-01}": "is not text, a number, true or false",
    "notebook: quick\nsettings: {flag: 1}": "settings.flag: needs true or false, not 1",
    "notebook: quick\nsettings: {items: 1}": "settings.items: needs a list, not 1",
    "notebook: quick\nsettings: {priors: [1]}": "settings.priors: needs `name: value` pairs",
    "notebook: quick\nsettings: {seed: 1}": "settings.seed: cannot be set here: list seeds under",
    "notebook: quick\nsettings: {output: here}": "settings.output: cannot be set here",
    "notebook: quick\nsettings: [1]": "settings: needs names and values",
    "notebook: quick\nsettings: {data: nosuch.csv}": "settings.data: there is no file nosuch.csv",
    "notebook: quick\nsettings: {level: 1}\ngrid: {level: [1, 2]}": (
        "grid.level: is also in `settings`; keep one of the two"
    ),
    "notebook: quick\ngrid: {level: []}": "grid.level: needs a list of at least one value",
    "notebook: quick\ngrid: {level: 2}": "grid.level: needs a list of at least one value",
    "notebook: quick\ngrid: {level: [1, 1]}": "two runs would have the same name, level-1_seed-0",
    "notebook: quick\ngrid: {rate: [1e-3, 0.001]}": "two runs would have the same name",
    "notebook: quick\ngrid: {name: [a, A]}": "two runs would have the same name",
    "notebook: quick\nseeds: [1, x]": "seeds: 'x' is not a whole number from 0 on",
    "notebook: quick\nseeds: [true]": "seeds: True is not a whole number",
    "notebook: quick\nseeds: [-1]": "seeds: -1 is not a whole number from 0 on",
    "notebook: quick\nseeds: [1, 1]": "seeds: 1 stands twice",
    "notebook: quick\nseeds: 3": "seeds: needs a list of whole numbers",
    "notebook: quick\nseeds: []": "seeds: needs a list of whole numbers",
    "notebook: quick\nexpect: passed": "expect: can only be 'failed', not 'passed'",
    "notebook: quick\ntitle: 3": "title: needs text, not 3; put it in quotes if",
    "notebook: quick\nquestion: ' '": "question: needs text, not ' '",
    "notebook: quick\nabout: [one]": "about: needs text, not ['one']",
    "notebook: quick\ntitle: |\n  one\n  two": "title: needs one line; more has its",
    "notebook: quick\nsettings: {title: Sleep}": "settings.title: quick.ipynb declares no such",
    "notebook: quick\nsetings: {}": "setings: is not a key of a study; did you mean 'settings'?",
    "notebook: quick\nnotebook: good": "line 1: is not plain YAML: the key 'notebook' stands twice",
    "notebook: !!python/object:os.system {}": "is not plain YAML",
    "notebook: [": "is not plain YAML",
    "just text": "needs keys and values, at least `notebook:`",
    "": "needs keys and values, at least `notebook:`",
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.items(), ids=range(len(WRONG)))
def test_wrong_study(project, text, sentence):
    path = project.study("wrong", text)
    with pytest.raises(study_file.StudyError) as caught:
        study_file.plan(project.root, [path])
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}: ")
    assert sentence in problem
    assert problem.endswith((".", "?"))


def test_all_problems_of_all_files_are_said(project):
    files = [
        project.study("one", "notebook: quick\nsettings: {level: x, rate: y}"),
        project.study("two", "notebook: nosuch"),
    ]
    with pytest.raises(study_file.StudyError) as caught:
        study_file.plan(project.root, files)
    assert len(caught.value.problems) == 3


def test_two_studies_in_one_place(project):
    path = project.study("same", "notebook: quick")
    project.study("long/Same", "notebook: quick")
    with pytest.raises(study_file.StudyError, match=r"same place as long/Same\.yml; rename one"):
        study_file.plan(project.root, [path])


@pytest.mark.parametrize("name", ["a b", "-a", "ä", "a..b", "a" * 90])
def test_unfit_study_name(project, name):
    path = project.study(name, "notebook: quick")
    with pytest.raises(study_file.StudyError, match="a study's name has only letters"):
        study_file.plan(project.root, [path])


def test_find(project):
    short, long = project.study("short", "a: 1"), project.study("long/slow", "a: 1")
    assert study_file.find(project.root) == [short]
    assert study_file.find(project.root, ["slow"]) == [long]
    assert study_file.find(project.root, ["params/long/slow.yml", "slow"]) == [long]
    with pytest.raises(study_file.StudyError, match="no study 'shrot'; did you mean 'short'"):
        study_file.find(project.root, ["shrot"])


def test_values_get_the_type_of_the_default(project):
    text = "notebook: quick\nsettings: {rate: 1e-3, level: 2.0, anything: 1e-3, data: data/x.csv}"
    (project.root / "data").mkdir()
    (project.root / "data" / "x.csv").write_text("y\n1\n")
    [run] = study_file.plan(project.root, [project.study("types", text)])
    assert run.settings == {"rate": 0.001, "level": 2, "anything": "1e-3", "data": "data/x.csv"}
    assert isinstance(run.settings["level"], int)


def test_meaning_is_checked_by_the_hook(project, monkeypatch):
    def validate(settings):
        if settings.get("name") == "nuts":
            raise ValueError("name: there is no method 'nuts'")

    monkeypatch.setattr(study_file, "validate", validate)
    path = project.study("means", "notebook: quick\ngrid: {name: [exact, nuts]}")
    with pytest.raises(study_file.StudyError, match=r"settings\.name: there is no method 'nuts'\."):
        study_file.plan(project.root, [path])


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        ({}, "seed-1"),
        ({"method": "exact"}, "method-exact_seed-1"),
        ({"method": "exact", "draws": 1000}, "method-exact_draws-1000_seed-1"),
        ({"rate": 0.001, "flag": True, "x": None}, "rate-0.001_flag-true_x-none_seed-1"),
    ],
)
def test_run_name(swept, name):
    assert run_name(swept, 1) == name


@pytest.mark.parametrize(
    "value",
    [
        "../../etc/passwd",
        "a/b",
        "..",
        "",
        "y ~ x",
        "<b>",
        -1,
        {"sd": "Normal(0, 1)"},
        [1],
        "x" * 500,
    ],
)
def test_a_run_name_fits_in_one_folder(value):
    name = run_name({"key": value}, 0)
    assert study_file.NAME.fullmatch(name)
    assert ".." not in name
    assert name != run_name({"key": f"{value}?"}, 0)  # what a name cannot hold, it hashes


def test_settings_that_are_mappings_have_short_names(project):
    prior = "{sd: HalfNormal(100), Intercept: 'Normal(0, 1000)', cor: LKJ(2)}"
    text = f"notebook: quick\ngrid: {{priors: [{prior}, {{}}]}}\nseeds: [3]"
    runs = study_file.plan(project.root, [project.study("p", text)])
    assert len({run.name for run in runs}) == 2
    assert all(len(run.name) < 60 and run.name.endswith("_seed-3") for run in runs)


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted(ROOT.glob("params/**/*.yml")), ids=lambda path: path.stem)
def test_every_example_tells_its_story_and_leaves_room_for_the_first_picture(path):
    """At most 120 words stand between the verdicts and the first picture."""
    story = study_file.plan(ROOT, [path])[0].story
    assert {*story} == {"title", "question", "about"}
    assert story["question"].endswith("?")
    assert len(story["about"].split()) <= 110
