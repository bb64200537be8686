"""Picture of how many groups it takes; the numbers are `simulation.planning`'s."""

from itertools import cycle

import pandas as pd

from partialpool.data.text import percent
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.plots.conditional import STYLES
from partialpool.posterior.finding import Finding
from partialpool.posterior.names import groups_in_words, readable
from partialpool.simulation.planning import ENOUGH, Plan
from partialpool.simulation.planning_words import aim, rows_each, sentence


def curves(model: Regression, found: pd.DataFrame, plan: Plan) -> Finding:
    """Share of intervals that tell, by number of groups, with 95 % Monte Carlo intervals.

    Parameters
    ----------
    model : Regression
    found : pandas.DataFrame
        From `simulation.planning.shares`.
    plan : Plan
    """
    names = list(plan.coefficients)
    words = readable(model)
    figure, panels = theme.panels(len(names), 2, (4.2, 2.9), sharey=True)
    sizes = list(dict.fromkeys(found["per_group"]))
    for panel, name in zip(panels, names, strict=True):
        for size, (dashes, marker) in zip(sizes, cycle(STYLES)):
            rows = found[(found["coefficient"] == name) & (found["per_group"] == size)]
            label = f"{rows_each(model, int(size))} in each"
            at = rows["groups"] * (1 + 0.02 * sizes.index(size))  # bars beside each other
            panel.vlines(at, rows["low"], rows["high"], lw=3, **theme.INTERVAL)
            panel.plot(
                at, rows["share"], dashes, marker=marker, ms=5, color=theme.PARTIAL, label=label
            )
        panel.axhline(ENOUGH, color=theme.INK, lw=0.9, ls=":")
        panel.set_title(theme.wrapped(words.get(name, name)))
        groups = groups_in_words(model, model.design.only)
        panel.set(xlabel=f"{groups} (log scale)", ylim=(0, 1.02))
        panel.set_xscale("log")
        panel.set_xticks(list(plan.groups), [f"{size:,}" for size in plan.groups])
        panel.minorticks_off()
        panel.yaxis.set_major_formatter(lambda value, _: percent(value))
        panel.set_ylabel(f"share whose interval {aim(plan, name)}")
    if len(sizes) > 1:
        theme.legend(figure, panels[0].get_legend_handles_labels()[0])
    what = (
        f"Share of {percent(plan.probability)} intervals that tell, over the number of groups, "
        f"with 95 % Monte Carlo intervals; the dotted line is {percent(ENOUGH)}."
    )
    return theme.finding("power", figure, what, sentence(model, found, plan))
