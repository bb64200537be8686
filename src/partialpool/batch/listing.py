"""What the index shows: the runs that present studies define, and what changed since the last one.

It lists every run that a present study defines: those of ``params/``, and those of other studies
(``params/long/``, or files elsewhere) that have results or were just asked for. Folders of runs
that no study defines any more stay on disk but are not shown.

What the index showed last stands beside it in ``index.json``. The file is replaced only when
something has changed, so that a report with nothing to do still shows what the one before it did.
Dates come from the runs themselves.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partialpool.batch import study_file
from partialpool.batch.runs import Run, read_summary
from partialpool.data import paths
from partialpool.posterior.agreement import distance, explained
from partialpool.report import index
from partialpool.report.page import estimate

#: A file written by another version of this module is as good as none.
VERSION = 1
#: Most names in a list of what changed.
NAMES = 3


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
    found = [(run, read_summary(run.folder)) for run in collect(root, asked)[0]]
    changed = update(reports, found)
    changed["groups"] = groups(changed["changes"])
    return index.write(reports, found, changed)


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


def update(reports: Path, found: Iterable[tuple[Run, dict[str, Any] | None]]) -> dict[str, Any]:
    """Compare all runs with what the last index showed, and remember them.

    Parameters
    ----------
    reports : Path
        The folder of the index.
    found : iterable of (Run, dict or None)
        All runs and their summaries.

    Returns
    -------
    dict
        ``first``, whether there was nothing to compare with; ``changes``, a list of mappings with
        ``study``, ``run``, ``kind`` ("new", "repeated" or "removed"), ``why``, ``verdict`` and
        ``estimates``; and ``date``, when the last of these runs started.
    """
    path = reports / "index.json"
    runs = {run.label: _state(run, summary) for run, summary in found if summary is not None}
    then = paths.read_mapping(path)
    known = then.get("version") == VERSION
    if known and then["runs"] == runs:
        return then
    changes = compare(then["runs"], runs) if known else []
    labels = [f"{change['study']}/{change['run']}" for change in changes]
    started = [runs[label]["started"] for label in labels if label in runs]
    now = {
        "version": VERSION,
        "first": not known,
        "date": max(started, default=None),
        "changes": changes,
        "runs": runs,
    }
    paths.write(path, json.dumps(now, ensure_ascii=False))
    return now


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


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the changes from one set of runs to another.

    An estimate counts as changed when its two means are further apart than Monte Carlo error
    explains for as many comparisons as there are, or when there is no such error.
    """
    repeated = [label for label in now if label in then and then[label] != now[label]]
    pairs = sum(len(then[x]["estimates"].keys() & now[x]["estimates"].keys()) for x in repeated)
    limit = explained(pairs)
    changes = []
    for label, new in now.items():
        change = {"study": new["study"], "run": new["run"], "status": new["status"]}
        change |= {"why": "", "verdict": None}
        if label not in then:
            changes.append(change | {"kind": "new", "estimates": []})
        elif label in repeated:
            old = then[label]
            change |= {"kind": "repeated", "why": why(old, new)}
            if old["status"] != new["status"]:
                change["verdict"] = [old["status"], new["status"]]
            moved = _moved(old["estimates"], new["estimates"], limit)
            changes.append(change | {"estimates": moved})
    for label in then.keys() - now.keys():
        gone = {key: then[label][key] for key in ("study", "run", "status")}
        changes.append(gone | {"kind": "removed", "why": "", "verdict": None, "estimates": []})
    return sorted(changes, key=lambda change: (change["study"], change["run"]))


def why(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say why a run was done again: what is different in what it was made from.

    Examples
    --------
    >>> old = {"status": "passed", "settings": {"n": 10}, "inputs": {}, "expect": None, "data": ""}
    >>> why(old, old | {"settings": {"n": 20}})
    'settings changed: n'
    """
    reasons = ["it broke last time"] if old["status"] == "error" else []
    settings = _different(old["settings"], new["settings"])
    settings += ["expect"] if old["expect"] != new["expect"] else []
    kinds = {"settings": settings, "code": [], "notebook": [], "data": []}
    for name in _different(old["inputs"], new["inputs"]):
        if name in ("requirements.lock", "python"):
            reasons.append(f"{'packages' if name != 'python' else 'Python'} changed")
        else:
            kinds[_kind(name)].append(name.rsplit("/", 1)[-1])
    if old["data"] != new["data"] and not kinds["data"] and old["data"] and new["data"]:
        reasons.append("data changed")
    reasons += [f"{kind} changed: {_some(names)}" for kind, names in kinds.items() if names]
    return "; ".join(reasons) or "asked for once more"


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _kind(name: str) -> str:
    if name.endswith(".py"):
        return "code"
    return "notebook" if name.endswith(".ipynb") else "data"


def _some(names: list[str]) -> str:
    rest = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _moved(old: Mapping[str, Any], new: Mapping[str, Any], limit: float) -> list[dict[str, Any]]:
    moved = []
    for name in new:
        if name in old and (far := distance(old[name], new[name])) > limit:
            figures = {
                key: estimate(state[name], "mean") or "–"
                for key, state in (("old", old), ("new", new))
            }
            known = bool(old[name]["mcse_mean"] and new[name]["mcse_mean"])
            moved.append({"name": name, **figures, "errors": far if known else None})
    return moved


def groups(changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put runs of a study together whose change is the same; those with other results first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for change in changes:
        told = bool(change["verdict"] or change["estimates"])
        key = (change["study"], change["kind"], change["why"], change["run"] if told else "")
        group = found.setdefault(key, dict(change) | {"runs": [], "told": told})
        group["runs"].append(change["run"])
    return sorted(found.values(), key=lambda group: not group["told"])
