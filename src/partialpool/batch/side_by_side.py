"""Two runs side by side: what was asked of them, what came out, and by how much it differs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partialpool.batch.differences import differing
from partialpool.batch.runs import read_summary
from partialpool.batch.staleness import RECORD
from partialpool.batch.study_file import StudyError
from partialpool.batch.summary_file import FINDINGS
from partialpool.data import paths
from partialpool.data.text import number
from partialpool.posterior.agreement import distance
from partialpool.report.page import estimate, value

#: Files by which the same finding of two runs is told apart; an SVG has random names in it.
TOLD_BY = ("csv", "pdf")
NOTHING = "–"
#: Of the table of estimates.
HEADINGS = ("Estimate", "A", "B", "B − A", "in sd of A", "in Monte Carlo errors")


def compare(root: Path, one: str, other: str) -> str:
    """Describe how two runs differ.

    Parameters
    ----------
    root : Path
        The project's folder.
    one, other : str
        Folders of runs, or ``STUDY/RUN``.

    Returns
    -------
    str
        Settings and verdicts that differ, all estimates of both, and the names of findings that
        differ.

    Raises
    ------
    StudyError
        If one of them is not there.
    """
    folders = [_folder(root, name) for name in (one, other)]
    first, second = (_summary(folder) for folder in folders)
    parts = [f"A: {_label(first)}\nB: {_label(second)}"]
    parts += _settings(first, second)
    verdicts = [(what, *pair) for what, pair in _verdicts(first, second).items()]
    parts.append(_columns([("Verdict", "A", "B"), *verdicts]))
    parts.append(_columns([HEADINGS, *_estimates(first, second)]))
    return "\n\n".join([*parts, *_findings(first, second, *folders)])


def _folder(root: Path, name: str) -> Path:
    for folder in (Path(name), root / "reports" / name):
        if (folder / "summary.json").is_file():
            return folder
    raise StudyError([f"There is no finished run {name}; runs are called STUDY/RUN, see reports/."])


def _summary(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    if summary is None:
        raise StudyError([f"{paths.shown(folder / 'summary.json')} is not the summary of a run."])
    return summary


def _label(summary: Mapping[str, Any]) -> str:
    return f"{summary['study']}/{summary['run']}, started {summary['provenance']['started']}"


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings, with seed and notebook, that differ."""
    asked = [
        {**s["settings"], "seed": s.get("seed"), "notebook": s.get("notebook")}
        for s in (one, other)
    ]
    rows = [
        (name, *(value(given[name]) if name in given else NOTHING for given in asked))
        for name in differing(*asked)
    ]
    return [_columns([("Setting", "A", "B"), *rows])] if rows else ["The settings are the same."]


def _verdicts(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[str]]:
    """Both verdicts of each run, and every check that one of them missed and the other did not."""
    found = {"computation": [one["status"], other["status"]]}
    if one.get("fit") or other.get("fit"):
        found["fit to the data"] = [
            (s.get("fit") or {}).get("status", NOTHING) for s in (one, other)
        ]
    checks = [
        {check["name"]: check for check in [*s["checks"], *(s.get("fit") or {}).get("checks", [])]}
        for s in (one, other)
    ]
    for name in dict.fromkeys([*checks[0], *checks[1]]):
        pair = [each.get(name) for each in checks]
        if len({check and check["passed"] for check in pair}) > 1:
            found[name] = [
                NOTHING
                if check is None
                else f"{number(check['value'])}, {'passed' if check['passed'] else 'missed'}"
                for check in pair
            ]
    return found


def _estimates(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Means of the estimates of both with their difference in two units."""
    rows = []
    for name in dict.fromkeys([*one["estimates"], *other["estimates"]]):
        pair = [summary["parameters"].get(name, {}) for summary in (one, other)]
        means = [estimate(figures, "mean") or NOTHING for figures in pair]
        rest = [NOTHING] * 3
        if None not in (gap := [figures.get("mean") for figures in pair]):
            sd, by = pair[0].get("sd"), gap[1] - gap[0]
            errors = distance(*pair)
            rest = [
                estimate({"mean": by, "sd": sd}, "mean"),
                number(round(by / sd, 2)) if sd else NOTHING,
                number(round(errors, 1)) if math.isfinite(errors) else NOTHING,
            ]
        rows.append((name, *means, *rest))
    return rows


def _findings(
    one: Mapping[str, Any], other: Mapping[str, Any], folder: Path, other_folder: Path
) -> list[str]:
    """Names of findings that one run alone has, and of those that say or show something else."""
    kept = [_states(summary, at) for summary, at in ((one, folder), (other, other_folder))]
    if not any(kept):
        return []
    both = [name for name in kept[0] if name in kept[1]]
    lists = {
        "Findings that differ": [name for name in both if kept[0][name] != kept[1][name]],
        "Findings that are the same": [name for name in both if kept[0][name] == kept[1][name]],
        "Findings of A alone": [name for name in kept[0] if name not in kept[1]],
        "Findings of B alone": [name for name in kept[1] if name not in kept[0]],
    }
    return ["\n".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)]


def _states(summary: Mapping[str, Any], folder: Path) -> dict[str, list[Any]]:
    """Each finding's sentence and the digests of its files, by its name."""
    digests = paths.read_mapping(folder / RECORD)
    return {
        finding["name"]: [finding["sentence"]]
        + [digests.get(f"{FINDINGS}/{finding['name']}.{ending}") for ending in TOLD_BY]
        for finding in summary.get("findings", [])
    }


def _columns(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text in columns; a line that a value breaks goes on in one."""
    texts = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )
