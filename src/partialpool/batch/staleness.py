"""Whether a finished run is up to date and whole, and what it depends on.

That is its notebook, the code that notebook reaches, its data and the lock.

Of this package a run depends on whole rooms (sub-packages): a room that is reached by an import,
however far, counts with all its files. So no change goes unseen because a module moved, or because
a room loads a file in a way that cannot be followed.

Everything here looks at contents, never at times, so that a clock that jumps or a file that is
only touched changes nothing. A page or a thumbnail that is damaged or missing is made again from
notebook and summary; damage to any other file of a run is made good by doing the run again.
"""

import ast
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from partialpool import EXPORTS
from partialpool.batch.differences import differing
from partialpool.batch.notebooks import read_notebook, shipped
from partialpool.batch.runs import Run, data_files, read_summary
from partialpool.data import paths
from partialpool.data.paths import CACHE, PACKAGE, code
from partialpool.report import drawings, page
from partialpool.report.page import MAKERS

RECORD = "digests.json"
PAGE = "report.html"
#: Neither a result nor made from one.
LOG = "run.log"
#: What a wheel holds beside the code of the package.
SHIPPED = ("notebooks", "workflow")
#: Stands for all of this package, where its use cannot be followed.
ALL = "*"


def dependencies(notebook: Path) -> list[Path]:
    """List the files whose code a notebook runs: of this package, and beside the notebook.

    Found without running anything: what the notebook's cells import, and what that imports in
    turn, inside functions too. A notebook that uses the package in a way that cannot be followed
    depends on all of it. A folder that is imported counts whole.
    """
    text, unclear = _text(notebook)
    names = set(_imports(text))
    if unclear:  # IPython's own syntax somewhere: expect the worst
        names |= {f"partialpool.{ALL}", *(path.stem for path in notebook.parent.glob("*.py"))}
    beside: set[Path] = set()
    while new := _beside(notebook.parent, names) - beside:
        beside |= new
        names = names.union(*(_imports(path.read_text(encoding="utf-8")) for path in _python(new)))
    return [*sorted(_reached(names)), *sorted(beside)]


def modules(notebooks: Iterable[Path]) -> list[str]:
    """List the modules of this package that some notebooks name."""
    names = {name for path in notebooks for name in _imports(_text(path)[0])}
    found = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == "partialpool" and rest and ALL not in rest:
            module = f"partialpool.{EXPORTS.get(rest, rest)}"
            found |= {module, module.rpartition(".")[0]}
    return sorted(found - {"partialpool"})


def _text(notebook: Path) -> tuple[str, bool]:
    """The code of a notebook, and whether some of it could not be read as Python."""
    texts, unclear = [], False
    for cell in read_notebook(notebook):
        if cell["type"] == "code":
            lines = cell["source"].splitlines()
            text = "\n".join("" if x.lstrip().startswith(("%", "!", "?")) else x for x in lines)
            try:
                ast.parse(text)
                texts.append(text)
            except SyntaxError:
                unclear = True
    return "\n".join(texts), unclear


def _beside(folder: Path, names: Iterable[str]) -> set[Path]:
    """Files of the modules and packages in a folder that names stand for."""
    endings = importlib.machinery.all_suffixes()
    first = {name.partition(".")[0] for name in names} - {"partialpool"}
    places = [folder / f"{name}{ending}" for name in first for ending in (*endings, "")]
    return {file for place in places if place.exists() for file in code(place)}


def _python(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix == ".py"]


@cache
def _imports(text: str, package: str = "") -> frozenset[str]:
    """Dotted names of all that some code imports, or takes from `partialpool` itself.

    A notebook's cells count together, as one binds a name that others use. This package's own
    code says which sub-package it lies in; relative imports of other code stay in a folder that
    counts whole anyway. Use of this package that cannot be followed gives ``partialpool.*``.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return frozenset()  # it cannot run, which whoever imports it will say
    found: set[str] = set()
    bound: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            bound |= {
                alias.asname or "partialpool"
                for alias in node.names
                if alias.name.partition(".")[0] == "partialpool"
                and (alias.name == "partialpool" or not alias.asname)
            }
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            name = "." * node.level + (node.module or "")
            module = importlib.util.resolve_name(name, package)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    if not bound:
        return frozenset(found)
    nodes = list(ast.walk(tree))
    after = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in bound and isinstance(node.ctx, ast.Load):
            found.add(f"partialpool.{after.get(id(node), ALL)}")
    return frozenset(found)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements, in whichever block; most of a tree are expressions."""
    ahead = [tree]
    while ahead:
        yield (node := ahead.pop())
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            ahead += getattr(node, block, ())


def _reached(names: Iterable[str]) -> set[Path]:
    """Files of this package that some imports need, whole rooms at a time."""
    found: set[Path] = set()
    done: set[Path] = set()
    ahead = set(names)
    while places := {place for name in ahead for place in _places(name)} - done:
        done |= places
        new = {file for place in places for file in _files(place)} - found
        found |= new
        ahead = set()
        # What the package itself offers is loaded when it is used, and counts then: see `EXPORTS`.
        for path in _python(new - {PACKAGE / "__init__.py"}):
            package = ".".join(["partialpool", *path.relative_to(PACKAGE).parts[:-1]])
            ahead |= _imports(path.read_text(encoding="utf-8"), package)
    return found


