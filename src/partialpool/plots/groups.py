"""Pictures of the groups: their rows, their lines, and how far pooling draws them in."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from partialpool.design.matrices import Design
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.effects import group_coefficients
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import POOLING, Fitted
from partialpool.posterior.predictions import line, main_predictor

#: Most groups that get a panel of their own; more are thinned evenly by size.
MAX_PANELS = 18
#: Most groups whose least-squares line is drawn behind the data.
MAX_LINES = 200
#: Most groups that get a row of their own in a forest.
MAX_ROWS = 70
#: Most different values of a predictor at which points are moved apart.
FEW_VALUES = 6
#: Points of the predictive check, and lines through each.
POINTS, LINES = 5, 100


def spread(order: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of an array, evenly spread from its first to its last."""
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]


def chosen_groups(design: Design, most: int = MAX_PANELS) -> np.ndarray:
    """Codes of at most `most` groups, spread evenly from the smallest to the largest."""
    present = np.unique(design.codes)  # of data in parts, those in the sample
    if len(present) <= most:
        return present
    return spread(present[np.argsort(design.counts[present], kind="stable")], most)


def data(model: Regression) -> Finding:
    """Rows against the main predictor, with each group's mean or least-squares line behind."""
    design, table = model.design, model.table
    name = main_predictor(model)
    figure, axes = plt.subplots()
    rng = np.random.default_rng(0)  # jitter only
    if name is None:
        x = design.codes + rng.uniform(-0.15, 0.15, len(design.y))
        if design.n_groups <= 40:
            axes.set_xticks(range(design.n_groups), design.levels, rotation=45)
    else:
        x = table[name].to_numpy(float)
        _least_squares(axes, design, x)
        levels = np.unique(x)
        if len(levels) <= FEW_VALUES:
            axes.set_xticks(levels)
            x = x + rng.uniform(-0.1, 0.1, len(x)) * np.min(np.diff(levels))
    if design.se is not None:
        axes.vlines(x, design.y - design.se, design.y + design.se, color=theme.DATA, lw=1)
    axes.scatter(x, design.y, s=14 if len(x) > 50 else 36, **theme.dots(len(x)))
    axes.set(xlabel=model.label(name or design.group), ylabel=model.label(design.response))
    what = (
        f"Scatter plot of {design.response} against {name or design.group}; {design.response} "
        f"runs from {design.y.min():.3g} to {design.y.max():.3g}."
    )
    return theme.finding("data", figure, what, _rows_and_groups(model))


def _least_squares(axes: Axes, design: Design, x: np.ndarray) -> None:
    """Each group's own line through its rows."""
    for j in chosen_groups(design, MAX_LINES):
        rows = design.codes == j
        if rows.sum() > 2 and np.ptp(x[rows]) > 0:
            slope, intercept = np.polyfit(x[rows], design.y[rows], 1)
            ends = np.array([x[rows].min(), x[rows].max()])
            axes.plot(ends, intercept + slope * ends, color=theme.NONE, alpha=0.35, lw=1)


def _rows_and_groups(model: Regression) -> str:
    """How many rows there are, in how many groups, and what was left out."""
    design, counts = model.design, model.design.counts
    says = f"{design.n_rows:,} rows."
    if design.group:
        sizes = (
            f"{counts.min()} {'row' if counts.min() == 1 else 'rows'} each"
            if counts.min() == counts.max()
            else f"{counts.min()} to {counts.max():,} rows each, median {np.median(counts):g}"
        )
        known = "; bars are one known standard error either way" if design.se is not None else ""
        says = (
            f"**{design.n_rows:,} rows** in **{design.n_groups:,} groups of {design.group}**, "
            f"{sizes}{known}."
        )
    shown = len(design.y)
    if shown < design.n_rows:
        says += f" Figures show a random sample of {shown:,} of them; the fit knows all."
    return " ".join([says, model.dropped, model.unidentified]).strip()


