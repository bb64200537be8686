"""What changed since the last report: new runs, repeated ones and why, verdicts and estimates.

What the index showed last stands beside it in ``index.json``. The file is replaced only when
something has changed, so that a report with nothing to do still shows what the one before it did.
Dates come from the runs themselves.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partialpool.batch.runs import Run
from partialpool.data import paths
from partialpool.posterior.agreement import distance, explained
from partialpool.report.summaries import estimate

#: A file written by another version of this module is as good as none.
VERSION = 1
#: Most names in a list of what changed.
NAMES = 3


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
    then = _read(path)
    if then is not None and then["runs"] == runs:
        return then
    changes = [] if then is None else compare(then["runs"], runs)
    started = [runs[label]["started"] for change in changes if (label := _label(change)) in runs]
    now = {
        "version": VERSION,
        "first": then is None,
        "date": max(started, default=None),
        "changes": changes,
        "runs": runs,
    }
    paths.write(path, json.dumps(now, ensure_ascii=False))
    return now


def _read(path: Path) -> dict[str, Any] | None:
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return then if isinstance(then, dict) and then.get("version") == VERSION else None


def _label(change: Mapping[str, Any]) -> str:
    return f"{change['study']}/{change['run']}"


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
