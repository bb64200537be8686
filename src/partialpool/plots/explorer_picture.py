"""What the sliders move: a truth, the exact posterior of the data that it makes, and its picture.

The picture is made once and then only moved. Text is what takes time to draw: titles, labels and
legends belong to the figure rather than to its axes, so that they are drawn once and kept as a
background; axes have few ticks.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
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
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.plots.theme import COMPLETE, DATA, EXACT, NONE, PARTIAL
from partialpool.posterior.draws import interval
from partialpool.simulation.lines import fit_exactly
from partialpool.simulation.simulate import ORIGIN_FORMULA, ORIGIN_NAMES, origin

#: Draws of one picture; a report uses `Model.fit`, which takes more.
DRAWS = 600
#: Priors to choose from, by field of the state, the origin's first.
PRIORS = {
    "prior_coefficients": ("Normal(0, 100)", "Normal(0, 10)", "Normal(0, 1)", "Flat()"),
    "prior_sd": ("Uniform(0, 100)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
    "prior_sigma": ("Uniform(0, 10)", "HalfNormal(1)", "HalfCauchy(1)", "Exponential(1)"),
}
#: Key of the stream of the posterior's draws; the data use the seed itself.
DRAW_STREAM = 4
#: Points whose lines are drawn, and lines for each.
CHOSEN, LINES = 5, 20
#: Colours of the chosen points, as numbers (5, 4).
COLORS: Any = to_rgba_array(theme.PALETTE[:CHOSEN])


@dataclass(frozen=True)
class State:
    """Where the sliders stand: the truth, the priors and the seed."""

    n: int = 100
    a: float = 2.0
    mu_b: float = 2.0
    sigma_b: float = 1.0
    eps: float = 0.0
    prior_coefficients: str = PRIORS["prior_coefficients"][0]
    prior_sd: str = PRIORS["prior_sd"][0]
    prior_sigma: str = PRIORS["prior_sigma"][0]
    seed: int = 0

    @property
    def truth(self) -> dict[str, float]:
        """True values under the origin's names."""
        return {name: getattr(self, name) for name in ORIGIN_NAMES.values()}

    @property
    def priors(self) -> dict[str, str]:
        """The chosen priors, as `Model` takes them."""
        return {field.removeprefix("prior_"): getattr(self, field) for field in PRIORS}

    def table(self) -> pd.DataFrame:
        """The data that this truth makes; ValueError for one without any variation."""
        if self.sigma_b == 0 and self.eps == 0:
            raise ValueError(
                "with sigma_b and eps both 0 every point lies on one line, and there is nothing "
                "to estimate; give one of them some room."
            )
        return origin(np.random.default_rng(self.seed), n=self.n, **self.truth)


@dataclass(frozen=True)
class OriginPosterior:
    """Exact draws under the origin's names, for n points and S draws, beside the truth.

    Attributes
    ----------
    state : State
        The truth, among others.
    x, y : (n,) array
    true_slopes : (n,) array
    priors : dict of str to Prior
    draws : dict of str to (S,) array
        ``a``, ``mu_b``, ``sigma_b`` and ``eps``.
    slopes : (S, n) array
        ``b_i``.
    trusted : bool
        Whether the fit found its own draws good.
    """

    state: State
    x: np.ndarray
    y: np.ndarray
    true_slopes: np.ndarray
    priors: dict[str, Prior]
    draws: dict[str, np.ndarray]
    slopes: np.ndarray
    trusted: bool

    def unpooled(self) -> np.ndarray:
        """Slope through each point alone (n,): from the posterior mean of the intercept."""
        return (self.y - self.draws["a"].mean()) / self.x

    def errors(self) -> dict[str, float]:
        """Root mean square error of the slopes, by kind of pooling."""
        estimates = {
            "no pooling": self.unpooled(),
            "partial pooling": self.slopes.mean(0),
            "complete pooling": np.full(len(self.x), self.draws["mu_b"].mean()),
        }
        return {
            kind: float(np.sqrt(np.mean((value - self.true_slopes) ** 2)))
            for kind, value in estimates.items()
        }

    def sentence(self) -> str:
        """What the draws say, in two sentences of Markdown."""
        parts = []
        for name, true in self.state.truth.items():
            low, high = interval(self.draws[name])
            outside = "" if low <= true <= high else ", outside"
            parts.append(f"**{name}** {low:.2f} to {high:.2f} (true {true:g}{outside})")
        errors = self.errors()
        best = min(errors, key=errors.__getitem__)
        text = (
            f"90 % equal-tailed intervals: {', '.join(parts)}. Root mean square error of the "
            f"slopes: {', '.join(f'{v:.2g} with {k}' for k, v in errors.items())}; "
            f"{best} does best."
        )
        if not self.trusted:
            text += " **These draws are rough:** the posterior is too spiky for a quick look."
        return text