def group_lines(fitted: Fitted) -> Finding:
    """A panel per group: its rows, and the line of each way to pool with the partial interval."""
    model, design, table = fitted.model, fitted.model.design, fitted.model.table
    name = main_predictor(model)
    if not design.group:
        return Finding("group_lines", "Without groups there are no lines of theirs to compare.")
    if name is None:
        return Finding("group_lines", "Without a numeric predictor no lines can be drawn.")
    groups = chosen_groups(design)
    columns = min(6, len(groups))
    figure, panels = theme.panels(
        len(groups), columns, (10 / columns, 1.75), sharex=True, sharey=True
    )
    grid = np.linspace(table[name].min(), table[name].max(), 25)
    inside = 0
    for panel, j in zip(panels, groups, strict=True):
        mine = design.codes == j
        new = pd.concat([table[mine].head(1)] * len(grid)).assign(**{name: grid})
        panel.scatter(table.loc[mine, name], design.y[mine], s=9, color=theme.DATA, linewidths=0)
        lines = {way: line(fit, new) for way, fit in fitted.ways.items()}
        low, high = interval(lines["partial"])
        panel.fill_between(grid, low, high, color=theme.PARTIAL, alpha=0.2, linewidth=0)
        for way, drawn in lines.items():
            panel.plot(grid, drawn.mean(0), color=theme.COLORS[way], lw=1.4, label=POOLING[way])
        own = lines["none"].mean(0)
        inside += bool(((own >= low) & (own <= high)).all())
        panel.set_title(f"{design.levels[j]} ({design.counts[j]:,})", fontsize=8, pad=2)
    pad = 0.08 * np.ptp(design.y)
    panels[0].set_ylim(design.y.min() - pad, design.y.max() + pad)
    figure.supxlabel(model.label(name), fontsize=10)
    figure.supylabel(model.label(design.response), fontsize=10)
    theme.legend(figure)
    of = "All" if len(groups) == design.n_groups else f"{len(groups)} of {design.n_groups}"
    says = (
        f"{of} groups, with their number of rows in brackets; the band is the "
        f"{PROBABILITY:.0%} equal-tailed interval of the partially pooled line. In {inside} of "
        f"the {len(groups)} panels the unpooled line stays inside that band: there pooling moves a "
        "group's line by less than its uncertainty. How far it draws all groups together is a "
        "matter of their spread, see the shrinkage."
    )
    what = (
        f"Small panels, one per group of {design.group}, each with its rows and the lines of "
        f"{', '.join(POOLING.values())}."
    )
    return theme.finding("group_lines", figure, what, says)


def shrinkage(fitted: Fitted) -> Finding:
    """From no pooling to partial pooling: how far each group's coefficients are drawn in.

    One panel per varying coefficient: the group's own estimate on the x axis, the partially
    pooled one on the y axis with its interval; the diagonal is no pooling, the flat line
    complete pooling.

    Parameters
    ----------
    fitted : Fitted
        A fit; that without pooling is one of its `ways`.

    Examples
    --------
    >>> import partialpool as pp
    >>> from partialpool.plots import groups
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> found = groups.shrinkage(model.fit())
    >>> "Pooling draws groups together" in found.sentence
    True
    """
    if not fitted.model.design.group:
        return Finding("shrinkage", "Without groups there is nothing to shrink.")
    partial, separate = map(group_coefficients, (fitted, fitted.ways["none"]))
    counts = fitted.model.design.counts
    figure, panels = theme.panels(len(partial), len(partial), (4.6, 3.6))
    sentences = []
    for panel, (name, values) in zip(panels, partial.items(), strict=True):
        x, y = separate[name].mean(0), values.mean(0)
        low, high = interval(values)
        # A group that cannot estimate this coefficient has an unpooled value from the vague prior
        # alone; it would stretch the axis and say nothing.
        sd = separate[name].std(0)
        known = sd < 5 * np.median(sd) + 1e-12
        panel.vlines(x[known], low[known], high[known], color=theme.PARTIAL, alpha=0.3)
        style = {"s": 12 + 60 * counts[known] / counts.max(), "alpha": 0.85, "linewidths": 0}
        label = "a group, sized by its rows"
        panel.scatter(x[known], y[known], color=theme.PARTIAL, label=label, **style)
        panel.axhline(y.mean(), color=theme.COMPLETE, lw=1.4, label="mean of the groups")
        ends = np.array([x[known].min(), x[known].max()])
        panel.plot(ends, ends, color=theme.NONE, lw=1.4, label="no pooling")
        panel.set(xlabel=f"{name}, group on its own", ylabel=f"{name}, partially pooled")
        drawn_in = 1 - np.std(y[known]) / np.std(x[known])
        lacking = int((~known).sum())
        left = f" ({lacking} {'group' if lacking == 1 else 'groups'} cannot estimate it alone)"
        sentences.append(
            f"the spread of **{name}** over groups shrinks by {drawn_in:.0%}"
            + (left if lacking else "")
        )
    theme.legend(figure)
    says = f"Pooling draws groups together: {'; '.join(sentences)}."
    what = "Partially pooled against unpooled group coefficients."
    return theme.finding("shrinkage", figure, what, says)


