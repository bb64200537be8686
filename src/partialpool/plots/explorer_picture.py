"""The picture behind the sliders: made once, then only moved."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from partialpool.design.priors import Prior
from partialpool.plots import theme

if TYPE_CHECKING:
    from partialpool.plots.explorer import Fit

theme.use()

#: Points whose lines are drawn, and lines for each.
CHOSEN, LINES = 5, 20
#: Colours of the chosen points, as numbers (5, 4).
COLORS = to_rgba_array(theme.PALETTE[:CHOSEN])
#: The panels in the middle, under the origin's names.
NAMES = ("a", "mu_b", "sigma_b", "eps")


class Picture:
    """Three panels that are made once and then only moved.

    Text is what takes time to draw. Titles, labels and legends belong to the figure rather than
    to its axes, so that they are drawn once and kept as a background; axes have few ticks.
    """

    def __init__(self) -> None:
        self.figure = Figure(figsize=(11.5, 4.1), dpi=100)
        self.figure.set_layout_engine("none")  # the grid below is measured out
        self.canvas = FigureCanvasAgg(self.figure)
        self.background: Any = None
        grid = self.figure.add_gridspec(
            2, 4, left=0.055, right=0.985, bottom=0.13, top=0.9, wspace=0.38, hspace=0.52,
            width_ratios=[2.1, 1, 1, 2.1],
        )  # fmt: skip
        self.data = self._data_panel(self.figure.add_subplot(grid[:, 0]))
        self.marginals = {
            name: self._marginal_panel(self.figure.add_subplot(grid[k // 2, 1 + k % 2]), name)
            for k, name in enumerate(NAMES)
        }
        self.shrinkage = self._shrinkage_panel(self.figure.add_subplot(grid[:, 3]))
        shade: dict[str, Any] = {"color": theme.COLORS["exact"], "alpha": 0.6, "lw": 6}
        left, right = (self.marginals[name]["axes"].get_position() for name in NAMES[-2:])
        self.figure.legend(
            handles=[
                Line2D([], [], label="posterior", **shade),
                Line2D([], [], label="prior", **theme.PRIOR),
                Line2D([], [], label="true", **theme.TRUTH),
            ],
            loc="lower center",
            bbox_to_anchor=((left.x0 + right.x1) / 2, -0.02),
            ncols=3,
            handlelength=1.4,
            columnspacing=1.2,
        )

    def _data_panel(self, axes: Axes) -> dict[str, Any]:
        self._words(axes, "data, and lines through five points", "x", "y")
        axes.set(xlim=(0, 10), xticks=[0, 5, 10])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        lines = LineCollection([], linewidths=0.7, alpha=0.3)
        axes.add_collection(lines, autolim=False)
        (band,) = axes.fill([0], [0], color=theme.COLORS["partial"], alpha=0.25, lw=0)
        (points,) = axes.plot([], [], "o", ms=3.5, color=theme.COLORS["data"], mew=0)
        truth = axes.plot([], [], **theme.TRUTH)[0]
        chosen = axes.scatter([], [], s=45, edgecolors="white", linewidths=0.8, zorder=4)
        shade: dict[str, Any] = {"color": theme.COLORS["partial"], "alpha": 0.4, "lw": 6}
        self._legend(
            axes,
            "upper left",
            Line2D([], [], label="a + mu_b x, 90 %", **shade),
            Line2D([], [], label="true", **theme.TRUTH),
        )
        return {
            "axes": axes,
            "lines": lines,
            "band": band,
            "points": points,
            "truth": truth,
            "chosen": chosen,
        }

    def _marginal_panel(self, axes: Axes, name: str) -> dict[str, Any]:
        self._words(axes, name)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(2))
        (area,) = axes.fill([0], [0], color=theme.COLORS["exact"], alpha=0.6, lw=0)
        prior = axes.plot([], [], **theme.PRIOR)[0]
        truth = axes.axvline(0, **theme.TRUTH)
        return {"axes": axes, "area": area, "prior": prior, "truth": truth}

    def _shrinkage_panel(self, axes: Axes) -> dict[str, Any]:
        self._words(
            axes,
            "shrinkage (larger dots: larger x)",
            "slope through the point alone",
            "slope, partial pooling",
        )
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.axline((0, 0), slope=1, color=theme.COLORS["none"], lw=1.2)
        mean = axes.axhline(0, color=theme.COLORS["complete"], lw=1.2)
        dots = axes.scatter([], [], color=theme.COLORS["partial"], alpha=0.7, linewidths=0)
        self._legend(
            axes,
            "upper left",
            Line2D([], [], color=theme.COLORS["none"], lw=1.2, label="no pooling"),
            Line2D([], [], color=theme.COLORS["complete"], lw=1.2, label="complete pooling"),
        )
        return {"axes": axes, "mean": mean, "dots": dots}

    def _words(self, axes: Axes, title: str, x: str = "", y: str = "") -> None:
        # Even empty titles and labels are placed by measuring all ticks, unless told where to be.
        axes.set_title("", y=1.0)
        axes.xaxis.set_label_coords(0, 0)
        axes.yaxis.set_label_coords(0, 0)
        box = axes.get_position()
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        self.figure.text(box.x0, box.y1 + 0.02, title, fontsize=11)
        self.figure.text(middle[0], box.y0 - 0.11, x, fontsize=10, ha="center")
        self.figure.text(
            box.x0 - 0.042, middle[1], y, fontsize=10, ha="center", va="center", rotation=90
        )

    def _legend(self, axes: Axes, place: Any, *handles: Line2D) -> None:
        box = axes.get_position().bounds
        self.figure.legend(handles=handles, loc=place, bbox_to_anchor=box, handlelength=1.4)

    def update(self, fit: "Fit", seed: int = 0) -> None:
        """Move every artist to where a fit has it."""
        self._update_data(fit, np.random.default_rng(seed))
        for name, panel in self.marginals.items():
            _update_marginal(panel, fit.draws[name], fit.priors[name], fit.truth[name])
        self._update_shrinkage(fit)

    def _update_data(self, fit: "Fit", rng: np.random.Generator) -> None:
        panel = self.data
        chosen = rng.choice(len(fit.x), min(CHOSEN, len(fit.x)), replace=False)
        ends = np.array([0.0, 10.0])
        a, mu = fit.draws["a"], fit.draws["mu_b"]
        level = a[None, :LINES, None] + 0 * ends  # draws are in random order
        heights = level + fit.slopes[:LINES, chosen].T[:, :, None] * ends
        segments = np.stack([np.broadcast_to(ends, heights.shape), heights], axis=-1)
        panel["lines"].set_segments(segments.reshape(-1, 2, 2))
        panel["lines"].set_color(np.repeat(COLORS[: len(chosen)], LINES, axis=0))
        panel["points"].set_data(fit.x, fit.y)
        panel["chosen"].set_offsets(np.column_stack([fit.x[chosen], fit.y[chosen]]))
        panel["chosen"].set_facecolor(COLORS[: len(chosen)])
        panel["truth"].set_data(ends, fit.truth["a"] + fit.truth["mu_b"] * ends)
        grid = np.linspace(ends[0], ends[1], 20)
        low, high = np.quantile(a[:, None] + mu[:, None] * grid, [0.05, 0.95], axis=0)
        panel["band"].set_xy(np.column_stack([[*grid, *grid[::-1]], [*low, *high[::-1]]]))
        low, high = min(fit.y.min(), 0.0), max(fit.y.max(), 0.0)
        panel["axes"].set(ylim=(low - 0.05 * (high - low), high + 0.22 * (high - low)))

    def _update_shrinkage(self, fit: "Fit") -> None:
        panel = self.shrinkage
        partial = fit.slopes.mean(0)
        middle, half = fit.draws["mu_b"].mean(), 1.25 * np.ptp(partial) / 2 + 1e-6
        middle = (partial.min() + partial.max()) / 2
        low, high = middle - half, middle + half
        # A point near x = 0 says nothing on its slope; those beyond the panel are at its edge.
        alone = np.clip(fit.unpooled(), low, high)
        panel["dots"].set_offsets(np.column_stack([alone, partial]))
        panel["dots"].set_sizes(4 + 4.5 * fit.x)
        panel["mean"].set_ydata([fit.draws["mu_b"].mean()] * 2)
        panel["axes"].set(xlim=(low, high), ylim=(low, high + 0.3 * (high - low)))

    def png(self) -> bytes:
        """The picture as a PNG on white, which suits a notebook in light and in dark."""
        if self.background is None:
            self.background = self._background()
        self.canvas.restore_region(self.background)
        renderer = self.canvas.get_renderer()
        for axes in self.figure.axes:
            axes.draw(renderer)
        size = self.canvas.get_width_height(physical=True)
        image = Image.frombuffer("RGBA", size, self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        buffer = io.BytesIO()
        # Few colours make a file that is quicker to write and to send.
        image.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            buffer, "png", compress_level=1
        )
        return buffer.getvalue()

    def _background(self) -> Any:
        """All that never moves, drawn."""
        for axes in self.figure.axes:
            axes.set_visible(False)
        self.figure.set_facecolor("white")
        self.canvas.draw()
        self.figure.set_facecolor("none")
        for axes in self.figure.axes:
            axes.set_visible(True)
        return self.canvas.copy_from_bbox(self.figure.bbox)


def _update_marginal(panel: dict[str, Any], draws: np.ndarray, prior: Prior, truth: float) -> None:
    # Scott's bandwidth takes a tenth of the time of the better one in reports.
    grid, height, _ = array_stats.kde(draws, bw="scott")
    low, high = np.quantile(draws, [0.002, 0.998])
    low, high = min(low, truth), max(high, truth)
    if prior.family not in ("Normal", "Flat") and 0 < low < 0.4 * high:
        low = 0.0  # how near to zero a standard deviation comes is part of the answer
    panel["area"].set_xy(np.column_stack([[grid[0], *grid, grid[-1]], [0, *height, 0]]))
    margin = 0.08 * (high - low) + 1e-9
    span = np.linspace(low - margin, high + margin, 60)
    with np.errstate(divide="ignore"):
        panel["prior"].set_data(span, np.exp(prior.logpdf(span)) if prior.proper else 0 * span)
    panel["truth"].set_xdata([truth, truth])
    panel["axes"].set(xlim=(span[0], span[-1]), ylim=(0, 1.15 * height.max()))
