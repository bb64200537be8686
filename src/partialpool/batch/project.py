"""A project of one's own: made in an empty folder, and given copies of shipped notebooks."""

import contextlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path

from partialpool.batch import notebooks, schema, staleness
from partialpool.data.paths import shown, write
from partialpool.data.text import closest

#: What a new project holds; ``dot-`` in a name stands for the dot of a hidden file.
TEMPLATE = Path(__file__).parent / "template"


def make(folder: Path) -> Path:
    """Make a project in a folder, which appears with everything in it or not at all.

    Parameters
    ----------
    folder : Path
        A new folder, or an empty one.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    FileExistsError
        If there is something in it already.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(
            f"{shown(folder)} is not an empty folder; name a new one: partialpool init NAME."
        )
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".partialpool-", dir=folder) as draft:
            _fill(Path(draft), folder.name)
            schema.write_schema(Path(draft))
            for path in Path(draft).iterdir():
                path.rename(folder / path.name)
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for place in missing:
            place.rmdir()
        raise
    return folder


def _fill(folder: Path, name: str) -> None:
    """Write what a new project of some name holds."""
    facts = {"name": name, "version": ""}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # the source alone
        facts["version"] = f"=={importlib.metadata.version('partialpool')}"
    shipped = sorted(notebooks.shipped().glob("*.ipynb"))
    facts["notebooks"] = "\n".join(f"- `{path.stem}`: {notebooks.title(path)}" for path in shipped)
    for path in filter(Path.is_file, sorted(TEMPLATE.rglob("*"))):
        if "__pycache__" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for key, value in facts.items():
            text = text.replace(f"{{{{ {key} }}}}", value)
        write(folder / path.relative_to(TEMPLATE).as_posix().replace("dot-", "."), text)


def eject(root: Path, name: str) -> list[Path]:
    """Copy a shipped notebook, and the modules beside it that it imports, into ``notebooks/``.

    Raises
    ------
    ValueError
        If there is no such notebook, or one of the files is there already.
    """
    folder, home = notebooks.shipped(), root / "notebooks"
    names = [path.stem for path in sorted(folder.glob("*.ipynb"))]
    name = name.removesuffix(".ipynb")
    if name not in names:
        hint = closest(name, names) or f"; there are {', '.join(names)}."
        raise ValueError(f"No notebook {name!r} comes with partialpool{hint}")
    path = folder / f"{name}.ipynb"
    beside = [p for p in staleness.dependencies(path) if p.is_relative_to(folder)]
    copies = {home / p.relative_to(folder): p for p in (path, *beside)}
    for copy in copies:
        if copy.exists():
            raise ValueError(f"{shown(copy)} is there already; rename it, or remove it.")
    for copy, original in reversed(copies.items()):  # the notebook last: then it is complete
        write(copy, original.read_bytes())
    return list(copies)
