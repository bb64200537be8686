"""Places and files on this machine: the package, the project, its caches; globs; whole writes."""

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

#: Where this package's own files lie.
PACKAGE = Path(__file__).resolve().parents[1]
#: What is remembered between runs of a project, seen from its folder; may be deleted at any time.
CACHE = Path(".cache", "partialpool")
#: Set in the environment of a kernel that does a run of a study: what it shows, it keeps.
KEEP = "PARTIALPOOL_KEEPS_FINDINGS"
#: In the environment of commands and kernels: the project that they are for.
PROJECT = "PARTIALPOOL_PROJECT"


def find_root(folder: Path | None = None) -> Path:
    """Find the project's folder, which holds ``notebooks/`` and ``params/``.

    Parameters
    ----------
    folder : Path, optional
        The project's folder itself; default is the current folder or the nearest above it that
        is one. In ``notebooks/`` it is the project that a kernel is for, whose ``notebooks/`` may
        be a link to another place.

    Raises
    ------
    FileNotFoundError
        If that is no project.
    """
    here = (folder or Path.cwd()).resolve()
    project = Path(os.environ.get(PROJECT, here))
    if folder is None and here.is_relative_to((project / "notebooks").resolve()):
        return project
    for place in (here, *(here.parents if folder is None else ())):
        if (place / "notebooks").is_dir() and (place / "params").is_dir():
            return place
    raise FileNotFoundError(
        f"{here} is {'no' if folder else 'in no'} project, which is a folder that holds notebooks/ "
        "and params/. Make one: partialpool init NAME; or name one: partialpool --root FOLDER ..."
    )


def cache_folder(name: str) -> Path | None:
    """A folder for what is remembered, in the project of the current folder; None outside one."""
    with contextlib.suppress(FileNotFoundError):
        return find_root() / CACHE / name
    return None


def is_glob(path: str) -> bool:
    """Whether a path, or a part of one, stands for any number of files."""
    return any(c in path for c in "*?[")


def files(source: str) -> list[str]:
    """List the files that a path, a folder or a glob stands for, sorted; links are followed.

    Parameters
    ----------
    source : str
        ``*`` stays within a folder, ``**`` goes through any number of them.
    """
    if not is_glob(source):
        return [source] if os.path.isfile(source) else sorted(_below(source))
    from fsspec.utils import glob_translate

    source = os.path.abspath(source)
    parts = PurePath(source).parts
    plain = next(k for k, part in enumerate(parts) if is_glob(part))
    depth = None if "**" in source else len(parts) - plain
    matches = re.compile(glob_translate(source)).match
    return sorted(path for path in _below(os.path.join(*parts[:plain]), depth) if matches(path))


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


def code(place: Path) -> list[Path]:
    """A file, or the files of a folder of code, but for caches and what is hidden."""
    found = []
    for path in map(Path, files(str(place))):
        names = path.relative_to(place.parent).parts
        if not any(name.startswith(".") or name == "__pycache__" for name in names):
            found.append(path)
    return found


def digest(files: Iterable[Path]) -> str:
    """Digest of files of this package: it changes with their places and with their content."""
    sums = hashlib.sha256()
    for path in files:
        sums.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode() + path.read_bytes())
    return sums.hexdigest()


def seen_from(folder: Path, path: Path) -> str:
    """A path as it is seen from a folder; whole where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def shown(path: Path) -> str:
    """A path as it is printed: as the current folder sees it, so that it can be opened so."""
    return seen_from(Path.cwd(), path)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; an empty one where there is none, or it was cut off."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
