"""What the index shows: the runs that present studies define, and what changed since the last one.

It lists every run that a present study defines: those of ``params/``, and those of other studies
(``params/long/``, or files elsewhere) that have results or were just asked for. Folders of runs
that no study defines any more stay on disk but are not shown.

What the index showed last stands beside it in ``index.json``. The file is replaced only when
something has changed, so that a report with nothing to do still shows what the one before it did.
Dates come from the runs themselves.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from partialpool.batch import differences, study_file
from partialpool.batch.runs import Run, read_summary
from partialpool.data import paths
from partialpool.report import index

#: A file written by another version of this module is as good as none.
VERSION = 1


def collect(root: Path, asked: Iterable[Run] = ()) -> tuple[list[Run], list[Path]]:
    """List the runs that the index shows, and folders of finished runs that no study defines."""
    found = {run.label: run for run in asked}
    unread = set()
    first, second = study_file.known(root)
    done = [path.parent for path in sorted((root / "reports").glob("*/*/summary.json"))]
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
    there = {run.folder for run in found.values()}
    left = [f for f in done if f not in there and f.parent.name not in unread]
    return list(found.values()), left


def write_index(root: Path, shown: Iterable[Run] | None = None) -> Path:
    """Write ``reports/index.html``, with what changed since it was written last.

    Parameters
    ----------
    root : Path
        The project's folder.
    shown : iterable of Run, optional
        Default is what `collect` finds.
    """
    reports = root / "reports"
    runs = collect(root)[0] if shown is None else shown
    found = [(run, read_summary(run.folder)) for run in runs]
    changed = update(reports / "index.json", found)
    changed["groups"] = differences.groups(changed["changes"])
    text = index.render(reports, found, changed)
    target = reports / "index.html"
    if not target.is_file() or target.read_bytes() != text.encode():
        paths.write(target, text)
    return target


def update(path: Path, found: index.Found) -> dict[str, Any]:
    """Compare all runs with what the last index showed, and remember them.

    Parameters
    ----------
    path : Path
        Where they are remembered.
    found : iterable of (Run, dict or None)
        All runs and their summaries.

    Returns
    -------
    dict
        ``first``, whether there was nothing to compare with; ``changes``, a list of mappings with
        ``study``, ``run``, ``kind`` ("new", "repeated" or "removed"), ``why``, ``verdict`` and
        ``estimates``; and ``date``, when the last of these runs started.
    """
    runs = {run.label: _state(run, summary) for run, summary in found if summary is not None}
    then = paths.read_mapping(path)
    if then.get("digest") != _digest(then):  # another program's, or cut
        then = {}
    known = then.get("version") == VERSION
    if known and then["runs"] == runs:
        return then
    changes = differences.changes(then["runs"], runs) if known else []
    labels = [f"{change['study']}/{change['run']}" for change in changes]
    started = [runs[label]["started"] for label in labels if label in runs]
    now = {
        "version": VERSION,
        "first": not known,
        "date": max(started, default=None),
        "changes": changes,
        "runs": runs,
    }
    now["digest"] = _digest(now)
    paths.write(path, json.dumps(now, ensure_ascii=False))
    return now


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of all but the digest itself."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _state(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """What a later report needs to know of a run."""
    shown = ("mean", "sd", "mcse_mean")
    provenance = summary["provenance"]
    return {
        "study": run.study,
        "run": run.name,
        "started": provenance["started"],
        "status": summary["status"],
        "settings": summary["settings"],
        "expect": summary.get("expect"),
        "inputs": {name: digest[:16] for name, digest in provenance.get("inputs", {}).items()},
        "data": provenance.get("data_sha256"),
        "estimates": {
            name: {key: summary["parameters"][name].get(key) for key in shown}
            for name in summary["estimates"]
            if name in summary["parameters"]
        },
    }
