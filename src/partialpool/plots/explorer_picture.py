"""What the origin's sliders move: a truth, the exact posterior of its data, and their picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from partialpool.design.priors import Prior
from partialpool.fit.regression import Regression
from partialpool.plots import palette, theme
from partialpool.plots.stage import MarginalPanel, Stage, legend, legend_below, words
from partialpool.plots.theme import COMPLETE, DATA, NONE, PARTIAL
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
COLORS: Any = to_rgba_array(palette.CHOSEN)


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


class Picture(Stage):
    """Three panels that are made once and then only moved."""

    def __init__(self) -> None:
        super().__init__((11.5, 4.1))
        grid = self.figure.add_gridspec(
            2, 4, left=0.055, right=0.985, bottom=0.13, top=0.9, wspace=0.38, hspace=0.52,
            width_ratios=[2.1, 1, 1, 2.1],
        )  # fmt: skip
        data = _DataPanel(self.figure.add_subplot(grid[:, 0]))
        marginals = [
            _TruthPanel(self.figure.add_subplot(grid[k // 2, 1 + k % 2]), name)
            for k, name in enumerate(ORIGIN_NAMES.values())
        ]
        shrinkage = _ShrinkagePanel(self.figure.add_subplot(grid[:, 3]))
        self.panels: list[_DataPanel | _TruthPanel | _ShrinkagePanel] = [data]
        self.panels += [*marginals, shrinkage]
        legend_below(
            [panel.axes for panel in marginals[-2:]],
            Line2D([], [], label="posterior", color=PARTIAL, alpha=0.5, lw=6),
            Line2D([], [], label="prior", **theme.PRIOR),
            Line2D([], [], label="true", **theme.TRUTH),
        )

    def move(self, found: OriginPosterior) -> None:
        """Move every artist to where the draws have it."""
        for panel in self.panels:
            panel.move(found)


class _DataPanel:
    """The points, the population's line, and posterior lines through a few points."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        words(axes, "data, and lines through five points", "x", "y")
        axes.set(xlim=(0, 10), xticks=[0, 5, 10])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        self.lines = LineCollection([], linewidths=0.7, alpha=0.3)
        axes.add_collection(self.lines, autolim=False)
        (self.band,) = axes.fill([0], [0], color=PARTIAL, alpha=0.25, lw=0)
        (self.points,) = axes.plot([], [], "o", ms=3.5, color=DATA, mew=0)
        (self.truth,) = axes.plot([], [], **theme.TRUTH)
        self.chosen = axes.scatter([], [], s=45, edgecolors="white", linewidths=0.8, zorder=4)
        legend(
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


class _TruthPanel(MarginalPanel):
    """Posterior, prior and true value of one parameter."""

    def __init__(self, axes: Axes, name: str) -> None:
        super().__init__(axes, name)
        self.name = name
        self.truth = axes.axvline(0, **theme.TRUTH)

    def move(self, found: OriginPosterior) -> None:
        truth = found.state.truth[self.name]
        self.show(found.draws[self.name], found.priors[self.name], [truth])
        self.truth.set_xdata([truth, truth])


class _ShrinkagePanel:
    """Each slope with partial pooling against the one without."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        across, up = "slope through the point alone", "slope, partial pooling"
        words(axes, "shrinkage (larger dots: larger x)", across, up)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.axline((0, 0), slope=1, color=NONE, lw=1.2)
        self.mean = axes.axhline(0, color=COMPLETE, lw=1.2)
        self.dots = axes.scatter([], [], color=PARTIAL, alpha=0.7, linewidths=0)
        legend(
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
