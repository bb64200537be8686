"""The coefficients of each group, beside what the population's line says of the group."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from partialpool.data.text import listed
from partialpool.design.matrices import Design, Grouping
from partialpool.fit.exact_fit import n_draws
from partialpool.fit.regression import Regression
from partialpool.posterior import draws
from partialpool.posterior.fitted import Fitted, unpooled_key
from partialpool.posterior.names import groups_of, of_coefficient

#: Share of the width of the prior of no pooling from which on a group's own estimate is that prior;
#: of a family with a link, whose width is of the order of what groups can tell.
PRIOR, PRIOR_LINKED = 0.1, 0.4
#: Own estimates that are so many times as uncertain as the median group's are left out.
UNCERTAIN = 5


@dataclass(frozen=True, eq=False)
class Varying:
    """A coefficient that varies by group, in draws.

    Attributes
    ----------
    name : str
        Of the coefficient in words, such as ``intercept`` or ``slope of Days``.
    explained : tuple of str
        Predictors of the group, or their products with a varying column, that the line takes in:
        no group on its own can tell them from its own coefficient (`Design.absorbed`).
    within : tuple of str
        Factors by which the coefficient varies too and in one group of which each group lies, in
        words: the line takes in the effects of those.
    line : (S, J) or (S, 1) array
        What the population's part says of each group, or of all alike; at the average group of the
        factors by which the coefficient varies too and that are crossed with this one.
    deviation : (S, J) array
        How far the group is from there: its effect.
    mean : (J,) array
        Posterior mean of the effect; see `Fitted.figures`.
    """

    name: str
    explained: tuple[str, ...]
    within: tuple[str, ...]
    line: np.ndarray
    deviation: np.ndarray
    mean: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Posterior mean (J,) of the group's coefficient."""
        return self.line.mean(0) + self.mean

    @property
    def total(self) -> np.ndarray:
        """The group's coefficient (S, J)."""
        return self.line + self.deviation


def grouping_of(design: Design, factor: str | None) -> Grouping:
    """The grouping of a factor, which need not be named where it is the only one.

    Raises
    ------
    ValueError
        With the names to choose from.
    """
    if factor is None and len(design.groupings) == 1:
        return design.groupings[0]
    for grouping in design.groupings:
        if grouping.name == factor:
            return grouping
    names = ", ".join(grouping.name for grouping in design.groupings)
    raise ValueError(f"factor: choose from {names}, not {factor!r}.")


def alone(fitted: Fitted, grouping: Grouping) -> Fitted:
    """The fit in which the groups of a factor know nothing of each other; others stay pooled."""
    return fitted.ways[unpooled_key(fitted.model.design, grouping)]


def varying(fitted: Fitted, grouping: Grouping) -> list[Varying]:
    """The coefficients that vary by the groups of a factor, column by column of its Z."""
    design, values = fitted.model.design, fitted.values
    absorbed, (means, _) = design.absorbed(grouping), fitted.figures(grouping)
    found = []
    for k, z_name in enumerate(grouping.z_names):
        line = np.zeros((n_draws(values), 1))
        explained, within = [], []
        for column, (at, factor) in absorbed.items():
            if at == k:
                name = design.x_names[column]
                alike = np.ptp(factor) == 0
                # all levels of a category are one term
                explained += [] if alike else [fitted.model.words(re.sub(r"\[.*?\]", "", name))]
                line = line + values[name][:, None] * (factor[:1] if alike else factor)
        for other in design.groupings:
            if other.name != grouping.name and z_name in other.z_names:
                effect = values[other.effect(other.z_names.index(z_name))]
                around = grouping.within(other)
                within += [] if around is None else [fitted.model.words(other.name)]
                line = line + (
                    effect.mean(1, keepdims=True) if around is None else effect[:, around]
                )
        name = of_coefficient(fitted.model, draws.coefficient(z_name))
        deviation = values[grouping.effect(k)]
        known = tuple(dict.fromkeys(explained)), tuple(within)
        found.append(Varying(name, *known, line, deviation, means[:, k]))
    return found


def estimable(none: Fitted, grouping: Grouping, k: int) -> np.ndarray:
    """Which groups (J,) know coefficient k of those of a factor well enough on their own.

    Of the others, some have only the prior of no pooling, ten thousand times as wide as the data
    (`ALONE_LINKED` with a link); some rows so few or so close together that their estimate is more
    than `UNCERTAIN` times as uncertain as that of the median group that has one.
    """
    width = none.values[grouping.sd_names[k]].mean()
    sd = none.figures(grouping)[1][:, k]
    known = sd < (PRIOR_LINKED if none.model.linked else PRIOR) * width
    return known & (sd <= UNCERTAIN * np.median(sd[known])) if known.any() else known


def named(grouping: Grouping, some: np.ndarray, most: int = 4) -> str:
    """Some groups (J, bool) of a factor by their labels, the first few where they are many."""
    labels = [str(level) for level in grouping.levels[some]]
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def too_uncertain(model: Regression, grouping: Grouping, known: Mapping[str, np.ndarray]) -> str:
    """Of which groups coefficients are left out as not `estimable`; empty where of none.

    Parameters
    ----------
    model : Regression
    grouping : Grouping
    known : mapping of str to (J,) bool array
        Words for a coefficient -> the groups that know theirs.
    """
    alike: dict[bytes, list[str]] = {}
    for name, able in known.items():
        if not able.all():
            alike.setdefault(able.tobytes(), []).append(name)
    parts, words = [], model.words(grouping.name)
    for names in alike.values():
        out = ~known[names[0]]
        called = groups_of(model, grouping)
        if out.sum() == 1:
            called = f"group of {words}" if called.startswith("groups of ") else words
        groups = f"{out.sum():,} {called}"
        parts.append(f"{listed(names)} of {groups} ({named(grouping, out)})")
    return f"Too uncertain alone, and left out: {'; '.join(parts)}." if parts else ""
