"""The index over all runs: what there is, what broke, and what the estimates are.

It lists every run that a present study defines: those of ``params/``, and those of other studies
(``params/long/``, or files elsewhere) that have results or were just asked for. Folders of runs
that no study defines any more stay on disk but are not shown.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partialpool.batch import study_file
from partialpool.batch.runs import Run
from partialpool.data.paths import write as write_file
from partialpool.report import changes, page
from partialpool.report.summaries import read_summary, reason

#: Broken first.
ORDER = ("error", "failed", "missing", "warned", "passed")
#: Most estimates shown per run.
MAX_ESTIMATES = 4
#: Length and margin of the strips that compare an estimate over a study's runs, in pixels.
STRIP, EDGE = 104, 5


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
    found = [(run, read_summary(run.folder)) for run in collect(root, asked)]
    text = render(root, found, changes.update(root / "reports", found))
    try:
        if target.read_text(encoding="utf-8") == text:
            return target
    except (OSError, UnicodeDecodeError):
        pass
    target.parent.mkdir(exist_ok=True)
    write_file(target, text)
    return target


def render(
    root: Path,
    found: Iterable[tuple[Run, dict[str, Any] | None]],
    changed: Mapping[str, Any] | None = None,
) -> str:
    """Make the index of some runs.

    Parameters
    ----------
    root : Path
        The project's folder.
    found : iterable of (Run, dict or None)
        The runs and their summaries.
    changed : mapping, optional
        From `changes.update`.
    """
    changed = changed or {"first": True, "changes": [], "date": None}
    kinds = {(c["study"], c["run"]): c["kind"] for c in changed["changes"]}
    studies: dict[str, dict[str, Any]] = {}
    for run, summary in found:
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
        study["runs"].append(_row(run, summary) | {"kind": kinds.get((run.study, run.name))})
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
        for name in study["estimates"]:
            _compare(study["runs"], name)
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
            changed=changed,
            groups=changes.groups(changed["changes"]),
            rest=len(rows) - sum(row["kind"] is not None for row in rows),
            example=_example(studies.values()),
            strip=STRIP,
            style=page.asset("style.css"),
            own_style=page.asset("index.css"),
            script=page.asset("index.js", "scroll.js"),
        )
    )


def _compare(rows: Iterable[dict[str, Any]], name: str) -> None:
    """Give runs the ends, the mean and the true value of an estimate on a scale they share."""
    shown = []
    for row in rows:
        figures = row["parameters"].get(name, {})
        values = {key: figures.get(key) for key in ("q05", "mean", "q95")}
        if None not in values.values():
            shown.append((row, values | {"true": row["truth"].get(name)}))
    if len(shown) < 2:
        return
    points = [value for _, values in shown for value in values.values() if value is not None]
    low, high = min(points), max(points)
    scale = (STRIP - 2 * EDGE) / ((high - low) or 1)
    for row, values in shown:
        row["strips"][name] = {
            key: None if value is None else round(EDGE + (value - low) * scale, 1)
            for key, value in values.items()
        }


def _example(studies: Iterable[dict[str, Any]]) -> str | None:
    """A condition that finds some of the runs, to show how one is written."""
    for study in sorted(studies, key=lambda study: -len(study["runs"])):
        for name in study["estimates"]:
            means = [row["parameters"].get(name, {}).get("mean") for row in study["runs"]]
            known = sorted(mean for mean in means if mean is not None)
            if known and not set(name) & set(' "<>=') and name != "Intercept":
                rough = float(f"{known[len(known) // 2]:.1g}")
                return f"{name} {'>' if known[-1] > rough else '<='} {rough:g}"
    return None


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
        "truth": {},
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
        "truth": summary.get("truth", {}),
        "seconds": summary["seconds"]["total"],
        "thumbnail": summary.get("thumbnail"),
        "headline": summary.get("headline"),
    }
