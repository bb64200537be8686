"""The plots of this subject that ArviZ does not have.

Every function returns a figure and a sentence computed from what it shows; `theme.show` displays
both. Nothing here fits or simulates.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from partialpool.model import Model
from partialpool.plots import theme
from partialpool.posterior import draws
from partialpool.posterior.predictions import main_predictor

#: Probability of every interval drawn here; all are equal-tailed.
PROBABILITY = 0.9
#: Most groups that get a panel or a row of their own; more are thinned evenly by size.
MAX_PANELS = 18
#: Most groups that get a line of their own in a forest.
MAX_ROWS = 70
#: The three ways to pool, as they are called in every figure.
POOLING = {"complete": "complete pooling", "none": "no pooling", "partial": "partial pooling"}


def axis_label(name: str, labels: Mapping[str, str] | None) -> str:
    """The label a person gave a column, or its name."""
    return (labels or {}).get(name, name)


def chosen_groups(model: Model, most: int = MAX_PANELS) -> np.ndarray:
    """Codes of at most `most` groups, spread evenly from the smallest to the largest."""
    present = np.unique(model.design.codes)  # of data in parts, those in the sample
    if len(present) <= most:
        return present
    order = present[np.argsort(model.design.counts[present], kind="stable")]
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]


def data(model: Model, labels: Mapping[str, str] | None = None) -> tuple[Figure, str, str]:
    """Rows against the main predictor, with each group's mean or least-squares line behind."""
    design, table = model.design, model.table
    counts = design.counts
    name = main_predictor(model)
    figure, axes = plt.subplots()
    rng = np.random.default_rng(0)  # jitter only
    if name is None:
        x = design.codes + rng.uniform(-0.15, 0.15, len(design.y))
        axes.set_xlabel(axis_label(design.group, labels))
        if design.n_groups <= 40:
            axes.set_xticks(range(design.n_groups), design.levels, rotation=45)
    else:
        x = table[name].to_numpy(float)
        few = table[name].nunique() <= 6
        for j in chosen_groups(model, 200):
            rows = design.codes == j
            if rows.sum() > 2 and np.ptp(x[rows]) > 0:
                slope, intercept = np.polyfit(x[rows], design.y[rows], 1)
                ends = np.array([x[rows].min(), x[rows].max()])
                axes.plot(
                    ends, intercept + slope * ends, color=theme.COLORS["none"], alpha=0.35, lw=1
                )
        if few:
            levels = np.sort(table[name].unique())
            axes.set_xticks(levels)
            x = x + rng.uniform(-0.1, 0.1, len(x)) * np.min(np.diff(levels))
        axes.set_xlabel(axis_label(name, labels))
    if design.se is not None:
        axes.vlines(x, design.y - design.se, design.y + design.se, color=theme.COLORS["data"], lw=1)
    axes.scatter(
        x,
        design.y,
        s=14 if len(x) > 50 else 36,
        color=theme.COLORS["data"],
        alpha=max(0.15, min(0.8, 300 / len(x))),
        linewidths=0,
        rasterized=len(x) > 2000,
    )
    axes.set_ylabel(axis_label(design.response, labels))
    groups = f"{design.n_groups:,} groups of {design.group}" if design.group else "no groups"
    sizes = (
        f"{counts.min()} {'row' if counts.min() == 1 else 'rows'} each"
        if counts.min() == counts.max()
        else f"{counts.min()} to {counts.max():,} rows each, median {np.median(counts):g}"
    )
    if design.se is not None:
        sizes += "; bars are one known standard error either way"
    n = design.n_rows
    says = f"**{n:,} rows** in **{groups}**, {sizes}." if design.group else f"{n:,} rows."
    if len(x) < n:
        says += f" Figures show a random sample of {len(x):,} of them; the fit knows all."
    alt = (
        f"Scatter plot of {design.response} against {name or design.group}: {len(x):,} rows, "
        f"{groups}, {sizes}; {design.response} runs from {design.y.min():.3g} to "
        f"{design.y.max():.3g}."
    )
    return figure, alt, says


