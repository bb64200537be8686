"""A picture that is made once and then only moved.

Text is what takes time to draw: titles, labels and legends belong to the figure rather than to its
axes, so that they are drawn once and kept as a background, together with axes that stand still;
axes that move have few ticks.
"""

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image
from scipy.interpolate import RBFInterpolator

from partialpool.design.priors import Prior
from partialpool.plots import palette, theme
from partialpool.plots.theme import PARTIAL


class Stage:
    """A figure, and the part of it that is drawn once.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    still : list of Axes
        Axes of which nothing moves.
    """

    def __init__(self, size: tuple[float, float]) -> None:
        self.figure = Figure(figsize=size, dpi=100)
        self.figure.set_layout_engine("none")  # what is on it is measured out
        self.still: list[Axes] = []
        self._canvas = FigureCanvasAgg(self.figure)
        self._drawn: Any = None

    @property
    def _moving(self) -> list[Axes]:
        return [axes for axes in self.figure.axes if axes not in self.still]

    def pngs(self) -> tuple[bytes, bytes]:
        """The picture as a PNG on white, and as one on dark ground.

        The second is the first with other colours in its table: it costs no second drawing.
        """
        if self._drawn is None:
            self._drawn = self._background()
        self._canvas.restore_region(self._drawn)
        renderer = self._canvas.get_renderer()
        for axes in self._moving:
            axes.draw(renderer)
        size = self._canvas.get_width_height(physical=True)
        image = Image.frombuffer("RGBA", size, self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        # Few colours make a file that is quicker to write and to send.
        light = image.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        dark, table = light.copy(), np.array(light.getpalette("RGB")).reshape(-1, 3)
        dark.putpalette(_in_the_dark()(table).clip(0, 255).round().astype(np.uint8).tobytes())
        return _file(light), _file(dark)

    def _background(self) -> Any:
        """All that never moves, drawn."""
        for axes in self._moving:
            axes.set_visible(False)
        self.figure.set_facecolor("white")
        self._canvas.draw()
        self.figure.set_facecolor("none")
        for axes in self._moving:
            axes.set_visible(True)
        return self._canvas.copy_from_bbox(self.figure.bbox)


@cache
def _in_the_dark() -> RBFInterpolator:
    """What becomes of a colour (n, 3) on dark ground.

    Exact for the colours of figures, and where one of them covers the ground by a half or a
    quarter; between these it is interpolated.
    """
    ends = []
    for ground, ink, colors in (
        (palette.GROUND, palette.INK, palette.COLORS),
        (palette.DARK_GROUND, palette.DARK_INK, palette.DARK),
    ):
        under = 255 * np.array(to_rgb(ground))
        over = 255 * np.array([to_rgb(color) for color in (ink, *colors.values())])
        ends.append(np.vstack([under, *(under + part * (over - under) for part in (0.25, 0.5, 1))]))
    return RBFInterpolator(*ends, kernel="linear", degree=1)


def _file(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


class MarginalPanel:
    """Posterior and prior of one parameter."""

    def __init__(self, axes: Axes, title: str) -> None:
        self.axes = axes
        words(axes, title)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(2))
        (self.area,) = axes.fill([0], [0], color=PARTIAL, alpha=0.5, lw=0)
        (self.prior,) = axes.plot([], [], **theme.PRIOR)

    def show(self, draws: np.ndarray, prior: Prior, others: Sequence[float]) -> None:
        """Move to some draws (S,) and their prior; `others` are values that stay in view."""
        grid, height = quick_density(draws)
        low, high = np.quantile(draws, [0.002, 0.998])
        low, high = min(low, *others), max(high, *others)
        if prior.family not in ("Normal", "Flat") and 0 < low < 0.4 * high:
            low = 0.0  # how near to zero a standard deviation comes is part of the answer
        self.area.set_xy(np.column_stack([[grid[0], *grid, grid[-1]], [0, *height, 0]]))
        margin = 0.08 * (high - low) + 1e-9
        span = np.linspace(low - margin, high + margin, 60)
        with np.errstate(divide="ignore"):
            self.prior.set_data(span, np.exp(prior.logpdf(span)) if prior.proper else 0 * span)
        self.axes.set(xlim=(span[0], span[-1]), ylim=(0, 1.15 * height.max()))


def quick_density(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grid and density: Scott's bandwidth takes a tenth of the time of the one in reports."""
    grid, height, _ = array_stats.kde(draws, bw="scott")
    return grid, height


def words(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title and labels of axes, as text of the figure."""
    # Even empty titles and labels are placed by measuring all ticks, unless told where to be.
    axes.set_title("", y=1.0)
    axes.xaxis.set_label_coords(0, 0)
    axes.yaxis.set_label_coords(0, 0)
    box, figure = axes.get_position(), axes.figure
    across, up = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    figure.text(box.x0, box.y1 + 0.02, title, fontsize=11)
    figure.text(across, box.y0 - 0.11, x, fontsize=10, ha="center")
    figure.text(box.x0 - 0.042, up, y, fontsize=10, ha="center", va="center", rotation=90)


def legend(axes: Axes, *handles: Line2D) -> None:
    """A legend in the upper left corner of axes, drawn with the background."""
    place = {"loc": "upper left", "bbox_to_anchor": axes.get_position().bounds}
    axes.figure.legend(handles=handles, handlelength=1.4, **place)


def legend_below(panels: Sequence[Axes], *handles: Line2D) -> None:
    """A legend below some panels that stand side by side, drawn with the background."""
    left, right = panels[0].get_position(), panels[-1].get_position()
    panels[0].figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=((left.x0 + right.x1) / 2, -0.02),
        ncols=len(handles),
        handlelength=1.4,
        columnspacing=1.2,
    )