def predictive_lines(fitted: Fitted, rng: np.random.Generator) -> Finding:
    """The origin's predictive check: lines of random draws for a few rows, each its own colour."""
    model, design, table = fitted.model, fitted.model.design, fitted.model.table
    name = main_predictor(model)
    if name is None:
        raise ValueError("Predictive lines need a numeric predictor.")
    x = table[name].to_numpy()
    rows = rng.choice(len(table), POINTS, replace=False)
    grid = np.array([0.0, x.max()])
    figure, axes = plt.subplots()
    axes.scatter(x, design.y, s=12, color=theme.DATA, alpha=0.5, linewidths=0)
    hits = 0
    for color, i in zip(theme.PALETTE, rows, strict=False):
        new = pd.concat([table.iloc[[i]]] * 3).assign(**{name: [*grid, x[i]]})
        drawn = line(fitted, new)
        chosen = drawn[rng.choice(len(drawn), LINES, replace=False)]
        axes.plot(grid, chosen[:, :2].T, color=color, alpha=0.12, lw=0.8, rasterized=True)
        axes.scatter(x[i], design.y[i], s=55, color=color, edgecolor="white", zorder=3)
        low, high = interval(drawn[:, 2])
        hits += int(low <= design.y[i] <= high)
    axes.set(xlabel=model.label(name), ylabel=model.label(design.response))
    says = (
        f"For {hits} of {POINTS} points the {PROBABILITY:.0%} equal-tailed interval of the line at "
        f"the point's {name} holds the point."
    )
    what = (
        f"Scatter plot with {POINTS} points marked in colour and {LINES} posterior lines through "
        "each."
    )
    return theme.finding("predictive_lines", figure, what, says)


def forest(fitted: Fitted) -> Finding:
    """Each group's coefficients with intervals, sorted, and the population's behind them."""
    design, J = fitted.model.design, fitted.model.design.n_groups
    if not design.group:
        return Finding("forest", "Without groups all rows share these coefficients.")
    coefficients = group_coefficients(fitted)
    size = (4.6, 0.17 * min(J, MAX_ROWS) + 0.6)
    figure, panels = theme.panels(len(coefficients), len(coefficients), size)
    says = []
    for panel, (name, values) in zip(panels, coefficients.items(), strict=True):
        middle, centre = values.mean(0), values.mean(1)
        order = spread(np.argsort(middle), MAX_ROWS)
        low, high = interval(values)
        panel.axvspan(*interval(centre), color=theme.COMPLETE, alpha=0.25, lw=0)
        panel.axvline(centre.mean(), color=theme.COMPLETE, lw=1.4, label="mean of the groups")
        places = np.arange(len(order))
        panel.hlines(places, low[order], high[order], color=theme.PARTIAL, alpha=0.6)
        panel.scatter(middle[order], places, s=10, color=theme.PARTIAL, label="a group", zorder=3)
        panel.set_yticks(places, design.levels[order], fontsize=7)
        panel.set(xlabel=name, ylim=(-1, len(order)))
        apart = int(((low > centre.mean()) | (high < centre.mean())).sum())
        says.append(
            f"**{name}** goes from {middle.min():.3g} ({design.levels[middle.argmin()]}) to "
            f"{middle.max():.3g} ({design.levels[middle.argmax()]}), and the interval of "
            f"{apart} of {J:,} groups leaves out the mean of all"
        )
    theme.legend(figure)
    few = "" if J <= MAX_ROWS else f" Of {J:,} groups {MAX_ROWS} are shown, evenly spread."
    text = f"{'; '.join(says)}. Intervals are {PROBABILITY:.0%} equal-tailed.{few}"
    return theme.finding("forest", figure, "Intervals of each group's coefficients.", text)
