"""The index over all runs, and a page for each study with more than one: runs side by side.

Both read nothing but the runs' ``summary.json``.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partialpool.data import paths
from partialpool.plots import study_answer
from partialpool.report import drawings, page

#: Runs (see `partialpool.batch.runs.Run`), and their summaries where there are any.
Found = Iterable[tuple[Any, dict[str, Any] | None]]
#: Broken first.
ORDER = ("error", "failed", "missing", "warned", "passed")
#: Verdicts on the fit to the data, the best first.
FITS = ("good", "look", "poor")
#: Most estimates shown per run.
MAX_ESTIMATES = 4
#: Length and margin of the strips that compare an estimate over a study's runs, in pixels.
STRIP, EDGE = 104, 5


def is_bad(run: Any, summary: dict[str, Any] | None) -> bool:
    """Say whether a run makes a report end with a non-zero status."""
    if summary is None or summary["status"] == "error":
        return True
    return summary["status"] == "failed" and run.expect != "failed"


def render(reports: Path, found: Found, changed: Mapping[str, Any]) -> str:
    """Make the index of some runs.

    Parameters
    ----------
    reports : Path
        The folder of all reports.
    found : iterable of (run, dict or None)
        The runs, see `partialpool.batch.runs.Run`, and their summaries.
    changed : mapping
        What changed since the last index: ``first`` (whether there was none), ``changes``,
        ``groups`` (of the changes) and ``date``.
    """
    kinds = {(c["study"], c["run"]): c["kind"] for c in changed["changes"]}
    studies: dict[str, dict[str, Any]] = {}
    sides: dict[str, list[dict[str, Any]]] = {}
    for run, summary in found:
        sides.setdefault(run.study, [])
        study = studies.setdefault(
            run.study,
            {
                "name": run.study,
                "title": run.story.get("title", ""),
                "question": run.story.get("question", ""),
                "answers": [],
                "averaged": False,
                "notebook": run.notebook.stem,
                "expect": run.expect,
                "settings": {k: v for k, v in run.settings.items() if k not in run.swept},
                "swept": list(run.swept),
                "estimates": [],
                "names": {},
                "runs": [],
            },
        )
        study["runs"].append(_row(run, summary) | {"kind": kinds.get((run.study, run.name))})
        if summary is not None:
            study["title"] = study["title"] or summary.get("title") or run.study
            study["question"] = study["question"] or summary.get("question") or ""
            study["averaged"] = study["averaged"] or bool(summary.get("averaged"))
            study["names"] |= summary.get("names", {})
            if summary["status"] != "error":
                sides[run.study].append(_side(run, summary))
            for name in summary["estimates"]:
                if name not in study["estimates"] and len(study["estimates"]) < MAX_ESTIMATES:
                    study["estimates"].append(name)
    for study in studies.values():
        study["answers"] = study_answer.answers(_present(sides[study["name"]]))
        study["title"] = study["title"] or study["name"]
        study["runs"].sort(key=lambda row: (not row["bad"], ORDER.index(row["status"])))
        study["pictures"] = any(row["thumbnail"] for row in study["runs"])
        study["page"] = (reports / study["name"] / "index.html").exists()
        study["bad"] = sum(row["bad"] for row in study["runs"])
        for name in study["estimates"]:
            _compare(study["runs"], name)
    rows = [row for study in studies.values() for row in study["runs"]]
    counts = {s: n for s in ORDER if (n := sum(row["status"] == s for row in rows))}
    fits = {s: n for s in FITS if (n := sum(row["fit"] == s for row in rows))}
    template = page.environment().get_template("index.html.j2")
    return template.render(
        studies=sorted(studies.values(), key=lambda study: (not study["bad"], study["name"])),
        bad=[row for row in rows if row["bad"]],
        total=len(rows),
        counts=counts,
        fits=fits,
        changed=changed,
        rest=len(rows) - sum(row["kind"] is not None for row in rows),
        example=_example(studies.values()),
        strip=STRIP,
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
    """A run as the index shows it."""
    there = summary or {"status": "missing", "parameters": {}, "seconds": {"total": None}}
    status, note = there["status"], ""
    if summary and summary["settings"] != run.settings:
        note = "made with earlier settings"
    elif summary and run.expect == "failed":
        note = "as expected" if status == "failed" else "was expected to fail"
    return {
        "name": run.name,
        "label": run.label,
        "settings": {key: run.settings[key] for key in run.swept},
        "seed": run.seed,
        "status": status,
        "bad": is_bad(run, summary),
        "why": page.reason(summary) if summary else "has not run to its end yet",
        "note": note,
        "parameters": there["parameters"],
        "truth": there.get("truth", {}),
        "strips": {},
        "seconds": there["seconds"]["total"],
        "thumbnail": there.get("thumbnail"),
        "fit": (there.get("fit") or {}).get("status"),
    }


def write_studies(reports: Path, found: Found) -> list[Path]:
    """Write ``reports/<study>/index.html`` for every study of which two or more runs finished.

    A page that shows these summaries already is left alone, so that a report with nothing to do
    imports no plotting. Pages of other studies are removed.

    Returns
    -------
    list of Path
        The pages that are there.
    """
    studies: dict[str, list[dict[str, Any]]] = {}
    stories: dict[str, Mapping[str, str]] = {}
    absent: dict[str, list[str]] = {}
    for run, summary in found:
        stories[run.study] = run.story
        if summary is None or summary["status"] == "error" or summary["settings"] != run.settings:
            absent.setdefault(run.study, []).append(run.name)
            continue
        studies.setdefault(run.study, []).append(_side(run, summary))
    pages = []
    for study, rows in studies.items():
        target = reports / study / "index.html"
        if len(rows) < 2:
            continue
        lost = absent.get(study, [])
        mark = page.digest([page.version(), stories[study], rows, lost])
        if page.mark(target, "summaries") != mark:
            paths.write(target, render_study(study, rows, mark, stories[study], lost))
        pages.append(target)
    for target in reports.glob("*/index.html"):
        if target not in pages and page.mark(target, "summaries"):
            target.unlink()
    return pages


def _side(run: Any, summary: dict[str, Any]) -> dict[str, Any]:
    """A run as the page of its study shows it."""
    settings = {key: run.settings[key] for key in run.swept}
    metrics = dict(summary.get("metrics", {}))
    sizes = [p["ess_bulk"] for p in summary["parameters"].values() if p.get("ess_bulk")]
    seconds = summary["seconds"]
    if sizes and seconds["fit"]:
        whole = seconds["fit"] + (seconds.get("loading") or 0)
        metrics[study_answer.RATE] = {"this run": min(sizes) / whole}
    return {
        "name": run.name,
        "settings": settings | {"seed": run.seed},
        "swept": list(run.swept),
        "folder": str(run.folder),
        "summary": summary,
        "metrics": metrics,
        "present": summary["settings"] == run.settings,
    }


def _present(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs with the present settings; all of them where none is."""
    return [row for row in rows if row["present"]] or rows


def render_study(
    study: str,
    rows: list[dict[str, Any]],
    mark: str = "",
    story: Mapping[str, str] | None = None,
    absent: Sequence[str] = (),
) -> str:
    """Make the page of a study from its runs; `absent` are names of those that it has not."""
    from partialpool.plots import study_plots
    from partialpool.report import markup

    sections = []
    for k, (title, found) in enumerate(study_plots.pictures(rows)):
        figure, section = None, {"id": f"s{k}", "level": 2, "text": title}
        if found.figure is not None:
            svg = io.StringIO()
            found.figure.savefig(svg, format="svg")
            figure = drawings.inline_svg(svg.getvalue(), found.description, f"s{k}-")
        sections.append(section | {"figure": figure, "says": found.sentence})
    template = page.environment().get_template("study.html.j2")
    story, first = story or {}, rows[0]["summary"]
    swept = [*rows[0]["swept"], "seed"]
    return template.render(
        study=study,
        title=story.get("title") or first.get("title") or study,
        question=story.get("question") or first.get("question"),
        about=markup.markdown(story.get("about", ""), markup.Outline(), trusted=False),
        answers=study_answer.answers(rows),
        rows=rows,
        absent=absent,
        swept=swept,
        sections=sections,
        mark=mark,
    )
