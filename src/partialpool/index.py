"""The index over all runs: what there is, what broke, and what the estimates are.

It lists every run that a present study defines: those of ``params/``, and those of other studies
(``params/long/``, or files elsewhere) that have results or were just asked for. Folders of runs
that no study defines any more stay on disk but are not shown.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from partialpool import changes, page, sources, studyfile
from partialpool.runs import Run
from partialpool.summaries import read_summary, reason

#: Broken first.
ORDER = ("error", "failed", "missing", "warned", "passed")
#: Most estimates shown per run.
MAX_ESTIMATES = 4


def collect(root: Path, asked: Iterable[Run] = ()) -> list[Run]:
    """List the runs that the index shows."""
    found = {run.label: run for run in asked}
    first, _ = studyfile.known(root)
    done = sorted((root / "reports").glob("*/*/summary.json"))
    files = list(first)
    for path in done:
        summary = read_summary(path.parent)
        name = summary["provenance"].get("study_file", "") if summary else ""
        if name and (root / name).is_file() and (root / name) not in files:
            files.append(root / name)
    for file in files:
        try:
            runs = studyfile.plan(root, [file])
        except studyfile.StudyError:
            continue  # told to whoever runs it; its results are still on disk
        for run in runs:
            found.setdefault(run.label, run)
    return list(found.values())


def is_bad(run: Run, summary: dict[str, Any] | None) -> bool:
    """Say whether a run makes a report end with a non-zero status."""
    if summary is None or summary["status"] == "error":
        return True
    return summary["status"] == "failed" and run.expect != "failed"


def write(root: Path, asked: Iterable[Run] = ()) -> Path:
    """Write ``reports/index.html`` unless it is as it should be.

    Returns
    -------
    Path
        The index.
    """
    target = root / "reports" / "index.html"
    runs = collect(root, asked)
    ended = {run.label: summary for run in runs if (summary := read_summary(run.folder))}
    text = render(root, runs, changes.since(root, ended))
    try:
        if target.read_text(encoding="utf-8") == text:
            return target
    except (OSError, UnicodeDecodeError):
        pass
    target.parent.mkdir(exist_ok=True)
    sources.write(target, text)
    return target


def render(root: Path, runs: Iterable[Run], changed: list[dict[str, str]] | None = None) -> str:
    """Make the index of some runs, with what `changes.since` says of them."""
    studies: dict[str, dict[str, Any]] = {}
    for run in runs:
        summary = read_summary(run.folder)
        study = studies.setdefault(
            run.study,
            {
                "name": run.study,
                "title": run.study,
                "notebook": run.notebook.stem,
                "expect": run.expect,
                "settings": {k: v for k, v in run.settings.items() if k not in run.swept},
                "swept": list(run.swept),
                "estimates": [],
                "runs": [],
            },
        )
        study["runs"].append(_row(run, summary))
        if summary is not None:
            study["title"] = summary.get("title") or run.study
            for name in summary["estimates"]:
                if name not in study["estimates"] and len(study["estimates"]) < MAX_ESTIMATES:
                    study["estimates"].append(name)
    for study in studies.values():
        study["runs"].sort(key=lambda row: (not row["bad"], ORDER.index(row["status"])))
        study["pictures"] = any(row["thumbnail"] for row in study["runs"])
        study["page"] = (root / "reports" / study["name"] / "index.html").exists()
        study["bad"] = sum(row["bad"] for row in study["runs"])
        _add_strips(study)
    rows = [row for study in studies.values() for row in study["runs"]]
    counts = {s: n for s in ORDER if (n := sum(row["status"] == s for row in rows))}
    return (
        page.environment()
        .get_template("index.html.j2")
        .render(
            studies=sorted(studies.values(), key=lambda study: (not study["bad"], study["name"])),
            bad=[row for row in rows if row["bad"]],
            total=len(rows),
            counts=counts,
            changed=changed or [],
            example=_example(studies.values()),
            style=page.asset("style.css"),
            own_style=page.asset("index.css"),
            script=page.asset("index.js"),
        )
    )


def _example(studies: Iterable[dict[str, Any]]) -> str:
    """A condition on an estimate that some run meets."""
    for study in studies:
        for row in study["runs"]:
            for name in study["estimates"]:
                low = (row["parameters"].get(name) or {}).get("q05")
                if low is not None and not set(name) & set(" <>="):
                    return f"{name}>{low:.3g}"
    return ""


def _add_strips(study: dict[str, Any]) -> None:
    """Place each interval between the lowest and the highest of its study, in per cent."""
    for name in study["estimates"] if len(study["runs"]) > 1 else ():
        found = [row["parameters"].get(name) or {} for row in study["runs"]]
        ends = [p[q] for p in found for q in ("q05", "q95") if p.get(q) is not None]
        if len(ends) < 4 or min(ends) == max(ends):
            continue
        for row, p in zip(study["runs"], found, strict=True):
            if p.get("q05") is not None:
                low, mid, high = (
                    100 * (p[q] - min(ends)) / (max(ends) - min(ends))
                    for q in ("q05", "mean", "q95")
                )
                row["strips"][name] = {"left": low, "width": high - low, "at": min(mid, 99)}


def _row(run: Run, summary: dict[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": run.name,
        "label": run.label,
        "folder": f"{run.study}/{run.name}",
        "settings": {key: run.settings[key] for key in run.swept},
        "seed": run.seed,
        "status": "missing",
        "bad": is_bad(run, summary),
        "why": "has not run to its end yet",
        "note": "",
        "parameters": {},
        "strips": {},
        "seconds": None,
        "thumbnail": None,
        "headline": None,
    }
    if summary is None:
        return row
    if summary["settings"] != run.settings:
        row["note"] = "made with earlier settings"
    elif run.expect == "failed":
        as_said = summary["status"] == "failed"
        row["note"] = "as expected" if as_said else "was expected to fail"
    return row | {
        "status": summary["status"],
        "why": reason(summary),
        "parameters": summary["parameters"],
        "seconds": summary["seconds"]["total"],
        "thumbnail": summary.get("thumbnail"),
        "headline": summary.get("headline"),
    }
