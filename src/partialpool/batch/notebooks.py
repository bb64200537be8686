"""The notebooks as files: opened in JupyterLab, and checked before they are committed."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from partialpool.batch import project
from partialpool.batch.execute import environment


def lab(root: Path, extra: list[str]) -> None:
    """Replace this process by JupyterLab on ``notebooks/``, whose kernel is this very Python."""
    folder = root / ".cache" / "jupyter"
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (partialpool)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    (kernel / "kernel.json").write_text(json.dumps(spec))
    # Kernels found through this variable come before those that a person or system installed.
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("JUPYTER_PATH")]))
    own = {"JUPYTER_PATH": path, "PYTHONPATH": str(project.PACKAGE.parent)}
    if os.environ.get("PYTHONPATH"):
        own["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    env = os.environ | environment(root) | own
    words = ["-m", "jupyterlab", f"--ServerApp.root_dir={root / 'notebooks'}", *extra]
    os.execve(sys.executable, [sys.executable, *words], env)


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
    if content.get("metadata", {}).get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not 'python3'")
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
        tags: dict[str, Any] = {k: v for k, v in cell.get("metadata", {}).items() if k == "tags"}
        cell["metadata"] = tags
    content["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    content["nbformat"], content["nbformat_minor"] = 4, 5
    project.write(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def check(root: Path, *, fix: bool = False) -> int:
    """Check all notebooks of ``notebooks/`` and ``tests/``; return how many are not as they should.

    Parameters
    ----------
    root : Path
        The project's folder.
    fix : bool
        Put them right instead.
    """
    paths = [
        p for folder in ("notebooks", "tests/notebooks") for p in (root / folder).glob("*.ipynb")
    ]
    bad = 0
    for path in sorted(paths):
        found = problems(path)
        if found and fix:
            strip(path)
            found = problems(path)
        if found:
            bad += 1
            print(f"{path.relative_to(root)}: {'; '.join(found)}.", file=sys.stderr)
    if bad:
        print("python -m partialpool notebooks --fix puts that right.", file=sys.stderr)
    else:
        print(f"{len(paths)} notebooks are clean.")
    return bad
