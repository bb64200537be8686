"""The picture of a logged response on its natural scale: the groups that have most and least."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from partialpool.data.text import capital
from partialpool.plots import theme
from partialpool.plots.groups import first_and_last
from partialpool.posterior.finding import ESTIMATE, Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.natural_scale import Levels, Natural, levels_in_words

#: Column of the table -> heading and format.
COLUMNS = {
    "median": ("median", ESTIMATE),
    "lower": ("5 %", ESTIMATE),
    "upper": ("95 %", ESTIMATE),
    "above": ("probability above the limit", "{:.0%}"),
}


def levels(fitted: Fitted, natural: Natural) -> Finding | None:
    """Medians of the groups with their intervals, sorted, and the limit; None without groups.

    Returns
    -------
    Finding
        With a table of these groups, most first: ``median``, ``lower``, ``upper`` and ``above``,
        the probability that a new response is above the limit.
    """
    if not fitted.model.design.groupings:
        return None
    found = Levels.of(fitted, natural)
    order = np.argsort(found.median, kind="stable")
    some, places = first_and_last(order)
    figure, axes = plt.subplots(figsize=(theme.WIDTH, 0.22 * (len(some) + 1) + 1.1))
    axes.hlines(places, found.lower[some], found.upper[some], color=theme.PARTIAL, alpha=0.6)
    axes.scatter(found.median[some], places, s=14, color=theme.PARTIAL, zorder=3, label="median")
    if natural.limit is not None:
        label = f"limit: {natural.amount(natural.limit)}"
        axes.axvline(natural.limit, color=theme.INK, lw=1, ls=":", label=label)
    axes.set_yticks(places, found.names[some], fontsize=8)
    axes.set(xscale="log", ylim=(-1, places[-1] + 1))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    low, high = axes.get_xlim()
    told = "12345678" if high < 10 * low else "25"  # of some powers of ten few are enough
    axes.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in told else "")
    axes.set_xlabel(f"{natural.label}{f', {found.place}' if found.place else ''}")
    theme.legend(figure)
    says = capital(levels_in_words(found, natural)) + "."
    if len(some) < len(order):
        half = len(some) // 2
        says += f" The {half} with most and the {half} with least are shown."
    what = f"Medians and 90 % equal-tailed intervals of {len(some)} {found.called}."
    table = pd.DataFrame(
        {name: getattr(found, name)[some] for name in COLUMNS}, index=pd.Index(found.names[some])
    )
    table = table.iloc[::-1].dropna(axis=1)
    columns = dict(COLUMNS)
    if natural.limit is not None:
        new = f"probability that a new measurement is above {natural.amount(natural.limit)}"
        columns["above"] = (new, "{:.0%}")
    return replace(
        theme.finding("natural_levels", figure, what, says), table=table, columns=columns
    )
