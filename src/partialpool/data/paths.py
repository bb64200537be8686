"""Files of a folder or a glob on this machine: through symbolic links, every folder once."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

MAGIC = "*?["


def files(source: str) -> list[str]:
    """List the files that a path, a folder or a glob stands for, sorted.

    Parameters
    ----------
    source : str
        ``*`` stays within a folder, ``**`` goes through any number of them.
    """
    if not any(c in source for c in MAGIC):
        return [source] if os.path.isfile(source) else sorted(_below(source))
    from fsspec.utils import glob_translate

    source = os.path.abspath(source)
    parts = PurePath(source).parts
    plain = next(k for k, part in enumerate(parts) if any(c in part for c in MAGIC))
    depth = None if "**" in source else len(parts) - plain
    matches = re.compile(glob_translate(source)).match
    return sorted(path for path in _below(os.path.join(*parts[:plain]), depth) if matches(path))


def code(place: Path) -> list[Path]:
    """A file, or the files of a folder of code, but for caches and what is hidden."""
    found = []
    for path in map(Path, files(str(place))):
        names = path.relative_to(place.parent).parts
        if not any(name.startswith(".") or name == "__pycache__" for name in names):
            found.append(path)
    return found


def _below(folder: str, depth: int | None = None) -> Iterator[str]:
    """Files in a folder and those below it; a link back to where one came from ends there."""
    seen = set()
    start = len(PurePath(folder).parts)
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.join(here, name) for name in names)
        folders.sort()
        if depth is not None and len(PurePath(here).parts) - start + 1 >= depth:
            folders.clear()
