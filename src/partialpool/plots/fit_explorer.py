"""Sliders over one's own fit: the width of its priors, a group left out, a predictor's value.

`draw` works without a browser; `explore`, which is `Fit.explore`, puts sliders around it.
"""

from typing import Any

import numpy as np

from partialpool.data.text import capital, listed, renamed, rounded
from partialpool.plots.fit_picture import FitPicture
from partialpool.plots.groups import chosen_groups
from partialpool.plots.sliders import Sliders, menu, stops
from partialpool.posterior.contrasts import level_in_words, response
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import readable
from partialpool.simulation.what_if import Answer, WhatIf, differ

#: Most groups whose lines are drawn.
SHOWN = 12
#: What the menu of groups has for none of them: a menu whose value is None shows nothing.
NOBODY = -1
#: Widths of the priors of standard deviations between groups, beside the fit's own.
WIDTHS = {
    1 / 8: ("⅛", "an eighth as wide"),
    1 / 4: ("¼", "a quarter as wide"),
    1 / 2: ("½", "half as wide"),
    1.0: ("as fitted", "as they were"),
    2.0: ("2 ×", "twice as wide"),
    4.0: ("4 ×", "four times as wide"),
    8.0: ("8 ×", "eight times as wide"),
}


class FitExplorer(Sliders[FitPicture]):
    """Sliders for the priors' width, a group left out and a predictor's value, above the picture.

    Parameters
    ----------
    fitted : Fitted
        An exact fit with Gaussian noise and one grouping factor.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.what_if = WhatIf(fitted, chosen_groups(fitted.model.design.only, SHOWN))
        model, places = fitted.model, self.what_if.places
        grouping = model.design.only
        every = [("no group", NOBODY), *((str(v), j) for j, v in enumerate(grouping.levels))]
        controls = {"left_out": menu(f"{model.words(grouping.name)} left out", NOBODY, every)}
        if any(model.priors[name].scaled(2) != model.priors[name] for name in self.what_if.spreads):
            widths = [(short, width) for width, (short, _) in WIDTHS.items()]
            controls["scale"] = stops("priors of the sds", 1.0, widths)
        if self.what_if.predictor is not None:
            name = self.what_if.predictor
            values = [(level_in_words(model, name, v), k) for k, v in enumerate(places.tolist())]
            controls["at"] = stops(model.words(name), len(places) // 2, values)
        super().__init__(controls, FitPicture(self.what_if))

    def found(self, **values: Any) -> Finding:
        """The picture of one such fit; see `draw`."""
        given = {"scale": 1.0, "at": 0} | values
        if given["left_out"] == NOBODY:
            given["left_out"] = None
        return _moved(self.what_if, self.picture, **given)


def explore(fitted: Fitted) -> FitExplorer:
    """Sliders over an exact fit: what it would say under other priors, or without a group.

    The width of the priors of the standard deviations between groups goes from an eighth to eight
    times that of the fit; any group can be left out with its rows, and is then predicted from the
    others; and the lines are compared at a value of the main predictor. Each move fits anew.

    Returns
    -------
    FitExplorer
        A widget; where there is no kernel its first picture stands in.

    Raises
    ------
    ValueError
        For a fit that is not exact, or is not of Gaussian noise and one grouping factor.

    Examples
    --------
    >>> import partialpool as pp
    >>> model = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy"))
    >>> widget = model.fit(seed=1).explore()
    >>> widget.controls["left_out"].label = "308"
    >>> widget.finding.sentence[:25]
    'Without **308** (10 rows)'
    """
    return FitExplorer(fitted)


def draw(
    fitted: Fitted, scale: float = 1.0, left_out: Any = None, at: float | None = None
) -> Finding:
    """The picture of a fit as sliders would have it, for a page without them.

    Parameters
    ----------
    fitted : Fitted
    scale : float
        Width of the priors of standard deviations between groups, beside the fit's own.
    left_out : level of the grouping factor, optional
    at : float, optional
        Value of the main predictor at which lines are compared, or the nearest that is drawn; the
        one in the middle when not given.

    Raises
    ------
    ValueError
        For a fit without sliders, see `explore`, a scale of none of the `WIDTHS`, and a level that
        was not in the data.
    """
    what_if = WhatIf(fitted, chosen_groups(fitted.model.design.only, SHOWN))
    grouping, places = fitted.model.design.only, what_if.places
    codes = {level: j for j, level in enumerate(grouping.levels.tolist())}
    if left_out is not None and left_out not in codes:
        raise ValueError(f"The level {left_out!r} of {grouping.name} was not in the data.")
    if scale not in WIDTHS:
        raise ValueError(f"scale: choose from {', '.join(map(str, WIDTHS))}, not {scale!r}.")
    middle = len(places) // 2
    nearest = middle if at is None else int(np.abs(places - at).argmin())
    code = None if left_out is None else codes[left_out]
    return _moved(what_if, FitPicture(what_if), scale, code, nearest)


def _moved(
    what_if: WhatIf, picture: FitPicture, scale: float, left_out: int | None, at: int
) -> Finding:
    """The picture moved to one fit, and what has changed in words."""
    answer = what_if.refit(scale, left_out)
    picture.move(answer, scale, left_out, at)
    says = " ".join(
        [_spreads(what_if, answer, scale, left_out), _lines(what_if, answer, left_out, at)]
    )
    if not answer.trusted:
        says += " **These draws are rough:** the posterior is too spiky for a quick look."
    what = (
        f"Three panels. Left: the rows with the line of the population and of "
        f"{len(what_if.shown)} groups. Middle: prior and posterior of the standard deviations "
        "between groups. Right: intervals of these lines at one value. Behind each, the fit as it "
        "was."
    )
    names = readable(what_if.model)
    description = renamed(f"{what} {says}", names).replace("**", "")
    return Finding("what_if", says, picture.figure, description=description, names=names)


def _spreads(what_if: WhatIf, answer: Answer, scale: float, left_out: int | None) -> str:
    """What became of the standard deviations between groups."""
    model = what_if.model
    under = [] if scale == 1 else [f"with priors of the sds {WIDTHS[scale][1]}"]
    if left_out is not None:
        level = model.design.only.levels[left_out]
        under.append(f"without **{level}** ({_rows(what_if, left_out)})")
    parts = []
    for name, draws in answer.sds.items():
        low, high = interval(draws)
        before, sd = what_if.before.sds[name], float(draws.std())
        was, now = (rounded(float(np.median(values)), sd) for values in (before, draws))
        inside = f"({rounded(low, sd)} to {rounded(high, sd)})"
        if not under:
            parts.append(f"the **{name}** is {now} {inside}")
        elif was != now and differ(before, draws):
            parts.append(f"the **{name}** goes from {was} to {now} {inside}")
        else:
            parts.append(f"the **{name}** stays at {was} {inside}")
    rule = f"(medians, {PROBABILITY:.0%} equal-tailed intervals)"
    told = f"{listed(parts)} {rule}" if parts else "the spread of the groups is fixed"
    return f"{capital(listed(under)) or 'As it was fitted'}, {told}."


def _rows(what_if: WhatIf, j: int) -> str:
    count = what_if.model.design.only.counts[j]
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _place(what_if: WhatIf, at: int) -> str:
    """One of the places in words."""
    model, name, value = what_if.model, what_if.predictor, float(what_if.places[at])
    assert name is not None
    words = level_in_words(model, name, value)
    return words if model.has_label(name, value) else f"{model.words(name)} = {words}"


def _lines(what_if: WhatIf, answer: Answer, left_out: int | None, at: int) -> str:
    """What became of the lines at one place: the population's, and the group's that moved most."""
    model, before = what_if.model, what_if.before
    levels, name = model.design.only.levels, what_if.predictor
    where = "" if name is None else f"At {_place(what_if, at)} "
    old, new = (what_if.population(one)[:, at] for one in (before, answer))
    low, high = interval(new)
    sd = float(new.std())
    inside = f"({rounded(low, sd)} to {rounded(high, sd)})"
    says = f"{where}the population's {response(model)} is {rounded(float(new.mean()), sd)} {inside}"
    if answer is before:
        return capital(f"{says}.")
    was = rounded(float(old.mean()), sd)
    says += f", where it was {was}" if differ(old, new) else ", as it was"
    others = [j for j in what_if.shown if j != left_out]
    pairs = {j: [what_if.group(one, j, at) for one in (before, answer)] for j in others}
    moved = {j: abs(b.mean() - a.mean()) for j, (a, b) in pairs.items() if differ(a, b)}
    if moved:
        j = max(moved, key=moved.__getitem__)
        a, b = (rounded(float(draws.mean()), float(draws.std())) for draws in pairs[j])
        says += f"; of the groups shown **{levels[j]}** moves most, from {a} to {b}"
    else:
        says += "; no group shown moves by more than Monte Carlo error"
    if left_out is not None:
        own, unseen = (what_if.group(one, left_out, at) for one in (before, answer))
        (low, high), sd = interval(unseen), float(unseen.std())
        there = "holds" if low <= own.mean() <= high else "does not hold"
        says += (
            f". **{levels[left_out]}**, unseen, is expected between {rounded(low, sd)} and "
            f"{rounded(high, sd)}, which {there} {rounded(float(own.mean()), sd)}, where its rows "
            "had put it"
        )
    return capital(f"{says}.")
