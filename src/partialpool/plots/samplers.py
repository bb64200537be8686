"""Pictures of several samplers at work on one posterior.

Every function takes a `methods.Comparison` and returns a figure, its alternative text, and a
conclusion computed from what it shows.
"""

from collections.abc import Mapping
from typing import Any

import arviz_stats as azs
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from partialpool.plots import theme
from partialpool.plots.marginals import density
from partialpool.posterior import checks
from partialpool.simulation.methods import WORDS, Comparison, code, duration, short

theme.use()

#: Most points of one chain in a trace.
TRACE_POINTS = 400
#: Bitmaps inside an SVG get this resolution; the rest of it has none.
DPI = 140
EXACT = WORDS["exact"]
#: The exact fit when its compiled code is in memory.
AGAIN = f"{EXACT}, code loaded"


def traces(
    comparison: Comparison, name: str | None = None, truth: Mapping[str, Any] | None = None
) -> tuple[Figure, str, str]:
    """Trace of one parameter by each method, and each chain's density over the exact one.

    Parameters
    ----------
    comparison : Comparison
    name : str, optional
        A parameter that is no group effect; when not given, the one that the methods explored
        worst. Standard deviations are drawn on a log axis.
    truth : mapping, optional
        True values by parameter name.
    """
    name = name or hardest(comparison)
    log = name in scales(comparison)
    value = true_value(truth, name)
    exact = on_axis(comparison.reference, name, log)
    low, high = np.quantile(exact, [0.001, 0.999])
    margin = 0.1 * (high - low)
    labels = list(comparison.rows.index)
    figure, panels = plt.subplots(
        len(labels),
        2,
        figsize=(9, 1.25 * len(labels) + 0.5),
        width_ratios=[3, 1],
        sharex="col",
        sharey=True,
        squeeze=False,
        dpi=DPI,
    )
    rhat = {}
    for (left, right), words in zip(panels, labels, strict=True):
        draws = on_axis(comparison.posteriors[words], name, log)
        inside = np.quantile(draws, [0.005, 0.995])
        low, high = min(low, inside[0]), max(high, inside[1])
        grid, height = density(exact.ravel())
        right.fill_betweenx(grid, height, color=theme.COLORS["exact"], alpha=0.5, lw=0)
        every = max(1, draws.shape[1] // TRACE_POINTS)
        for color, chain in zip(_chain_colors(len(draws)), draws, strict=True):
            at = np.arange(0, len(chain), every) / len(chain)
            left.plot(at, chain[::every], color=color, lw=0.5, alpha=0.8, rasterized=True)
            if np.std(chain) > 1e-3 * np.std(exact):  # a chain that never moved has no density
                grid, height = density(chain)
                right.plot(height, grid, color=color, lw=0.9)
        rhat[words] = float(azs.rhat(comparison.posteriors[words]["posterior"].to_dataset()[name]))
        left.set_title(f"{words}: R-hat {rhat[words]:.2f}, {draws.size:,} draws", loc="left")
        if value is not None and (not log or value > 0):
            for panel, line in ((left, left.axhline), (right, right.axhline)):
                line(float(np.log10(value)) if log else value, **theme.TRUTH)
                panel.margins(y=0.02)
    panels[0, 0].set_ylim(low - margin, high + margin)
    for left, right in panels:
        left.set_ylabel(f"{name}\n(log scale)" if log else name)
        if log:
            power_ticks(left)
        right.set_xticks([])
        right.set_xlim(0, 1.35 * density(exact.ravel())[1].max())
        right.spines["bottom"].set_visible(False)
    panels[-1, 0].set(xlabel="share of the kept draws", xlim=(0, 1))
    panels[-1, 1].set_xlabel("density (blue area: exact)")
    says = _trace_conclusion(name, {words: rhat[words] for words in comparison.sampled})
    if value is not None and log and value <= 0:
        says += f" The true {code(name)} is {value:g}, below any log axis."
    alt = (
        f"Traces of {name}, one row for each of {', '.join(labels)}, a colour per chain, with "
        f"each chain's density over the exact one. {says}"
    )
    return figure, alt, says


def _trace_conclusion(name: str, rhat: Mapping[str, float]) -> str:
    if not rhat:
        return f"Draws of {code(name)} from the exact fit are independent."
    apart = [words for words, value in rhat.items() if value > checks.MAX_RHAT]
    together = [words for words in rhat if words not in apart]
    says = ""
    if apart:
        says = (
            f"On {code(name)}, the chains of {_listed(apart)} contradict each other (R-hat up to "
            f"{max(rhat.values()):.2f}): each tells of the part in which it is stuck. "
        )
    if together:
        top = max(rhat[words] for words in together)
        says += f"Those of {_listed(together)} tell one story (R-hat at most {top:.3f})."
    return says.strip()


def speed(comparison: Comparison) -> tuple[Figure, str, str]:
    """Effective draws per second of the worst parameter, on a log axis.

    The exact fit stands there twice: as everyone, and with its code loaded (the reference).
    """
    again = checks.summarize(comparison.reference)["ess_bulk"].min()
    again /= comparison.reference.attrs["fit_seconds"]
    rows = comparison.rows[["seconds", "ess", "ess_per_second", "verdict"]].copy()
    rows.loc[AGAIN] = rows.loc[EXACT].to_dict() | {"ess_per_second": again}
    rows = rows.sort_values("ess_per_second")
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.1))
    for at, (words, row) in enumerate(rows.iterrows()):
        _dot(axes, row["ess_per_second"], at, row["verdict"], exact=words in (EXACT, AGAIN))
        axes.annotate(
            short(row["ess_per_second"]),
            (row["ess_per_second"], at),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set(
        xscale="log",
        xlabel="effective draws of the worst parameter per second (log scale)",
        ylim=(-0.7, len(rows) - 0.3),
        xlim=(rows["ess_per_second"].min() / 2, rows["ess_per_second"].max() * 4),
    )
    axes.set_yticks(range(len(rows)), rows.index)
    axes.grid(axis="x", alpha=0.3)
    _verdict_legend(figure)
    fast = rows.loc[EXACT, "ess_per_second"]
    others = rows.loc[comparison.sampled]
    passed = others[others["verdict"] != "failed"]
    says = (
        f"The exact fit gives {short(fast)} effective draws per second ({short(again)} once its "
        "code is loaded)"
    )
    if len(passed):
        best = passed["ess_per_second"].idxmax()
        pace = passed.loc[best, "ess_per_second"]
        says += (
            f", {short(fast / pace)} times as many as the fastest sampler that passed, "
            f"{unpunctuated(best)}"
        )
    elif len(others):
        says += ", and no sampler passed"
    if len(others):
        slow = others["ess_per_second"].idxmin()
        pace = others.loc[slow, "ess_per_second"]
        says += (
            f". At the pace of {unpunctuated(slow)}, what the exact fit drew in "
            f"{duration(rows.loc[EXACT, 'seconds'])} would take "
            f"{duration(rows.loc[EXACT, 'ess'] / pace)}"
        )
    says += ". Seconds are those of the whole fit, with what it compiles."
    alt = f"Dot plot of effective draws per second for {', '.join(rows.index[::-1])}. {says}"
    return figure, alt, says


def distances(comparison: Comparison) -> tuple[Figure, str, str]:
    """Largest distance of each method from the exact posterior, of means and of marginals."""
    rows = comparison.rows.iloc[::-1]
    limits = {"z": rows["z_limit"].max(), "wasserstein": checks.MAX_WASSERSTEIN}
    names = {
        "z": "means: |z|, Monte Carlo errors",
        "wasserstein": "marginals: Wasserstein distance, exact sd",
    }
    figure, panels = plt.subplots(1, 2, figsize=(9, 0.42 * len(rows) + 1.2), sharey=True)
    for panel, (column, title) in zip(panels, names.items(), strict=True):
        for at, (words, row) in enumerate(rows.iterrows()):
            _dot(panel, row[column], at, row["verdict"], exact=words == EXACT)
        panel.axvline(limits[column], color=theme.INK, lw=1, ls=":")
        panel.set(xscale="log", xlabel=title, ylim=(-0.7, len(rows) - 0.3))
        span = [*rows[column], limits[column]]
        panel.set_xlim(min(span) / 1.6, max(span) * 1.6)
        _plain_log(panel)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(rows)), rows.index)
    _verdict_legend(figure, limit=True)
    others = rows.loc[comparison.sampled]
    far = others[others["wasserstein"] > limits["wasserstein"]].index
    near = [words for words in others.index if words not in far]
    says = (
        f"Two exact fits are {rows.loc[EXACT, 'wasserstein']:.3f} posterior standard deviations "
        "apart at most, by chance alone."
    )
    if len(far):
        says += (
            f" Beyond the limit of {limits['wasserstein']:g} {_are(far)} {_listed(far)}, by up to "
            f"{others.loc[far, 'wasserstein'].max():.2f}."
        )
    if near:
        says += (
            f" Within the limit of {limits['wasserstein']:g} {_are(near)} {_listed(near)} "
            f"(at most {others.loc[near, 'wasserstein'].max():.3f})."
        )
    alt = f"Dot plots of the distance of {', '.join(rows.index[::-1])} from the exact fit. {says}"
    return figure, alt, says


