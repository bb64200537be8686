"""The same data under other models: other ways to pool, and Gaussian noise beside Student's t."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from partialpool.data.text import number
from partialpool.fit.regression import Regression
from partialpool.posterior import checks, draws, leave_one_out
from partialpool.posterior.finding import ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted, unpooled_key, way_name
from partialpool.posterior.names import of_coefficient, readable
from partialpool.posterior.predictions import in_words
from partialpool.posterior.varying import estimable, too_uncertain

#: Difference of log evidences that is worth more than a bare mention (Kass & Raftery 1995).
MENTION = 1.0
#: What stands under no pooling.
OVER_GROUPS = (
    "Without pooling, mean and sd of what varies by a factor are over its groups' separate "
    "estimates; all else the groups share."
)
#: Rows that are shown because they count least.
LIGHTEST = 5


def coefficients(ways: Mapping[str, Fitted]) -> Finding:
    """Population coefficients under each way to pool: posterior mean and sd.

    With no pooling of a factor there is no population in what varies by it; the table shows mean
    and standard deviation *over the groups'* separate estimates instead, of the groups that have
    one, and says so. A coefficient into which a group's own estimate mixes others, such as the
    intercept beside a predictor of the group, has no such figure.

    Parameters
    ----------
    ways : mapping
        `Fitted.ways`.
    """
    model = ways["partial"].model
    design, columns, says, over = model.design, {}, [_evidence(ways)], False
    groupings = {unpooled_key(design, grouping): grouping for grouping in design.groupings}
    for way, fitted in ways.items():
        common = [name for name in _compared(model) if name in fitted.dataset]
        figures = pd.DataFrame(columns=["mean", "sd"], dtype=float)
        if common:
            figures = checks.summarize(fitted.dataset, common)[["mean", "sd"]]
        if grouping := groupings.get(way):
            mixed, known = design.absorbed(grouping), {}
            for k, name in enumerate(grouping.z_names):
                if sum(at == k for at, _ in mixed.values()) <= 1:
                    able = estimable(fitted, grouping, k)
                    known[of_coefficient(model, draws.coefficient(name))] = able
                    means = fitted.figures(grouping)[0][able, k]
                    figures.loc[draws.coefficient(name)] = means.mean(), means.std()
            over = over or bool(known)
            says.append(too_uncertain(model, grouping, known))
        for figure in ("mean", "sd"):
            columns[way_name(model, way), figure] = figures[figure]
    table = pd.DataFrame(columns).loc[_compared(model)]
    formats = {column: (column, ESTIMATE) for column in table.columns}
    says.insert(1, OVER_GROUPS if over else "")
    sentence = " ".join(filter(None, says))
    return Finding("pooling", sentence, table=table, columns=formats, names=readable(model))


def _compared(model: Regression) -> list[str]:
    """Parameters that all ways have."""
    grouped = {*model.design.sd_names, *model.design.cor_names}
    return [name for name in model.parameters if name not in grouped]


def _evidence(ways: Mapping[str, Fitted]) -> str:
    """What the evidence says about partial and complete pooling, in words.

    No pooling has no evidence: its prior is so wide as to say nothing.
    """
    partial = ways["partial"]
    model = partial.model
    exact = model.closed_form or model.certifiable
    if not exact and "log_evidence" not in partial.attrs:
        return (
            "Sampled fits have no log evidence, by which the ways to pool would be compared; "
            "leave-one-out prediction compares them."
        )
    if "log_evidence" not in partial.attrs and partial.reference is not None:
        partial = partial.reference
    evidence = {
        way: fitted.attrs["log_evidence"]
        for way, fitted in (("complete", ways["complete"]), ("partial", partial))
        if "log_evidence" in fitted.attrs
    }
    if len(evidence) < 2:
        return "With a flat prior there is no log evidence by which to compare the ways to pool."
    best, other = sorted(evidence, key=evidence.__getitem__, reverse=True)
    gap = evidence[best] - evidence[other]
    called = {way: way_name(partial.model, way) for way in evidence}
    says = (
        f"The log evidence is highest for **{called[best]}** ({evidence[best]:,.1f}); that of "
        f"{called[other]} is {gap:,.1f} lower"
    )
    if gap < MENTION:
        says += f"; a difference below {MENTION:g} is no reason to prefer either"
        says += " (Kass & Raftery 1995)"
    return (
        f"{says}. It hangs on the priors of the standard deviations: the wider they are, the less "
        "it favours partial pooling. No pooling has no evidence: it takes no prior."
    )


def weights(fitted: Fitted) -> np.ndarray:
    """How much each row counts, relative to one on the line: mean of ``nu / (nu + z²)``, (N,).

    Student's t is a mixture of normals; given the parameters, a row at z scales from the line has
    a precision of ``(nu + 1) / (nu + z²)`` on average (Lange, Little & Taylor 1989).
    """
    design, values = fitted.model.design, fitted.thinned(1000).values
    rows = np.arange(len(design.y))
    z = (design.y - draws.line(design, values, rows)) / draws.noise(design, values, rows)
    nu = values["nu"][:, None]
    return (nu / (nu + z**2)).mean(0)


def lightest(fitted: Fitted) -> Finding:
    """The rows that count least, with their weight."""
    design, weight = fitted.model.design, weights(fitted)
    order = np.argsort(weight)[:LIGHTEST]
    parts = [column for grouping in design.groupings for column in grouping.columns]
    columns = dict.fromkeys([*parts, *design.predictors])
    table = fitted.model.table.iloc[order][list(columns)]
    table = table.assign(**{design.response: design.y[order], "weight": weight[order]})
    table.index = order + 1  # rows are counted from one wherever they are named
    says = "The rows that count least; one on the line has weight 1."
    shown = table[list(columns)]
    return Finding(
        "lightest",
        says,
        table=table,
        columns={name: (fitted.model.words(name), "{}") for name in columns}
        | {
            design.response: (fitted.model.words(design.response), "{:.6g}"),
            "weight": ("weight", "{:.3f}"),
        },
        cells=in_words(fitted.model, shown).to_dict("list"),
    )


def noise(fitted: Fitted, left_out: leave_one_out.LeftOut, seed: int = 0) -> Finding:
    """Both kinds of noise by leave-one-out prediction; `left_out` is that of the fit."""
    gaussian = leave_one_out.leave_out(fitted.gaussian, seed)
    both = {"Student's t": left_out, "Gaussian noise": gaussian}
    return replace(leave_one_out.comparison(both), name="noise")


def noise_in_words(fitted: Fitted) -> str:
    """How the two families differ, in words."""
    model = fitted.model
    ours = checks.summarize(fitted.dataset, model.parameters)
    theirs = checks.summarize(fitted.gaussian.dataset, fitted.gaussian.model.parameters)
    moved = {
        name: abs(ours.at[name, "mean"] - theirs.at[name, "mean"]) / theirs.at[name, "sd"]
        for name in model.design.x_names
    }
    says = ""
    if "nu" in model.parameters:
        nu = ours.loc["nu"]
        tail = (
            "far from Gaussian (the interval ends below 10)"
            if nu["q95"] < 10
            else "close to Gaussian (the interval begins above 20)"
            if nu["q05"] > 20
            else "perhaps not Gaussian (the interval neither ends below 10 nor begins above 20)"
        )
        says = (
            f"The degrees of freedom are {nu['mean']:.1f} (90 % interval {nu['q05']:.1f} to "
            f"{nu['q95']:.1f}): the noise is {tail}. "
        )
    if not moved:
        return says
    most = max(moved, key=moved.__getitem__)
    was, now = (number(table.at[most, "mean"]) for table in (theirs, ours))
    return says + (
        f"The coefficient that moves most against Gaussian noise is **{most}**, from {was} to "
        f"{now}: {moved[most]:.2f} of its posterior standard deviation."
    )
