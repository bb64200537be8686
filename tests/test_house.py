"""The laws of the house: which room may know which, what a file may be, and what is public."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import partialpool as pp

PACKAGE = Path(pp.__file__).parent
#: From the bottom to the top; a room imports from those before it, and the door from all.
ROOMS = ("data", "design", "fit", "posterior", "simulation", "plots", "report", "batch")
NUMERIC = ("data", "design", "fit", "posterior", "simulation")
#: What each room must not import, wherever in a file.
FORBIDDEN = {
    **{room: {"matplotlib", "seaborn", "arviz_plots", "bs4", "nbconvert"} for room in NUMERIC},
    "report": {"matplotlib", "numpy", "scipy", "pandas", "xarray"},
    "batch": {"matplotlib", "seaborn"},
}
#: Rooms of which `report` may know: it turns notebooks into pages and knows no statistics.
REPORT_KNOWS = {
    "data.text",
    "data.paths",
    "data.files",
    "plots.palette",
    "plots.study_answer",
    "plots.study_plots",
}
PUBLIC = {"load", "Model", "Fit", "Finding", "record", "new_study", "Form", "plots", "simulation"}


def imports(path, package):
    """What a file imports: pairs of dotted name and whether it happens when the file is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                below = package / Path(*module.split(".")[1:]) / f"{alias.name}.py"
                is_module = module.startswith("partialpool") and below.is_file()
                yield f"{module}.{alias.name}" if is_module else module, id(node) not in inside


def files(package):
    return [p for p in sorted(package.rglob("*.py")) if p.name != "__init__.py"]


def own_name(path, package):
    return ".".join(path.relative_to(package).with_suffix("").parts)


def violations(package):
    """Sentences on every import that the laws forbid."""
    found, edges = [], {}
    for path in files(package):
        name = own_name(path, package)
        room = name.split(".")[0] if "." in name else ""
        for imported, _ in imports(path, package):
            top, _, rest = imported.partition(".")
            if top != "partialpool":
                if top in FORBIDDEN.get(room, ()):
                    found.append(f"{name} imports {top}")
                if top == "pymc" and room != "fit":
                    found.append(f"{name} imports {top}")
                continue
            if not rest:
                continue
            edges.setdefault(name, set()).add(rest)
            other = rest.split(".")[0]
            if room and other not in ROOMS:
                found.append(f"{name} imports the door: {rest}")
            elif room and ROOMS.index(other) > ROOMS.index(room):
                found.append(f"{name} imports upwards: {rest}")
            elif room == "report" and other != "report" and rest not in REPORT_KNOWS:
                found.append(f"{name} imports {rest}")
    return found + [f"circle: {' -> '.join(circle)}" for circle in circles(edges)]


def circles(edges):
    """Circles among files, each once."""
    found, done = [], set()

    def walk(name, way):
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for other in sorted(edges.get(name, ())):
                walk(other, [*way, name])
            done.add(name)

    for name in sorted(edges):
        walk(name, [])
    return found


def test_imports_go_downwards_only():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("data/columns.py", "from partialpool.fit import exact", "imports upwards: fit.exact"),
        ("fit/kernels.py", "import matplotlib.pyplot as plt", "fit.kernels imports matplotlib"),
        ("posterior/draws.py", "from partialpool.model import Model", "imports the door: model"),
        ("posterior/draws.py", "import pymc as pm", "posterior.draws imports pymc"),
        ("data/paths.py", "def f():\n    from partialpool.data import tables", "circle: "),
        ("report/index.py", "from partialpool.posterior import checks", "imports posterior.checks"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, file, line, says):
    copy = tmp_path / "partialpool"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    assert any(says in found for found in violations(copy))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_begins_with_its_law_alone(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    assert ast.get_docstring(tree).count("\n") == 0


def test_rooms_are_all_there_is():
    assert {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()} == set(ROOMS)
    assert {p.name for p in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "model.py"}


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda p: own_name(p, PACKAGE))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_public_names_are_those_listed():
    assert set(dir(pp)) == PUBLIC
    assert len(PUBLIC) <= 15
    for name in PUBLIC:
        assert getattr(pp, name) is not None


@pytest.mark.parametrize("room", ["plots", "simulation"])
def test_an_open_room_offers_its_functions(room):
    names = dir(getattr(pp, room))
    assert names
    for name in names:
        assert callable(getattr(getattr(pp, room), name))


def loaded(code):
    """Modules that are loaded after `code` ran in a fresh process."""
    line = f"import sys\n{code}\nprint(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import partialpool",
        "import partialpool.batch.study_file, partialpool.batch.batch, partialpool.report.index",
    ],
)
def test_the_first_word_comes_quickly(code):
    """Neither the package nor the command line waits for what only fits and pages need."""
    heavy = {"pymc", "pytensor", "numba", "matplotlib", "scipy", "pandas", "xarray", "nutpie"}
    assert loaded(code) & heavy == set()
