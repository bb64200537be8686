"""What a fit would have said under other priors of its groups' spread, or without one group.

Fits are exact, of fewer draws and without packing, so that sliders can ask for one at every move.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from partialpool.data.text import rounded
from partialpool.design.propriety import propriety
from partialpool.fit.exact_fit import coefficients, effect_draws, population_draws
from partialpool.fit.regression import Regression
from partialpool.posterior.contrasts import datagrid, group_rows
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_of, readable
from partialpool.posterior.predictions import main_predictor

#: Draws of a refit; a report's fit has 4,000.
DRAWS = 2000
#: Draws of the fit that other priors must leave, so that nothing is fitted anew.
LEFT = 1000
#: Key of the stream of their draws.
STREAM = 15
#: Most groups of a model that is fitted anew at every move.
MAX_GROUPS = 1000
#: Places along the main predictor where it has more values than that.
PLACES = 41
#: Most groups that are left out in turn, and of these that have a row in the table.
MAX_OUT, MAX_ROWS = 100, 20
#: Monte Carlo standard errors of a difference below which it is none.
ERRORS = 3


@dataclass(frozen=True, eq=False)
class Answer:
    """What one fit says: S draws of p coefficients, and of q effects of G groups.

    Attributes
    ----------
    sds : dict of str to (S,) array
        Standard deviations between groups, by their names.
    beta : (S, p) array
    effects : (S, G, q) array
    groups : (G,) int array
        Codes of the groups.
    trusted : bool
        Whether the fit found its own draws good.
    """

    sds: dict[str, np.ndarray]
    beta: np.ndarray
    effects: np.ndarray
    groups: np.ndarray
    trusted: bool = True


class WhatIf:
    """A fit, and the fits that it might have been.

    Attributes
    ----------
    model : Regression
    predictor : str or None
        The column along which lines are drawn; None where there is none.
    places : (n,) array
        Values of it: those of the data, or evenly spaced ones where they are many.
    shown : (G,) int array
        Groups whose effects are drawn.
    spreads : list of str
        Standard deviations between groups that are not fixed.
    before : Answer
        What the fit says itself.
    """

    def __init__(self, fitted: Fitted, shown: np.ndarray) -> None:
        refuse(fitted)
        model = self.model = fitted.model
        grouping, name = model.design.only, main_predictor(model)
        self.shown, self.predictor = np.sort(shown), name
        values = np.zeros(1) if name is None else np.unique(model.table[name].to_numpy(float))
        many = len(values) > PLACES
        self.places = np.linspace(values[0], values[-1], PLACES) if many else values
        held = {} if name is None else {name: self.places.tolist()}
        self._population = self._columns(datagrid(model, held))
        rows = group_rows(model)[0]
        J, n = len(rows), len(self.places)
        rows = rows.loc[np.repeat(rows.index, n)].reset_index(drop=True)
        rows = rows.assign(**{key: np.tile(value, J) for key, value in held.items()})
        Z, codes = grouping.rows(rows)
        order = np.argsort(codes, kind="stable")
        X, offset = self._columns(rows.iloc[order])
        self._groups = X.reshape(J, n, -1), offset.reshape(J, n), Z[order].reshape(J, n, -1)
        self.spreads = [n for n in model.design.sd_names if not model.priors[n].fixed]
        self._seed = fitted.seed
        self.before = self._answer(fitted.values, grouping.levels.size)
        self.refit = lru_cache(maxsize=16)(self._refit)

    def _columns(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        design = self.model.design
        return design.columns(rows)[0], design.offset_of(rows)

    def _answer(self, values: dict[str, np.ndarray], J: int) -> Answer:
        design = self.model.design
        effects = np.stack([values[name] for name in design.effects], -1)
        sds = {name: values[name] for name in self.spreads}
        return Answer(sds, coefficients(design, values), effects, np.arange(J))

    def without(self, scale: float, left_out: int | None) -> Regression:
        """The regression with priors `scale` times as wide, and without the rows of a group."""
        design = self.model.design
        rows = np.flatnonzero(design.only.codes != left_out)
        other = self.model.with_design(design if left_out is None else design.of_rows(rows))
        wider = {name: self.model.priors[name].scaled(scale) for name in self.spreads}
        other.priors = self.model.priors | wider
        other.propriety = propriety(other.design, other.priors)
        return other

    def _refit(self, scale: float, left_out: int | None) -> Answer:
        """What the fit says with priors `scale` times as wide, and without a group by its code.

        Effects are those of the groups shown and of the one that is left out, of which nothing is
        known but the population. As it was, the fit itself answers.

        Raises
        ------
        ValueError
            Where there is no posterior.
        """
        if scale == 1 and left_out is None:
            return self.before
        other = self.without(scale, left_out)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(STREAM,)))
        if left_out is None and (left := self._left(other, rng)) is not None:
            return left
        values, _, sample = population_draws(other, DRAWS, rng)
        groups = self.shown if left_out is None else np.union1d(self.shown, [left_out])
        effects = effect_draws(other, values, rng, [groups])
        return Answer(
            {name: values[name] for name in self.spreads},
            coefficients(other.design, values),
            np.stack([*effects.values()], -1),
            groups,
            sample.trusted,
        )

    def _left(self, other: Regression, rng: np.random.Generator) -> Answer | None:
        """The fit's own draws that other priors of the spreads leave by rejection, if enough.

        The rows are the same, so that the ratio of the priors is that of the posteriors.
        """
        before, log_ratio = self.before, np.zeros(len(self.before.beta))
        for name, draws in before.sds.items():
            log_ratio += other.priors[name].logpdf(draws) - self.model.priors[name].logpdf(draws)
        left = np.log(rng.uniform(size=len(log_ratio))) < log_ratio - log_ratio.max()
        if left.sum() < LEFT:
            return None
        sds = {name: draws[left] for name, draws in before.sds.items()}
        return Answer(sds, before.beta[left], before.effects[left], before.groups)

    def population(self, answer: Answer) -> np.ndarray:
        """The population's line (S, n) at all places, other predictors at their reference."""
        X, offset = self._population
        return answer.beta @ X.T + offset

    def group(self, answer: Answer, j: int, at: int | slice) -> np.ndarray:
        """The line (S, ...) of group j at a place, or some: with what all of its rows share."""
        X, offset, Z = (part[j, at] for part in self._groups)
        effects = answer.effects[:, np.searchsorted(answer.groups, j)]
        return answer.beta @ X.T + effects @ Z.T + offset

    def middles(self, answer: Answer) -> np.ndarray:
        """Posterior means (G, n) of the lines of the groups shown, at all places."""
        X, offset, Z = (part[self.shown] for part in self._groups)
        effects = answer.effects.mean(0)[np.searchsorted(answer.groups, self.shown)]
        return X @ answer.beta.mean(0) + np.einsum("gnq,gq->gn", Z, effects) + offset


