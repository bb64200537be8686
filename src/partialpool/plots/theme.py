"""The look of every figure, and how a figure is shown with its words.

Figures are SVG on a transparent ground. Text and axes have the one colour `INK`, which the report
replaces by the page's own text colour, so that the same figure suits light and dark.
"""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from partialpool.plots.palette import COLORS, INK

#: In this order for anything else: samplers, chains, chosen points.
PALETTE = [COLORS[name] for name in ("partial", "none", "complete", "prior", "exact", "truth")]
#: The mark of a true value, in every figure.
TRUTH: dict[str, Any] = {"color": COLORS["truth"], "linewidth": 1.8, "linestyle": "-"}
#: The line of a prior, in every figure.
PRIOR: dict[str, Any] = {"color": COLORS["prior"], "linewidth": 1.5, "linestyle": "--"}


def use() -> None:
    """Set the look; done once, when this module is imported."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=PALETTE,
        rc={
            "figure.figsize": (8, 4.2),
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
            "font.family": "sans-serif",
            "figure.constrained_layout.use": True,
            **dict.fromkeys(
                [
                    "text.color",
                    "axes.labelcolor",
                    "axes.edgecolor",
                    "axes.titlecolor",
                    "xtick.color",
                    "ytick.color",
                ],
                INK,
            ),
        },
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        if "inline" in mpl.get_backend():
            set_matplotlib_formats("svg")
    except ImportError:  # not in a notebook
        pass


def show(figure: Figure, *, alt: str, says: str = "") -> None:
    """Display a figure with its alternative text, and under it the conclusion it supports.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Closed afterwards, so that the notebook does not show it twice.
    alt : str
        What the figure shows, for readers who do not see it.
    says : str
        The conclusion, in Markdown, computed from the same numbers.
    """
    display(figure, metadata={"image/svg+xml": {"alt": alt}, "image/png": {"alt": alt}})
    plt.close(figure)
    if says:
        display(Markdown(says))


use()
