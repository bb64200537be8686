"""What a run depends on: its notebook, the code that notebook reaches, its data, the lock.

Of this package a run depends on whole rooms (sub-packages): a room that is reached by an import,
however far, counts with all its files. So no change goes unseen because a module moved, or because
a room loads a file in a way that cannot be followed.

Everything here looks at contents, never at times, so that a clock that jumps or a file that is
only touched changes nothing.
"""

import ast
import hashlib
import importlib.machinery
import json
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from partialpool import EXPORTS
from partialpool.batch.integrity import damage
from partialpool.batch.project import PACKAGE, data_files, read_notebook, write
from partialpool.batch.runs import Run
from partialpool.data.paths import code
from partialpool.report.page import MAKERS
from partialpool.report.summaries import read_summary

#: The room that carries notebooks out: of it a run depends on the single files that its notebook
#: reaches, such as the one with `record`, and not on the whole.
CARRIER = "batch"
#: Stands for all of this package, where its use cannot be followed.
ALL = "*"


def dependencies(notebook: Path) -> list[Path]:
    """List the files whose code a notebook runs: of this package, and beside the notebook.

    Found without running anything: what the notebook's cells import, and what that imports in
    turn, inside functions too. A notebook that uses the package in a way that cannot be followed
    depends on all of it. A folder that is imported counts whole.

    Parameters
    ----------
    notebook : Path
        The notebook file.
    """
    trees, unclear = _cells(notebook)
    modules, ahead = map(set, _uses(trees))
    if unclear:  # IPython's own syntax somewhere: expect the worst
        modules.add(ALL)
        ahead.update(path.stem for path in notebook.parent.glob("*.py"))
    beside: set[Path] = set()
    while ahead:
        new = _beside(notebook.parent, ahead) - beside
        beside |= new
        found = [_uses_of_file(path.read_text(encoding="utf-8")) for path in _python(new)]
        modules.update(*(used for used, _ in found))
        ahead = set().union(*(names for _, names in found))
    return [*sorted(_reached(modules)), *sorted(beside)]


def _cells(notebook: Path) -> tuple[list[ast.Module], bool]:
    """The code of a notebook, and whether some of it could not be read as Python."""
    trees, unclear = [], False
    for cell in read_notebook(notebook):
        if cell["type"] == "code":
            lines = cell["source"].splitlines()
            text = "\n".join("" if x.lstrip().startswith(("%", "!", "?")) else x for x in lines)
            try:
                trees.append(ast.parse(text))
            except SyntaxError:
                unclear = True
    return trees, unclear


def _beside(folder: Path, names: Iterable[str]) -> set[Path]:
    """Files of the modules and packages of these names in a folder."""
    endings = importlib.machinery.all_suffixes()
    places = [folder / f"{name}{ending}" for name in names for ending in (*endings, "")]
    return {file for place in places if place.exists() for file in code(place)}


def _python(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix == ".py"]


@cache
def _uses_of_file(
    text: str, package: tuple[str, ...] | None = None
) -> tuple[frozenset[str], frozenset[str]]:
    try:
        return _uses([ast.parse(text)], package)
    except (SyntaxError, ValueError):
        return frozenset(), frozenset()  # it cannot run, which whoever imports it will say


def _uses(
    trees: list[ast.Module], package: tuple[str, ...] | None = None
) -> tuple[frozenset[str], frozenset[str]]:
    """What some code uses: modules of this package, and names of others that it imports.

    Parameters
    ----------
    trees : list of ast.Module
        Looked at as one: a notebook binds a name in one cell and uses it in others.
    package : tuple of str, optional
        Of this package's own code: the sub-packages that it lies in. Relative imports of other
        code stay in a folder that counts whole anyway.

    Returns
    -------
    frozenset of str
        Dotted names below ``partialpool``; `ALL` where they cannot be known.
    frozenset of str
        First parts of other modules' names.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules: set[str] = set()
    others: set[str] = set()
    aliases: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, _, rest = alias.name.partition(".")
                if first != "partialpool":
                    others.add(first)
                    continue
                modules.add(rest)
                if not rest or not alias.asname:
                    aliases.add(alias.asname or first)
        elif isinstance(node, ast.ImportFrom):
            parents: tuple[str, ...] = ()
            if node.level:
                if package is None:
                    continue
                parents = ("partialpool", *package)[: len(package) + 2 - node.level]
            name = ".".join([*parents, *filter(None, [node.module])])
            first, _, rest = name.partition(".")
            if first != "partialpool":
                others.add(first)
            elif rest:
                modules |= {f"{rest}.{alias.name}" for alias in node.names}
            else:
                modules |= {_behind(alias.name) for alias in node.names}
    followed = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in aliases and isinstance(node.ctx, ast.Load):
            name = followed.get(id(node), ALL)
            modules.add(_behind(name))
    return frozenset(modules), frozenset(others)


def _behind(name: str) -> str:
    """The module behind a name that the package itself gives."""
    if name in EXPORTS:
        return EXPORTS[name]
    known = name.startswith("__") or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
    return name if known else ALL


def _reached(modules: Iterable[str]) -> set[Path]:
    """Files of this package that some of its modules need, whole rooms at a time."""
    found: set[Path] = set()
    ahead = set(modules)
    if ahead:
        ahead.add("")  # whatever is imported, `partialpool/__init__.py` runs first
    done: set[Path] = set()
    while ahead:
        places = {place for name in ahead for place in _places(name)} - done
        done |= places
        new = {file for place in places for file in _files(place)} - found
        found |= new
        ahead = set()
        for path in _python(new):
            package = path.relative_to(PACKAGE).parts[:-1]
            ahead |= _uses_of_file(path.read_text(encoding="utf-8"), package)[0]
    return found


def _places(module: str) -> list[Path]:
    """What counts when a module is used: its room; the package's own files; or one file."""
    first = module.partition(".")[0]
    if module == ALL:
        return [PACKAGE, *(p for p in PACKAGE.iterdir() if p.is_dir() and p.name not in MAKERS)]
    if first in MAKERS:
        return []
    if not first or not (PACKAGE / first).is_dir():
        return [PACKAGE]
    if first != CARRIER or module == CARRIER:
        return [PACKAGE / first]
    parts = module.split(".")
    tries = [PACKAGE.joinpath(*parts[:k]).with_suffix(".py") for k in (len(parts), len(parts) - 1)]
    return [path for path in tries if path.is_file()][:1] or [PACKAGE / first]