def hardest(comparison: Comparison) -> str:
    """The parameter, not a group effect, whose chains agree least over all methods."""
    worst: dict[str, float] = {}
    for tree in comparison.posteriors.values():
        figures = checks.summarize(
            xr.DataTree.from_dict(
                {"posterior": tree["posterior"].to_dataset()[comparison.model.parameters]}
            )
        )
        for name, rhat in figures.loc[figures["sd"] > 0, "rhat"].items():
            worst[str(name)] = max(worst.get(str(name), 0.0), float(rhat))
    return max(worst, key=lambda name: worst[name])


def true_value(truth: Mapping[str, Any] | None, name: str) -> float | None:
    """The true value of a parameter that is a single number, where it is known."""
    value = (truth or {}).get(name)
    return float(value) if isinstance(value, int | float) else None


def scales(comparison: Comparison) -> list[str]:
    """Names of the standard deviations, which are drawn on log axes."""
    return ["sigma", *comparison.model.design.sd_names]


def on_axis(tree: xr.DataTree, name: str, log: bool) -> np.ndarray:
    """Draws (chain, draw), as powers of ten for a log axis."""
    draws = tree["posterior"].to_dataset()[name].to_numpy()
    return np.log10(np.maximum(draws, 1e-300)) if log else draws


def _chain_colors(n: int) -> list[str]:
    return [theme.PALETTE[k % 5] for k in range(n)]  # the sixth is the truth's


