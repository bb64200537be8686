"""The runs that the index lists, and those that no study defines any more.

It lists every run that a present study defines: those of ``params/``, and those of other studies
(``params/long/``, or files elsewhere) that have results or were just asked for. Folders of runs
that no study defines any more stay on disk but are not shown.
"""

from collections.abc import Iterable
from pathlib import Path

from partialpool.batch import changes, study_file
from partialpool.batch.runs import Run
from partialpool.report import index
from partialpool.report.summaries import read_summary


def write_index(root: Path, asked: Iterable[Run] = ()) -> Path:
    """Write ``reports/index.html``, with what changed since it was written last.

    Parameters
    ----------
    root : Path
        The project's folder.
    asked : iterable of Run
        Listed in any case.

    Returns
    -------
    Path
        The index.
    """
    reports = root / "reports"
    found = [(run, read_summary(run.folder)) for run in collect(root, asked)]
    changed = changes.update(reports, found)
    changed["groups"] = changes.groups(changed["changes"])
    return index.write(reports, found, changed)


def collect(root: Path, asked: Iterable[Run] = ()) -> list[Run]:
    """List the runs that the index shows."""
    return _collect(root, asked)[0]


def _collect(root: Path, asked: Iterable[Run]) -> tuple[list[Run], set[str]]:
    """The runs of all present studies, and the names of studies that cannot be read."""
    found = {run.label: run for run in asked}
    unread = set()
    first, second = study_file.known(root)
    done = _finished(root)
    names = {folder.parent.name for folder in done}
    files = [*first, *(file for file in second if file.stem in names)]
    for folder in done:
        summary = read_summary(folder) or {}
        name = summary.get("provenance", {}).get("study_file", "")
        if name and (root / name).is_file() and (root / name) not in files:
            files.append(root / name)
    for file in files:
        try:
            runs = study_file.plan(root, [file])
        except study_file.StudyError:
            unread.add(file.stem)
            continue  # told to whoever runs it; its results are still on disk
        for run in runs:
            found.setdefault(run.label, run)
    return list(found.values()), unread


def _finished(root: Path) -> list[Path]:
    """Folders of all finished runs."""
    return [path.parent for path in sorted((root / "reports").glob("*/*/summary.json"))]


def leftover(root: Path, asked: Iterable[Run] = ()) -> list[Path]:
    """Folders of finished runs that no study defines any more."""
    runs, unread = _collect(root, asked)
    there = {run.folder for run in runs}
    return [f for f in _finished(root) if f not in there and f.parent.name not in unread]
