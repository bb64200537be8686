"""The runs of a study whose grid goes over formulas or families, as models of the same rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from partialpool.data.text import capital, number
from partialpool.plots import theme
from partialpool.posterior import leave_one_out, left_out_file
from partialpool.posterior.alternatives import evidence_in_words
from partialpool.posterior.finding import Finding
from partialpool.posterior.left_out_file import Kept

Rows = Sequence[Mapping[str, Any]]
#: The settings whose values are models, and what those are called together.
MODELS = {"formula": "formulas", "family": "families"}
#: Most comparisons that a page has.
MOST = 6


def comparisons(rows: Rows) -> list[tuple[str, Finding]]:
    """A comparison for each combination of the other settings, by its title; of the first seed.

    Parameters
    ----------
    rows : sequence of mappings
        Each with ``settings``, ``swept``, ``summary`` and the ``folder`` of a run.

    Returns
    -------
    list
        Empty where no two runs have left rows out.
    """
    cases: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["settings"]["seed"]):
        others = [key for key in row["swept"] if key not in MODELS]
        case = ", ".join(f"{key} {row['settings'][key]}" for key in others)
        name = ", ".join(row["settings"][key] for key in MODELS if key in row["swept"])
        cases.setdefault(case, {}).setdefault(name, row)
    found = []
    what = " and ".join(called for key, called in MODELS.items() if key in rows[0]["swept"])
    for case, models in cases.items():
        read = {name: left_out_file.kept(Path(row["folder"])) for name, row in models.items()}
        known = {name: one for name, one in read.items() if one is not None}
        if len(known) > 1:
            title = f"The {what} compared" + (f", {case}" if case else "")
            found.append((title, _comparison({name: models[name] for name in known}, known)))
    return found[:MOST]


def _comparison(models: Mapping[str, Mapping[str, Any]], found: Mapping[str, Kept]) -> Finding:
    first, *others = found.values()
    if not all(_alike(first, other) for other in others):
        says = (
            "The runs left out different rows or have different responses, so that neither their "
            "predictions nor their evidence can be compared."
        )
        return Finding("formulas", says)
    summaries = {name: row["summary"] for name, row in models.items()}
    table = pd.DataFrame(
        {
            figure: {name: summary.get(figure) for name, summary in summaries.items()}
            for figure in ("log_evidence", "log_evidence_se")
        },
        dtype=float,
    )
    elpds = {name: one.elpd for name, one in found.items()}
    ranked = leave_one_out.ranking(elpds)
    each, refitted = (
        f"each of {len(first.rows):,} rows",
        sum(one.refitted for one in found.values()),
    )
    rule = leave_one_out.RULE
    says = leave_one_out.in_words(ranked, elpds, each, "rows", refitted, rule)
    says = f"{evidence_in_words(table)} {says}".strip().replace("**", "")
    worse, error = -ranked["elpd_diff"], ranked["dse"]
    behind = table["log_evidence"].loc[ranked.index] - table["log_evidence"].max()
    known = bool(behind.notna().all())  # sampled fits have none
    figure = Figure((theme.WIDTH, 0.34 * len(ranked) + 1.2))
    panels = list(figure.subplots(1, 1 + known, sharey=True, squeeze=False).flat)
    places, told = range(len(ranked))[::-1], [number(float(gap)) for gap in worse]
    if known:
        panels[0].plot(behind, places, "o", color=theme.PARTIAL, ms=5)
        panels[0].set_xlabel("log evidence, behind the likeliest")
        told = [f"{number(float(gap))} and {one}" for gap, one in zip(behind, told, strict=True)]
    panels[-1].hlines(places, worse - 2 * error, worse + 2 * error, color=theme.PARTIAL, alpha=0.6)
    panels[-1].plot(worse, places, "o", color=theme.PARTIAL, ms=5)
    panels[-1].set_xlabel("leave-one-out density, behind the best,\nwith two standard errors")
    for panel in panels:
        panel.axvline(0, color=theme.INK, lw=0.8, ls=":")
        panel.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(places, [theme.wrapped(name) for name in ranked.index])
    panels[0].set_ylim(-0.7, len(ranked) - 0.3)
    rows = [f"{name}: {figures}" for name, figures in zip(ranked.index, told, strict=True)]
    what = f"A line for each model, best first. {capital('; '.join(rows))}."
    return theme.finding("formulas", figure, what, says)


def _alike(one: Kept, other: Kept) -> bool:
    """Whether two runs have left out the same rows of the same response."""
    return np.array_equal(one.rows, other.rows) and np.allclose(one.y, other.y)