def _dot(axes: Axes, x: float, y: float, verdict: str, *, exact: bool) -> None:
    color = theme.COLORS["exact" if exact else "partial"]
    face = "none" if verdict == "failed" else color
    axes.plot(x, y, "o", ms=8, mfc=face, mec=color, mew=1.8, clip_on=False)


def _verdict_legend(figure: Figure, *, limit: bool = False) -> None:
    color = theme.COLORS["partial"]
    handles = [
        Line2D([], [], marker="o", ls="", ms=7, mfc=color, mec=color, label="checks passed"),
        Line2D(
            [], [], marker="o", ls="", ms=7, mfc="none", mec=color, mew=1.8, label="checks failed"
        ),
    ]
    if limit:
        handles.append(Line2D([], [], color=theme.INK, lw=1, ls=":", label="limit"))
    figure.legend(handles=handles, loc="outside upper right", ncols=3)


def power_ticks(axes: Axes) -> None:
    """Label an axis of powers of ten with the numbers themselves."""
    low, high = axes.get_ylim()
    fine: tuple[float, ...] = (1, 2, 5) if high - low < 2 else (1,)
    if high - low < 0.5:
        fine = (1, 1.5, 2, 3, 4, 5, 6, 8)
    values = [
        m * 10.0**e
        for e in range(int(np.floor(low)) - 1, int(np.ceil(high)) + 1)
        for m in fine
        if low <= np.log10(m * 10.0**e) <= high
    ]
    every = max(1, len(values) // 5)
    shown = values[::-1][::every]
    axes.set_yticks(np.log10(shown), [f"{value:g}" for value in shown])


def _plain_log(axes: Axes) -> None:
    """Numbers such as 0.05 and 2 on a log axis that spans little."""
    low, high = axes.get_xlim()
    values = [
        m * 10.0**e
        for e in range(-6, 7)
        for m in ((1, 2, 5) if high / low < 300 else (1,))
        if low <= m * 10.0**e <= high
    ]
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_formatter(NullFormatter())


def unpunctuated(label: str) -> str:
    """A method's name without its comma, for use in a list."""
    return label.replace(", ", " ")


def _are(names: Any) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: Any) -> str:
    """Words joined with commas and a final "and"."""
    words = [unpunctuated(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
