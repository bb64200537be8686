"""The groups on a map: where there is most, and how sure that is."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator

from partialpool.data.areas import Areas
from partialpool.data.text import capital, listed, number, percent
from partialpool.plots import theme
from partialpool.plots.groups import first_and_last
from partialpool.posterior import contrasts
from partialpool.posterior.finding import ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.natural_scale import Levels, Natural

#: Classes of a scale, and how strong the palest and the strongest of them are.
CLASSES, PALE, STRONG = 6, 0.08, 1.0
#: Column of the table -> heading and format.
COLUMNS = {
    "median": ("median", ESTIMATE),
    "lower": ("5 %", ESTIMATE),
    "upper": ("95 %", ESTIMATE),
}


def areas(fitted: Fitted, natural: Natural | None, shapes: Areas) -> Finding:
    """Medians of the groups of the first factor, and beside them how sure they are.

    The second map has the probability of a new response above the limit, where there is one, and
    else the width of the 90 % interval.

    Returns
    -------
    Finding
        Without a natural scale with a table of the highest and the lowest groups.
    """
    found = Levels.of(fitted, natural)
    at = shapes.of(found.names, found.called)
    on = at >= 0
    name = natural.label if natural else contrasts.response(fitted.model)
    figure, (left, right) = plt.subplots(1, 2, figsize=(theme.WIDTH, 4.9))
    bounds = _bounds(found.median[on], logarithmic=natural is not None)
    _draw(left, shapes, at, found.median, bounds, partial(number, digits=3))
    left.set_title(theme.wrapped(f"median of {name}", 40))
    limit = natural.limit if natural else None
    if natural and limit is not None:
        second, words = found.above, f"probability of a new value above {natural.amount(limit)}"
        text = percent
    else:
        second, words = found.upper - found.lower, "width of the 90 % interval"
        text = partial(number, digits=3)
    _draw(right, shapes, at, second, _bounds(second[on], logarithmic=False), text)
    right.set_title(theme.wrapped(words, 40))
    says = _in_words(found, on, len(shapes.names), words, second, text)
    what = (
        f"Two maps of {len(shapes.names)} areas, {on.sum()} of which are {found.called} of the "
        f"data: {name} and {words}; the stronger the colour, the more."
    )
    made = theme.finding("map", figure, what, says)
    if natural is not None:  # its groups have a picture and a table of their own
        return made
    some, _ = first_and_last(np.flatnonzero(on)[np.argsort(found.median[on], kind="stable")])
    table = pd.DataFrame(
        {column: getattr(found, column)[some] for column in COLUMNS},
        index=pd.Index(found.names[some]),
    )
    return replace(made, table=table.iloc[::-1], columns=COLUMNS)


def _bounds(values: np.ndarray, *, logarithmic: bool) -> np.ndarray:
    """Round bounds of at most `CLASSES` classes that hold all values."""
    low, high = float(values.min()), float(values.max())
    if logarithmic and high > 8 * low:
        ticks = LogLocator(subs=(1, 2, 5)).tick_values(low, high)
    else:
        ticks = MaxNLocator(CLASSES, min_n_ticks=2).tick_values(low, high)
    first, last = np.searchsorted(ticks, [low, high], side="right")
    return np.asarray(ticks)[max(first - 1, 0) : last + 1]


def _draw(
    axes: Axes,
    shapes: Areas,
    at: np.ndarray,
    values: np.ndarray,
    bounds: np.ndarray,
    text: Callable[[float], str],
) -> None:
    """Areas filled by the class of their group's value; others empty."""
    strengths = np.linspace(PALE, STRONG, len(bounds) - 1)
    kinds = np.clip(np.searchsorted(bounds, values, side="right") - 1, 0, len(strengths) - 1)
    strength = np.full(len(shapes.names), np.nan)
    strength[at[at >= 0]] = strengths[kinds[at >= 0]]
    edge: dict[str, Any] = {"edgecolors": theme.INK, "linewidths": 0.4}
    for alpha in [*strengths, np.nan]:
        which = np.isnan(strength) if np.isnan(alpha) else strength == alpha
        parts = [
            part
            for outline, mine in zip(shapes.outlines, which, strict=True)
            if mine
            for part in outline
        ]
        if parts and np.isnan(alpha):
            axes.add_collection(PolyCollection(parts, facecolors="none", linestyles=":", **edge))
        elif parts:
            axes.add_collection(PolyCollection(parts, facecolors=theme.PARTIAL, alpha=alpha, lw=0))
            axes.add_collection(PolyCollection(parts, facecolors="none", **edge))
    axes.autoscale_view()
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    ends = [text(bound) for bound in bounds]
    keys = [
        Patch(facecolor=theme.PARTIAL, alpha=alpha, label=f"{low} to {high}")
        for alpha, low, high in zip(strengths, ends, ends[1:], strict=False)
    ]
    if np.isnan(strength).any():
        keys.append(Patch(facecolor="none", edgecolor=theme.INK, ls=":", label="no data"))
    axes.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=3)


def _in_words(
    found: Levels,
    on: np.ndarray,
    areas: int,
    words: str,
    second: np.ndarray,
    text: Callable[[float], str],
) -> str:
    """How many groups are on the map, which are not, and the ends of the second map's scale."""
    says = f"{found.place}: " if found.place else ""
    says += f"{on.sum()} of {areas} areas have rows in the data"
    if not on.all():
        lost = listed([f"`{name}`" for name in found.names[~on][:5]])
        more = "" if (~on).sum() <= 5 else f" and {(~on).sum() - 5} more"
        says += f"; {lost}{more} of the {found.called} {'have' if (~on).sum() > 1 else 'has'} none"
    names, second = found.names[on], second[on]
    low, high = (f"{text(second[k])} in {names[k]}" for k in (second.argmin(), second.argmax()))
    return f"{capital(says)}. The {words} runs from {low} to {high}."
