"""What numba keeps of compiled loops on disk, and when that is of no use any more."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

#: Modules of this folder that a source takes something from.
TAKES = re.compile(r"^from partialpool\.fit\.(\w+) import", re.MULTILINE)


def forget_stale(folder: Path) -> None:
    """Remove the compiled loops of modules that take others in, which have changed since.

    numba compiles a loop again where its own file has changed, and looks at no other.

    Parameters
    ----------
    folder : Path
        Of the sources; numba's files lie in its ``__pycache__``.
    """
    sources = {source.stem: source for source in folder.glob("*.py")}
    takes = {
        stem: {*TAKES.findall(source.read_text(encoding="utf-8"))} & {*sources}
        for stem, source in sources.items()
    }
    for file in folder.glob("__pycache__/*.nbi"):
        stem = file.name.partition(".")[0]
        with contextlib.suppress(OSError):  # another process has done it, or nobody may
            read = [sources[name] for name in _all(stem, takes) if name in sources]
            changed = max((source.stat().st_mtime for source in read), default=0.0)
            if file.stat().st_mtime < changed:
                file.unlink()


def _all(stem: str, takes: Mapping[str, set[str]]) -> set[str]:
    """A module, and all that it takes something from, directly or not."""
    found, new = {stem}, {stem}
    while new:
        new = {other for one in new for other in takes.get(one, ())} - found
        found |= new
    return found
