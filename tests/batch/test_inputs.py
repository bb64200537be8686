"""What makes a finished run out of date, and what does not."""

import json
import os

import pytest

from partialpool.batch import staleness, study_file
from partialpool.batch.runs import Run
from partialpool.batch.staleness import why_stale
from partialpool.report import page


@pytest.fixture
def run(project):
    (project.root / "data").mkdir()
    (project.root / "data" / "x.csv").write_text("y\n1\n")
    (project.root / "requirements.lock").write_text("numpy==2.1\n")
    path = project.study("s", "notebook: quick\nsettings: {data: data/x.csv}")
    return study_file.plan(project.root, [path])[0]


def prints(run):
    return staleness.fingerprint(run)


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
    for path in staleness.input_files(run):
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
    monkeypatch.setattr(staleness._Digests, "LARGE", 1)
    store = run.root / ".cache" / "partialpool" / "digests.json"
    prints(run)
    assert "x.csv" not in store.read_text(), "a file that changed just now was remembered"
    monkeypatch.setattr(staleness._Digests, "SETTLED", 0)
    first = prints(run)
    known = json.loads(store.read_text())
    assert str(run.root / "data" / "x.csv") in known
    store.write_text(json.dumps({key: [mark, "remembered"] for key, (mark, _) in known.items()}))
    assert prints(run)["data/x.csv"] == "remembered"
    (run.root / "data" / "x.csv").write_text("y\n2\n")
    assert prints(run)["data/x.csv"] not in ("remembered", first["data/x.csv"])


def notebook(folder, *cells):
    path = folder / "n.ipynb"
    made = [{"cell_type": "code", "source": "", "metadata": {"tags": ["parameters"]}}]
    made += [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    path.write_text(json.dumps({"cells": made}))
    return path


#: A package in which room `one` imports `two`, a function of `two` imports `three`, and `four`
#: imports `three` by a relative name. The package offers rooms of which nothing is loaded yet.
PACKAGE = {
    "__init__.py": "from partialpool import four",
    "__main__.py": "from partialpool.batch import other",
    "model.py": "",
    "one/__init__.py": "",
    "one/a.py": "from partialpool.two import b",
    "two/b.py": "def f():\n    from partialpool.three.c import g\n    return g",
    "two/aside.py": "",
    "two/table.csv": "x\n1",
    "three/c.py": "import os",
    "three/deep/e.py": "",
    "four/d.py": "from ..three import c",
    "report/page.py": "from partialpool.one import a",
    "report/templates/page.html": "",
    "batch/record.py": "from partialpool.report import page",
    "batch/other.py": "from partialpool.one import a",
}
ROOT, TWO, THREE = (
    {name for name in PACKAGE if name.startswith(start)} for start in ("model", "two", "three")
)
ROOT |= {"__init__.py"}
ONE, FOUR = {"one/__init__.py", "one/a.py", *TWO, *THREE}, {"four/d.py", *THREE}
BATCH = {"batch/record.py", "batch/other.py"}
EVERYTHING = ROOT | ONE | FOUR | BATCH


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "partialpool"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    exports = {"thing": "one.a", "c": "three.c", "d": "four.d", "record": "batch.record"}
    monkeypatch.setattr(staleness, "PACKAGE", folder)
    monkeypatch.setattr(staleness, "EXPORTS", exports)
    staleness._imports.cache_clear()
    yield folder
    staleness._imports.cache_clear()


@pytest.mark.parametrize(
    ("cells", "files"),
    [
        (["import partialpool as pp", "pp.thing(1)"], ROOT | ONE),
        (["import partialpool as other\nother.d.x"], ROOT | FOUR),
        (["from partialpool import thing"], ROOT | ONE),
        (["from partialpool.three.c import g"], ROOT | THREE),
        (["from partialpool import three"], ROOT | THREE),
        (["import partialpool.four.d\npartialpool.four.d.x()"], ROOT | FOUR),
        (["from partialpool import record"], {*ROOT, "batch/record.py"}),
        (["import partialpool.batch.other as o"], ROOT | ONE | BATCH),
        (["import partialpool as pp\ngetattr(pp, 'd')"], EVERYTHING),
        (["import partialpool as pp\npp.new_and_unknown()"], EVERYTHING),
        (["from partialpool import *"], EVERYTHING),
        (["import numpy as np\nnp.c"], set()),
        (["%matplotlib inline\nimport partialpool as pp", "pp.c"], ROOT | THREE),
        (["x = !ls\nimport partialpool as pp"], EVERYTHING),
    ],
)
def test_rooms_that_a_notebook_reaches(package, tmp_path, cells, files):
    found = staleness.dependencies(notebook(tmp_path, *cells))
    assert {path.relative_to(package).as_posix() for path in found} == files


@pytest.mark.parametrize("name", PACKAGE)
def test_a_change_in_any_file_reaches_only_what_depends_on_it(package, tmp_path, name):
    users = {"thing": ROOT | ONE, "d": ROOT | FOUR, "record": {*ROOT, "batch/record.py"}}
    runs = {}
    for used in users:
        (tmp_path / used).mkdir()
        path = notebook(tmp_path / used, f"import partialpool as pp\npp.{used}")
        runs[used] = Run("s", "seed-0", path, path, tmp_path, {}, 0)
    before = {used: staleness.fingerprint(run) for used, run in runs.items()}
    with (package / name).open("a") as file:
        file.write("# changed\n")
    for used, run in runs.items():
        assert (staleness.fingerprint(run) != before[used]) == (name in users[used])


def test_caches_are_no_code(package, tmp_path):
    path = notebook(tmp_path, "import partialpool.two.b")
    before = staleness.dependencies(path)
    for name in ("two/__pycache__/b.pyc", "two/.ipynb_checkpoints/b.py", "two/.b.py.swp"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text("")
    assert staleness.dependencies(path) == before


def test_helpers_of_helpers_beside_the_notebook(package, tmp_path):
    folder = tmp_path / "notebooks"
    files = {
        "helper.py": "def f():\n    import second\n",
        "second.py": "from tools.deep import x\nimport partialpool as pp\npp.c\n",
        "tools/__init__.py": "",
        "tools/deep.py": "from . import other\nimport helper\n",
        "tools/other.txt": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = staleness.dependencies(notebook(folder, "import helper"))
    beside = {p.relative_to(folder).as_posix() for p in found if p.is_relative_to(folder)}
    assert beside == files.keys() - {"unused.py"}
    inside = {p.relative_to(package).as_posix() for p in found if p.is_relative_to(package)}
    assert inside == ROOT | THREE
    found = staleness.dependencies(notebook(folder, "x = !ls"))
    assert folder / "unused.py" in found  # this notebook cannot be read: expect the worst


def test_this_package_is_followed():
    """Pages are not what a run depends on, and every other module that computes is."""
    shown = {path for path in page.makers() if path.parent.name not in ("data", "plots")}
    found = staleness._reached({"partialpool.Model"})
    computing = {path.name for path in found}
    assert {"model.py", "exact.py", "kernels.py", "checks.py", "priors.py"} <= computing
    assert {"page.py", "markup.py", "style.css"} <= {path.name for path in shown}
    assert not shown & set(found)
