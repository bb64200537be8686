"""Readable names: what the page calls a parameter that has a short name in files."""

import re
from itertools import pairwise

from partialpool.data.text import listed, plural
from partialpool.design.matrices import Grouping
from partialpool.fit.regression import Regression
from partialpool.posterior.draws import coefficient


def readable(model: Regression) -> dict[str, str]:
    """Each parameter, and each kind of group effect, in words.

    Such as ``{"Days|Subject_sigma": "sd of the slope of Days between subjects"}``. The short names
    are those of the posterior and of ``summary.json``.
    """
    names = {name: of_coefficient(model, name) for name in model.design.x_names}
    for grouping in model.design.groupings:
        groups = groups_in_words(model, grouping)
        varying = [of_coefficient(model, coefficient(name)) for name in grouping.z_names]
        for what, effect, sd in zip(varying, grouping.effects, grouping.sd_names, strict=True):
            names[effect] = f"{what} of {model.words(grouping.name)}"
            names[sd] = f"sd of the {what} between {groups}"
        for name, (i, j) in zip(grouping.cor_names, grouping.correlated_pairs, strict=True):
            names[name] = f"correlation of {varying[i]} and {varying[j]} between {groups}"
    names["sigma"] = "sd of the noise" if model.family == "gaussian" else "scale of the noise"
    names["nu"] = "degrees of freedom of the noise"
    if "shape" in model.priors:
        names["shape"] = "shape of the counts' extra spread"
    for name, pair in zip(model.thresholds, pairwise(model.design.answers), strict=False):
        names[name] = f"threshold between {pair[0]} and {pair[1]}"
    return {name: what for name, what in names.items() if name != what}


def sizes(model: Regression) -> str:
    """How many rows there are, in how many groups of each factor."""
    design = model.design
    groups = [f"{one.n_levels:,} {groups_of(model, one)}" for one in design.groupings]
    return f"{design.n_rows:,} rows" + (f" in {listed(groups)}" if groups else "")


def of_coefficient(model: Regression, name: str) -> str:
    """A coefficient by the labels that there are: "slope of Days", "sex: M", "effect of a shower".

    A column of 0 and 1 is told by the label of its 1, of which the coefficient is the effect.
    """
    if name == "Intercept":
        return "intercept"
    parts = re.split(r":(?![^\[]*\])", name)
    if len(parts) > 1:
        return f"interaction of {listed([_plain(model, part) for part in parts])}"
    if "[" in name:
        return _plain(model, name)
    two = name in model.table and model.table[name].nunique() <= 2
    return f"{'effect' if two else 'slope'} of {_plain(model, name)}"


def _plain(model: Regression, part: str) -> str:
    """A column, or a level of it, without what it does: "treatment: progabide"."""
    found = re.fullmatch(r"(.*)\[(.*)\]", part)
    if found:
        column, level = found.groups()
        if model.has_label(column, level) and column == model.words(column):
            return model.words(column, level)
        return f"{model.words(column)}: {model.words(column, level)}"
    if part in model.table and model.has_label(part, 1) and set(model.table[part]) <= {0, 1}:
        return model.words(part, 1)
    return model.words(part)


def kind_in_words(model: Regression, grouping: Grouping) -> str:
    """The groups of a factor by its label, in the plural, or by the name that the formula has.

    A label may be the name itself, where that is a word.
    """
    name = grouping.name
    words = model.words(name)
    if words != name or (name in model.labels and _is_word(name)):
        return plural(words if words != name else name.lower())
    return name


def groups_of(model: Regression, grouping: Grouping) -> str:
    """The same where a number goes before: "lecturers", or "groups of d" where it has no label."""
    words = kind_in_words(model, grouping)
    return words if words != grouping.name else f"groups of {words}"


def groups_in_words(model: Regression, grouping: Grouping) -> str:
    """Several groups, by the label of their factor or its own name where that is a word."""
    name = grouping.name
    words = model.words(name)
    if words == name and not _is_word(name):
        return f"groups of {name}"
    return plural(words if words != name else name.lower())


def _is_word(name: str) -> bool:
    return len(name) > 2 and name.isalpha()
