"""The answer of a regression in one computed sentence, in the study's words and units."""

from typing import Any

import numpy as np
import pandas as pd
from formulae import model_description

from partialpool.data.text import capital, number, rounded, singular
from partialpool.design.formula import read
from partialpool.fit.regression import Regression
from partialpool.posterior import draws, leave_one_out, responses
from partialpool.posterior.contrasts import contrasts, counted, predictors, response
from partialpool.posterior.effects import (
    Change,
    average_changes,
    ratio,
)
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.headline_groups import (
    between_groups,
    figures,
    in_groups,
    level_spread,
    levels,
    linked_range,
    range_of_groups,
    sign_of,
    typical,
)

#: Share of the variance below which predictors explain next to nothing.
LITTLE = 0.01


def headline(fitted: Fitted, noise: Finding | None = None) -> str:
    """What the first predictor does, or what an interaction is about, and how groups differ.

    Parameters
    ----------
    fitted : Fitted
    noise : Finding, optional
        Of `comparison.noise`, for Student's t.

    Returns
    -------
    str
        Plain text. An effect has its posterior mean and 90 % equal-tailed interval, and where
        that includes zero the probability of its sign. The range of groups is that of their
        middle 90 %, ends averaged over the draws; of their level it is the standard deviation
        between them at the mean of the predictors. Where the interval of a standard deviation
        begins below `OPEN` of its end, how far groups differ is open. Groups of several
        factors come first where the predictors explain less than `LITTLE` of the variance, and
        groups more. With a link, effects
        are on the response's scale for a group whose effects are zero, with the odds or rate ratio
        where one coefficient says it.
    """
    model = fitted.model
    columns, pair = predictors(model), crossed(model)
    if pair:
        says = _interaction(fitted, *pair)
    elif columns:
        changes = _few(average_changes(fitted, columns[0]))
        says = "; ".join(_change(model, change) + _ratio(fitted, change) for change in changes)
        says += _largest(fitted, columns[0])
        differ = in_groups(fitted, changes[0])
        if _groups_say_more(fitted):
            differ = differ.removeprefix("; ")
            then = says if says[:2].isupper() else f"{says[0].lower()}{says[1:]}"
            says = f"{capital(differ)}; {then}"
        else:
            says += differ
    else:
        says = _average(fitted)
    return f"{says}. {_noise(fitted, noise)}".strip()


def _groups_say_more(fitted: Fitted) -> bool:
    """Whether predictors explain next to nothing, and the groups of several factors more."""
    model, design = fitted.model, fitted.model.design
    if model.linked or len(design.groupings) < 2 or design.sampled:
        return False
    beta = [fitted.population[name].mean() for name in design.x_names]
    explained = np.var(design.X @ beta) / np.var(design.y)
    between = sum((between_groups(fitted, g) ** 2).mean() for g in design.groupings) / np.var(
        design.y
    )
    return bool(explained < LITTLE < between)


def crossed(model: Regression) -> list[str]:
    """The first two columns that interact: first the one whose levels can be compared."""
    common = read(model.formula).population
    for term in model_description(common).common_terms:
        names = sorted({*map(str, term.var_names or ())} & {*predictors(model)}, key=common.find)
        if len(names) > 1 and len(term.components) > 1:
            return sorted(names[:2], key=lambda name: not _has_levels(model.table[name]))
    return []


def _has_levels(values: pd.Series) -> bool:
    """Whether a column is compared level by level, as `average_changes` does it."""
    return not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 2


def _few(changes: list[Change]) -> list[Change]:
    """The changes to tell: all of one or two, or the largest."""
    return changes if len(changes) < 3 else [max(changes, key=lambda c: abs(c.draws.mean()))]


def _largest(fitted: Fitted, column: str) -> str:
    count = len(average_changes(fitted, column))
    return f", the largest of {count} differences from that level" if count > 2 else ""


def _interaction(fitted: Fitted, column: str, other: str) -> str:
    """A change at the mean of another predictor, or at its first level, and how it differs."""
    model, table = fitted.model, fitted.model.table
    values, its_name = table[other], model.words(other)
    if _has_levels(values):
        first, second = sorted(values.dropna().unique(), key=str)[:2]
        at = {level: table.assign(**{other: level}) for level in (first, second)}
        one, two = (average_changes(fitted, column, rows)[0] for rows in at.values())
        names = [_level(model, other, level) for level in (first, second)]
        place, there = f", for {names[0]}", f"for {names[1]} that differs"
        further = two.draws - one.draws
    else:
        mean, step = float(values.mean()), float(values.std()) or 1.0
        rows = [table.assign(**{other: mean + k * step}) for k in (0, 1)]
        one, two = (average_changes(fitted, column, at)[0] for at in rows)
        unit, size = model.units.get(other, ""), rounded(mean, step)
        place = f", at the mean {its_name} of {size} {unit}".rstrip()
        if unit and its_name.startswith(f"{unit} "):
            place = f", at the mean of {size} {its_name}"
        each = _each(model, other)
        there = f"with {each[0].lower()}{each[1:]} that changes"
        further = (two.draws - one.draws) / step
    says = f"{_change(model, one)}{place}; {there} by {figures(model, further)}"
    return says + in_groups(fitted, one)


