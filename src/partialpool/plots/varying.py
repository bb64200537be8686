"""Pictures of the coefficients that vary by group: how they lie, and how far pooling draws them."""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from partialpool.data.text import capital, likely, listed, number, percent, rounded
from partialpool.plots import theme
from partialpool.plots.groups import ROWS, first_and_last, of_factor, spread
from partialpool.posterior import effects
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_of, kind_in_words
from partialpool.posterior.varying import (
    Varying,
    alone,
    estimable,
    grouping_of,
    too_uncertain,
    varying,
)

#: Most groups that get a dot.
MANY = 400


def shrinkage(fitted: Fitted, factor: str | None = None) -> Finding:
    """From no pooling to partial pooling: how far each group's coefficients are drawn in.

    One panel per varying coefficient: the group's own estimate on the x axis, the partially
    pooled one on the y axis with its interval; the diagonal is no pooling, the flat line
    complete pooling. Where a predictor of the group has a part in the coefficient, that is taken
    from both, for pooling draws towards the line of that predictor.

    Parameters
    ----------
    fitted : Fitted
        A fit; that without pooling is one of its `ways`.
    factor : str, optional
        Whose groups; the only grouping factor need not be named.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> found = pp.plots.shrinkage(model.fit())
    >>> "Pooling draws groups together" in found.sentence
    True
    """
    if not fitted.model.design.groupings:
        return Finding("shrinkage", "Without groups there is nothing to shrink.")
    grouping = grouping_of(fitted.model.design, factor)
    none = alone(fitted, grouping)
    partial, separate = varying(fitted, grouping), varying(none, grouping)
    alike: dict[str, np.ndarray] = {}
    figure, panels = theme.panels(len(partial), 2, (4.3, 3.6))
    sentences, called = [], groups_of(fitted.model, grouping)
    word = fitted.model.words(grouping.name)
    few = False
    for k, (panel, ours, own) in enumerate(zip(panels, partial, separate, strict=True)):
        values, y, x, less = ours.total, ours.middle, own.middle, ""
        if ours.explained:
            values, y, x = ours.deviation, ours.mean, x - ours.line.mean(0)
            less = f" beyond what {_explain(ours)}"
        known = alike[ours.name] = estimable(none, grouping, k)
        low, high = interval(values)
        panel.axhline(y.mean(), color=theme.INK, lw=1.2, label="mean of the groups")
        panel.set(
            xlabel=theme.wrapped(f"{ours.name}, {word} on its own", 50),
            ylabel=theme.wrapped(f"{ours.name}, partially pooled", 40),
        )
        panel.set_title(less.removeprefix(" "), loc="left", fontsize=9)
        if known.sum() < 2:
            sentences.append(f"no two groups know their **{ours.name}** on their own")
            continue
        some = np.flatnonzero(known)
        some = np.sort(spread(some[np.argsort(x[some], kind="stable")], MANY))
        few = few or len(some) < known.sum()
        panel.vlines(x[some], low[some], high[some], color=theme.PARTIAL, alpha=0.3)
        sizes = 12 + 60 * grouping.counts[some] / grouping.counts.max()
        style: dict[str, Any] = {"color": theme.PARTIAL, "alpha": 0.85, "linewidths": 0}
        sized = ", sized by its rows" if np.ptp(grouping.counts) else ""
        panel.scatter(x[some], y[some], s=sizes, label=f"a group{sized}", **style)
        ends = np.array([x[known].min(), x[known].max()])
        panel.plot(ends, ends, color=theme.NONE, lw=1.4, label="no pooling")
        before, after = np.std(x[known]), np.std(y[known])
        far = np.flatnonzero(known)[np.abs(x[known] - x[known].mean()).argmax()]
        sentences.append(
            f"the spread of the **{ours.name}**{less} over {called} shrinks by "
            f"{1 - after / before:.0%}, from {number(before, 3)} to {number(after, 3)}, and "
            f"{word} {grouping.levels[far]}, farthest out alone, goes from {number(x[far], 3)} to "
            f"{number(y[far], 3)}"
        )
    theme.legend(figure)
    says = f"Pooling draws groups together: {'; '.join(sentences)}. "
    says += "Spreads are standard deviations of the groups' means."
    if few:
        says += f" Of {grouping.n_levels:,} groups {MANY} are shown, evenly spread."
    says = f"{says} {too_uncertain(fitted.model, grouping, alike)}".strip()
    what = "Partially pooled against unpooled group coefficients."
    return theme.finding(of_factor("shrinkage", fitted.model.design, grouping), figure, what, says)


def _explain(one: Varying) -> str:
    return f"{listed(one.explained)} explain{'s' * (len(one.explained) == 1)}"


