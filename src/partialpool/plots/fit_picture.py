"""What the sliders of a fit move: its lines, the spread of its groups, and both as they were."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from partialpool.plots import theme
from partialpool.plots.groups import FEW_VALUES
from partialpool.plots.stage import MarginalPanel, Stage, legend_below, quick_density, words
from partialpool.plots.theme import DATA, INK, PARTIAL
from partialpool.posterior.draws import coefficient, interval
from partialpool.posterior.names import groups_of, of_coefficient
from partialpool.simulation.what_if import Answer, WhatIf

#: Most standard deviations between groups with a panel.
MAX_PANELS = 4
#: The mark of the fit as it was, and of the group that is left out.
BEFORE: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": "-"}
OUT: dict[str, Any] = {"color": PARTIAL, "linewidth": 2.0, "linestyle": "--"}
#: Lines of the other groups, paler than the population's.
GROUP: dict[str, Any] = {"color": PARTIAL, "alpha": 0.5}
#: Most letters of a group's name beside its interval.
LETTERS = 14


class FitPicture(Stage):
    """Lines, prior and posterior of the groups' spread, and the lines at one place."""

    def __init__(self, what_if: WhatIf) -> None:
        super().__init__((10.2, 4.3))  # as wide as a page's text
        add = self.figure.add_axes
        place = (0.06, 0.2, 0.36, 0.72)
        rows = add(place)
        self.still.append(rows)
        self.lines = _LinesPanel(rows, add(place), what_if)
        self.spreads = [
            _SpreadPanel(add(box), what_if, name)
            for name, box in zip(what_if.spreads, _boxes(len(what_if.spreads)), strict=False)
        ]
        self.places = _PlacePanel(add((0.795, 0.2, 0.178, 0.72)), what_if)
        legend_below(
            [rows, self.places.axes],
            Line2D([], [], label="population, 90 %", color=PARTIAL, alpha=0.5, lw=6),
            Line2D([], [], label="a group", lw=1.1, **GROUP),
            Line2D([], [], label="the group left out", **OUT),
            Line2D([], [], label="as it was fitted", **BEFORE),
            Line2D([], [], label="posterior", color=PARTIAL, alpha=0.5, lw=6),
            Line2D([], [], label="prior", **theme.PRIOR),
        )

    def move(self, answer: Answer, scale: float, left_out: int | None, at: int) -> None:
        """Move every artist to an answer, its lines at one of the places."""
        self.lines.move(answer, left_out, at)
        for panel in self.spreads:
            panel.move(answer, scale)
        self.places.move(answer, left_out, at)


