"""The response as its family takes it: numbers, successes of trials, or the place of an answer."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.columns import require_finite
from partialpool.data.text import listed
from partialpool.design import evaluation
from partialpool.design.families import LINKS
from partialpool.design.formula import Formula, variables

#: More ordered answers than this are no scale of answers.
MOST_ANSWERS = 20


@dataclass(frozen=True)
class Response:
    """A response evaluated on a table.

    Attributes
    ----------
    name : str
        What it is called.
    y : (N,) array
        Its numbers; counts of successes; for ordered answers the place of each, from 1 on.
    trials : (N,) array or None
        Of how many trials the successes are, for `binomial`.
    answers : tuple of str
        What the numbers are called: failure and success, or the ordered answers; else empty.
    """

    name: str
    y: np.ndarray
    trials: np.ndarray | None = None
    answers: tuple[str, ...] = ()


def evaluate(found: Formula, table: pd.DataFrame, family: str) -> Response:
    """The response of a formula for a family that is not noise about a line.

    Raises
    ------
    ValueError
        Where the response does not suit the family.
    """
    made = evaluation.evaluate(f"{found.answer} ~ 1", table, found.text).response
    name = made.name[2:-1] if found.arithmetic else made.name
    values = np.asarray(made.design_matrix)
    if family == "cumulative":
        return _ordered(found, table, made, name)
    if made.kind == "categoric":
        return _two_levels(found, made, name, family)
    if made.kind != "numeric" or values.ndim != 1:
        raise ValueError(
            f"The response of {found.text!r} is {made.kind}; for successes out of trials write "
            "'successes | trials(n) ~ predictors'."
        )
    if values.dtype == bool:
        _refuse_trials(found, "the response is true or false")
        return _binary(values, name, ("False", "True"), family)
    y = values.astype(float)
    require_finite(y[:, None], [name], found.text)
    _require_counts(y, name, family)
    if family != "binomial":
        _refuse_trials(found, f"`family: {family}` counts without a limit")
        return Response(name, y)
    if not found.trials:
        return _zero_one(y, name)
    return Response(name, y, _trials(found, table, y, name))


def _require_counts(y: np.ndarray, name: str, family: str) -> None:
    remedy = "check the column, or choose another family"
    if family == "binomial" and ((y >= 0) & (y <= 1)).all():
        remedy = "of shares give the successes and their trials: 'successes | trials(n)'"
    for bad, what in ((y < 0, "negative"), (y != np.round(y), "not whole")):
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"`family: {family}` needs counts, and the response {name!r} is {what} in "
                f"{bad.sum():,} of {len(y):,} rows, such as {y[row]:g} in row {row + 1}; "
                f"{remedy}."
            )


def _trials(found: Formula, table: pd.DataFrame, y: np.ndarray, name: str) -> np.ndarray:
    """Numbers of trials (N,), no fewer than the successes."""
    constant = found.trials.isdecimal()
    if constant:
        n = np.full(len(table), float(found.trials))
    else:
        made = evaluation.evaluate(f"I({found.trials}) ~ 1", table, found.text).response
        n = np.asarray(made.design_matrix)
        if made.kind != "numeric" or n.ndim != 1:
            raise ValueError(f"In {found.text!r}, the trials {found.trials!r} must be numbers.")
        n = n.astype(float)
    require_finite(n[:, None], [found.trials], found.text)
    for bad, what in (
        ((n < 1) | (n != np.round(n)), "must be whole numbers from 1 up"),
        (y > n, f"are fewer than the successes {name!r}"),
    ):
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"In {found.text!r}, the trials {found.trials!r} {what}; in row {row + 1} they "
                f"are {n[row]:g}, with {y[row]:g} successes."
            )
    return n


def _zero_one(y: np.ndarray, name: str) -> Response:
    levels = np.unique(y)
    if len(levels) == 2 and levels[1] > 1:
        raise ValueError(
            f"`family: binomial` takes 0 and 1, and the response {name!r} has {levels[0]:g} and "
            f"{levels[1]:g}; say which is the success, such as I({name} == {levels[1]:g})."
        )
    if levels[-1] > 1:
        raise ValueError(
            f"`family: binomial` takes 0 and 1, and the response {name!r} has {len(levels)} "
            f"values up to {levels[-1]:g}; if these are successes out of several trials, give the "
            f"trials: '{name} | trials(n)', or cbind(successes, failures)."
        )
    return Response(name, y, np.ones(len(y)))


def _binary(hit: np.ndarray, name: str, answers: tuple[str, str], family: str) -> Response:
    if family != "binomial":
        raise ValueError(
            f"`family: {family}` needs counts, and the response {name!r} has the values "
            f"{listed(answers)}; choose `family: binomial`."
        )
    return Response(name, hit.astype(float), np.ones(len(hit)), answers)


def _two_levels(found: Formula, made: Any, name: str, family: str) -> Response:
    """Text: of two levels the second in order is the success, or the one in brackets, y['yes']."""
    _refuse_trials(found, f"the response {name!r} is text")
    dummies = np.asarray(made.design_matrix)
    if dummies.ndim == 1:
        level = re.sub(r".*\[\s*['\"]?(.*?)['\"]?\s*\]$", r"\1", found.response)
        return _binary(dummies == 1, name, (f"not {level}", level), family)
    levels = [str(level) for level in made.levels]
    if len(levels) != 2 and family == "binomial":
        raise ValueError(
            f"`family: binomial` takes two levels, and the response {name!r} has {len(levels)}, "
            f"such as {listed([repr(level) for level in levels[:3]])}; say which is the success, "
            f"such as {name}[{levels[-1]!r}], or choose `family: cumulative` if they are ordered."
        )
    return _binary(dummies[:, 1] == 1, name, (levels[0], levels[-1]), family)


def _ordered(found: Formula, table: pd.DataFrame, made: Any, name: str) -> Response:
    _refuse_trials(found, "ordered answers have none")
    values = np.asarray(made.design_matrix)
    if made.kind == "categoric" and values.ndim == 2:
        answers = [str(level) for level in made.levels]
        column = table.get(name)
        plain = column is not None and not getattr(column.dtype, "ordered", False)
        name = min(variables(found.answer, found.text), default=name)
        if plain and len(answers) > 2:
            raise ValueError(
                f"`family: cumulative` needs the order of the answers, and the response {name!r} "
                f"is text; say it: factor({name}, c({', '.join(map(repr, answers))})), in their "
                "order."
            )
        place = values.argmax(axis=1) + 1.0
    else:
        if made.kind != "numeric" or values.ndim != 1:
            raise ValueError(f"The response {name!r} must be whole numbers or ordered categories.")
        whole = values.astype(float)
        require_finite(whole[:, None], [name], found.text)
        if (whole != np.round(whole)).any():
            raise ValueError(
                f"`family: cumulative` needs ordered answers, and the response {name!r} has "
                f"values that are not whole, such as {whole[whole != np.round(whole)][0]:g}; "
                "choose another family."
            )
        levels, index = np.unique(whole, return_inverse=True)
        answers, place = [f"{level:g}" for level in levels], index + 1.0
    if not 2 <= len(answers) <= MOST_ANSWERS:
        raise ValueError(
            f"`family: cumulative` takes 2 to {MOST_ANSWERS} ordered answers, and the response "
            f"{name!r} has {len(answers)}; choose another family."
        )
    absent = [answer for k, answer in enumerate(answers) if not (place == k + 1).any()]
    if absent:
        raise ValueError(
            f"Nobody gave the answer {absent[0]!r} of the response {name!r}, so that nothing "
            "tells its thresholds; leave the level out."
        )
    return Response(name, place, answers=tuple(answers))


def _refuse_trials(found: Formula, why: str) -> None:
    if found.trials:
        raise ValueError(f"In {found.text!r}, trials() has no meaning: {why}; leave it out.")


def require_noise_takes(found: Formula, family: str) -> None:
    """Raise a ValueError where the formula gives trials to a family of noise about a line."""
    if found.trials and family not in LINKS:
        raise ValueError(
            f"In {found.text!r}, successes out of trials are not {family}; set `family: binomial`."
        )