def group_lines(
    model: Model,
    posteriors: Mapping[str, tuple[Model, xr.DataTree]],
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, str, str]:
    """A panel per group: its rows, and the line of each way to pool with the partial interval.

    Parameters
    ----------
    model : Model
        The partially pooled model.
    posteriors : mapping
        Keys of `POOLING` -> model and its posterior.
    labels : mapping, optional
        Axis labels by column name.
    """
    design, table = model.design, model.table
    name = main_predictor(model)
    if name is None:
        raise ValueError("Group lines need a numeric predictor.")
    groups = chosen_groups(model)
    columns = 6 if len(groups) > 4 else max(len(groups), 1)
    rows = -(-len(groups) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(10, 1.75 * rows + 0.9),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    grid = np.linspace(table[name].min(), table[name].max(), 25)
    tail = (1 - PROBABILITY) / 2
    inside = total = 0
    for panel, j in zip(panels.flat, groups, strict=False):
        mine = design.codes == j
        new = pd.concat([table[mine].head(1)] * len(grid)).assign(**{name: grid})
        panel.scatter(
            table.loc[mine, name], design.y[mine], s=9, color=theme.COLORS["data"], linewidths=0
        )
        for kind, (fitted, posterior) in posteriors.items():
            lines = fitted.mean(posterior, new)
            if kind == "partial":
                low, high = np.quantile(lines, [tail, 1 - tail], axis=0)
                panel.fill_between(
                    grid, low, high, color=theme.COLORS[kind], alpha=0.2, linewidth=0
                )
            panel.plot(grid, lines.mean(0), color=theme.COLORS[kind], lw=1.4, label=POOLING[kind])
        panel.set_title(f"{design.levels[j]} ({design.counts[j]:,})", fontsize=8, pad=2)
        for kind in ("none",):
            if kind in posteriors and "partial" in posteriors:
                none = posteriors[kind][0].mean(posteriors[kind][1], new).mean(0)
                partial = posteriors["partial"][0].mean(posteriors["partial"][1], new)
                low, high = np.quantile(partial, [tail, 1 - tail], axis=0)
                inside += int(((none >= low) & (none <= high)).all())
                total += 1
    for panel in list(panels.flat)[len(groups) :]:
        panel.set_visible(False)
    pad = 0.08 * np.ptp(design.y)
    panels[0, 0].set_ylim(design.y.min() - pad, design.y.max() + pad)
    figure.supxlabel(axis_label(name, labels), fontsize=10)
    figure.supylabel(axis_label(design.response, labels), fontsize=10)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    of = "all" if len(groups) == design.n_groups else f"{len(groups)} of {design.n_groups}"
    says = (
        f"{of.capitalize()} groups, with their number of rows in brackets; the band is the "
        f"{PROBABILITY:.0%} equal-tailed interval of the partially pooled line. In {inside} of "
        f"the {total} panels the unpooled line stays inside that band: there pooling changes "
        "little."
    )
    alt = (
        f"{len(groups)} small panels, one per group of {design.group}, each with its rows and the "
        f"lines of {', '.join(POOLING[kind] for kind in posteriors)}; in {inside} the unpooled "
        "line lies within the interval of the partially pooled one."
    )
    return figure, alt, says


def group_coefficients(model: Model, posterior: xr.DataTree) -> dict[str, np.ndarray]:
    """Each group's coefficients, population part included: name -> draws (draws, J).

    That part takes in what predictors of the group contribute, for no group on its own can tell
    them from its own coefficients; see `Design.absorbed`.
    """
    design = model.design
    values = draws.flat(model, posterior)
    absorbed = design.absorbed()
    result = {}
    for k, name in enumerate(design.z_names):
        coefficient = "Intercept" if name == "1" else name
        total = values[design.effect(k)]
        for column, (at, factor) in absorbed.items():
            if at == k:
                total = total + values[design.x_names[column]][:, None] * factor
        result[coefficient] = total
    return result


def shrinkage(
    model: Model, posterior: xr.DataTree, unpooled: tuple[Model, xr.DataTree] | None = None
) -> tuple[Figure, str, str]:
    """From no pooling to partial pooling: how far each group's coefficients are drawn in.

    One panel per varying coefficient: the group's own estimate on the x axis, the partially
    pooled one on the y axis with its interval; the diagonal is no pooling, the flat line
    complete pooling.

    Parameters
    ----------
    model : Model
    posterior : xarray.DataTree
        A fit of it.
    unpooled : tuple of Model and xarray.DataTree, optional
        Its `Model.unpooled` and a fit of that, where they are at hand.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> figure, alt, says = pp.groups.shrinkage(model, model.fit())
    >>> "Pooling draws groups together" in says
    True
    """
    if unpooled is None:
        other = model.unpooled()
        unpooled = other, other.fit()
    separate_model, separate = unpooled
    partial, none = (
        group_coefficients(model, posterior),
        group_coefficients(separate_model, separate),
    )
    counts = model.design.counts
    figure, panels = plt.subplots(
        1, len(partial), figsize=(4.6 * len(partial) + 0.6, 4.2), squeeze=False
    )
    sentences, tail = [], (1 - PROBABILITY) / 2
    for panel, (name, values) in zip(panels.flat, partial.items(), strict=True):
        x, y = none[name].mean(0), values.mean(0)
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        # A group that cannot estimate this coefficient has an unpooled value from the vague prior
        # alone; it would stretch the axis and say nothing.
        known = none[name].std(0) < 5 * np.median(none[name].std(0)) + 1e-12
        panel.vlines(x[known], low[known], high[known], color=theme.COLORS["partial"], alpha=0.3)
        points = panel.scatter(
            x[known],
            y[known],
            s=12 + 60 * counts[known] / counts.max(),
            color=theme.COLORS["partial"],
            alpha=0.85,
            linewidths=0,
        )
        points.set_label("a group, sized by its rows")
        centre = y.mean()
        panel.axhline(centre, color=theme.COLORS["complete"], lw=1.4, label="mean of the groups")
        ends = np.array([x[known].min(), x[known].max()])
        panel.plot(ends, ends, color=theme.COLORS["none"], lw=1.4, label="no pooling")
        panel.set_xlabel(f"{name}, group on its own")
        panel.set_ylabel(f"{name}, partially pooled")
        spread = 1 - np.std(y[known]) / np.std(x[known])
        left = "" if known.all() else f" ({(~known).sum()} groups cannot estimate it alone)"
        sentences.append(f"the spread of **{name}** over groups shrinks by {spread:.0%}{left}")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    says = "Pooling draws groups together: " + "; ".join(sentences) + "."
    alt = f"Partially pooled against unpooled group coefficients. {says.replace('**', '')}"
    return figure, alt, says


def predictive_lines(
    model: Model,
    posterior: xr.DataTree,
    rng: np.random.Generator,
    points: int = 5,
    lines: int = 100,
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, str, str]:
    """The origin's predictive check: lines of random draws for a few rows, each its own colour."""
    design, table = model.design, model.table
    name = main_predictor(model)
    if name is None:
        raise ValueError("Predictive lines need a numeric predictor.")
    rows = rng.choice(len(table), points, replace=False)
    grid = np.array([0.0, table[name].max()])
    figure, axes = plt.subplots()
    axes.scatter(table[name], design.y, s=12, color=theme.COLORS["data"], alpha=0.5, linewidths=0)
    hits = 0
    for color, i in zip(theme.PALETTE, rows, strict=False):
        new = pd.concat([table.iloc[[i]]] * 3).assign(**{name: [*grid, table[name].iloc[i]]})
        drawn = model.mean(posterior, new)
        chosen = drawn[rng.choice(len(drawn), lines, replace=False)]
        axes.plot(grid, chosen[:, :2].T, color=color, alpha=0.12, lw=0.8, rasterized=True)
        axes.scatter(
            table[name].iloc[i], design.y[i], s=55, color=color, edgecolor="white", zorder=3
        )
        low, high = np.quantile(drawn[:, 2], [0.05, 0.95])
        hits += int(low <= design.y[i] <= high)
    axes.set(xlabel=axis_label(name, labels), ylabel=axis_label(design.response, labels))
    says = (
        f"For {hits} of {points} points the 90 % equal-tailed interval of the line at the point's "
        f"{name} holds the point."
    )
    alt = (
        f"Scatter plot with {points} points marked in colour and {lines} posterior lines through "
        f"each. {says}"
    )
    return figure, alt, says


def forest(model: Model, posterior: xr.DataTree) -> tuple[Figure, str, str]:
    """Each group's coefficients with intervals, sorted, and the population's behind them."""
    coefficients = group_coefficients(model, posterior)
    tail = (1 - PROBABILITY) / 2
    J = model.design.n_groups
    few = J <= MAX_ROWS
    height = 0.17 * min(J, MAX_ROWS) + 1.2
    figure, panels = plt.subplots(
        1, len(coefficients), figsize=(4.6 * len(coefficients) + 0.8, height), squeeze=False
    )
    says = []
    for panel, (name, values) in zip(panels.flat, coefficients.items(), strict=True):
        middle = values.mean(0)
        order = np.argsort(middle)
        if not few:
            order = order[np.linspace(0, J - 1, MAX_ROWS).round().astype(int)]
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        centre = values.mean(1)
        panel.axvspan(
            *np.quantile(centre, [tail, 1 - tail]), color=theme.COLORS["complete"], alpha=0.25, lw=0
        )
        panel.axvline(centre.mean(), color=theme.COLORS["complete"], lw=1.4)
        places = np.arange(len(order))
        panel.hlines(places, low[order], high[order], color=theme.COLORS["partial"], alpha=0.6)
        panel.scatter(middle[order], places, s=10, color=theme.COLORS["partial"], zorder=3)
        panel.set_yticks(places, model.design.levels[order], fontsize=7)
        panel.set_ylim(-1, len(order))
        panel.set_xlabel(name)
        apart = int(((low > centre.mean()) | (high < centre.mean())).sum())
        says.append(
            f"**{name}** goes from {middle.min():.3g} ({model.design.levels[middle.argmin()]}) to "
            f"{middle.max():.3g} ({model.design.levels[middle.argmax()]}), and the interval of "
            f"{apart} of {J:,} groups leaves out the mean of all"
        )
    handles = [
        plt.Line2D([], [], color=theme.COLORS["partial"], marker="o", ms=4, label="a group"),
        plt.Line2D([], [], color=theme.COLORS["complete"], label="mean of the groups"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    shown = "" if few else f" Of {J:,} groups {MAX_ROWS} are shown, evenly spread."
    text = f"{'; '.join(says)}. Intervals are {PROBABILITY:.0%} equal-tailed.{shown}"
    return figure, f"Intervals of each group's coefficients. {text.replace('**', '')}", text