def _boxes(n: int) -> list[tuple[float, float, float, float]]:
    """Where n panels stand, or the first four: one above the other, or two by two."""
    if n < 3:
        height = 0.72 if n < 2 else 0.28
        return [(0.455, 0.92 - height - 0.44 * k, 0.215, height) for k in range(n)]
    # titles in two lines
    return [
        (0.455 + 0.12 * (k % 2), 0.63 - 0.43 * (k // 2), 0.095, 0.23)
        for k in range(min(n, MAX_PANELS))
    ]


class _LinesPanel:
    """The rows, the population's line, and those of some groups.

    Without a predictor the groups stand side by side, each with a line as wide as its place.
    """

    def __init__(self, still: Axes, axes: Axes, what_if: WhatIf) -> None:
        self.axes, self.what_if = axes, what_if
        model, shown = what_if.model, what_if.shown
        grouping, self.flat = model.design.only, what_if.predictor is None
        levels = grouping.levels
        if what_if.predictor is None:
            self.x = np.searchsorted(shown, grouping.codes).astype(float)
            self.x[~np.isin(grouping.codes, shown)] = np.nan
            x_label = model.label(grouping.name)
            still.set_xticks(range(len(shown)), [_short(levels[j]) for j in shown])
            ends = -0.7, len(shown) - 0.3 + (len(shown) < len(levels))
        else:
            self.x = model.table[what_if.predictor].to_numpy(float)
            x_label = model.label(what_if.predictor)
            still.xaxis.set_major_locator(MaxNLocator(5))
            if len(what_if.places) <= FEW_VALUES:
                called = [model.words(what_if.predictor, value) for value in what_if.places]
                still.set_xticks(what_if.places, called)
            room = 0.04 * np.ptp(what_if.places)
            ends = what_if.places[0] - room, what_if.places[-1] + room
        y = model.design.y
        of = "" if len(shown) == len(levels) else f" of {len(levels)}"
        title = f"the population and {len(shown)}{of} {groups_of(model, grouping)}"
        words(still, title, x_label, model.label(model.design.response))
        still.yaxis.set_major_locator(MaxNLocator(4))
        room = 0.06 * np.ptp(y)
        still.set(xlim=ends, ylim=(y.min() - room, y.max() + room))
        still.scatter(self.x, y, s=10, **theme.dots(len(y)))
        axes.set(xlim=still.get_xlim(), ylim=still.get_ylim())
        axes.set_axis_off()
        self.groups = LineCollection([], linewidths=1.1, **GROUP)
        axes.add_collection(self.groups, autolim=False)
        (self.band,) = axes.fill([0], [0], color=PARTIAL, alpha=0.25, lw=0)
        (self.line,) = axes.plot([], [], color=PARTIAL, lw=2)
        middle = what_if.population(what_if.before).mean(0)
        axes.plot(*self._along(middle), zorder=1.5, **BEFORE)
        self.out = axes.scatter([], [], s=22, facecolors="none", edgecolors=INK, zorder=4)
        (self.out_line,) = axes.plot([], [], **OUT)
        self.place = axes.axvline(np.nan, color=DATA, lw=1, ls=":")

    def _along(self, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A line (n,) of the population over the panel."""
        if self.flat:
            return np.array(self.axes.get_xlim()), np.repeat(heights, 2)
        return self.what_if.places, heights

    def move(self, answer: Answer, left_out: int | None, at: int) -> None:
        what_if, grouping = self.what_if, self.what_if.model.design.only
        population = what_if.population(answer)
        self.line.set_data(*self._along(population.mean(0)))
        (x, low), (_, high) = (self._along(end) for end in interval(population))
        self.band.set_xy(np.column_stack([[*x, *x[::-1]], [*low, *high[::-1]]]))
        drawn = np.flatnonzero(what_if.shown != left_out)
        middles, last = what_if.middles(answer), len(what_if.shown)
        self.groups.set_segments([self._own(float(k), middles[k]) for k in drawn])
        rows = np.flatnonzero(grouping.codes == left_out)
        # without a predictor a group that is not among those shown stands behind the last
        own_x = np.where(np.isnan(self.x[rows]), last, self.x[rows])
        self.out.set_offsets(np.column_stack([own_x, what_if.model.design.y[rows]]))
        self.out_line.set_data([], [])
        if left_out is not None:
            middle = what_if.group(answer, left_out, slice(None)).mean(0)
            self.out_line.set_data(*self._own(own_x[0], middle).T)
        if not self.flat:
            self.place.set_xdata([what_if.places[at]] * 2)

    def _own(self, place: float, heights: np.ndarray) -> np.ndarray:
        """The line (n,) of a group at a place of its own, or over the panel."""
        if self.flat:
            return np.array([[place - 0.35, heights[0]], [place + 0.35, heights[0]]])
        return np.column_stack([self.what_if.places, heights])


class _SpreadPanel(MarginalPanel):
    """Prior and posterior of one standard deviation between groups, and the one as it was."""

    def __init__(self, axes: Axes, what_if: WhatIf, name: str) -> None:
        model, grouping = what_if.model, what_if.model.design.only
        varying = coefficient(grouping.z_names[grouping.sd_names.index(name)])
        title = f"sd of the {of_coefficient(model, varying)}"
        narrow = len(what_if.spreads) > 2
        super().__init__(axes, theme.wrapped(title, 17) if narrow else title)
        self.name, self.given = name, model.priors[name]
        before = what_if.before.sds[name]
        self.ends = [0.0, float(np.quantile(before, 0.998))]
        grid, height = quick_density(before)
        axes.plot(grid, height, **BEFORE)
        self.top = 1.15 * height.max()

    def move(self, answer: Answer, scale: float) -> None:
        self.show(answer.sds[self.name], self.given.scaled(scale), self.ends)
        self.axes.set_ylim(0, max(self.axes.get_ylim()[1], self.top))


class _PlacePanel:
    """Intervals of the line at one place: the population's, each group's, and as they were."""

    def __init__(self, axes: Axes, what_if: WhatIf) -> None:
        self.axes, self.what_if = axes, what_if
        model, shown, name = what_if.model, what_if.shown, what_if.predictor
        means = what_if.middles(what_if.before)[:, len(what_if.places) // 2]
        self.order = shown[np.argsort(means)]
        levels = model.design.only.levels
        title = "the lines" if name is None else "at the dotted line"
        words(axes, title, model.label(model.design.response))
        self.top = len(shown) + (len(shown) < len(levels))
        axes.set(yticks=[], ylim=(-0.8, self.top + 0.6))
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        box = axes.get_position()
        labels = dict(enumerate(map(_short, levels[self.order]))) | {self.top: "population"}
        for k, label in labels.items():
            up = box.y0 + box.height * (k + 0.8) / (self.top + 1.4)
            axes.figure.text(box.x0 - 0.008, up, label, fontsize=8, ha="right", va="center")
        style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8}
        self.label = axes.annotate(
            "", (0, len(shown)), (-6, 0), ("axes fraction", "data"), "offset points", **style
        )
        self.before = LineCollection([], colors=INK, linewidths=1.2)
        self.now = LineCollection([], linewidths=4, colors=PARTIAL, alpha=0.55)
        for collection in (self.now, self.before):
            axes.add_collection(collection, autolim=False)
        self.dots = axes.scatter([], [], s=14, zorder=3, linewidths=1, edgecolors=PARTIAL)

    def move(self, answer: Answer, left_out: int | None, at: int) -> None:
        what_if, G = self.what_if, len(self.order)
        groups = dict(zip(self.order, range(G), strict=True))
        self.label.set_text("")
        if left_out is not None and left_out not in groups:
            groups[left_out] = G
            self.label.set_text(_short(what_if.model.design.only.levels[left_out]))
        heights = np.array([*groups.values(), self.top])
        ends, middles = [], []
        for one in (what_if.before, answer):
            drawn = [what_if.group(one, j, at) for j in groups]
            drawn.append(what_if.population(one)[:, at])
            ends.append([interval(values) for values in drawn])
            middles = [values.mean() for values in drawn]
        for collection, pairs, lift in zip((self.before, self.now), ends, (-0.27, 0), strict=True):
            up = heights + lift
            segments = [[(a, y), (b, y)] for (a, b), y in zip(pairs, up, strict=True)]
            collection.set_segments(segments)
        self.dots.set_offsets(np.column_stack([middles, heights]))
        inside = ["white" if j == left_out else PARTIAL for j in groups] + [PARTIAL]
        self.dots.set_facecolor(inside)
        low, high = np.min(ends), np.max(ends)
        room = 0.04 * (high - low)
        self.axes.set_xlim(low - room, high + room)


def _short(level: Any) -> str:
    return textwrap.shorten(str(level), LETTERS, placeholder=" …")
