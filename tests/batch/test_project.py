"""A project of one's own: made at once or not at all; shipped notebooks, used or copied."""

import importlib.metadata
import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

from partialpool.__main__ import main
from partialpool.batch import notebooks, project, staleness, study_file
from partialpool.batch.runs import Run
from partialpool.data import paths


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a space and an umlaut in its path, to stand in."""
    folder = tmp_path / "eigene Läufe"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def root(here):
    assert main(["init", "wages"]) == 0
    return here / "wages"


def test_init_makes_a_project_and_says_how_to_go_on(here, capsys):
    assert main(["init", "wages"]) == 0
    assert capsys.readouterr().out == "Made a project in wages. Next: cd wages && make report\n"
    root = here / "wages"
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == {
        *("Makefile", "README.md", "environment.yml", "requirements.txt", ".gitignore"),
        *(
            "params/plants.yml",
            "params/.schema.json",
            "data/plants.csv",
            "notebooks/README.md",
            "reports/.gitkeep",
        ),
        ".github/workflows/reports.yml",
    }
    assert [path.name for path in here.iterdir()] == ["wages"]
    assert (root / "README.md").read_text().startswith("# wages\n")
    named = (root / "notebooks" / "README.md").read_text()
    for path in notebooks.shipped().glob("*.ipynb"):
        assert f"\n- `{path.stem}`: {notebooks.title(path)}\n" in named
    version = importlib.metadata.version("partialpool")
    assert (root / "requirements.txt").read_text().endswith(f"\npartialpool=={version}\n")
    [run] = study_file.plan(root, study_file.find(root))
    assert run.notebook == notebooks.shipped() / "regression.ipynb"
    for name in ("environment.yml", ".github/workflows/reports.yml"):
        assert yaml.safe_load((root / name).read_text())


def test_init_in_the_current_folder(here, capsys):
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "Made a project in this folder. Next: make report\n"
    assert (here / "params" / "plants.yml").is_file()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_init_refuses_what_is_there(here, capsys, kind):
    there = here / "wages"
    if kind == "folder":
        there.mkdir()
        there /= "thesis.tex"
    there.write_text("mine")
    assert main(["init", "wages"]) == 2
    said = capsys.readouterr()
    assert said.err == "wages is not an empty folder; name a new one: partialpool init NAME.\n"
    assert said.out == ""
    assert [path for path in here.rglob("*") if path.is_file()] == [there]
    assert there.read_text() == "mine"


@pytest.mark.parametrize("name", ["wages", "new/wages", "."])
def test_init_that_ends_half_way_leaves_nothing(here, capsys, monkeypatch, name):
    written = []

    def full(path, content):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        paths.write(path, content)

    monkeypatch.setattr(project, "write", full)
    assert main(["init", name]) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_make_lists_what_it_can_do(root):
    if shutil.which("make") is None:
        pytest.skip("make is not installed.")
    said = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    for word in ("report", "lab", "verify", "check", "preview", "schema", "clean"):
        assert f"make {word} " in said


def command(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make(root: Path, *words: str) -> str:
    """What make prints where the only commands beside the system's are in ``bin/``."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed.")
    env = {"PATH": f"{root.parent / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run(
        ["make", *words], cwd=root, env=env, capture_output=True, text=True, check=True
    ).stdout


def test_make_uses_the_environment_one_stands_in_wherever_that_lies(root):
    command(root.parent / "bin" / "partialpool", 'echo mine: "$@"')
    assert make(root, "report", "STUDY=plants") == "mine: report plants\n"
    said = make(root, "lab", "LAB_ARGS=--no-browser --ip 127.0.0.1")
    assert said == "mine: lab -- --no-browser --ip 127.0.0.1\n"


