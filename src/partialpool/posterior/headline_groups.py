"""How groups differ, in the words of the headline: in an effect, or in their level."""

import numpy as np

from partialpool.data.text import percent, rounded, singular
from partialpool.design.matrices import Grouping
from partialpool.fit.exact_fit import covariance_root
from partialpool.fit.regression import Regression
from partialpool.posterior import draws, responses
from partialpool.posterior.contrasts import predictors, response
from partialpool.posterior.effects import Change, largest, ratio, shares_between, told
from partialpool.posterior.finding import NORMAL
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_in_words

#: Share of its upper end below which the lower end of a standard deviation's interval leaves open
#: how far groups differ.
OPEN = 0.1
_SD = "a standard deviation of"


def in_groups(fitted: Fitted, change: Change) -> str:
    """How groups differ in a change, or in their level where the change is the same for all."""
    says, sign = "", sign_of(change.draws)
    word = {1: " higher", -1: " lower", 0: ""}[sign] if change.high is not None else ""
    alike: list[Grouping] = []
    for grouping in fitted.model.design.groupings:
        if fitted.model.linked:
            says += linked_range(fitted, grouping)
            continue
        between = change.between[grouping.name]
        if between.mean() < 1e-9 * abs(change.draws).mean():
            alike.append(grouping)
        else:
            what = f" in the effect of {fitted.model.words(change.column)}"
            values, per = (sign or 1) * change.draws, _per(fitted.model, change)
            says += range_of_groups(fitted, grouping, values, between, what=what, per=per) + word
            if "1" in grouping.z_names:
                size = figures(fitted.model, between_groups(fitted, grouping))
                says += f", and in level, at the mean of the predictors, by {_SD} {size}"
    if len(alike) > 1:
        return says + levels(fitted, alike)
    return says + "".join(level_spread(fitted, grouping) for grouping in alike)


def range_of_groups(
    fitted: Fitted,
    grouping: Grouping,
    values: np.ndarray,
    between: np.ndarray,
    *,
    what: str = "",
    per: str = "",
) -> str:
    """In what groups differ, and the range of their middle 90 %, or where that is open their sd."""
    unit = unit_of(fitted.model) + per
    says = _differ(fitted, grouping, between, what)
    if is_open(between):
        return f"{says}: {_SD} {_plain_figures(between, unit)}"
    ends = sorted(float((values + k * between).mean()) for k in (-NORMAL, NORMAL))
    low, high = (rounded(end, float(between.mean())) for end in ends)
    return f"{says}: the middle 90 % from {low} to {high}{unit}"


def is_open(between: np.ndarray) -> bool:
    """Whether draws (S,) of a standard deviation leave open how far groups differ; see `OPEN`."""
    low, high = draws.interval(between)
    return bool(low < OPEN * high)


def _differ(fitted: Fitted, grouping: Grouping, between: np.ndarray, what: str) -> str:
    groups = groups_in_words(fitted.model, grouping)
    if is_open(between):
        return f"; how far {groups} differ{what} is open"
    return f"; {groups} differ{what}"


def _per(model: Regression, change: Change) -> str:
    """Of what amount of its predictor a change is, where one has a name: `` per day``."""
    if change.high is not None:
        return ""
    if change.doubled:
        return " per doubling"
    unit = model.units.get(change.column)
    return f" per {singular(unit)}" if unit else ""