def refuse(fitted: Fitted) -> None:
    """Raise a ValueError, one sentence, for a fit that cannot be made anew at every move."""
    model, design = fitted.model, fitted.model.design
    why = ""
    if model.family != "gaussian":
        why = f"has `family: {model.family}`"
    elif len(design.groupings) != 1:
        why = f"has {len(design.groupings) or 'no'} grouping factors"
    elif design.sampled:
        why = "has its table in parts"
    elif not model.integrates:
        why = "adds a sigma that is not known to known standard errors"
    elif design.only.n_levels > MAX_GROUPS:
        why = f"has {design.only.n_levels:,} groups, more than {MAX_GROUPS:,}"
    elif fitted.attrs["method"] != "exact":
        why = f"was fitted by {fitted.attrs['method']}"
    if why:
        raise ValueError(
            "Sliders fit anew at every move, which takes an exact fit, Gaussian noise, one "
            f"grouping factor and a table read whole; this model {why}. Try a change with another "
            "`Model`."
        )


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the medians of two sets of draws (S,) differ by more than Monte Carlo error.

    The median of S independent normal draws has a variance of pi / 2 that of their mean.
    """
    variance = np.pi / 2 * sum(np.var(draws) / len(draws) for draws in (one, other))
    return bool(abs(np.median(one) - np.median(other)) > ERRORS * np.sqrt(variance))


def influence(fitted: Fitted) -> Finding:
    """What becomes of the groups' spread without each group in turn, the one that moves it first.

    Of more than `MAX_OUT` groups a random sample is left out. The table has the median of each
    standard deviation without each of up to `MAX_ROWS` groups, and how far the one that moves most
    does, in its posterior standard deviations.

    Raises
    ------
    ValueError
        For a fit that cannot be made anew in a moment; see `refuse`.
    """
    what_if = WhatIf(fitted, np.arange(0))
    model, grouping, before = what_if.model, what_if.model.design.only, what_if.before.sds
    if not before:
        return Finding("influence", "The spread of the groups is fixed, whatever groups there are.")
    groups = np.arange(grouping.n_levels)
    if len(groups) > MAX_OUT:
        groups = np.sort(np.random.default_rng(fitted.seed).choice(groups, MAX_OUT, replace=False))
    sds = {j: what_if.refit(1, int(j)).sds for j in groups}
    rows = {grouping.levels[j]: {n: np.median(one[n]) for n in before} for j, one in sds.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    was = pd.Series({name: np.median(draws) for name, draws in before.items()})
    sd = pd.Series({name: np.std(draws) for name, draws in before.items()})
    moves = ((table - was) / sd).abs()
    table["moved"] = moves.max(axis=1)
    first = int(np.argmax(table["moved"]))
    level, name = table.index[first], moves.columns[int(moves.iloc[first].argmax())]
    old, new = (rounded(float(value), sd[name]) for value in (was[name], table.at[level, name]))
    words = model.words(grouping.name)
    chance = np.sqrt(np.pi / 2 * (1 / DRAWS + 1 / len(what_if.before.beta)))
    says = (
        f"Most hangs on {words} **{level}**: without it the median of the **{name}** goes from "
        f"{old} to {new}, by {table.at[level, 'moved']:.2f} of its posterior standard deviations; "
        f"leaving out the median one of {len(groups):,} {groups_of(model, grouping)} moves a "
        f"spread by {table['moved'].median():.2f} (Monte Carlo error {chance:.2f})."
    )
    called = readable(model)
    columns = {n: (called.get(n, n), "{:.4g}") for n in before}
    columns["moved"] = ("moved most, in posterior sd", "{:.2f}")
    table = table.sort_values("moved", ascending=False, kind="stable").head(MAX_ROWS)
    table.index.name = words
    return Finding("influence", says, table=table, columns=columns, names=called)
