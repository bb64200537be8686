"""A page for each study with more than one run: what changes from run to run.

It reads nothing but the runs' ``summary.json``.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from partialpool.data import paths
from partialpool.report import drawings, page
from partialpool.report.summaries import read_summary

#: Metrics shown first, if there; others follow.
RATE = "effective draws per second, worst parameter"


def write(reports: Path, runs: Iterable[Any]) -> list[Path]:
    """Write ``reports/<study>/index.html`` for every study of which two or more runs finished.

    A page that shows these summaries already is left alone, so that a report with nothing to do
    imports no plotting. Pages of other studies are removed.

    Parameters
    ----------
    reports : Path
        The folder of all reports.
    runs : iterable
        All that present studies define, see `partialpool.batch.runs.Run`.

    Returns
    -------
    list of Path
        The pages that are there.
    """
    studies: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        summary = read_summary(run.folder)
        if summary is None or summary["status"] == "error" or summary["settings"] != run.settings:
            continue
        studies.setdefault(run.study, []).append(_row(run, summary))
    pages = []
    for study, rows in studies.items():
        target = reports / study / "index.html"
        if len(rows) < 2:
            continue
        mark = _digest(rows)
        if _marked(target) != mark:
            paths.write(target, render(study, rows, mark))
        pages.append(target)
    for target in reports.glob("*/index.html"):
        if target not in pages and _marked(target) is not None:
            target.unlink()
    return pages


def _row(run: Any, summary: dict[str, Any]) -> dict[str, Any]:
    settings = {key: run.settings[key] for key in run.swept}
    metrics = dict(summary.get("metrics", {}))
    sizes = [p["ess_bulk"] for p in summary["parameters"].values() if p.get("ess_bulk")]
    if sizes and summary["seconds"]["fit"]:
        metrics[RATE] = {"this run": min(sizes) / summary["seconds"]["fit"]}
    return {
        "name": run.name,
        "settings": settings | {"seed": run.seed},
        "swept": list(run.swept),
        "summary": summary,
        "metrics": metrics,
    }


def render(study: str, rows: list[dict[str, Any]], mark: str = "") -> str:
    """Make the page of a study from its runs."""
    from partialpool.plots import study_plots

    pictures = [("Estimates", study_plots.estimates(rows))]
    swept = rows[0]["swept"]
    metrics: list[str] = []
    for row in rows:
        metrics += [m for m in row["metrics"] if m not in metrics]
    for metric in metrics:
        shown = [row for row in rows if row["metrics"].get(metric)]
        if len(swept) == 2:
            picture = study_plots.over_two(shown, metric, *swept)
        else:
            picture = study_plots.over_one(shown, metric, swept[0] if swept else "seed")
        pictures.append((metric[0].upper() + metric[1:], picture))
    sections = [
        {
            "id": f"s{k}",
            "level": 2,
            "text": title,
            "figure": _svg(found, f"s{k}-"),
            "says": found.sentence,
        }
        for k, (title, found) in enumerate(pictures)
    ]
    return (
        page.environment()
        .get_template("study.html.j2")
        .render(
            study=study,
            title=rows[0]["summary"].get("title") or study,
            rows=rows,
            swept=[*swept, "seed"],
            sections=sections,
            mark=mark,
        )
    )


def _svg(found: Any, prefix: str) -> Markup:
    text = io.StringIO()
    found.figure.savefig(text, format="svg")
    return drawings.inline_svg(text.getvalue(), found.description, prefix)


def _digest(rows: list[dict[str, Any]]) -> str:
    text = json.dumps([page.version(), rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _marked(target: Path) -> str | None:
    """The digest of the summaries that a page shows."""
    try:
        with target.open(encoding="utf-8") as file:
            found = re.search(r'name="summaries" content="(\w+)"', file.read(2000))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
