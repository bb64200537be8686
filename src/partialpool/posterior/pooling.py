"""Complete, no and partial pooling of the same data, side by side."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from partialpool.fit.regression import Regression
from partialpool.posterior import checks
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import POOLING, Fitted


def coefficients(ways: Mapping[str, Fitted]) -> Finding:
    """Population coefficients under each way to pool: posterior mean and sd.

    With no pooling there is no population; the column shows mean and standard deviation *over
    the groups'* separate estimates instead, of the groups that have one. A coefficient into which
    a group's own estimate mixes others, such as the intercept beside a predictor of the group, has
    no such figure.

    Parameters
    ----------
    ways : mapping
        `Fitted.ways`.
    """
    model = ways["partial"].model
    columns: dict[tuple[str, str], dict[str, float]] = {}
    for kind, fitted in ways.items():
        known = [name for name in _compared(model) if name in fitted.dataset]
        summary = checks.summarize(fitted.dataset, known) if known else pd.DataFrame()
        for figure in ("mean", "sd"):
            columns[kind, figure] = {name: summary.at[name, figure] for name in known}
        if kind == "none":
            mixed = model.design.absorbed()
            for k, name in enumerate(model.design.z_names):
                coefficient = "Intercept" if name == "1" else name
                if sum(at == k for at, _ in mixed.values()) > 1:
                    continue
                means = fitted.values[model.design.effect(k)].mean(0)[estimable(fitted, k)]
                columns[kind, "mean"][coefficient] = float(means.mean())
                columns[kind, "sd"][coefficient] = float(means.std())
    table = pd.DataFrame(
        {
            (
                POOLING[kind],
                "sd over groups" if (kind, figure) == ("none", "sd") else figure,
            ): column
            for (kind, figure), column in columns.items()
        }
    ).loc[_compared(model)]
    formats = {column: (column, "{:.3f}") for column in table.columns}
    return Finding("pooling", _evidence(ways), table=table, columns=formats)


def estimable(none: Fitted, k: int) -> np.ndarray:
    """Which groups (J,) know coefficient k of the varying ones on their own.

    The others have only the prior of no pooling, which is ten thousand times as wide as the data.
    """
    design = none.model.design
    width = none.model.priors[design.sd_names[k]].arguments[0]
    return none.values[design.effect(k)].std(0) < 0.1 * width


def _compared(model: Regression) -> list[str]:
    """Parameters that all three ways have."""
    return [*model.design.x_names, *(n for n in ("sigma", "nu") if n in model.parameters)]


def _evidence(ways: Mapping[str, Fitted]) -> str:
    """What the evidence says about partial and complete pooling, in words.

    No pooling has no evidence: its prior is so wide as to say nothing.
    """
    fits = {way: ways[way] for way in ("complete", "partial")}
    if ways["partial"].model.family != "gaussian":
        return "There is no evidence of sampled fits by which to compare the ways to pool."
    if "log_evidence" not in fits["partial"].attrs and fits["partial"].reference is not None:
        fits["partial"] = fits["partial"].reference
    evidence = {
        way: fitted.attrs["log_evidence"]
        for way, fitted in fits.items()
        if "log_evidence" in fitted.attrs
    }
    if len(evidence) < 2:
        return "A flat prior leaves no evidence by which to compare the ways to pool."
    best, other = sorted(evidence, key=evidence.__getitem__, reverse=True)
    return (
        f"The log evidence is highest for **{POOLING[best]}** ({evidence[best]:.1f}), "
        f"{evidence[best] - evidence[other]:.1f} below it for {POOLING[other]}. No pooling, each "
        "group on its own, has none: it needs a prior, and takes none."
    )


def group_coefficients(fitted: Fitted) -> dict[str, np.ndarray]:
    """Each group's coefficients, population part included: name -> draws (S, J).

    That part takes in what predictors of the group contribute, for no group on its own can tell
    them from its own coefficients; see `Design.absorbed`.
    """
    design, values = fitted.model.design, fitted.values
    absorbed = design.absorbed()
    result = {}
    for k, name in enumerate(design.z_names):
        total = values[design.effect(k)]
        for column, (at, factor) in absorbed.items():
            if at == k:
                total = total + values[design.x_names[column]][:, None] * factor
        result["Intercept" if name == "1" else name] = total
    return result
