"""Pictures of the groups: their rows and their lines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from partialpool.data.text import number
from partialpool.design.matrices import Design, Grouping
from partialpool.fit.regression import Regression
from partialpool.plots import palette, theme
from partialpool.posterior.draws import MAX_ROWS, PROBABILITY, interval, population_line
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import POOLING, Fitted
from partialpool.posterior.names import groups_of
from partialpool.posterior.predictions import line, main_predictor
from partialpool.posterior.responses import mean, observed
from partialpool.posterior.sizes import rows_and_groups, sizes
from partialpool.posterior.varying import alone, estimable, grouping_of, named

#: Most groups that get a panel of their own; more are thinned evenly by size.
MAX_PANELS = 18
#: Most groups that get a row of their own: half of them with most, half with least.
ROWS = 24
#: Most groups whose least-squares line is drawn behind the data.
MAX_LINES = 200
#: Most different values of a predictor at which points are moved apart.
FEW_VALUES = 6
#: Names of more levels than this stand upright, for slanted ones would touch.
MANY_LEVELS = 12
#: Points of the predictive check, and lines through each.
POINTS, LINES = 5, 100


def spread(order: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of an array, evenly spread from its first to its last."""
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]


def first_and_last(order: np.ndarray, most: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """An order, or of a long one its first and its last, with places that have a gap between."""
    if len(order) <= most:
        return order, np.arange(len(order))
    half = most // 2
    places = np.arange(2 * half) + (np.arange(2 * half) >= half)
    return np.concatenate([order[:half], order[-half:]]), places


def chosen_groups(grouping: Grouping, most: int = MAX_PANELS) -> np.ndarray:
    """Codes of at most `most` groups, spread evenly from the smallest to the largest."""
    present = np.unique(grouping.codes)  # of data in parts, those in the sample
    if len(present) <= most:
        return present
    return spread(present[np.argsort(grouping.counts[present], kind="stable")], most)


def data(model: Regression) -> Finding:
    """Rows against the main predictor, or by group, a panel for each factor.

    Behind the rows is the least-squares line of each group that has more than two. With several
    factors a table says how many groups and rows each has.
    """
    design, name = model.design, main_predictor(model)
    groupings = design.groupings
    n = max(1, len(groupings))
    crowded = _crowded(model)
    wide = theme.columns_of(n, 3 if crowded and n > 2 else 2)
    size = (10 / wide, 4.2 if n == 1 else 3.4)
    figure, panels = theme.panels(n, wide, size, sharey=True)
    rng = np.random.default_rng(0)  # jitter only
    y = observed(model, np.arange(len(design.y)))
    if model.linked and not model.spreads:
        if len(values := np.unique(y)) <= FEW_VALUES:
            panels[0].set_yticks(values, [f"{value:g}" for value in values])
        y = y + rng.uniform(-0.06, 0.06, len(y))
    lines = 0
    for panel, grouping in zip(panels, groupings or [None], strict=True):
        if crowded and grouping is not None:
            _means(panel, model, grouping)
            continue
        x = _places(panel, model, grouping, name, rng)
        if name is not None and grouping is not None and not model.linked:
            lines += _least_squares(panel, design, grouping, model.table[name].to_numpy(float))
            panel.set_title(model.words(grouping.name) if n > 1 else "", loc="left")
        if design.se is not None:
            panel.vlines(x, design.y - design.se, design.y + design.se, color=theme.DATA, lw=1)
        panel.scatter(x, y, s=14 if len(x) > 50 else 36, **theme.dots(len(x)))
    for panel in panels[::wide]:
        panel.set_ylabel(_called(model))
    if lines:
        label = "a group's own least-squares line"
        theme.legend(figure, [plt.Line2D([], [], color=theme.NONE, lw=1, label=label)])
    against = name or " and ".join(grouping.name for grouping in groupings) or "the rows' order"
    what = f"Scatter plot of {design.response} against {against}"
    says = rows_and_groups(model)
    if crowded:
        what = f"Means of {design.response} by group, sorted, a panel for each factor"
        says += (
            " A dot is the mean of a group's rows. The fewer these are the more it is scattered by "
            "chance, so that dots spread more than groups do."
        )
    if design.trials is not None:
        what = f"Scatter plot of the shares of successes in {design.response} against {against}."
    else:
        ends = f"{number(design.y.min())} to {number(design.y.max())}"
        what += f"; {design.response} runs from {ends}."
    found = theme.finding("data", figure, what, says)
    if len(groupings) < 2:
        return found
    table = sizes(model)
    formats = {name: (name, "{:,}") for name in table} | {
        "median": ("median rows of a group", "{:,g}")
    }
    return replace(found, table=table, columns=formats)


def _crowded(model: Regression) -> bool:
    """Whether rows are too many to be told apart: where they lie at two places, or at groups'."""
    name = main_predictor(model)
    few = name is None or model.table[name].nunique() <= 2
    return few and len(model.design.y) > MAX_ROWS and bool(model.design.groupings)


def _means(panel: Axes, model: Regression, grouping: Grouping) -> None:
    """The mean response of each group, sorted, and that of all rows."""
    y = model.design.y
    means = np.sort(pd.Series(y).groupby(grouping.codes).mean().to_numpy())
    style = theme.dots(len(means)) | {"alpha": 0.8}
    panel.scatter(np.arange(1, len(means) + 1), means, s=14 if len(means) > 50 else 36, **style)
    panel.axhline(y.mean(), color=theme.COMPLETE, lw=1.2)
    panel.set_xlabel(f"{len(means):,} {groups_of(model, grouping)}, sorted by their mean")


def _called(model: Regression) -> str:
    """What the response is called where rows are shown."""
    shares = model.design.trials is not None and model.spreads
    name = model.label(model.design.response)
    return f"share of {name}" if shares else name


def _places(
    panel: Axes,
    model: Regression,
    grouping: Grouping | None,
    name: str | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Where the rows (N,) lie: at their predictor, or without one at their group."""
    n = len(model.design.y)
    if name is not None:
        x = model.table[name].to_numpy(float)
        panel.set_xlabel(model.label(name))
        levels = np.unique(x)
        if len(levels) > FEW_VALUES:
            return x
        panel.set_xticks(levels, [model.words(name, level) for level in levels])
        return x + rng.uniform(-0.1, 0.1, n) * np.min(np.diff(levels))
    if grouping is None:
        panel.set_xlabel("rows")
        return np.arange(n)
    panel.set_xlabel(model.label(grouping.name))
    if grouping.n_levels <= 40:
        turned = 90 if grouping.n_levels > MANY_LEVELS else 45
        if max(len(str(level)) for level in grouping.levels) <= 2:
            turned = 0
        panel.set_xticks(range(grouping.n_levels), grouping.levels, rotation=turned)
    if n == grouping.n_levels:  # a row each has no other to stand beside
        return grouping.codes
    return grouping.codes + rng.uniform(-0.15, 0.15, n)


def _with_levels(model: Regression, name: str) -> str:
    """What a predictor is called, with the labels of its values where panels have no room."""
    values = np.unique(model.table[name].dropna())
    named = [f"{v:g}: {model.words(name, v)}" for v in values if model.has_label(name, v)]
    return f"{model.label(name)} ({', '.join(named)})" if named else model.label(name)


def _least_squares(axes: Axes, design: Design, grouping: Grouping, x: np.ndarray) -> int:
    """Each group's own line through its rows; how many there are."""
    drawn = 0
    for j in chosen_groups(grouping, MAX_LINES):
        rows = grouping.codes == j
        if rows.sum() > 2 and np.ptp(x[rows]) > 0:
            slope, intercept = np.polyfit(x[rows], design.y[rows], 1)
            ends = np.array([x[rows].min(), x[rows].max()])
            axes.plot(ends, intercept + slope * ends, color=theme.NONE, alpha=0.35, lw=1)
            drawn += 1
    return drawn


def group_lines(fitted: Fitted, factor: str | None = None) -> Finding:
    """A panel per group: its rows, and the line of each way to pool with the partial interval.

    A group that cannot tell its own line has none; where the predictor is one number in each group,
    what is unpooled is a level there, and no line. Of other factors a line has the effects of those
    in which the groups lie, and is for the average of the others.

    Parameters
    ----------
    fitted : Fitted
    factor : str, optional
        Whose groups; the only grouping factor need not be named.
    """
    model, design, table = fitted.model, fitted.model.design, fitted.model.table
    name = main_predictor(model)
    if not design.groupings:
        return Finding("group_lines", "Without groups there are no lines of theirs to compare.")
    if name is None:
        return Finding("group_lines", "Without a numeric predictor no lines can be drawn.")
    grouping = grouping_of(design, factor)
    none = alone(fitted, grouping)
    coefficients = range(len(grouping.z_names))
    known = np.all([estimable(none, grouping, k) for k in coefficients], axis=0)
    own, _ = none.figures(grouping)
    groups = chosen_groups(grouping)
    columns = theme.columns_of(len(groups), 6)
    figure, panels = theme.panels(len(groups), columns, (10 / columns, 1.75))
    grid = np.linspace(table[name].min(), table[name].max(), 25)
    around = [g.name for g in design.groupings if grouping.within(g) is not None]
    averaged = {g.name for g in design.groupings} - {*around}
    x = table[name].to_numpy(float)
    level = all(np.ptp(x[grouping.codes == j]) == 0 for j in np.unique(grouping.codes))
    inside = 0
    y = observed(model, np.arange(len(design.y)))
    for panel, j in zip(panels, groups, strict=True):
        mine = grouping.codes == j
        places = np.append(grid, x[mine][0])
        new = pd.concat([table[mine].head(1)] * len(places)).assign(**{name: places})
        # many rows at the same place are one dot
        dots = np.unique(np.column_stack([table.loc[mine, name], y[mine]]), axis=0)
        panel.scatter(
            dots[:, 0], dots[:, 1], s=9, color=theme.DATA, linewidths=0, rasterized=len(dots) > 2000
        )
        drawn = _mean(fitted, new, around)
        lines = {"complete": _mean(fitted.ways["complete"], new, around).mean(0)}
        if known[j]:
            others = [factor for factor in around if factor != grouping.name]
            lines["none"] = _line(none, new, others).mean(0) + grouping.rows(new)[0] @ own[j]
            if model.linked:
                lines["none"] = _mean(none, new, around).mean(0)
        lines["partial"] = drawn.mean(0)
        low, high = interval(drawn)
        panel.fill_between(grid, low[:-1], high[:-1], color=theme.PARTIAL, alpha=0.2, linewidth=0)
        for way, middle in lines.items():
            style: dict[str, Any] = {"color": theme.COLORS[way], "label": POOLING[way]}
            if level and way == "none":
                panel.plot(places[-1:], middle[-1:], "D", ms=5, **style)
            else:
                panel.plot(grid, middle[:-1], lw=1.4, **style)
        if known[j]:
            at = slice(-1, None) if level else slice(None)
            within = (lines["none"] >= low) & (lines["none"] <= high)
            inside += bool(within[at].all())
        panel.set_title(f"{grouping.levels[j]} ({grouping.counts[j]:,})", fontsize=8, pad=2)
    theme.alike(panels, columns, grid, y)
    if table[name].nunique() <= FEW_VALUES:
        for panel in panels:
            panel.xaxis.set_ticks(np.unique(table[name]))
    figure.supxlabel(_with_levels(model, name), fontsize=10)
    figure.supylabel(_called(model), fontsize=10)
    theme.legend(figure)
    of = "All" if len(groups) == grouping.n_levels else f"{len(groups)} of {grouping.n_levels:,}"
    own_lines, lacking = int(known[groups].sum()), np.isin(np.arange(len(known)), groups) & ~known
    called, what = groups_of(model, grouping), "level" if level else "line"
    says = (
        f"{of} {called}, with their number of rows in brackets; the band is the "
        f"{PROBABILITY:.0%} equal-tailed interval of the partially pooled line. In "
        f"{_of_all(inside, own_lines)} panels with an unpooled {what} this "
        f"{'lies' if level else 'stays'} inside "
        f"that band{': there pooling' if inside else ', so that pooling nowhere'} moves a group's "
        f"{what} by less than its uncertainty. How far it draws all groups together is a matter of "
        "their spread, see the shrinkage."
    )
    if level:
        says += (
            f" In each group {model.words(name)} is one number, so that a group on its own tells "
            "its level there, a diamond, and no line."
        )
    if lacking.any():
        other = "other cannot tell its" if lacking.sum() == 1 else "others cannot tell their"
        says += (
            f" The {other} own {what} from the rows, so that none is drawn: "
            f"{named(grouping, lacking)}."
        )
    if averaged:
        says += f" Lines are for the average {' and '.join(map(model.words, sorted(averaged)))}."
    what = (
        f"Small panels, one per group of {model.words(grouping.name)}, each with its rows and the "
        f"lines of {', '.join(POOLING.values())}."
    )
    return theme.finding(of_factor("group_lines", design, grouping), figure, what, says)


def _of_all(count: int, whole: int) -> str:
    """A number of some: "all 18", "none of the 18", "3 of the 18"."""
    return f"all {whole}" if count == whole > 0 else f"{count or 'none'} of the {whole}"


def of_factor(name: str, design: Design, grouping: Grouping) -> str:
    """Name of a finding, with the factor's where there are several."""
    several = len(design.groupings) > 1
    return f"{name}-{grouping.name.replace(':', '-')}" if several else name


def _line(fitted: Fitted, table: pd.DataFrame, factors: Sequence[str]) -> np.ndarray:
    """Draws (S, n) of the line at rows, with the effects of some factors."""
    design, values = fitted.model.design, fitted.values
    X, of_groups = design.rows(table)
    total = population_line(design, values, X) + design.offset_of(table)
    for grouping, (Z, codes) in zip(design.groupings, of_groups, strict=True):
        if grouping.name in factors:
            for k, effect in enumerate(grouping.effects):
                total += values[effect][:, codes] * Z[:, k]
    return total


def _mean(fitted: Fitted, table: pd.DataFrame, factors: Sequence[str]) -> np.ndarray:
    """The same of the response's mean."""
    return mean(fitted.model, fitted.values, _line(fitted, table, factors))


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
    for color, i in zip(palette.CHOSEN, rows, strict=True):
        new = pd.concat([table.iloc[[i]]] * 3).assign(**{name: [*grid, x[i]]})
        drawn = line(fitted, new)
        chosen = drawn[rng.choice(len(drawn), LINES, replace=False)]
        axes.plot(grid, chosen[:, :2].T, color=color, alpha=0.12, lw=0.8)
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
