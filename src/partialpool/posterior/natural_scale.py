"""A logged response on its natural scale: how many times as much, and which groups have most.

A change of the line by d multiplies the natural response by exp(d), and exp(line) is the median of
a new one: both are monotone, so that quantiles go over to the natural scale, and means do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.text import capital, closest, likely, listed, number, percent, rounded
from partialpool.fit.regression import Regression
from partialpool.posterior import contrasts, draws, responses
from partialpool.posterior.averages import change
from partialpool.posterior.finding import ESTIMATE, Finding, gaussian_sd
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_in_words

#: Quantiles that are told: the median and a 90 % equal-tailed interval.
ENDS = [0.5, 0.05, 0.95]
#: Column of the table of factors -> its heading.
HEADINGS = {"times": "times", "lower": "5 %", "upper": "95 %"}


@dataclass(frozen=True)
class Natural:
    """What the logarithm is of.

    Attributes
    ----------
    name : str
        Such as ``"radon"``.
    unit : str
    limit : float, optional
        A value of it that matters, in its unit.
    """

    name: str
    unit: str = ""
    limit: float | None = None

    @classmethod
    def of(cls, model: Regression, given: Mapping[str, Any] | None) -> "Natural | None":
        """From a notebook's setting; None where it has none.

        Raises
        ------
        ValueError
            For a model whose line is not the logarithm of a median, and for what is no setting.
        """
        if not given:
            return None
        for key in given:
            if key not in cls.__annotations__:
                hint = closest(str(key), cls.__annotations__) or ": it has name, unit and limit."
                raise ValueError(f"natural: there is no {key!r}{hint}")
        if not isinstance(given.get("name"), str):
            raise ValueError("natural: give the name of what the response is the logarithm of.")
        if model.linked or model.se is not None:
            raise ValueError("natural: this needs Gaussian or Student's t noise of one scale.")
        limit = given.get("limit")
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise ValueError(f"natural: limit must be a positive number, not {limit!r}.")
        return cls(given["name"], str(given.get("unit", "")), limit)

    @property
    def label(self) -> str:
        """What figures call it, its unit included."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def amount(self, value: float) -> str:
        """A value with its unit."""
        return f"{number(value, 3)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Levels:
    """The groups of the first factor on the natural scale, at one place of the predictors.

    Without a natural scale on the response's.

    Predictors that are the same throughout a group keep what the group has; of the others the
    first level is taken, or the mean. Other factors' effects are zero.

    Attributes
    ----------
    names : (J,) array
    median, lower, upper : (J,) arrays
        Posterior quantiles of the median.
    above : (J,) array
        Probability of a new response above the limit; missing where there is none.
    extreme : (J, 2) array
        Probability that a group has the highest and that it has the lowest median of all.
    place : str
        Where the predictors are, in words; may be empty.
    called : str
        The groups, in words.
    """

    names: np.ndarray
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    above: np.ndarray
    extreme: np.ndarray
    place: str
    called: str

    @classmethod
    def of(cls, fitted: Fitted, natural: Natural | None) -> "Levels":
        """Of a fit with groups."""
        from scipy import stats  # takes long to import, and no check of a study needs it

        model, design = fitted.model, fitted.model.design
        grouping, values = design.groupings[0], fitted.values
        rows, place = _places(model)
        X, Z = design.columns(rows)
        line = draws.population_line(design, values, X) + design.offset_of(rows)
        for name, z in zip(grouping.effects, Z.T, strict=False):
            line += values[name] * z
        above = np.full(len(rows), np.nan)
        if natural is not None and natural.limit is not None:
            left = (np.log(natural.limit) - line) / values["sigma"][:, None]
            noise = stats.norm if "nu" not in values else stats.t(values["nu"][:, None])
            above = noise.sf(left).mean(0)
        if natural is None:
            line = responses.mean(model, values, line)
        ends = np.quantile(line, ENDS, axis=0)
        median, lower, upper = ends if natural is None else np.exp(ends)
        first = [
            np.bincount(best, minlength=len(rows)) for best in (line.argmax(1), line.argmin(1))
        ]
        extreme, called = np.stack(first, 1) / len(line), groups_in_words(model, grouping)
        return cls(grouping.levels, median, lower, upper, above, extreme, place, called)


