"""Pictures of effects: the line along each predictor, at the population and for groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from partialpool.data.text import number, rounded
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.plots.groups import spread
from partialpool.posterior.averages import averages
from partialpool.posterior.contrasts import (
    datagrid,
    group_rows,
    is_numeric,
    level_in_words,
    levels,
    predictors,
    response,
    text,
)
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_of
from partialpool.posterior.predictions import line
from partialpool.posterior.responses import mean

#: Most predictors with a panel, levels of one that are shown, and groups behind them.
MAX_PANELS, MAX_LEVELS, MAX_GROUPS = 6, 12, 30
#: Posterior draws for the lines of groups, of which only the mean is drawn.
DRAWS = 1000
#: Points of a line.
POINTS = 41
#: One for each level of a predictor that interacts with that of the panel.
STYLES: Sequence[tuple[str, str]] = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))


def conditional_effects(fitted: Fitted) -> Finding | None:
    """A panel per predictor: the population's line along it, with that of groups behind.

    A numeric predictor has a line with its 90 % equal-tailed interval, another one points. Where it
    interacts with another predictor, there is one for each level of that, or for its mean and a
    standard deviation either side where it has more than four values; the rest is at its mean or
    most frequent value. None where the model has no predictors.
    """
    model = fitted.model
    columns = predictors(model)[:MAX_PANELS]
    if not columns:
        return None
    wide = 3 if len(columns) > 1 else 1
    figure, panels = theme.panels(len(columns), wide, (3.5 if wide > 1 else 6, 3), sharey=True)
    says: dict[str, str] = {}
    grouped = 0
    for panel, column in zip(panels, columns, strict=True):
        grouped = max(grouped, _groups(panel, fitted, column))
        line_says = _population(panel, fitted, column)
        if _partner(model, column)[0] not in says:  # an interaction is told from one side
            says[column] = line_says
        panel.set_xlabel(model.label(column))
    figure.supylabel(response(model), fontsize=10)
    marks = [Line2D([], [], color=theme.PARTIAL, label="population")]
    if grouped:
        marks.append(
            Line2D([], [], color=theme.PARTIAL, alpha=0.4, lw=0.8, marker=".", label="a group")
        )
    theme.legend(figure, marks)
    told = "; ".join(says.values())
    sentence = f"{told[0].upper()}{told[1:]}. Intervals are {PROBABILITY:.0%} equal-tailed."
    if any(len(predictors(model)) > 1 + bool(_partner(model, name)[0]) for name in columns):
        sentence += " Other predictors are at their mean or most frequent value."
    if grouped:
        what = groups_of(model, model.design.groupings[0])
        sentence += (
            f" Pale are {grouped} {what}; a predictor that is one number in each has that number."
        )
    what = f"The line along {', '.join(map(model.words, columns))}, a panel for each."
    return theme.finding("conditional_effects", figure, what, sentence)


def _population(axes: Axes, fitted: Fitted, column: str) -> str:
    """Draw the population's line, one for each level of a partner; say where it goes."""
    model = fitted.model
    what = response(model)
    partner, shown = _partner(model, column)
    numeric = is_numeric(model, column)
    values = _range(model, column)
    place = values if numeric else np.arange(len(values))
    says = []
    for k, level in enumerate(shown):
        held = {partner: level} if partner else {}
        table = datagrid(model, {**held, column: values})
        drawn = averages(fitted, table, np.arange(len(table)))
        middle, (low, high) = drawn.mean(0), interval(drawn)
        dashes, marker = STYLES[k]
        digits = isinstance(level, float) and not model.has_label(partner, level)
        called = number(level, 3) if digits else model.words(partner, level)
        if numeric:
            axes.fill_between(place, low, high, color=theme.PARTIAL, alpha=0.18, linewidth=0)
            axes.plot(place, middle, color=theme.PARTIAL, ls=dashes, label=called)
            first, last = (rounded(middle[end], drawn[:, end].std()) for end in (0, -1))
            way = f"from {first} to {last}"
        else:
            at = place + 0.16 * (k - (len(shown) - 1) / 2)
            errors = np.array([middle - low, high - middle])
            axes.errorbar(
                at, middle, errors, color=theme.PARTIAL, fmt=marker, ms=5, label=called, zorder=3
            )
            at_levels = [level_in_words(model, column, value) for value in values]
            means = [rounded(m, sd) for m, sd in zip(middle, drawn.std(0), strict=True)]
            way = ", ".join(f"{m} ({v})" for m, v in zip(means, at_levels, strict=True))
        for_level = f" for {model.label(partner)} {called}" if partner else ""
        says.append(f"{way}{for_level}")
    if not numeric:
        ticks = [level_in_words(model, column, value) for value in values]
        axes.set_xticks(place, ticks, rotation=30 * (len(values) > 4))
        axes.set_xlim(-0.5, len(values) - 0.5)
    if partner:
        axes.legend(title=model.label(partner), title_fontsize=8, fontsize=8)
    if numeric:
        ends = f"{text(values[0])} to {text(values[-1])}"
        told = [f"along **{model.words(column)}** ({ends}) {what} goes {', '.join(says)}"]
    else:
        told = [f"by **{model.words(column)}** {what} is {', '.join(says)}"]
    for name, some in ((column, values), (partner, shown)):
        there = len(levels(model, name)) if name and not is_numeric(model, name) else 0
        if there > len(some):
            told.append(f"{len(some)} of the {there} levels of {model.label(name)} are shown")
    return "; ".join(told)


def _range(model: Regression, column: str) -> Any:
    """Values of a predictor along which the line is drawn."""
    if not is_numeric(model, column):
        return levels(model, column)[:MAX_LEVELS]
    return np.linspace(model.table[column].min(), model.table[column].max(), POINTS)


def _partner(model: Regression, column: str) -> tuple[str, list[Any]]:
    """The first predictor that interacts with a column, and its values that are shown."""
    for name in model.design.partners(column):
        if not is_numeric(model, name) or model.table[name].nunique() <= len(STYLES):
            return name, levels(model, name)[: len(STYLES)]
        mean, sd = float(model.table[name].mean()), float(model.table[name].std())
        return name, [mean - sd, mean, mean + sd]
    return "", [None]


def _groups(axes: Axes, fitted: Fitted, column: str) -> int:
    """Draw the lines of some groups; the number of them.

    A predictor that is the same in all rows of a group is kept, others are as for the population;
    where that of the panel is kept, the group is a point.
    """
    model = fitted.model
    if not model.design.groupings:
        return 0
    some, own = group_rows(model)
    some = some.iloc[spread(np.arange(len(some)), MAX_GROUPS)].reset_index(drop=True)
    thin = fitted.thinned(DRAWS)
    numeric, values = is_numeric(model, column), _range(model, column)
    if column in own:
        some = some if numeric else some[some[column].isin(values)]  # of very many levels, a few
        places = some[column] if numeric else some[column].map(list(values).index)
        middle = mean(thin.model, thin.values, line(thin, some)).mean(0)
        jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(some)) * (not numeric)
        axes.scatter(places + jitter, middle, s=10, color=theme.PARTIAL, alpha=0.4, linewidths=0)
        return len(some)
    table = some.loc[np.repeat(some.index, len(values))].reset_index(drop=True)
    table[column] = np.tile(values, len(some))
    middle = mean(thin.model, thin.values, line(thin, table)).mean(0).reshape(len(some), -1)
    places = values if numeric else np.arange(len(values))
    axes.plot(places, middle.T, color=theme.PARTIAL, lw=0.8, alpha=0.35)
    return len(some)
