"""Complete, no and partial pooling of the same data, side by side."""

import pandas as pd
import xarray as xr

from partialpool.model import Model
from partialpool.plots.groups import POOLING as TITLES
from partialpool.posterior import checks, draws, leave_one_out
from partialpool.posterior.leave_one_out import LeftOut

#: A way to pool -> its model and posterior.
Fits = dict[str, tuple[Model, xr.DataTree]]


def three_ways(model: Model, posterior: xr.DataTree, seed: int) -> Fits:
    """Fit the same data with complete and with no pooling, exactly, beside a given fit.

    Returns
    -------
    dict
        Keys ``"complete"``, ``"none"``, ``"partial"``; no ``"none"`` for a model without groups.
    """
    complete = model.pooled()
    fits: Fits = {"complete": (complete, complete.fit(seed=seed))}
    if model.design.group:
        none = model.unpooled()
        fits["none"] = none, none.fit(seed=seed)
    return fits | {"partial": (model, posterior)}


def coefficients(fits: Fits) -> pd.DataFrame:
    """Population coefficients under each way to pool: posterior mean and sd.

    With no pooling there is no population; the column shows mean and standard deviation *over
    the groups'* separate estimates instead.
    """
    model = fits["partial"][0]
    columns: dict[tuple[str, str], dict[str, float]] = {}
    for kind, (none_model, posterior) in fits.items():
        known = [name for name in _compared(model) if name in posterior["posterior"]]
        summary = checks.summarize(posterior, known) if known else pd.DataFrame()
        for figure in ("mean", "sd"):
            columns[kind, figure] = {name: summary.at[name, figure] for name in known}
        if kind == "none":
            values = draws.flat(none_model, posterior)
            for k, name in enumerate(model.design.z_names):
                means = values[model.design.effect(k)].mean(0)
                coefficient = "Intercept" if name == "1" else name
                columns[kind, "mean"][coefficient] = float(means.mean())
                columns[kind, "sd"][coefficient] = float(means.std())
    table = pd.DataFrame(columns).loc[_compared(model)]
    figures = {"mean": "mean", "sd": "sd"}
    table.columns = pd.MultiIndex.from_tuples(
        [
            (TITLES[kind], "sd over groups" if (kind, f) == ("none", "sd") else figures[f])
            for kind, f in table.columns
        ]
    )
    return table


def _compared(model: Model) -> list[str]:
    """Parameters that all three ways have."""
    return [*model.design.x_names, *(n for n in ("sigma", "nu") if n in model.parameters)]


def leave_out(fits: Fits, seed: int) -> dict[str, LeftOut]:
    """Leave-one-out prediction of each way to pool, under its name for readers."""
    return {
        TITLES[kind]: leave_one_out.leave_out(model, posterior, seed)
        for kind, (model, posterior) in fits.items()
    }


def sentence(fits: Fits) -> str:
    """What the evidence says about the three ways, in words.

    Log evidences are those of the exact fits; the vague prior of no pooling counts against it.
    """
    evidence = {
        kind: posterior.attrs["log_evidence"]
        for kind, (model, posterior) in fits.items()
        if "log_evidence" in posterior.attrs
    }
    partial = fits["partial"][0]
    known = "partial" in evidence or partial.family != "gaussian"
    if not known and "log_evidence" in partial.reference.attrs:
        evidence["partial"] = partial.reference.attrs["log_evidence"]
    if partial.family != "gaussian":
        return "There is no evidence of sampled fits by which to compare the three ways."
    if len(evidence) < 2:
        return "A flat prior leaves no evidence by which to compare the three ways."
    best = max(evidence, key=evidence.__getitem__)
    gaps = " and ".join(
        f"{evidence[best] - value:.1f} below it for {TITLES[kind]}"
        for kind, value in evidence.items()
        if kind != best
    )
    return (
        f"The log evidence is highest for **{TITLES[best]}** ({evidence[best]:.1f}), {gaps}. "
        "(The evidence of no pooling depends on how vague its prior is.)"
    )


def headline(model: Model, summary: pd.DataFrame) -> str:
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