@pytest.mark.parametrize(
    ("found", "reached", "taken"),
    [
        (["3.12", "3.13", "3.14"], True, "--no-python-downloads --python 3.13"),
        (["3.12", "3.14"], True, "--no-python-downloads --python 3.12"),
        (["3.14"], True, "--python 3.13"),
        (["3.14"], False, "--no-python-downloads --python 3.14"),
        ([], True, "--python 3.13"),
    ],
)
def test_make_takes_a_python_that_is_here_and_else_fetches_one(root, found, reached, taken):
    """And never the newest there is, for which some package may be missing."""
    works = [f"'--no-python-downloads --python {version}'" for version in found]
    works += ["'--python 3.13 .venv'"] * reached
    new = ".venv/bin/partialpool"
    command(
        root.parent / "bin" / "uv",
        f'echo "$@" >> uv.log\nif [ $1 = venv ]; then\n'
        f'case "$4 $5 $6" in {" | ".join(works)}) exit 0;; *) exit 1;; esac\nfi\n'
        f"mkdir -p .venv/bin; echo echo new: '\"$@\"' > {new}; chmod +x {new}",
    )
    assert make(root, "check").splitlines()[-1] == "new: check"
    tried = [line.split() for line in (root / "uv.log").read_text().splitlines()]
    assert tried[-1][:2] == ["pip", "install"]
    assert tried[-2] == ["venv", "--quiet", "--allow-existing", *taken.split(), ".venv"]


def test_make_keeps_what_uv_leaves_among_temporary_files_in_the_project(root):
    command(
        root.parent / "bin" / "uv",
        'if [ $1 = pip ]; then mkdir -p .venv/bin; : > "$TMPDIR/lock"\n'
        "echo exit > .venv/bin/partialpool; chmod +x .venv/bin/partialpool; fi",
    )
    make(root, "check")
    assert (root / ".venv" / "lock").is_file()


def test_make_that_finds_and_fetches_no_python_says_what_uv_said(root):
    command(root.parent / "bin" / "uv", "echo no Python can be fetched >&2; exit 2")
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        make(root, "check")
    assert "no Python can be fetched" in stopped.value.stderr
    assert not (root / ".venv" / "bin").exists()


def test_eject_copies_a_notebook_with_its_modules_and_changes_no_result(root, capsys, monkeypatch):
    monkeypatch.chdir(root / "data")  # from anywhere in the project
    (root / "params" / "o.yml").write_text("notebook: origin")
    [run] = study_file.plan(root, [root / "params" / "o.yml"])
    before = staleness.fingerprint(run)
    assert main(["eject", "origin"]) == 0
    copies = [root / "notebooks" / name for name in ("origin.ipynb", "origin_questions.py")]
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"Copied to {copies[0]}, {copies[1]}."
    [run] = study_file.plan(root, [root / "params" / "o.yml"])
    assert run.notebook == copies[0]
    assert staleness.fingerprint(run) == before
    copies[1].write_text(copies[1].read_text() + "# mine\n")
    assert staleness.why_stale(run, {"status": "passed", **_asked(run, before)}, now(run)) == (
        "notebooks/origin_questions.py changed"
    )


def _asked(run: Run, inputs: dict[str, str]) -> dict:
    asked = {"settings": run.settings, "seed": run.seed, "expect": run.expect}
    return asked | {"provenance": {"inputs": inputs}}


def now(run):
    return staleness.fingerprint(run)


