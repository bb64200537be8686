"""A page that follows its study: what makes it anew, in one kernel that forgets."""

import json
import os
import signal
import webbrowser

import nbformat
import pytest
from test_survival import processes, wait_for

from conftest import PATIENCE, leftovers
from partialpool.__main__ import main
from partialpool.batch import batch, execute, preview, study_file
from partialpool.batch.runs import read_summary


@pytest.fixture
def project(project, monkeypatch):
    """A project with a notebook that says which process it runs in and what it finds there."""
    monkeypatch.setattr(preview, "PAUSE", 0.01)
    cells = [
        nbformat.v4.new_code_cell("level = 1\nseed = 0\noutput = None", id="a"),
        nbformat.v4.new_code_cell(
            "import os\nimport beside\n"
            "found = ['left' in globals(), get_ipython().execution_count]",
            id="b",
        ),
        nbformat.v4.new_code_cell("left = 1 / level", id="c"),
        nbformat.v4.new_code_cell(
            "import partialpool as pp\n"
            "said = f'{os.getpid()} {beside.VALUE} {level} {found}'\n"
            "pp.record(None, {'status': 'passed', 'checks': []}, output, headline=said)",
            id="d",
        ),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project.root / "notebooks" / "n.ipynb")
    (project.root / "notebooks" / "beside.py").write_text("VALUE = 'old'\n")
    project.study("s", "notebook: n\nsettings: {level: 1}\nseeds: [3, 4]")
    return project


def first(project):
    return study_file.plan(project.root, study_file.find(project.root, ["s"]))[0]


def test_one_kernel_does_it_all_and_forgets(project):
    """Names, counts and modules beside the notebook are those of a fresh kernel."""
    with preview.warm(project.root) as kernel:
        pids = set()
        beside = project.root / "notebooks" / "beside.py"
        for k, (level, value) in enumerate(((1, "old"), (2, "old"), (2, "new"))):
            project.study("s", f"notebook: n\nsettings: {{level: {level}}}\nseeds: [3, 4]")
            beside.write_text(f"VALUE = '{value}'\n")
            os.utime(beside, (k, k))  # Python tells bytecode of the same size by whole seconds
            said = execute.execute(first(project), kernel=kernel)["headline"]
            pid, _, rest = said.partition(" ")
            pids.add(pid)
            assert rest == f"{value} {level} [False, 4]"
        assert len(pids) == 1
        project.study("s", "notebook: n\nsettings: {level: 0}\nseeds: [3, 4]")
        broken = execute.execute(first(project), kernel=kernel)
        assert broken["error"]["type"] == "ZeroDivisionError"
        assert broken["error"]["cell"] == 4
        os.kill(int(pids.pop()), signal.SIGKILL)
        project.study("s", "notebook: n\nsettings: {level: 5}\nseeds: [3, 4]")
        assert execute.execute(first(project), kernel=kernel)["status"] == "passed"
    assert processes(project) == []


def test_a_kernel_waits_with_what_the_notebook_imports(project):
    with preview.warm(project.root) as kernel:
        kernel.start(first(project))
        waiting = kernel.manager
        said = execute.execute(first(project), kernel=kernel)["headline"]
        kernel.start(first(project))
        assert kernel.manager is waiting
        assert said == f"{waiting.provisioner.pid} old 1 [False, 4]"


def test_a_warm_kernel_gives_the_numbers_of_a_fresh_one(project, capsys):
    project.study("p", "notebook: posterior")
    with preview.warm(project.root) as kernel:
        for seed in (1, 0):
            project.study("p", f"notebook: posterior\nseeds: [{seed}]")
            [run] = study_file.plan(project.root, study_file.find(project.root, ["p"]))
            execute.execute(run, kernel=kernel)
    assert main(["--root", str(project.root), "verify", "p"]) == 0
    assert "identical" in capsys.readouterr().out
    assert batch.report(project.root, ["p"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_what_counts_as_a_change(project, monkeypatch):
    monkeypatch.chdir(project.root)
    path = project.root / "params" / "s.yml"
    notebook = project.root / "notebooks" / "n.ipynb"
    changes = preview.changes(project.root, path)
    run, _ = next(changes)
    assert run.label == "s/seed-3"
    path.write_text(f"# only a remark\n{path.read_text()}")
    os.utime(notebook)
    content = json.loads(notebook.read_text())
    content["cells"][1]["execution_count"] = 7
    notebook.write_text(json.dumps(content))
    (project.root / "notebooks" / "beside.py").write_text("VALUE = 'new'\n")
    run, state = next(changes)  # of all these, the module's text alone
    assert '"notebooks/beside.py"' in state
    path.write_text("notebook: n\nsettings: {levle: 1}")
    assert next(changes) == (
        None,
        "params/s.yml: settings.levle: n.ipynb declares no such setting; did you mean 'level'?",
    )
    path.unlink()
    run, problem = next(changes)
    assert run is None
    assert problem.startswith("params/s.yml: ")
    path.write_text("notebook: n\nsettings: {level: 2}")
    assert next(changes)[0].settings == {"level": 2}
    path.write_text("notebook: regression\nsettings: {formula: Reaction ~ Dyas}")
    run, problem = next(changes)
    assert run is None
    assert "did you mean 'Days'" in problem


def test_the_command_follows_until_it_is_interrupted(project):
    process = project.start("preview", "s", "--no-open")
    folder = project.root / "reports" / "s" / "seed-3"

    def says(words):
        def there():
            assert process.poll() is None
            return words in ((read_summary(folder) or {}).get("headline") or "")

        return there

    wait_for(says(" old 1 "))
    wait_for((project.root / "reports" / "index.html").is_file)
    project.study("s", "notebook: n\nsettings: {level: 2}\nseeds: [3, 4]")
    wait_for(says(" old 2 "))
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert output.splitlines()[-1] == "Ended."
    assert "reports/s/seed-3/report.html is up to date" in output
    assert not (project.root / "reports" / "s" / "seed-4").exists()
    assert processes(project) == []


def test_interrupted_within_a_cell_it_leaves_nothing(project):
    begun, gate = project.root / "begun", project.root / "gate"
    cells = [
        nbformat.v4.new_code_cell("seed = 0\noutput = None", id="a"),
        nbformat.v4.new_code_cell(
            f"import time\nfrom pathlib import Path\n\nPath({str(begun)!r}).touch()\n"
            f"while not Path({str(gate)!r}).exists():\n    time.sleep(0.05)",
            id="b",
        ),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    path = project.root / "notebooks" / "waiting.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    project.study("s", "notebook: waiting")
    process = project.start("preview", "s", "--no-open")
    wait_for(begun.exists)
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[0].splitlines()[-1] == "Ended."
    assert process.returncode == 0
    assert leftovers(project) == []
    assert processes(project) == []


def test_the_page_is_opened_once(project, monkeypatch):
    opened = []
    states = iter([(first(project), ""), (None, "wrong"), (first(project), "")])

    def changes(root, path):
        yield from states
        raise KeyboardInterrupt

    monkeypatch.setattr(preview, "changes", changes)
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert preview.preview(project.root, "s") == 0
    assert opened == [(project.root / "reports/s/seed-3/report.html").as_uri()]


def test_of_no_study_it_says_so(project, capsys):
    assert main(["--root", str(project.root), "preview", "t"]) == 2
    assert "There is no study 't'" in capsys.readouterr().err
