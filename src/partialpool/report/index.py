"""The index over all runs: what there is, what broke, and what the estimates are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partialpool.data import paths
from partialpool.report import page
from partialpool.report.summaries import reason

#: Runs (see `partialpool.batch.runs.Run`), and their summaries where there are any.
Found = Iterable[tuple[Any, dict[str, Any] | None]]
#: Broken first.
ORDER = ("error", "failed", "missing", "warned", "passed")
#: Most estimates shown per run.
MAX_ESTIMATES = 4
#: Length and margin of the strips that compare an estimate over a study's runs, in pixels.
STRIP, EDGE = 104, 5


def is_bad(run: Any, summary: dict[str, Any] | None) -> bool:
    """Say whether a run makes a report end with a non-zero status."""
    if summary is None or summary["status"] == "error":
        return True
    return summary["status"] == "failed" and run.expect != "failed"


def write(reports: Path, found: Found, changed: Mapping[str, Any] | None = None) -> Path:
    """Write ``index.html`` into the folder of all reports, unless it is as it should be.

    Returns
    -------
    Path
        The index.
    """
    target = reports / "index.html"
    text = render(reports, found, changed)
    try:
        if target.read_text(encoding="utf-8") == text:
            return target
    except (OSError, UnicodeDecodeError):
        pass
    paths.write(target, text)
    return target


def render(reports: Path, found: Found, changed: Mapping[str, Any] | None = None) -> str:
    """Make the index of some runs.

    Parameters
    ----------
    reports : Path
        The folder of all reports.
    found : iterable of (run, dict or None)
        The runs, see `partialpool.batch.runs.Run`, and their summaries.
    changed : mapping, optional
        What changed since the last index: ``first`` (whether there was none), ``changes``,
        ``groups`` (of the changes) and ``date``.
    """
    changed = changed or {"first": True, "changes": [], "groups": [], "date": None}
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
        study["page"] = (reports / study["name"] / "index.html").exists()
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
            rest=len(rows) - sum(row["kind"] is not None for row in rows),
            example=_example(studies.values()),
            strip=STRIP,
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


def _row(run: Any, summary: dict[str, Any] | None) -> dict[str, Any]:
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
        "fit": None,
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
        "fit": (summary.get("fit") or {}).get("status"),
    }
