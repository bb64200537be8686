"""What changed since the last report: runs that are new, done again or gone, and what came of them.

The index keeps a snapshot of what it showed beside itself. A report that does nothing leaves it as
it is, so that the changes of the last one that did something stay to be read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialpool import sources

#: Difference of two posterior means, in Monte Carlo errors, that is more than chance.
MOVED = 4.0
#: Most parameters kept of a run.
MOST = 12


def since(root: Path, summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Changes of the last report that changed something; remembers what there is now.

    Parameters
    ----------
    root : Path
        The project's folder.
    summaries : mapping
        Label of each run that ended -> its summary.

    Returns
    -------
    list of dict
        Each with ``label``, ``kind`` ("new", "again" or "gone") and ``what``, in words.
    """
    place = root / "reports" / "index.json"
    before = _read(place)
    now = {label: _snapshot(summary) for label, summary in summaries.items()}
    if before is not None and before["runs"] == now:
        return before["changes"]
    changes = [] if before is None else compare(before["runs"], now)
    place.parent.mkdir(exist_ok=True)
    text = json.dumps({"runs": now, "changes": changes}, ensure_ascii=False)
    sources.write(place, text)
    return changes


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, str]]:
    """Differences of two snapshots, runs that came to another verdict first."""
    changes = []
    for label, run in now.items():
        if label not in before:
            changes.append({"label": label, "kind": "new", "what": run["status"]})
        elif before[label]["started"] != run["started"]:
            what = f"{_cause(before[label], run)}; {_outcome(before[label], run)}"
            changes.append({"label": label, "kind": "again", "what": what})
    changes += [
        {"label": label, "kind": "gone", "what": "no study defines it any more"}
        for label in before.keys() - now.keys()
    ]
    return sorted(
        changes, key=lambda c: ("→" not in c["what"], "moved" not in c["what"], c["label"])
    )


def _snapshot(summary: Mapping[str, Any]) -> dict[str, Any]:
    provenance = summary["provenance"]
    figures = {
        name: [
            summary["parameters"][name].get("mean"),
            summary["parameters"][name].get("mcse_mean"),
        ]
        for name in summary["estimates"][:MOST]
        if name in summary["parameters"]
    }
    return {
        "status": summary["status"],
        "started": provenance["started"],
        "settings": summary["settings"],
        "data": provenance.get("data_sha256"),
        "inputs": provenance.get("inputs", {}),
        "figures": figures,
    }


def _cause(before: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Why a run was done again."""
    keys = {*before["settings"], *run["settings"]}
    settings = [k for k in sorted(keys) if before["settings"].get(k) != run["settings"].get(k)]
    if settings:
        return f"{', '.join(settings)} changed"
    if before["data"] != run["data"]:
        return "the data changed"
    files = {*before["inputs"], *run["inputs"]}
    changed = [f for f in sorted(files) if before["inputs"].get(f) != run["inputs"].get(f)]
    if not changed:
        return "done again"
    more = f" and {len(changed) - 2} more" if len(changed) > 2 else ""
    return f"{', '.join(changed[:2])}{more} changed"


def _outcome(before: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """What came of doing a run again: its verdict, or the estimate that moved most."""
    if before["status"] != run["status"]:
        return f"{before['status']} → {run['status']}"
    farthest, name = 0.0, ""
    same = bool(run["figures"])
    for parameter, (mean, error) in run["figures"].items():
        old_mean, old_error = before["figures"].get(parameter, (None, None))
        if None in (mean, error, old_mean, old_error):
            continue
        same &= mean == old_mean
        distance = abs(mean - old_mean) / max(math.hypot(error, old_error), 1e-300)
        if distance > farthest:
            farthest, name = distance, parameter
    if farthest > MOVED:
        old, new = before["figures"][name][0], run["figures"][name][0]
        return f"{name} moved from {old:.4g} to {new:.4g}, {farthest:.1f} Monte Carlo errors"
    return "the same numbers" if same else "estimates within Monte Carlo error"


def _read(place: Path) -> dict[str, Any] | None:
    """The snapshot; None where there is none that can be read."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        return found if {"runs", "changes"} <= found.keys() else None
    except (OSError, ValueError, AttributeError):
        return None
