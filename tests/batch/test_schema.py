"""The JSON schema of studies accepts what runs and marks what does not."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from partialpool.__main__ import main
from partialpool.batch import notebooks, schema, settings

REPOSITORY = Path(__file__).parents[2]
STUDIES = sorted(REPOSITORY.glob("params/**/*.yml"))


@pytest.fixture(scope="module")
def validator():
    made = schema.schema(REPOSITORY)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_is_valid(validator, path):
    assert list(validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("settings: {data: sleepstudy}", []),
        ("notebook: regresion", ["notebook"]),
        ("notebook: regression\nsetings: {}", []),
        ("notebook: regression\nsettings: {formla: y ~ x}", ["settings"]),
        ("notebook: regression\nsettings: {n: 10}", ["settings"]),
        ("notebook: regression\nsettings: {seed: 1}", ["settings"]),
        ("notebook: regression\nsettings: {formula: 1}", ["settings", "formula"]),
        ("notebook: regression\nsettings: {draws: 10.5}", ["settings", "draws"]),
        ("notebook: regression\nsettings: {draws: 0}", ["settings", "draws"]),
        ("notebook: regression\nsettings: {method: gibbs}", ["settings", "method"]),
        ("notebook: regression\nsettings: {family: null}", ["settings", "family"]),
        ("notebook: regression\nsettings: {priors: {sd: 3}}", ["settings", "priors", "sd"]),
        ("notebook: regression\nsettings: {priors: {sd: N(1)}}", ["settings", "priors", "sd"]),
        ("notebook: regression\nsettings: {priors: [1]}", ["settings", "priors"]),
        ("notebook: regression\ngrid: {draws: 10}", ["grid", "draws"]),
        ("notebook: regression\ngrid: {draws: []}", ["grid", "draws"]),
        ("notebook: regression\ngrid: {draws: [10, x]}", ["grid", "draws", 1]),
        ("notebook: samplers\nsettings: {methods: exact}", ["settings", "methods"]),
        ("notebook: recovery\nsettings: {noise: loud}", ["settings", "noise"]),
        ("notebook: regression\nseeds: [1, 1]", ["seeds"]),
        ("notebook: regression\nseeds: [-1]", ["seeds", 0]),
        ("notebook: regression\nseeds: 3", ["seeds"]),
        ("notebook: regression\nexpect: passed", ["expect"]),
    ],
)
def test_what_cannot_run_is_marked_where_it_stands(validator, text, place):
    errors = [list(error.absolute_path) for error in validator.iter_errors(yaml.safe_load(text))]
    assert place in errors


def test_a_setting_says_what_the_notebook_says_of_it():
    then = {
        branch["if"]["properties"]["notebook"]["const"]: branch["then"]["properties"]
        for branch in schema.schema(REPOSITORY)["allOf"]
    }
    assert then.keys() == notebooks.available(REPOSITORY).keys()
    family = then["regression"]["settings"]["properties"]["family"]
    assert family == {
        "description": "gaussian, student (bends less to outliers), binomial, poisson, ...",
        "default": "gaussian",
        "enum": list(settings.RESPONSES),
    }
    predict = then["regression"]["settings"]["properties"]["predict"]
    assert predict["description"].endswith("null: typical ones")
    assert predict["default"] is None
    assert "type" not in predict


def test_studies_that_are_written_name_a_schema_that_lies_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "p"]) == 0
    monkeypatch.chdir("p")
    Path("params/.schema.json").unlink()
    assert main(["new", "sleep", "sleepstudy", "Reaction ~ Days + (1 | Subject)"]) == 0
    for name in ("plants", "sleep"):
        path = Path("params", f"{name}.yml")
        text = path.read_text(encoding="utf-8")
        place = path.parent / text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        content = json.loads(place.read_text(encoding="utf-8"))
        jsonschema.validate(yaml.safe_load(text), content)


def test_a_notebook_of_the_project_is_part_of_its_schema(project, capsys, monkeypatch):
    monkeypatch.chdir(project.root)
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == "Wrote params/.schema.json.\n"
    content = json.loads((project.root / "params" / ".schema.json").read_text(encoding="utf-8"))
    names = content["properties"]["notebook"]["enum"]
    assert {"quick", "regression"} <= {*names}
    assert "undeclared" not in names
    jsonschema.validate({"notebook": "quick", "settings": {"level": 2}}, content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"notebook": "quick", "settings": {"level": "high"}}, content)