def forest(fitted: Fitted, factor: str | None = None) -> Finding:
    """Each group's coefficients with intervals, sorted, and the population's behind them.

    Parameters
    ----------
    fitted : Fitted
    factor : str, optional
        Whose groups; the only grouping factor need not be named.
    """
    if not fitted.model.design.groupings:
        return Finding("forest", "Without groups all rows share these coefficients.")
    grouping = grouping_of(fitted.model.design, factor)
    coefficients = varying(fitted, grouping)
    J, called = grouping.n_levels, kind_in_words(fitted.model, grouping)
    figure, panels = theme.panels(len(coefficients), 2, (4.3, 0.17 * min(J, ROWS) + 0.6))
    says = []
    for panel, one in zip(panels, coefficients, strict=True):
        middle, total = one.middle, one.total
        low, high = interval(total)
        order, places = first_and_last(np.argsort(middle, kind="stable"))
        _population(panel, one, order, places)
        panel.hlines(places, low[order], high[order], color=theme.PARTIAL, alpha=0.6)
        panel.scatter(middle[order], places, s=10, color=theme.PARTIAL, label="a group", zorder=3)
        panel.set_yticks(places, grouping.levels[order], fontsize=7)
        with_line = f", {listed(one.explained)} included," if one.explained else ""
        words = fitted.model.words(grouping.name)
        panel.set(xlabel=f"{one.name} of {words}{with_line.rstrip(',')}", ylim=(-1, places[-1] + 1))
        # by medians, so that a scale that bends has the same order
        extremes = [f(np.median(total, axis=0)) for f in (np.argmin, np.argmax)]
        sd = max(float(total[:, j].std()) for j in extremes)
        low, high = interval(one.deviation)
        apart = int(((low > 0) | (high < 0)).sum())
        ends = [
            f"{rounded(middle[j], sd)} ({grouping.levels[j]}, the {word} of all "
            f"with probability {likely(float((extreme == j).mean()), 0)})"
            for j, extreme, word in zip(
                extremes, (total.argmin(1), total.argmax(1)), ("lowest", "highest"), strict=True
            )
        ]
        says.append(
            f"the **{one.name}** of {called}{with_line} goes from {' to '.join(ends)}, and "
            f"for {apart or 'none'} of {J:,} groups the interval of the deviation from "
            f"{_origin(one)} line leaves out zero"
        )
    theme.legend(figure)
    few = (
        ""
        if J <= ROWS
        else f" Of {J:,} groups the {ROWS // 2} highest and {ROWS // 2} lowest are shown."
    )
    text = f"{capital('; '.join(says))}. Intervals are {PROBABILITY:.0%} equal-tailed.{few}"
    crossed = [
        fitted.model.words(other.name)
        for other in fitted.model.design.groupings
        if other.name != grouping.name
        and fitted.model.words(other.name) not in coefficients[0].within
    ]
    if crossed:
        text += f" Coefficients are for the average {' and '.join(crossed)}."
    what = "Intervals of each group's coefficients."
    return theme.finding(of_factor("forest", fitted.model.design, grouping), figure, what, text)


def _origin(one: Varying) -> str:
    """Whose line a group deviates from."""
    return f"its {' and '.join(one.within)}'s" if one.within else "the population's"


def _population(panel: Any, one: Varying, order: np.ndarray, places: np.ndarray) -> None:
    """What groups share: their mean with its interval, or the line's value for each of them."""
    if one.explained:
        label = f"what {_explain(one)}"
        style: dict[str, Any] = {"marker": "|", "s": 40, "color": theme.INK}
        panel.scatter(one.line.mean(0)[order], places, label=label, **style)
        return
    centre = one.total.mean(1)
    label = f"{percent(PROBABILITY)} interval of that mean"
    panel.axvline(centre.mean(), color=theme.INK, lw=1.2, label="mean of the groups")
    panel.axvspan(*interval(centre), color=theme.INK, alpha=0.15, lw=0, label=label)


def variance(fitted: Fitted, rows: np.ndarray) -> Finding:
    """Shares of variance by the population and each factor: `effects.variance_explained`, drawn.

    Parameters
    ----------
    fitted : Fitted
    rows : (n,) int array
        Rows of the data.
    """
    found = effects.variance_explained(fitted, rows)
    table: Any = found.table
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 0.34 * len(table) + 0.9))
    places = np.arange(len(table))[::-1]
    axes.hlines(places, table["q05"], table["q95"], color=theme.PARTIAL, lw=4, alpha=0.5)
    axes.scatter(table["mean"], places, color=theme.PARTIAL, s=24, zorder=3)
    axes.set_yticks(places, list(table.index))
    axes.set(xlim=(0, 1), ylim=(-0.6, len(table) - 0.4))
    axes.set_xlabel(f"share of variance, with its {percent(PROBABILITY)} interval")
    axes.xaxis.set_major_formatter(lambda x, _: percent(x))
    description = f"Intervals of {len(table)} shares of variance. {found.sentence}"
    return replace(found, figure=figure, description=description)