def test_eject_refuses_to_overwrite_and_names_the_closest(root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    mine = root / "notebooks" / "origin_questions.py"
    mine.write_text("mine = 1\n")
    assert main(["eject", "origin"]) == 2
    says = "notebooks/origin_questions.py is there already; rename it, or remove it.\n"
    assert capsys.readouterr().err == says
    assert mine.read_text() == "mine = 1\n"
    assert not (root / "notebooks" / "origin.ipynb").exists()
    assert main(["eject", "regresion"]) == 2
    assert "did you mean 'regression'" in capsys.readouterr().err


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Shipped notebooks of our own: one that imports a module beside it."""
    folder = tmp_path / "package" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.setattr(notebooks, "shipped", lambda: folder)
    monkeypatch.setattr(staleness, "shipped", lambda: folder)
    (folder / "beside.py").write_text("where = 'beside the shipped notebook'\n")
    cells = [
        nbformat.v4.new_code_cell("data = None\nseed = 0\noutput = None", id="a"),
        nbformat.v4.new_code_cell("from pathlib import Path\nimport beside", id="b"),
        nbformat.v4.new_code_cell(
            "text = f'{beside.where}, {Path.cwd().name}, {Path(data).read_text()}'\n"
            "import partialpool as pp\n"
            "verdict = {'status': 'passed', 'checks': []}\n"
            "pp.record(None, verdict, output, headline=text)",
            id="c",
        ),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "says.ipynb")
    return folder


def test_a_shipped_notebook_runs_in_the_project_beside_its_own_modules(package, root):
    """Also where the project has a module of the same name."""
    from partialpool.batch import execute

    before = sorted(package.iterdir())
    (root / "notebooks" / "beside.py").write_text("where = 'elsewhere'\n")
    (root / "data" / "x.csv").write_text("1")
    (root / "params" / "s.yml").write_text("notebook: says\nsettings: {data: data/x.csv}")
    [run] = study_file.plan(root, [root / "params" / "s.yml"])
    summary = execute.execute(run)
    assert summary["error"] is None
    assert summary["headline"] == "beside the shipped notebook, notebooks, 1"
    inputs = summary["provenance"]["inputs"]
    assert {"notebooks/says.ipynb", "notebooks/beside.py", "data/x.csv"} <= inputs.keys()
    assert not any(str(package) in name for name in inputs)
    assert staleness.why_redo(run) == ""
    staleness.refresh(run)
    assert [p for p in sorted(package.iterdir()) if p.name != "__pycache__"] == before
    content = json.loads((package / "says.ipynb").read_text())
    content["cells"][2]["source"] += "\n# changed"
    (package / "says.ipynb").write_text(json.dumps(content))
    assert staleness.why_redo(run) == "notebooks/says.ipynb changed"


def test_a_folder_of_notebooks_that_is_a_link_keeps_what_runs_write_in_the_project(root):
    """From where the link leads, ``..`` and the nearest project are others than from the link."""
    from partialpool.batch import execute

    other = project.make(root.parent / "other")
    (root / "notebooks" / "README.md").unlink()
    (root / "notebooks").rmdir()
    (root / "notebooks").symlink_to(other / "notebooks")
    cells = [
        nbformat.v4.new_code_cell("data = None\nseed = 0\noutput = None", id="a"),
        nbformat.v4.new_code_cell(
            "import partialpool as pp\n"
            "rows = pp.load(data + '/*.csv')\n"
            "pp.Model('height ~ week + (1 | plant)', rows)\n"
            "pp.record(None, {'status': 'passed', 'checks': []}, output)",
            id="b",
        ),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "reads.ipynb")
    (root / "params" / "s.yml").write_text("notebook: reads\nsettings: {data: data/}")
    before = sorted(other.rglob("*"))
    [run] = study_file.plan(root, [root / "params" / "s.yml"])
    summary = execute.execute(run)
    assert summary["error"] is None
    assert (run.folder / "report.html").is_file()
    assert any((root / paths.CACHE / "parts").iterdir())
    assert sorted(other.rglob("*")) == before


def test_a_notebook_of_the_project_comes_before_the_shipped_one(package, root):
    shutil.copy(package / "says.ipynb", own := root / "notebooks" / "says.ipynb")
    assert notebooks.available(root) == {"says": own}


def test_paths_are_printed_as_the_current_folder_sees_them(root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    (root / "params" / "wrong.yml").write_text("notebook: nosuch")
    assert main(["report", "wrong"]) == 2
    assert capsys.readouterr().err.startswith("params/wrong.yml: notebook: ")
    monkeypatch.chdir(root / "data")
    assert main(["report", "wrong"]) == 2
    assert capsys.readouterr().err.startswith(f"{root}/params/wrong.yml: notebook: ")
    monkeypatch.chdir(root)
    assert main(["index"]) == 0
    assert Path(capsys.readouterr().out.strip()) == Path("reports/index.html")