def _places(name: str) -> list[Path]:
    """What counts when a name is imported: a room, with the package's own files; or nothing."""
    top, _, rest = name.partition(".")
    if top != "partialpool":
        return []
    module = EXPORTS.get(rest, rest)
    first = module.partition(".")[0]
    if first in MAKERS:
        return []
    if module.startswith(EXPORTS["record"]):  # the one file of its room that a notebook needs
        return [PACKAGE, PACKAGE.joinpath(*EXPORTS["record"].split(".")).with_suffix(".py")]
    if first and (PACKAGE / first).is_dir():
        return [PACKAGE, PACKAGE / first]
    if not first or first.startswith("__") or (PACKAGE / f"{first}.py").is_file():
        return [PACKAGE]
    aside = {*MAKERS, *SHIPPED}
    return [PACKAGE, *(p for p in PACKAGE.iterdir() if p.is_dir() and p.name not in aside)]


def _files(place: Path) -> list[Path]:
    if place != PACKAGE:
        return code(place)
    own = [path for path in place.iterdir() if path.is_file() and path.name != "__main__.py"]
    return [file for path in own for file in code(path)]


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
    if path.is_relative_to(shipped()):  # the same as a copy of it in the project
        return f"notebooks/{path.relative_to(shipped()).as_posix()}"
    if path.is_relative_to(PACKAGE):
        return f"partialpool/{path.relative_to(PACKAGE).as_posix()}"
    return paths.seen_from(root, path)


def why_stale(run: Run, summary: dict[str, Any] | None, now: dict[str, str]) -> str:
    """Say why a run with this summary and this `fingerprint` must be done (again), or nothing."""
    if summary is None:
        return "new"
    if summary["status"] == "error":
        return "broke last time"
    wanted = {"settings": run.settings, "seed": run.seed, "expect": run.expect}
    if any(summary.get(key) != value for key, value in wanted.items()):
        return "settings changed"
    then = summary["provenance"].get("inputs", {})
    changed = differing(then, now)
    return f"{changed[0]} changed" if changed else ""


def why_redo(run: Run, now: dict[str, str] | None = None) -> str:
    """As `why_stale`, of what lies in the run's folder; and whether that is still whole."""
    summary = read_summary(run.folder)
    return why_stale(run, summary, now or fingerprint(run)) or damage(run.folder)


def seal(folder: Path) -> None:
    """Keep the digests of all files of a finished run, in a file beside them."""
    files = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names = sorted(name for name in files if name not in (RECORD, LOG))
    digests = {name: _digest(folder / name) for name in names}
    paths.write(folder / RECORD, json.dumps(digests, indent=1))


def damage(folder: Path) -> str:
    """Name a file that only the run itself can make again and that is not as the run left it.

    Such as ``"posterior.nc damaged"``; empty if there is none.
    """
    kept = paths.read_mapping(folder / RECORD)
    if "summary.json" not in kept:
        return f"{RECORD} damaged"
    for name, digest in kept.items():
        if not _is_made_again(name) and _digest(folder / name) != digest:
            return f"{name} damaged"
    return ""


def refresh(run: Run) -> None:
    """Make page and thumbnail of a finished run again where they are not what they should be.

    That is where other code made them, where the study tells another story now, or where they are
    damaged.
    """
    folder = run.folder
    summary = read_summary(folder)
    if summary is None:
        return
    kept = paths.read_mapping(folder / RECORD)
    made = {PAGE, summary.get("thumbnail") or PAGE, *filter(_is_made_again, kept)}
    whole = all(_digest(folder / name) == kept.get(name) for name in made)
    if whole and page.is_current(folder / PAGE, run.story):
        return
    import nbformat

    from partialpool.report import exporter

    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    drawings.write_thumbnail(notebook, folder)
    text = exporter.render(notebook, summary, str(run.notebook.parent), run.story)
    paths.write(folder / PAGE, text)
    if kept:  # else it is not known whether the other files are whole
        kept |= {name: _digest(folder / name) for name in made}
        paths.write(folder / RECORD, json.dumps(kept, indent=1))


def _is_made_again(name: str) -> bool:
    return name == PAGE or name.startswith("thumbnail.")


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    with contextlib.suppress(OSError):
        return _sha256(path)
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Digests:
    """SHA-256 of files; those of large ones are remembered by size, times and place.

    The time of change (ctime) is the system's own: an edit in place moves it, and nothing that
    sets the time of modification back can hide that. A file that changed just now may change again
    within the same tick of the clock, and is not remembered.
    """

    LARGE = 1_000_000
    SETTLED = 2_000_000_000  # nanoseconds

    def __init__(self, root: Path) -> None:
        self.store = root / CACHE / "digests.json"
        self.stored = paths.read_mapping(self.store)
        self.known = dict(self.stored)

    def of(self, path: Path) -> str:
        stat = path.stat()
        if stat.st_size < self.LARGE:
            return _sha256(path)
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        entry = self.known.get(str(path), [None, ""])
        if entry[0] != mark:
            entry = [mark, _sha256(path)]
            if time.time_ns() - stat.st_ctime_ns > self.SETTLED:
                self.known[str(path)] = entry
        return str(entry[1])

    def save(self) -> None:
        if self.known != self.stored:
            paths.write(self.store, json.dumps(self.known))