def _change(model: Regression, change: Change) -> str:
    """What one unit, or one level against another, does to the response."""
    response, values = response_in_words(model), change.draws
    sign = sign_of(values)
    size = figures(model, (sign or 1) * values)
    remark = "" if change.constant else ", on average over the rows"
    if model.linked:
        remark += _for_typical(model)
    if change.high is None:
        each = _each(model, change.column)
        if change.doubled:
            each = f"Doubling {model.words(change.column)}"
        amount, _, interval = size.partition(" (")
        says = {
            1: f"{each} adds {amount} to {response} ({interval}",
            -1: f"{each} takes {amount} off {response} ({interval}",
            0: f"{each} changes {response} by {size}",
        }[sign]
        return says + remark
    high, low = (_level(model, change.column, level) for level in (change.high, change.low))
    against = f"{high[0].upper()}{high[1:]} against {low}"
    amount, _, interval = size.partition(" (")
    says = {1: f"{amount} higher", -1: f"{amount} lower", 0: f"different by {amount}"}[sign]
    return f"{against}: {response} is {says} ({interval}{remark}"


def _ratio(fitted: Fitted, change: Change) -> str:
    """The odds or rate ratio of a change, where the line changes by the same in every row."""
    model = fitted.model
    if not model.linked:
        return ""
    for contrast in contrasts(model, [change.column], slope=True, doubling=True):
        level = not (contrast.moves or contrast.times)
        levels = (contrast.low, contrast.high) if level else (None, None)
        if levels == (change.low, change.high) and contrast.is_constant(model, model.table):
            low, high = contrast.ends(model.table.head(1))
            step = model.design.columns(high)[0] - model.design.columns(low)[0]
            line = draws.population_line(model.design, fitted.population, step)[:, 0]
            values = np.exp((line + _offsets(model, low, high)) / contrast.width)
            # as many digits as the table of coefficients has
            ends = np.quantile(values, [0.5, 0.05, 0.95])
            middle, least, most = (number(float(end), 3) for end in ends)
            return f", {ratio(model).name} {middle} ({least} to {most})"
    return ""


def _offsets(model: Regression, low: pd.DataFrame, high: pd.DataFrame) -> float:
    """What offsets change between two rows."""
    return float((model.design.offset_of(high) - model.design.offset_of(low))[0])


def _linked_average(fitted: Fitted) -> str:
    """The mean response of a typical group, where there are no predictors."""
    model = fitted.model
    values = responses.mean(model, fitted.population, typical(fitted))
    what = response(model)
    says = f"{what[0].upper()}{what[1:]}{_for_typical(model)} is {figures(model, values)}"
    return says + "".join(linked_range(fitted, grouping) for grouping in model.design.groupings)


def _for_typical(model: Regression) -> str:
    """Of which groups an effect is told: of one whose own effects are zero."""
    names = [model.words(grouping.name) for grouping in model.design.groupings]
    if len(names) != 1:
        return " for typical groups" if names else ""
    word = names[0] if names[0] != model.design.groupings[0].name or len(names[0]) > 2 else "group"
    return f" for a typical {word}"


def _average(fitted: Fitted) -> str:
    """The population's mean, in a model without predictors."""
    model, design = fitted.model, fitted.model.design
    if model.linked:
        return _linked_average(fitted)
    if "Intercept" not in design.x_names:
        differ = "".join(level_spread(fitted, grouping) for grouping in design.groupings)
        return f"The model has no average of {response_in_words(model)}{differ}"
    values = fitted.population["Intercept"]
    name = model.words(design.response)
    average = name if name.startswith(("average ", "mean ")) else f"average {name}"
    says = f"The {average} is {figures(model, values)}"
    if len(design.groupings) > 1:
        return says + levels(fitted, [*design.groupings])
    for grouping in design.groupings:
        says += range_of_groups(fitted, grouping, values, between_groups(fitted, grouping))
    return says


def _noise(fitted: Fitted, noise: Finding | None) -> str:
    """Which noise predicts better, and by how much; and what the first effect is with the other."""
    if noise is None or noise.table is None or len(noise.table) < 2:
        return ""
    best, other = noise.table.index[:2]
    gap, error = noise.table.loc[other, ["elpd_diff", "dse"]].astype(float)
    clear = "" if leave_one_out.worse(gap, error).startswith("clearly") else ", not clearly"
    says = (
        f"{best} predicts rows better than {other}{clear}: by {rounded(gap, error)} in log "
        f"predictive density (standard error {rounded(error, error)})."
    )
    columns = predictors(fitted.model)
    if not columns or crossed(fitted.model):  # of which the headline has another figure
        return says
    ours = _few(average_changes(fitted, columns[0]))[0]
    changes = average_changes(fitted.gaussian, columns[0])
    theirs = next(one for one in changes if (one.low, one.high) == (ours.low, ours.high))
    moved = abs(ours.draws.mean() - theirs.draws.mean()) / theirs.draws.std()
    return (
        f"{says} With Gaussian noise the first of these effects is "
        f"{figures(fitted.model, theirs.draws)}, {moved:.2g} of its posterior standard "
        "deviations away."
    )


def _each(model: Regression, column: str) -> str:
    """One unit of a numeric column: "Each day without sleep"."""
    unit, of_what = counted(model, column)
    return f"Each {singular(unit)} {of_what}"


def _level(model: Regression, column: str, level: Any) -> str:
    """A level by its label, or else by its column and its own name."""
    name = model.words(column, level)
    labelled = model.has_label(column, level)
    return name if labelled else f"{model.words(column)} {name}"


def response_in_words(model: Regression) -> str:
    """The response with an article, where it has a label rather than a column's name."""
    if model.linked:
        return response(model)
    name, words = model.design.response, model.words(model.design.response)
    return words if name == words or words.startswith("the ") else f"the {words}"