def quick_posterior(state: State) -> OriginPosterior:
    """The exact posterior of a state, in a few hundredths of a second.

    The same steps as `Model.fit`, with fewer draws, without packing them into a DataTree, and
    without the detour over NUTS when the draws are not trusted, which would take half a minute.
    It refuses a truth without any variation, and a prior that is none (ValueError).
    """
    regression = Regression(ORIGIN_FORMULA, state.table(), state.priors)
    rng = np.random.default_rng(np.random.SeedSequence(state.seed, spawn_key=(DRAW_STREAM,)))
    values, effects, trusted = fit_exactly(regression, rng, DRAWS)
    (deviations,) = effects.values()
    table = regression.table
    truth = table.attrs["truth"]
    return OriginPosterior(
        state=state,
        x=table["x"].to_numpy(),
        y=table["y"].to_numpy(),
        true_slopes=truth["x"] + np.asarray(truth["x|i"]),
        priors={name: regression.priors[ours] for ours, name in ORIGIN_NAMES.items()},
        draws={name: values[ours] for ours, name in ORIGIN_NAMES.items()},
        slopes=values["x"][:, None] + deviations,
        trusted=trusted,
    )


class Picture:
    """Three panels that are made once and then only moved."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(11.5, 4.1), dpi=100)
        self.figure.set_layout_engine("none")  # the grid below is measured out
        self.canvas = FigureCanvasAgg(self.figure)
        self.background: Any = None
        grid = self.figure.add_gridspec(
            2, 4, left=0.055, right=0.985, bottom=0.13, top=0.9, wspace=0.38, hspace=0.52,
            width_ratios=[2.1, 1, 1, 2.1],
        )  # fmt: skip
        data = _DataPanel(self.figure.add_subplot(grid[:, 0]))
        marginals = [
            _MarginalPanel(self.figure.add_subplot(grid[k // 2, 1 + k % 2]), name)
            for k, name in enumerate(ORIGIN_NAMES.values())
        ]
        shrinkage = _ShrinkagePanel(self.figure.add_subplot(grid[:, 3]))
        self.panels: list[_DataPanel | _MarginalPanel | _ShrinkagePanel] = [data]
        self.panels += [*marginals, shrinkage]
        left, right = (panel.axes.get_position() for panel in marginals[-2:])
        self.figure.legend(
            handles=[
                Line2D([], [], label="posterior", color=EXACT, alpha=0.6, lw=6),
                Line2D([], [], label="prior", **theme.PRIOR),
                Line2D([], [], label="true", **theme.TRUTH),
            ],
            loc="lower center",
            bbox_to_anchor=((left.x0 + right.x1) / 2, -0.02),
            ncols=3,
            handlelength=1.4,
            columnspacing=1.2,
        )

    def move(self, found: OriginPosterior) -> None:
        """Move every artist to where the draws have it."""
        for panel in self.panels:
            panel.move(found)

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


class _DataPanel:
    """The points, the population's line, and posterior lines through a few points."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        _words(axes, "data, and lines through five points", "x", "y")
        axes.set(xlim=(0, 10), xticks=[0, 5, 10])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        self.lines = LineCollection([], linewidths=0.7, alpha=0.3)
        axes.add_collection(self.lines, autolim=False)
        (self.band,) = axes.fill([0], [0], color=PARTIAL, alpha=0.25, lw=0)
        (self.points,) = axes.plot([], [], "o", ms=3.5, color=DATA, mew=0)
        (self.truth,) = axes.plot([], [], **theme.TRUTH)
        self.chosen = axes.scatter([], [], s=45, edgecolors="white", linewidths=0.8, zorder=4)
        _legend(
            axes,
            Line2D([], [], label="a + mu_b x, 90 %", color=PARTIAL, alpha=0.4, lw=6),
            Line2D([], [], label="true", **theme.TRUTH),
        )

    def move(self, found: OriginPosterior) -> None:
        x, y, draws, truth = found.x, found.y, found.draws, found.state.truth
        rng = np.random.default_rng(found.state.seed)
        chosen = rng.choice(len(x), min(CHOSEN, len(x)), replace=False)
        ends = np.array([0.0, 10.0])
        # draws are in random order, so that the first ones are as good as any
        heights = draws["a"][:LINES, None] + found.slopes[:LINES, chosen].T[:, :, None] * ends
        segments = np.stack([np.broadcast_to(ends, heights.shape), heights], axis=-1)
        self.lines.set_segments(list(segments.reshape(-1, 2, 2)))
        colors: Any = np.repeat(COLORS[: len(chosen)], LINES, axis=0)
        self.lines.set_color(colors)
        self.points.set_data(x, y)
        self.chosen.set_offsets(np.column_stack([x[chosen], y[chosen]]))
        self.chosen.set_facecolor(COLORS[: len(chosen)])
        self.truth.set_data(ends, truth["a"] + truth["mu_b"] * ends)
        grid = np.linspace(ends[0], ends[1], 20)
        population = draws["a"][:, None] + draws["mu_b"][:, None] * grid
        low, high = interval(population)
        self.band.set_xy(np.column_stack([[*grid, *grid[::-1]], [*low, *high[::-1]]]))
        bottom, top = min(y.min(), 0.0), max(y.max(), 0.0)
        room = top - bottom
        self.axes.set(ylim=(bottom - 0.05 * room, top + 0.22 * room))


