"""The look of every figure, and what figures have in common.

Figures are SVG on a transparent ground. Text and axes have the one colour `INK`, which the report
replaces by the page's own text colour, so that the same figure suits light and dark.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullLocator

from partialpool.plots.palette import CHOSEN, COLORS, INK, dressed, marked
from partialpool.posterior.finding import Finding

#: Inches of a figure as wide as the text of a page.
WIDTH = 9.0
#: The first for what needs no telling apart, the others for chosen points and other things in turn.
PALETTE = [COLORS["partial"], *CHOSEN]
#: The colours by their meaning; those of priors and true values come with a style.
PARTIAL, NONE, COMPLETE = COLORS["partial"], COLORS["none"], COLORS["complete"]
EXACT, DATA = COLORS["exact"], COLORS["data"]
#: Where chance alone leads, in every figure.
CHANCE: dict[str, Any] = {"color": DATA, "alpha": 0.25, "linewidth": 0}
#: An interval of a posterior, or of what is counted, about its dot.
INTERVAL: dict[str, Any] = {"color": PARTIAL, "alpha": 0.45}
#: The mark of a true value, in every figure.
TRUTH: dict[str, Any] = {"color": COLORS["truth"], "linewidth": 1.8, "linestyle": "-"}
#: Chains of one sampler: shades of one colour.
CHAINS = (0.95, 0.65, 0.4, 0.25)
#: The mark of a draw at which a sampler diverged.
DIVERGED: dict[str, Any] = {"color": INK, "marker": "x", "linewidths": 0.8}
#: The line of a prior, in every figure.
PRIOR: dict[str, Any] = {"color": COLORS["prior"], "linewidth": 1.5, "linestyle": "--"}


def use() -> None:
    """Set the look; done once, when this module is imported."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=PALETTE,
        rc={
            "figure.figsize": (WIDTH, 4.2),
            "figure.dpi": 110,
            "figure.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titleweight": "normal",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "legend.facecolor": "none",
            "svg.fonttype": "none",
            "svg.hashsalt": "partialpool",  # or names in the file are new ones each time
            "font.family": "sans-serif",
            "figure.constrained_layout.use": True,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        },
    )
    Finding.dressed = staticmethod(lambda svg: dressed(marked(svg)))
    if "inline" in mpl.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")


def finding(name: str, figure: Figure, what: str, says: str) -> Finding:
    """A figure with its conclusion.

    Parameters
    ----------
    name : str
        Of the finding.
    figure : matplotlib.figure.Figure
    what : str
        A sentence for readers who do not see it; the conclusion is added.
    says : str
        The conclusion, in Markdown.
    """
    description = f"{what} {says}".replace("**", "").replace("`", "")
    return Finding(name, says, figure=figure, description=description)


def panels(
    n: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels of `size` inches, at most so many side by side: `columns_of`.

    Where fewer are, they are as much wider, to fill the text's width.
    """
    most, columns = min(columns, n), columns_of(n, columns)
    rows = -(-n // columns)
    width, height = size
    whole = (max(WIDTH, width * most + 0.4), height * rows + 0.6)
    figure, axes = plt.subplots(rows, columns, figsize=whole, squeeze=False, **options)
    for panel in axes.flat[n:]:
        panel.set_visible(False)
    return figure, list(axes.flat[:n])


def columns_of(n: int, most: int) -> int:
    """How many of n panels stand side by side: no more rows than needed, and these alike.

    Examples
    --------
    >>> columns_of(4, 3), columns_of(6, 4), columns_of(14, 6), columns_of(2, 3)
    (2, 3, 5, 2)
    """
    rows = -(-n // min(n, most))
    return -(-n // rows)


def alike(panels: Sequence[Axes], columns: int, x: np.ndarray, y: np.ndarray) -> None:
    """Give panels, so many in a row, the same limits and ticks, and labels to the outer ones.

    Axes that matplotlib shares ask all others at every step, which takes a third of the drawing.

    Parameters
    ----------
    panels : sequence of Axes
    columns : int
    x, y : arrays
        What they show.
    """
    across, up = 0.05 * np.ptp(x), 0.08 * np.ptp(y)
    limits = {"xlim": (x.min() - across, x.max() + across), "ylim": (y.min() - up, y.max() + up)}
    panels[0].set(**limits)
    ticks = {"xticks": panels[0].get_xticks(), "yticks": panels[0].get_yticks()}
    for k, panel in enumerate(panels):
        panel.set(**ticks)
        panel.set(**limits)  # ticks outside would widen them
        panel.tick_params(labelbottom=k + columns >= len(panels), labelleft=k % columns == 0)


def legend(figure: Figure, handles: list[Any] | None = None) -> None:
    """What the marks mean, above the panels: those of all panels, unless handles are given."""
    if handles is None:
        every = [axes.get_legend_handles_labels() for axes in figure.axes]
        named = {
            name: mark for marks, names in every for mark, name in zip(marks, names, strict=True)
        }
        handles = [*named.values()]
    columns = min(len(handles), max(1, int(figure.get_figwidth() / 2)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def round_numbers(axis: Axis) -> None:
    """Numbers such as 0.05 and 2 on a log axis, three of them or more where there is room."""
    low, high = axis.get_view_interval()
    choices: list[Locator] = [LogLocator(subs=subs, numticks=9) for subs in ((1,), (1, 2, 5))]
    choices += [MaxNLocator(5), MaxNLocator(9)]
    for locator in choices:
        axis.set_major_locator(locator)
        ticks = axis.get_majorticklocs()
        if np.sum((low <= ticks) & (ticks <= high)) >= 3:
            break
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def without_heights(axes: Axes, label: str) -> None:
    """Axes of densities, whose heights say nothing."""
    axes.set(xlabel=label, yticks=[], ylim=(0, None))
    axes.spines["left"].set_visible(False)


def wrapped(words: str, width: int = 34) -> str:
    """Words in lines as long as a panel is wide."""
    return textwrap.fill(words, width)


def dots(n: int) -> dict[str, Any]:
    """Style of n points of the data; many are pale, and very many no vector graphics."""
    return {
        "color": DATA,
        "alpha": max(0.15, min(0.8, 300 / n)),
        "linewidths": 0,
        "rasterized": n > 2000,
    }


use()
