"""Whether the files of a finished run are still what the run left: a digest of each is kept.

A page or a thumbnail that is damaged or missing is made again from notebook and summary; damage to
anything else can only be made good by doing the run again.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat

from partialpool.data.paths import write
from partialpool.report import drawings, page, summaries

RECORD = "digests.json"
PAGE = "report.html"
#: Neither a result nor made from one.
LOG = "run.log"


def seal(folder: Path) -> None:
    """Keep the digests of all files of a finished run, in a file beside them."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in (RECORD, LOG))
    digests = {name: _digest(folder / name) for name in names}
    write(folder / RECORD, json.dumps(digests, indent=1))


def damage(folder: Path) -> str:
    """Name a file that only the run itself can make again and that is not as the run left it.

    Returns
    -------
    str
        Such as ``"posterior.nc damaged"``; empty if there is none.
    """
    kept = _kept(folder)
    if "summary.json" not in kept:
        return f"{RECORD} damaged"
    for name, digest in kept.items():
        if not _is_made_again(name) and _digest(folder / name) != digest:
            return f"{name} damaged"
    return ""


def refresh(folder: Path) -> bool:
    """Make page and thumbnail of a finished run again if other code made them, or if damaged.

    Returns
    -------
    bool
        Whether there was something to do.
    """
    summary = summaries.read_summary(folder)
    if summary is None:
        return False
    kept = _kept(folder)
    made = {PAGE, summary.get("thumbnail") or PAGE, *filter(_is_made_again, kept)}
    whole = all(_digest(folder / name) == kept.get(name) for name in made)
    if whole and page.made_by(folder / PAGE) == page.version():
        return False
    from partialpool.report import exporter

    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    drawings.write_thumbnail(notebook, folder)
    text = exporter.render(notebook, summary, str(folder.parents[2] / "notebooks"))
    write(folder / PAGE, text)
    if kept:  # else it is not known whether the other files are whole
        kept |= {name: _digest(folder / name) for name in made}
        write(folder / RECORD, json.dumps(kept, indent=1))
    return True


def _is_made_again(name: str) -> bool:
    return name == PAGE or name.startswith("thumbnail.")


def _kept(folder: Path) -> dict[str, Any]:
    try:
        kept = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
