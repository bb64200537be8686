"""Picture of posteriors that differ in the integral over group effects alone."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from partialpool.data.text import percent
from partialpool.design.families import LINKS
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.posterior.draws import PROBABILITY, interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.names import readable
from partialpool.simulation.approximations import CERTIFIED, MAXIMUM, SCALES, Approximation


def marginals(
    model: Regression,
    found: Sequence[Approximation],
    shown: Sequence[str],
    quoted: Mapping[str, Mapping[str, float]] | None = None,
    best: Mapping[str, float] | None = None,
) -> Finding:
    """Posterior means with intervals, a panel for each parameter and a row for each way.

    Parameters
    ----------
    model : Regression
    found : sequence of Approximation
    shown : sequence of str
        Names of parameters.
    quoted : mapping, optional
        Method -> parameter -> estimate of other packages, drawn as crosses.
    best : mapping, optional
        Parameter -> its value at the maximum of the likelihood, a cross too.
    """
    maxima = dict(quoted or {}) | ({MAXIMUM: best} if best else {})
    called, rows = readable(model), [*maxima, *(one.name for one in found)]
    scale = SCALES[LINKS[model.family]][0]
    places = {name: len(rows) - k for k, name in enumerate(rows)}
    size = (3.2, 0.34 * len(rows) + 1.0)
    figure, panels = theme.panels(len(shown), min(3, len(shown)), size, sharey=True)
    for panel, name in zip(panels, shown, strict=True):
        for one in found:
            low, high = interval(one.draws[name])
            color = theme.EXACT if one.name == CERTIFIED else theme.PARTIAL
            panel.hlines(places[one.name], low, high, color=color, lw=3)
            panel.scatter(one.draws[name].mean(), places[one.name], color=theme.INK, s=18, zorder=3)
            if one.name == CERTIFIED:
                panel.axvspan(low, high, color=color, alpha=0.15, lw=0)
        for method, estimates in maxima.items():
            if name in estimates:
                panel.scatter(estimates[name], places[method], color=theme.INK, marker="x", s=30)
        panel.set_title(theme.wrapped(called.get(name, name)), loc="left", fontsize=9)
        panel.set_xlabel(f"on the {scale} scale")
        panel.set_yticks(list(places.values()), [theme.wrapped(row, 26) for row in places])
        panel.set_ylim(0.4, len(rows) + 0.6)
    marks = [
        plt.Line2D([], [], color=theme.EXACT, lw=3, label="certified"),
        plt.Line2D([], [], color=theme.PARTIAL, lw=3, label="an approximation, or sampled"),
    ]
    if maxima:
        label = "maximum of the likelihood"
        marks.append(plt.Line2D([], [], color=theme.INK, marker="x", ls="", label=label))
    theme.legend(figure, marks)
    says = (
        f"Means with {percent(PROBABILITY)} equal-tailed intervals; the band is that of the "
        "certified posterior."
    )
    what = f"Intervals of {', '.join(shown)} by {', '.join(rows)}."
    return theme.finding("integrals", figure, what, says)
