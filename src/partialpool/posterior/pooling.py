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
    the groups'* separate estimates instead.

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
            for k, name in enumerate(model.design.z_names):
                means = fitted.values[model.design.effect(k)].mean(0)
                coefficient = "Intercept" if name == "1" else name
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


def _compared(model: Regression) -> list[str]:
    """Parameters that all three ways have."""
    return [*model.design.x_names, *(n for n in ("sigma", "nu") if n in model.parameters)]


def _evidence(ways: Mapping[str, Fitted]) -> str:
    """What the evidence says about the three ways, in words.

    Log evidences are those of the exact fits; the vague prior of no pooling counts against it.
    """
    partial = ways["partial"]
    if partial.model.family != "gaussian":
        return "There is no evidence of sampled fits by which to compare the three ways."
    fits = dict(ways)
    if "log_evidence" not in partial.attrs and partial.reference is not None:
        fits["partial"] = partial.reference
    evidence = {
        kind: fitted.attrs["log_evidence"]
        for kind, fitted in fits.items()
        if "log_evidence" in fitted.attrs
    }
    if len(evidence) < 2:
        return "A flat prior leaves no evidence by which to compare the three ways."
    best = max(evidence, key=evidence.__getitem__)
    gaps = " and ".join(
        f"{evidence[best] - value:.1f} below it for {POOLING[kind]}"
        for kind, value in evidence.items()
        if kind != best
    )
    return (
        f"The log evidence is highest for **{POOLING[best]}** ({evidence[best]:.1f}), {gaps}. "
        "(The evidence of no pooling depends on how vague its prior is.)"
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


def headline(model: Regression, summary: pd.DataFrame) -> str:
    """The result in one sentence: the first coefficient, its interval, and how groups vary."""
    names = [name for name in model.design.x_names if name != "Intercept"] or ["Intercept"]
    row = summary.loc[names[0]]
    text = f"{names[0]} is {row['mean']:.3g} (90 % interval {row['q05']:.3g} to {row['q95']:.3g})"
    varying = [n for n in model.design.sd_names if n.startswith(f"{names[0]}|")]
    for name in varying:
        low, high = summary.loc[name, ["q05", "q95"]]
        text += (
            f" and varies by {model.design.group} with standard deviation {low:.3g} to {high:.3g}"
        )
    return text + "."
