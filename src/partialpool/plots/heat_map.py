"""Cells of colour with their numbers, and the key to the colours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_hex
from matplotlib.patches import Patch

from partialpool.data.text import number, percent
from partialpool.plots import theme


def cells(
    panel: Axes,
    grid: np.ndarray,
    colors: Colormap,
    ends: tuple[float, float],
    texts: np.ndarray,
) -> None:
    """A cell for each number, no bitmap: the dark gives those other colours.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    grid : array, (rows, columns)
        The first row is on top; a cell that is not finite stays empty.
    colors : matplotlib.colors.Colormap
    ends : (float, float)
        The numbers of the first and the last colour.
    texts : array of str, (rows, columns)
        What stands in the cells.
    """
    low, high = ends
    edges = [np.arange(n + 1) - 0.5 for n in grid.shape[::-1]]
    shown = np.ma.masked_invalid(grid)
    panel.pcolormesh(*edges, shown, cmap=colors, vmin=low, vmax=high, edgecolors="face")
    panel.invert_yaxis()
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            ink = ink_on(colors(np.clip((value - low) / (high - low), 0, 1) if high > low else 0.0))
            panel.text(j, i, str(texts[i, j]), ha="center", va="center", color=ink, size=8)


def ink_on(color: Any) -> str:
    """Black or white, whichever is easier to read on a colour (WCAG 2.2, relative luminance)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]
    )
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def key(colors: Colormap, middle: float, far: float, share: bool) -> list[Patch]:
    """What the middle and the ends of the colours stand for; a share goes on beyond these."""
    ends = {-1.0: " or less", 1.0: " or more"} if share else {}
    shown = []
    for end in (-1.0, 0.0, 1.0):
        part, value = end, middle + end * far
        said = (percent(value) if share else number(value, 2)) + ends.get(end, "")
        if share and value > 1:
            part, said = (1 - middle) / far, percent(1)
        color = to_hex(colors((part + 1) / 2))
        shown.append(Patch(facecolor=color, edgecolor=theme.INK, lw=0.5, label=said))
    return shown