class _MarginalPanel:
    """Posterior, prior and true value of one parameter."""

    def __init__(self, axes: Axes, name: str) -> None:
        self.axes, self.name = axes, name
        _words(axes, name)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(2))
        (self.area,) = axes.fill([0], [0], color=EXACT, alpha=0.6, lw=0)
        (self.prior,) = axes.plot([], [], **theme.PRIOR)
        self.truth = axes.axvline(0, **theme.TRUTH)

    def move(self, found: OriginPosterior) -> None:
        draws, prior = found.draws[self.name], found.priors[self.name]
        truth = found.state.truth[self.name]
        # Scott's bandwidth takes a tenth of the time of the better one in reports.
        grid, height, _ = array_stats.kde(draws, bw="scott")
        low, high = np.quantile(draws, [0.002, 0.998])
        low, high = min(low, truth), max(high, truth)
        if prior.family not in ("Normal", "Flat") and 0 < low < 0.4 * high:
            low = 0.0  # how near to zero a standard deviation comes is part of the answer
        self.area.set_xy(np.column_stack([[grid[0], *grid, grid[-1]], [0, *height, 0]]))
        margin = 0.08 * (high - low) + 1e-9
        span = np.linspace(low - margin, high + margin, 60)
        with np.errstate(divide="ignore"):
            self.prior.set_data(span, np.exp(prior.logpdf(span)) if prior.proper else 0 * span)
        self.truth.set_xdata([truth, truth])
        self.axes.set(xlim=(span[0], span[-1]), ylim=(0, 1.15 * height.max()))


class _ShrinkagePanel:
    """Each slope with partial pooling against the one without."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        across, up = "slope through the point alone", "slope, partial pooling"
        _words(axes, "shrinkage (larger dots: larger x)", across, up)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.axline((0, 0), slope=1, color=NONE, lw=1.2)
        self.mean = axes.axhline(0, color=COMPLETE, lw=1.2)
        self.dots = axes.scatter([], [], color=PARTIAL, alpha=0.7, linewidths=0)
        _legend(
            axes,
            Line2D([], [], color=NONE, lw=1.2, label="no pooling"),
            Line2D([], [], color=COMPLETE, lw=1.2, label="complete pooling"),
        )

    def move(self, found: OriginPosterior) -> None:
        partial = found.slopes.mean(0)
        middle, half = (partial.min() + partial.max()) / 2, 1.25 * np.ptp(partial) / 2 + 1e-6
        low, high = middle - half, middle + half
        # A point near x = 0 says nothing on its slope; those beyond the panel are at its edge.
        alone = np.clip(found.unpooled(), low, high)
        self.dots.set_offsets(np.column_stack([alone, partial]))
        self.dots.set_sizes(4 + 4.5 * found.x)
        self.mean.set_ydata([found.draws["mu_b"].mean()] * 2)
        self.axes.set(xlim=(low, high), ylim=(low, high + 0.3 * (high - low)))


def _words(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title and labels, as text of the figure."""
    # Even empty titles and labels are placed by measuring all ticks, unless told where to be.
    axes.set_title("", y=1.0)
    axes.xaxis.set_label_coords(0, 0)
    axes.yaxis.set_label_coords(0, 0)
    box, figure = axes.get_position(), axes.figure
    across, up = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    figure.text(box.x0, box.y1 + 0.02, title, fontsize=11)
    figure.text(across, box.y0 - 0.11, x, fontsize=10, ha="center")
    figure.text(box.x0 - 0.042, up, y, fontsize=10, ha="center", va="center", rotation=90)


def _legend(axes: Axes, *handles: Line2D) -> None:
    """A legend in the upper left corner, drawn with the background."""
    place = {"loc": "upper left", "bbox_to_anchor": axes.get_position().bounds}
    axes.figure.legend(handles=handles, handlelength=1.4, **place)