def _places(model: Regression) -> tuple[pd.DataFrame, str]:
    """A row for each group of the first factor, and where its predictors are, in words."""
    codes, table = model.design.groupings[0].codes, model.table
    first = np.unique(codes, return_index=True)[1]
    rows, words = table.iloc[first].copy(), []
    for column in contrasts.predictors(model):
        if table[column].groupby(codes).nunique().max() <= 1:
            continue
        if contrasts.is_numeric(model, column):
            rows[column] = contrasts.reference(model, column)
            words.append(f"at the mean {model.words(column)}")
        else:
            level = contrasts.levels(model, column)[0]
            rows[column] = level
            named = model.has_label(column, level)
            said = contrasts.level_in_words(model, column, level)
            words.append(said if named else f"{model.words(column)} {said}")
    return rows, listed(words) if words else ""


def _table(fitted: Fitted, most: int | None = None) -> pd.DataFrame:
    """What each change of a predictor, or the first few, multiplies the natural response by."""
    model, rows = fitted.model, {}
    one_cell = np.zeros(len(model.table), dtype=np.int64)
    for contrast in contrasts.contrasts(model, slope=True, doubling=True)[:most]:
        moved = change(fitted, contrast, model.table, one_cell)[:, 0]
        rows[contrast.words(model)] = np.exp(np.quantile(moved, ENDS))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["times", "lower", "upper"])


def times(fitted: Fitted, natural: Natural) -> Finding:
    """By how much each predictor multiplies the natural response, other things equal.

    Returns
    -------
    Finding
        A row for each change: ``times``, the posterior median of the factor, and its 90 % interval
        ``lower`` to ``upper``. Of changes that differ between rows it is the ratio of the
        geometric means.
    """
    table = _table(fitted)
    rows = table.itertuples()
    says = "; ".join(_times_in_words(name, np.array(ends), natural) for name, *ends in rows)
    columns = {name: (words, ESTIMATE) for name, words in HEADINGS.items()}
    return Finding("natural_times", f"{capital(says)}.", table=table, columns=columns)


def _times_in_words(name: str, ends: np.ndarray, natural: Natural) -> str:
    """A factor with its interval, to the digits that this deserves."""
    if ends.max() < 1 or (ends.min() > 1 and ends.max() < 2):
        less = ends.max() < 1
        shares = sorted((1 - ends if less else ends - 1).tolist()[1:])
        low, high = percent(shares[0]).removesuffix(" %"), percent(shares[1])
        much = f"**{percent(abs(float(ends[0]) - 1))} {'less' if less else 'more'}** {natural.name}"
        return f"{name} goes with {much} (90 % interval {low} to {high})"
    median, low, high = (rounded(float(end), gaussian_sd(ends.min(), ends.max())) for end in ends)
    much = f"**{median} times** as much {natural.name}"
    return f"{name} goes with {much} (90 % interval {low} to {high})"


def levels_in_words(levels: Levels, natural: Natural) -> str:
    """Where there is most and least, and how many groups pass the limit."""
    most, least = int(levels.median.argmax()), int(levels.median.argmin())
    where = f" ({levels.place})" if levels.place else ""

    def median(j: int, rank: int) -> str:
        ends = f"{number(levels.lower[j], 3)} to {number(levels.upper[j], 3)}"
        sure, word = likely(float(levels.extreme[j, rank]), 0), ("highest", "lowest")[rank]
        return (
            f"with a median of {natural.amount(levels.median[j])} (90 % interval {ends}; the "
            f"{word} of all with probability {sure})"
        )

    says = (
        f"{natural.name}{where} is highest in **{levels.names[most]}**, "
        f"{median(most, 0)}, and "
        f"lowest in {levels.names[least]}, {median(least, 1)}"
    )
    if natural.limit is not None:
        count, J = int((levels.above > 0.5).sum()), len(levels.names)
        says += (
            f"; in {count} of {J} {levels.called} a new measurement is more likely than not above "
            f"{natural.amount(natural.limit)}"
        )
    return says


def in_words(fitted: Fitted, natural: Natural) -> str:
    """The answer on the natural scale: what the first predictor does, and the groups."""
    says = []
    if contrasts.predictors(fitted.model):
        ((name, *ends),) = _table(fitted, 1).itertuples()
        says.append(_times_in_words(name, np.array(ends), natural))
    if fitted.model.design.groupings:
        says.append(levels_in_words(Levels.of(fitted, natural), natural))
    return capital(f"{'; '.join(says)}.".replace("**", "")) if says else ""
