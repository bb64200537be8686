"""The funnel: where a sampler that carries group effects gets stuck."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from partialpool.plots import theme
from partialpool.plots.samplers import DPI, EXACT, on_axis, power_ticks, scales, unpunctuated
from partialpool.simulation.methods import Comparison, code

#: Most points of one method.
POINTS = 1500
#: Part of the exact posterior that counts as the neck of the funnel.
NECK = 0.05


def funnels(
    comparison: Comparison, truth: Mapping[str, Any] | None = None
) -> tuple[Figure, str, str]:
    """Each sampler's draws over the exact ones, where the posterior is most like a funnel.

    The plane is a standard deviation (log scale) against one group's effect, chosen by
    `funnel_pair`; divergent transitions are marked.
    """
    scale, effect, level, ratio = funnel_pair(comparison)
    name = f"{effect}[{level}]"
    exact = _plane(comparison.reference, scale, effect, level)
    neck = np.quantile(exact[1], NECK)
    labels = comparison.sampled or [EXACT]
    columns = min(3, len(labels))
    n_rows = -(-len(labels) // columns)
    figure, panels = plt.subplots(
        n_rows,
        columns,
        figsize=(3.1 * columns, 2.9 * n_rows + 0.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        dpi=DPI,
    )
    said = []
    low, high = np.quantile(exact[1], [0.0005, 1.0])
    for panel, words in zip(panels.flat, labels, strict=False):
        tree = comparison.posteriors[words]
        x, y = _plane(tree, scale, effect, level)
        panel.scatter(*exact, s=4, color=theme.COLORS["data"], alpha=0.35, lw=0, rasterized=True)
        every = max(1, len(x) // POINTS)
        style: dict[str, Any] = {"lw": 0, "rasterized": True}
        panel.scatter(
            x[::every], y[::every], s=5, color=theme.COLORS["partial"], alpha=0.5, **style
        )
        diverged = _diverged(tree)
        panel.scatter(x[diverged], y[diverged], s=9, color=theme.COLORS["none"], alpha=0.9, **style)
        value = _true_effect(comparison, truth, effect, level)
        if value is not None:
            panel.axvline(value, **theme.TRUTH | {"linewidth": 1.2})
        low = min(low, np.quantile(y, 0.005))
        count = f"{diverged.sum():,} divergences" if _counts(tree) else "cannot report divergences"
        panel.set_title(f"{words}\n{count}", loc="left")
        said.append(f"{unpunctuated(words)} {100 * np.mean(y < neck):.2g} %")
    for panel in list(panels.flat)[len(labels) :]:
        panel.set_visible(False)
    for panel in panels.flat[max(0, len(labels) - columns) : len(labels)]:
        panel.tick_params(labelbottom=True)  # nothing is below it
    left, right = np.quantile(exact[0], [0.0005, 0.9995])
    panels[0, 0].set_xlim(left - 0.1 * (right - left), right + 0.1 * (right - left))
    panels[0, 0].set_ylim(low - 0.1, high + 0.15)
    power_ticks(panels[0, 0])
    figure.supxlabel(name, fontsize=10)
    figure.supylabel(f"{scale} (log scale)", fontsize=10)
    figure.legend(handles=_funnel_handles(truth), loc="outside upper center", ncols=4)
    says = (
        f"Where {code(scale)} is in its lowest {100 * NECK:.0f} %, the exact posterior of "
        f"{code(name)} is {ratio:.1f} times narrower than where it is above its median. The exact "
        f"posterior has {100 * NECK:.0f} % of its draws there, {', '.join(said)}."
    )
    alt = (
        f"Scatter plots of {scale} against {name}, one for each of {', '.join(labels)}, over the "
        f"exact draws. {says}"
    )
    return figure, alt, says


def _funnel_handles(truth: Mapping[str, Any] | None) -> list[Line2D]:
    def dot(color: str, name: str) -> Line2D:
        return Line2D([], [], marker="o", ls="", ms=4, color=color, label=name)

    handles = [
        dot(theme.COLORS["data"], "exact draws"),
        dot(theme.COLORS["partial"], "the sampler's draws"),
        dot(theme.COLORS["none"], "divergences"),
    ]
    if truth:
        handles.append(Line2D([], [], label="true effect", **theme.TRUTH))
    return handles


def funnel_pair(comparison: Comparison) -> tuple[str, str, Any, float]:
    """Standard deviation, effect and level between which the exact posterior narrows most.

    Returns
    -------
    scale, effect : str
    level : label of a group
    ratio : float
        How much narrower the effect is where the scale is in its lowest part (`NECK`) than where
        it is above its median.

    Raises
    ------
    ValueError
        For a posterior without group effects (too many were left out of the draws).
    """
    posterior = comparison.reference["posterior"].to_dataset()
    design = comparison.model.design
    best: tuple[str, str, Any, float] | None = None
    for scale in scales(comparison):
        values = posterior[scale].to_numpy().ravel()
        if np.std(values) == 0:
            continue
        low = values < np.quantile(values, NECK)
        high = values > np.median(values)
        for effect in map(design.effect, range(len(design.z_names))):
            if effect not in posterior:
                continue
            b = posterior[effect].to_numpy().reshape(len(values), -1)
            ratios = b[high].std(0) / np.maximum(b[low].std(0), 1e-300)
            k = int(np.argmax(ratios))
            if best is None or ratios[k] > best[3]:
                best = (scale, effect, design.levels[k], float(ratios[k]))
    if best is None:
        raise ValueError("A funnel needs group effects, and this posterior carries none.")
    return best


def _plane(tree: xr.DataTree, scale: str, effect: str, level: Any) -> tuple[np.ndarray, np.ndarray]:
    """Effects of one group (S,) and the standard deviations as powers of ten (S,)."""
    variable = tree["posterior"].to_dataset()[effect]
    b = variable.sel({variable.dims[-1]: level}).to_numpy().ravel()
    return b, on_axis(tree, scale, log=True).ravel()


def _counts(tree: xr.DataTree) -> bool:
    return "diverging" in tree["sample_stats"].to_dataset()


def _diverged(tree: xr.DataTree) -> np.ndarray:
    """Which of all draws (S,) ended a divergent transition."""
    if _counts(tree):
        return tree["sample_stats"].to_dataset()["diverging"].to_numpy().ravel().astype(bool)
    return np.zeros(tree["posterior"].to_dataset()["sigma"].size, dtype=bool)


def _true_effect(
    comparison: Comparison, truth: Mapping[str, Any] | None, effect: str, level: Any
) -> float | None:
    """The true effect of one group, which a simulation gives in the order of the levels."""
    values = (truth or {}).get(effect)
    if values is None:
        return None
    return float(values[list(comparison.model.design.levels).index(level)])
