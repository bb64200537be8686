"""What a run depends on: its notebook, the modules that notebook uses, its data, the lock.

Everything here looks at contents, never at times, so that a clock that jumps or a file that is
only touched changes nothing.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from partialpool import EXPORTS
from partialpool.sources import PACKAGE, data_files, read_notebook, write


def dependencies(notebook: Path) -> list[Path]:
    """List the files whose code a notebook runs: modules of this package, and neighbours.

    Found without running anything: the names that the notebook takes from the package, the
    modules they live in, and what those import in turn, inside functions too. A notebook that
    uses the package in a way that cannot be followed depends on all of it.

    Parameters
    ----------
    notebook : Path
        The notebook file.
    """
    trees, modules = [], set()
    for cell in read_notebook(notebook):
        if cell["type"] != "code":
            continue
        lines = cell["source"].splitlines()
        code = "\n".join("" if x.lstrip().startswith(("%", "!", "?")) else x for x in lines)
        try:
            trees.append(ast.parse(code))
        except SyntaxError:  # IPython's own syntax somewhere: expect the worst
            if "partialpool" in code or "pp." in code:
                modules |= set(_package_modules())
    neighbours = set()
    for tree in trees:
        modules |= _modules_used(tree)
        for name in _imported(tree):
            for candidate in (f"{name}.py", f"{name}/__init__.py"):
                if (notebook.parent / candidate).is_file():
                    neighbours.add(notebook.parent / candidate)
    modules |= _attributes_used(trees)
    return sorted(map(_module_file, _closure(modules))) + sorted(neighbours)


@cache
def _package_modules() -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")))


def _module_file(name: str) -> Path:
    return PACKAGE / f"{name}.py"


def _imported(tree: ast.AST) -> Iterator[str]:
    """First parts of the names of all absolutely imported modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _modules_used(tree: ast.AST) -> set[str]:
    """Modules of this package that a piece of code imports, wherever it does so."""
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name.split(".")[1] for a in node.names if a.name.startswith("partialpool.")]
            used |= set(names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # from . import x, from .x import y
                module = f"partialpool.{module}".rstrip(".")
            if module == "partialpool":
                for alias in node.names:
                    used |= set(_package_modules()) if alias.name == "*" else {alias.name}
            elif module.startswith("partialpool."):
                used.add(module.split(".")[1])
    return {EXPORTS.get(name, name) for name in used}


def _attributes_used(trees: list[ast.Module]) -> set[str]:
    """Modules behind every ``pp.<name>`` of a notebook; all, if ``pp`` is used in another way.

    The name is bound in one cell and used in others, so all cells are looked at as one.
    """
    aliases = {
        alias.asname or "partialpool"
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "partialpool"
        or (alias.name.startswith("partialpool.") and not alias.asname)
    }
    used: set[str] = set()
    for tree in trees:
        nodes = list(ast.walk(tree))
        followed = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if isinstance(node, ast.Name) and node.id in aliases and isinstance(node.ctx, ast.Load):
                name = followed.get(id(node))
                used |= set(_package_modules()) if name is None else {EXPORTS.get(name, name)}
    return used


@cache
def _module_imports(name: str) -> frozenset[str]:
    return frozenset(_modules_used(ast.parse(_module_file(name).read_text(encoding="utf-8"))))


def _closure(modules: set[str]) -> set[str]:
    found: set[str] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        if name not in found and _module_file(name).is_file():
            found.add(name)
            ahead += _module_imports(name)
    return found


def input_files(notebook: Path, data: Any, root: Path) -> list[Path]:
    """List all files that a run depends on."""
    lock = root / "requirements.lock"
    locked = [lock] if lock.is_file() else []
    return [notebook, *dependencies(notebook), *data_files(data, root), *locked]


def fingerprint(notebook: Path, data: Any, root: Path) -> dict[str, str]:
    """Map every input of a run to a digest of its content.

    The notebook counts by the code and text of its cells, so that executing it in JupyterLab
    changes nothing.
    """
    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    digests = _Digests(root)
    for path in input_files(notebook, data, root):
        if path == notebook:
            digest = hashlib.sha256(json.dumps(read_notebook(path)).encode()).hexdigest()
        else:
            digest = digests.of(path)
        found[_name(path, root)] = digest
    digests.save()
    return found


def _name(path: Path, root: Path) -> str:
    """A short name that does not depend on where the project or the package lies."""
    if path.is_relative_to(PACKAGE):
        return f"partialpool/{path.relative_to(PACKAGE).as_posix()}"
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


class _Digests:
    """SHA-256 of files; those of large ones are remembered by size and time of change."""

    LARGE = 1_000_000

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
                self.known = {}
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        entry = self.known.get(str(path))
        if entry is None or entry[0] != mark:
            with path.open("rb") as file:
                entry = [mark, hashlib.file_digest(file, "sha256").hexdigest()]
            self.known[str(path)] = entry
            self.changed = True
        return entry[1]

    def save(self) -> None:
        if self.changed:
            self.store.parent.mkdir(parents=True, exist_ok=True)
            write(self.store, json.dumps(self.known))
