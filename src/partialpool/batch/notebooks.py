"""Notebooks: the parameters they declare, and how they are committed, with docs/studies.md."""

import ast
import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from partialpool.data.paths import PACKAGE, write
from partialpool.design.priors import FAMILIES

#: Settings that every notebook declares and that only the batch fills in.
RESERVED = {"seed": "list seeds under `seeds`", "output": "the batch chooses it"}
#: Stands for a default that is an expression rather than a value; accepts any setting.
UNKNOWN = object()
#: Beginning of the line of docs/studies.md below which it is generated.
MARK = "<!-- From here on"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def shipped() -> Path:
    """The folder of the notebooks that come with this package: in the wheel, or the repository."""
    inside = PACKAGE / "notebooks"
    return inside if inside.is_dir() else PACKAGE.parents[1] / "notebooks"


def available(root: Path) -> dict[str, Path]:
    """Notebooks by name: those of a project, and shipped ones where it has none of that name."""
    folders = shipped(), root / "notebooks"
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.ipynb"))}


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
    tagged = [cell for cell in cells if "parameters" in cell["tags"] and cell["type"] == "code"]
    if len(tagged) != 1:
        raise ValueError(f"needs exactly one cell tagged 'parameters', and has {len(tagged)}")
    try:
        tree = ast.parse(tagged[0]["source"])
    except SyntaxError as error:
        raise ValueError(f"its cell tagged 'parameters' is not Python ({error.msg})") from error
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            try:
                default = ast.literal_eval(node.value)
            except ValueError:
                default = UNKNOWN
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: default for target in targets if isinstance(target, ast.Name)}
    return found


def trees(cells: Iterable[dict[str, Any]]) -> Iterator[ast.Module]:
    """Syntax trees of the code cells that are Python alone, without IPython's own syntax."""
    for cell in cells:
        if cell["type"] == "code":
            with contextlib.suppress(SyntaxError):
                yield ast.parse(cell["source"])


def imports(cells: Iterable[dict[str, Any]]) -> str:
    """The import statements of a notebook."""
    nodes = [node for tree in trees(cells) for node in tree.body]
    return "\n".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))


def settings(path: Path) -> dict[str, tuple[Any, str]]:
    """The settings that a notebook leaves to studies: default and comment of each.

    Raises
    ------
    ValueError
        If it is no notebook, or declares none.
    """
    import papermill

    declared = parameters(read_notebook(path))
    said = papermill.inspect_notebook(path)
    return {
        name: (value, re.sub(r"\bNone\b", "null", said[name]["help"] if name in said else ""))
        for name, value in declared.items()
        if name not in RESERVED
    }


def title(path: Path) -> str:
    """The first line of a notebook."""
    return read_notebook(path)[0]["source"].partition("\n")[0].removeprefix("# ")


def problems(path: Path) -> list[str]:
    """Say what keeps a notebook from being committed: outputs, counts, missing or double ids."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = content["cells"]
    except (ValueError, KeyError) as error:
        return [f"is not a readable notebook ({error})"]
    found = []
    with_output = [n for n, cell in enumerate(cells, 1) if cell.get("outputs")]
    if with_output:
        found.append(f"cell {with_output[0]} has outputs")
    if any(cell.get("execution_count") for cell in cells):
        found.append("cells have execution counts")
    ids = [cell.get("id") for cell in cells]
    if None in ids or len(set(ids)) != len(ids):
        found.append("cells have no ids of their own")
    if content.get("metadata", {}).get("kernelspec", {}).get("name") != KERNEL["name"]:
        found.append(f"its kernel is not {KERNEL['name']!r}")
    return found


def strip(path: Path) -> None:
    """Take out what does not belong into a commit; code, text, tags and ids stay."""
    content = json.loads(path.read_text(encoding="utf-8"))
    taken: set[str] = set()
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if cell.get("id") is None or cell["id"] in taken:
            cell["id"] = f"cell-{number}"
        taken.add(cell["id"])
        cell["metadata"] = {k: v for k, v in cell.get("metadata", {}).items() if k == "tags"}
    content["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    content["nbformat"], content["nbformat_minor"] = 4, 5
    write(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def studies_markdown(root: Path) -> str:
    """The text of ``docs/studies.md``: its own upper part, then the priors and every setting."""
    text = (root / "docs" / "studies.md").read_text(encoding="utf-8")
    frame, mark, rest = text.partition(MARK)
    parts = [frame + mark + rest.partition("\n")[0], "| for a | families |\n|---|---|"]
    for kind in dict.fromkeys(kind for _, kind in FAMILIES.values()):
        families = (
            f"`{family}({', '.join(arguments)})`"
            for family, (arguments, its_kind) in FAMILIES.items()
            if its_kind == kind
        )
        parts[-1] += f"\n| {kind} | {', '.join(families)} |"
    parts.append("## Settings\n\nOf each notebook, with the defaults.")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        lines = [
            f"  {_as_yaml(name, value)}  # {says}" for name, (value, says) in settings(path).items()
        ]
        block = "\n".join(["```yaml", f"notebook: {path.stem}", "settings:", *lines, "```"])
        parts.append(f"### {path.stem}\n\n{title(path)}.\n\n{block}")
    return "\n\n".join(parts) + "\n"


def _as_yaml(name: str, value: Any) -> str:
    """``name: value`` on one line."""
    inside = yaml.safe_dump({name: value}, default_flow_style=True, width=10**6)
    return inside.strip()[1:-1]


def check(root: Path, *, fix: bool = False) -> int:
    """Check all notebooks, and that ``docs/studies.md`` lists their settings as they are.

    Parameters
    ----------
    root : Path
        The project's folder.
    fix : bool
        Put them right instead.

    Returns
    -------
    int
        How many files are not as they should be.
    """
    folders = ("notebooks", "tests/notebooks")
    paths = sorted(p for folder in folders for p in (root / folder).glob("*.ipynb"))
    bad = []
    for path in paths:
        if problems(path) and fix:
            strip(path)
        if found := problems(path):
            bad.append(f"{path.relative_to(root)}: {'; '.join(found)}.")
    listed = root / "docs" / "studies.md"
    if listed.exists() and listed.read_text(encoding="utf-8") != (text := studies_markdown(root)):
        if fix:
            write(listed, text)
        else:
            bad.append("docs/studies.md: settings or priors have changed since.")
    if bad:
        print("\n".join(bad), file=sys.stderr)
        print("python -m partialpool notebooks --fix puts that right.", file=sys.stderr)
    else:
        print(f"{len(paths)} notebooks are clean.")
    return len(bad)