def _files(place: Path) -> list[Path]:
    if place != PACKAGE:
        return code(place)
    own = [path for path in place.iterdir() if path.is_file()]
    return [f for p in own if p.name not in (*MAKERS, "__main__.py") for f in code(p)]


def input_files(run: Run) -> list[Path]:
    """List all files that a run depends on."""
    lock = run.root / "requirements.lock"
    locked = [lock] if lock.is_file() else []
    data = [file for value in run.data for file in data_files(value, run.root)]
    return [run.notebook, *dependencies(run.notebook), *dict.fromkeys(data), *locked]


def fingerprint(run: Run) -> dict[str, str]:
    """Map every input of a run to a digest of its content.

    The notebook counts by the code and text of its cells, so that executing it in JupyterLab
    changes nothing. Files in a store count by what the store says of their version.

    Raises
    ------
    OSError
        If data cannot be looked at.
    """
    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    digests = _Digests(run.root)
    for path in input_files(run):
        if path == run.notebook:
            digest = hashlib.sha256(json.dumps(read_notebook(path)).encode()).hexdigest()
        else:
            digest = digests.of(path)
        found[_name(path, run.root)] = digest
    digests.save()
    for value in run.data:
        if "://" in value:
            found |= _remote(value)
    return found


def _remote(url: str) -> dict[str, str]:
    """Marks of the parts at a URL; of none, for the run itself to say so."""
    from partialpool.data import reading

    try:
        parts = reading.find(url)
        return {part.filesystem.unstrip_protocol(part.path): part.mark for part in parts}
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever the library of some store raises
        raise OSError(f"{url} cannot be looked at ({type(error).__name__}: {error}).") from error


def _name(path: Path, root: Path) -> str:
    """A short name that does not depend on where the project or the package lies."""
    if path.is_relative_to(PACKAGE):
        return f"partialpool/{path.relative_to(PACKAGE).as_posix()}"
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def why_stale(run: Run, summary: dict[str, Any] | None, now: dict[str, str]) -> str:
    """Say why a run must be done (again); empty if it need not.

    Parameters
    ----------
    run : Run
        What is wanted.
    summary : dict or None
        What there is.
    now : dict
        The run's `fingerprint`.
    """
    if summary is None:
        return "new"
    if summary["status"] == "error":
        return "broke last time"
    if summary["settings"] != run.settings or summary["seed"] != run.seed:
        return "settings changed"
    if summary.get("expect") != run.expect:
        return "settings changed"
    then = summary["provenance"].get("inputs", {})
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    return f"{changed[0]} changed" if changed else ""


def why_redo(run: Run, now: dict[str, str] | None = None) -> str:
    """As `why_stale`, of what lies in the run's folder; and whether that is still whole."""
    summary = read_summary(run.folder)
    return why_stale(run, summary, now or fingerprint(run)) or damage(run.folder)


class _Digests:
    """SHA-256 of files; those of large ones are remembered by size, times and place.

    The time of change (ctime) is the system's own: an edit in place moves it, and nothing that
    sets the time of modification back can hide that. A file that changed just now may change again
    within the same tick of the clock, and is not remembered.
    """

    LARGE = 1_000_000
    SETTLED = 2_000_000_000  # nanoseconds

    def __init__(self, root: Path) -> None:
        self.store = root / ".cache" / "partialpool" / "digests.json"
        self.known: dict[str, list[Any]] | None = None
        self.changed = False

    def of(self, path: Path) -> str:
        stat = path.stat()
        if stat.st_size < self.LARGE:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        if self.known is None:
            try:
                self.known = json.loads(self.store.read_text())
            except (OSError, ValueError):
                self.known = None
            self.known = self.known if isinstance(self.known, dict) else {}
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        entry = self.known.get(str(path))
        if entry is None or entry[0] != mark:
            with path.open("rb") as file:
                entry = [mark, hashlib.file_digest(file, "sha256").hexdigest()]
            if time.time_ns() - stat.st_ctime_ns > self.SETTLED:
                self.known[str(path)] = entry
                self.changed = True
        return entry[1]

    def save(self) -> None:
        if self.changed:
            self.store.parent.mkdir(parents=True, exist_ok=True)
            write(self.store, json.dumps(self.known))