def levels(fitted: Fitted, groupings: list[Grouping]) -> str:
    """How the groups of several factors differ in level, those that differ most first."""
    model, between = fitted.model, {g.name: between_groups(fitted, g) for g in groupings}
    share: dict[str, np.ndarray] = {}
    everyone = len(groupings) == len(model.design.groupings)
    if model.family == "gaussian" and model.se is None and everyone:
        # those of the section on variance
        share = shares_between(fitted, draws.some_rows(model.design, seed=fitted.seed))
    _, probability = largest(share or between)
    order = sorted(groupings, key=lambda grouping: -between[grouping.name].mean())
    words = [groups_in_words(model, grouping) for grouping in order]
    sizes = [figures(model, between[grouping.name]) for grouping in order]
    sizes = [size.replace(" (", ", ").removesuffix(")") for size in sizes]
    if share:
        parts = [told(share[grouping.name]) for grouping in order]
        sizes = [f"{size}; {part}" for size, part in zip(sizes, parts, strict=True)]
        sizes[0] += " of the variance that the population leaves"
    doubt = "" if probability > 0.95 else f" with probability {percent(probability)}"
    says = f"; in level {words[0]} differ most{doubt} (standard deviation {sizes[0]})"
    for word, size in zip(words[1:], sizes[1:], strict=True):
        says += f", then {word} ({size})"
    return f"{says}, and {told(1 - np.sum([*share.values()], axis=0))} is noise" if share else says


def level_spread(fitted: Fitted, grouping: Grouping) -> str:
    """How groups differ in level, by their standard deviation."""
    between = between_groups(fitted, grouping)
    then = ":" if is_open(between) else ", with"
    size = figures(fitted.model, between)
    return f"{_differ(fitted, grouping, between, ' in level')}{then} {_SD} {size}"


def linked_range(fitted: Fitted, grouping: Grouping) -> str:
    """How groups differ in level: on the link's scale, and their middle 90 % on the response's."""
    model, between, line = fitted.model, between_groups(fitted, grouping), typical(fitted)
    ends = [responses.mean(model, fitted.population, line + k * between) for k in (-NORMAL, NORMAL)]
    low, high = (rounded(float(end.mean()), float(end.std())) for end in ends)
    place = ", at the mean of the predictors" if predictors(model) else ""
    says = _differ(fitted, grouping, between, " in level")
    spread = f"{_SD} {_plain_figures(between)} {ratio(model).scale}"
    if is_open(between):
        return f"{says}: {spread}"
    return (
        f"{says}, with {spread}: {response(model)} of the middle 90 % goes from {low} to {high}"
        f"{unit_of(model)}{place}"
    )


def between_groups(fitted: Fitted, grouping: Grouping) -> np.ndarray:
    """Standard deviation (S,) of the groups' lines at the mean of the predictors."""
    root = covariance_root(grouping, fitted.population)
    return np.linalg.norm(grouping.Z.mean(0) @ root, axis=-1)


def typical(fitted: Fitted) -> np.ndarray:
    """The line (S,) of a typical group at the mean of the predictors, offsets included."""
    design = fitted.model.design
    at_mean = draws.population_line(design, fitted.population, design.X.mean(0)[None])[:, 0]
    return at_mean + (0.0 if design.offset is None else design.offset.mean())


def figures(model: Regression, values: np.ndarray) -> str:
    """Mean and 90 % interval with their unit, and the direction where that is not plain."""
    low, high = draws.interval(values)
    doubt = ""
    if low < 0 < high:
        positive = float((values > 0).mean())
        word = "positive" if positive >= 0.5 else "negative"
        doubt = f"; {word} with probability {percent(max(positive, 1 - positive))}"
    return _plain_figures(values, unit_of(model), doubt)


def _plain_figures(values: np.ndarray, unit: str = "", doubt: str = "") -> str:
    """Mean and 90 % interval."""
    sd, (low, high) = float(values.std()), draws.interval(values)
    mean, low_, high_ = (rounded(float(value), sd) for value in (values.mean(), low, high))
    return f"{mean}{unit} (90 % interval {low_} to {high_}{doubt})"


def sign_of(values: np.ndarray) -> int:
    """Sign of a change whose interval leaves zero out, else 0."""
    low, high = draws.interval(values)
    return 1 if low > 0 else -1 if high < 0 else 0


def unit_of(model: Regression) -> str:
    """The response's unit after a blank; empty where it has none."""
    unit = model.units.get(model.design.response)
    if model.family == "binomial":  # a probability has none
        return ""
    return f" {unit}" if unit else ""
