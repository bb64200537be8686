"""What makes a finished run out of date, and what does not."""

import json
import os

import pytest

from partialpool import inputs, studyfile
from partialpool.executing import why_stale


@pytest.fixture
def run(project):
    (project.root / "data").mkdir()
    (project.root / "data" / "x.csv").write_text("y\n1\n")
    (project.root / "requirements.lock").write_text("numpy==2.1\n")
    path = project.study("s", "notebook: quick\nsettings: {data: data/x.csv}")
    return studyfile.plan(project.root, [path])[0]


def prints(run):
    return inputs.fingerprint(run.notebook, run.data, run.root)


def summary(run):
    return {
        "status": "passed",
        "settings": run.settings,
        "seed": run.seed,
        "expect": run.expect,
        "provenance": {"inputs": prints(run)},
    }


def test_nothing_changed(run):
    assert why_stale(run, summary(run), prints(run)) == ""


def test_never_run_or_broken(run):
    assert why_stale(run, None, prints(run)) == "new"
    assert why_stale(run, summary(run) | {"status": "error"}, prints(run)) == "broke last time"


def test_a_failed_verdict_is_finished(run):
    assert why_stale(run, summary(run) | {"status": "failed"}, prints(run)) == ""


def test_touching_and_executing_change_nothing(run):
    before = summary(run)
    for path in inputs.input_files(run.notebook, run.data, run.root):
        if path.is_relative_to(run.root):
            os.utime(path, (1, 1))
    content = json.loads(run.notebook.read_text())
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 7
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["hello"]}]
    run.notebook.write_text(json.dumps(content))
    assert why_stale(run, before, prints(run)) == ""


@pytest.mark.parametrize("name", ["data/x.csv", "requirements.lock", "notebooks/quick.ipynb"])
def test_changed_input(run, name):
    before = summary(run)
    path = run.root / name
    text = path.read_text()
    path.write_text(
        text.replace("time.sleep(0.05)", "time.sleep(0.06)") if "ipynb" in name else "z"
    )
    assert why_stale(run, before, prints(run)) == f"{name} changed"


def test_changed_seed_setting_or_expectation(run):
    for change in ({"seed": 8}, {"settings": {}}, {"expect": "failed"}):
        assert why_stale(run, summary(run) | change, prints(run)) == "settings changed"


def test_large_files_are_read_once_and_again_when_they_change(run, monkeypatch):
    monkeypatch.setattr(inputs._Digests, "LARGE", 1)
    first = prints(run)
    store = run.root / ".cache" / "partialpool" / "digests.json"
    known = json.loads(store.read_text())
    assert str(run.root / "data" / "x.csv") in known
    store.write_text(json.dumps({key: [mark, "remembered"] for key, (mark, _) in known.items()}))
    assert prints(run)["data/x.csv"] == "remembered"
    (run.root / "data" / "x.csv").write_text("y\n2\n")
    assert prints(run)["data/x.csv"] not in ("remembered", first["data/x.csv"])


def notebook(folder, *cells):
    path = folder / "n.ipynb"
    made = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    path.write_text(json.dumps({"cells": made}))
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in which `a` imports `b`, and a function of `b` imports `c`; `d` stands alone."""
    folder = tmp_path / "partialpool"
    folder.mkdir()
    (folder / "a.py").write_text("from partialpool import b\n")
    (folder / "b.py").write_text("def f():\n    from partialpool.c import g\n    return g\n")
    (folder / "c.py").write_text("import os\n")
    (folder / "d.py").write_text("from . import c\n")
    monkeypatch.setattr(inputs, "PACKAGE", folder)
    monkeypatch.setattr(inputs, "EXPORTS", {"thing": "a", "a": "a"})
    for cached in (inputs._package_modules, inputs._module_imports):
        cached.cache_clear()
    yield folder
    for cached in (inputs._package_modules, inputs._module_imports):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("cells", "modules"),
    [
        (["import partialpool as pp", "pp.thing(1)"], "abc"),
        (["import partialpool as other\nother.d.x"], "cd"),
        (["from partialpool import thing"], "abc"),
        (["from partialpool.c import g"], "c"),
        (["import partialpool.d\npartialpool.d.x()"], "cd"),
        (["import partialpool as pp\ngetattr(pp, 'd')"], "abcd"),
        (["from partialpool import *"], "abcd"),
        (["import numpy as np\nnp.c"], ""),
        (["%matplotlib inline\nimport partialpool as pp", "pp.c"], "c"),
        (["x = !ls\nimport partialpool as pp"], "abcd"),
    ],
)
def test_dependencies(package, tmp_path, cells, modules):
    found = inputs.dependencies(notebook(tmp_path, *cells))
    assert "".join(path.stem for path in found) == modules


def test_dependencies_on_neighbours(package, tmp_path):
    (tmp_path / "helper.py").write_text("")
    assert inputs.dependencies(notebook(tmp_path, "import helper")) == [tmp_path / "helper.py"]


def test_a_changed_module_reaches_only_what_depends_on_it(package, tmp_path):
    users = {name: tmp_path / name for name in ("uses_a", "uses_d")}
    for name, folder in users.items():
        folder.mkdir()
        notebook(folder, f"import partialpool as pp\npp.{name[-1]}")
    before = {k: inputs.fingerprint(f / "n.ipynb", None, tmp_path) for k, f in users.items()}
    (package / "b.py").write_text("x = 1\n")
    inputs._module_imports.cache_clear()
    after = {k: inputs.fingerprint(f / "n.ipynb", None, tmp_path) for k, f in users.items()}
    assert before["uses_a"] != after["uses_a"]
    assert before["uses_d"] == after["uses_d"]


def test_every_module_of_this_package_can_be_followed():
    names = inputs._package_modules()
    assert {"studyfile", "executing", "results"} <= set(names)
    assert "summaries" in inputs._closure({"executing"})
