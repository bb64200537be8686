"""Pictures of many fits of simulated data; the numbers are `calibration`'s."""

import arviz_plots as azp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import binom

from partialpool.plots import theme
from partialpool.simulation import calibration


def _panels(count: int, width: float = 3.1, height: float = 2.3) -> tuple[Figure, np.ndarray]:
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns + 0.3, height * rows + 0.3), squeeze=False
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes.flat[:count]


def rank_histograms(table: pd.DataFrame) -> tuple[Figure, str, str]:
    """Histograms of the truths' ranks, with the band that a uniform one stays in."""
    names = list(table["parameter"].unique())
    figure, panels = _panels(len(names))
    n = table["data_set"].nunique()
    bins = calibration.BINS
    low, mid, high = binom.ppf([0.005, 0.5, 0.995], n, 1 / bins)
    outside = 0
    for panel, name in zip(panels, names, strict=True):
        counts = np.histogram(table.loc[table["parameter"] == name, "rank"], bins, (0, 1))[0]
        panel.axhspan(low, high, color=theme.COLORS["exact"], alpha=0.35, linewidth=0)
        panel.axhline(mid, color=theme.INK, lw=0.8)
        panel.stairs(counts, np.linspace(0, 1, bins + 1), color=theme.COLORS["partial"], lw=1.6)
        panel.set(xlabel=f"rank of {name}", ylim=(0, None), yticks=[0, int(mid)])
        outside += int(((counts < low) | (counts > high)).sum())
    p = calibration.uniformity(table)
    total = bins * len(names)
    says = (
        f"Of {total} bars {outside} lie outside their 99 % band, where chance alone gives about "
        f"{0.01 * total:.0f}. The smallest p-value of a uniform distribution is {p.min():.3f} "
        f"({p.idxmin()}), of {len(p)}."
    )
    alt = f"Histograms of the ranks of {', '.join(names)} over {n:,} data sets. {says}"
    return figure, alt, says


def rank_curves(table: pd.DataFrame) -> tuple[Figure, str, str]:
    """ArviZ's ECDF differences of the ranks, with a simultaneous 99 % band."""
    names = list(table["parameter"].unique())
    ranks = xr.Dataset(
        {
            name: ("sample", table.loc[table["parameter"] == name, "rank"].to_numpy())
            for name in names
        }
    )
    collection = azp.plot_ecdf_pit(
        xr.DataTree.from_dict({"prior_sbc": ranks}),
        sample_dims="sample",
        backend="matplotlib",
        col_wrap=3,
        figure_kwargs={"figsize": (9.5, 2.4 * -(-len(names) // 3))},
    )
    figure = collection.viz["figure"].item()
    band = np.sqrt(np.log(2 / 0.01) / (2 * ranks.sizes["sample"]))
    for panel in [axis for axis in figure.axes if axis.lines]:
        panel.axhspan(-band, band, color=theme.COLORS["exact"], alpha=0.25, linewidth=0)
    largest = {name: _largest_gap(ranks[name].to_numpy()) for name in names}
    worst = max(largest, key=lambda name: largest[name])
    says = (
        f"The farthest that a curve leaves zero is {largest[worst]:.3f} ({worst}). The band, "
        f"{band:.3f} either way, holds the whole curve of a right fit with probability 99 % or "
        "more (Dvoretzky, Kiefer and Wolfowitz 1956; Massart 1990)."
    )
    return figure, f"Differences of empirical from uniform distribution. {says}", says


def _largest_gap(ranks: np.ndarray) -> float:
    ordered = np.sort(ranks)
    steps = np.arange(1, len(ordered) + 1) / len(ordered)
    return float(
        np.maximum(np.abs(steps - ordered), np.abs(steps - 1 / len(ranks) - ordered)).max()
    )


def coverage(table: pd.DataFrame) -> tuple[Figure, str, str]:
    """How often intervals of 50, 80 and 95 % hold the truth, with Monte Carlo intervals."""
    found = calibration.coverage(table)
    names = list(found["parameter"].unique())
    figure, panels = plt.subplots(
        1, len(calibration.INTERVALS), figsize=(9.5, 0.32 * len(names) + 1.2), sharey=True
    )
    for panel, nominal in zip(panels, calibration.INTERVALS, strict=True):
        rows = found[found["nominal"] == nominal]
        at = np.arange(len(rows))[::-1]
        panel.axvline(nominal, color=theme.INK, lw=0.9, ls=":")
        panel.hlines(at, rows["low"], rows["high"], color=theme.COLORS["exact"], lw=4, alpha=0.7)
        panel.plot(rows["covered"], at, "o", color=theme.COLORS["partial"], ms=5)
        panel.set_yticks(at, rows["parameter"])
        panel.set(xlabel=f"held by the {nominal:.0%} interval", ylim=(-0.6, len(rows) - 0.4))
        panel.xaxis.set_major_formatter("{x:.0%}")
    off = found[(found["low"] > found["nominal"]) | (found["high"] < found["nominal"])]
    gap = (found["covered"] - found["nominal"]).abs()
    says = (
        f"The largest gap between stated and found coverage is {gap.max():.1%}, at the "
        f"{found.loc[gap.idxmax(), 'nominal']:.0%} interval of "
        f"{found.loc[gap.idxmax(), 'parameter']}. Of {len(found)} Monte Carlo intervals (95 %) "
        f"{len(off)} miss the stated probability, where chance alone gives about "
        f"{0.05 * len(found):.1f}."
    )
    return figure, f"Coverage of intervals by parameter. {says}", says


def estimates(table: pd.DataFrame, most: int = 60) -> tuple[Figure, str, str]:
    """Estimates and 95 % intervals of the first data sets about the fixed truth."""
    names = [str(name) for name in table["parameter"].unique() if "[" not in str(name)]
    figure, panels = _panels(len(names))
    for panel, name in zip(panels, names, strict=True):
        rows = table[table["parameter"] == name].head(most).sort_values("mean")
        at = np.arange(len(rows))
        panel.vlines(at, rows["q2.5"], rows["q97.5"], color=theme.COLORS["exact"], lw=1, alpha=0.8)
        panel.plot(at, rows["mean"], ".", ms=3, color=theme.COLORS["partial"])
        panel.axhline(rows["truth"].iloc[0], **theme.TRUTH)
        panel.set(xlabel="data sets, in order", xticks=[], ylabel=name)
    found = calibration.recovery(table).loc[names]
    z = (found["bias"] / found["bias_se"]).abs()
    says = (
        f"Over {table['data_set'].nunique():,} data sets the average posterior mean lies farthest "
        f"from the truth for {z.idxmax()}: {found.at[z.idxmax(), 'estimate']:.3g} for "
        f"{found.at[z.idxmax(), 'truth']:g}, {z.max():.1f} Monte Carlo errors away. A posterior "
        "mean need not be unbiased: where data say little, it leans towards the prior."
    )
    return figure, f"Estimates of {', '.join(names)} with 95 % intervals, in order. {says}", says


def pooling(table: pd.DataFrame) -> tuple[Figure, str, str]:
    """Error of the groups' lines by complete and by no pooling, against partial pooling's."""
    ways = calibration.once(table)[["complete", "none", "partial"]]
    found = calibration.pooling(table)
    figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.6), sharex=True, sharey=True)
    labels = {"complete": "complete pooling", "none": "no pooling"}
    ends = ways.to_numpy().min(), ways.to_numpy().max()
    for panel, (way, label) in zip(panels, labels.items(), strict=True):
        panel.plot(ends, ends, color=theme.INK, lw=0.9, ls=":")
        panel.plot(ways["partial"], ways[way], "o", ms=3, alpha=0.6, color=theme.COLORS[way])
        panel.set(
            xscale="log", yscale="log", xlabel="error by partial pooling", ylabel=f"by {label}"
        )
    sentences = [
        f"{label}'s error is {found.at[way, 'ratio']:.2f} times partial pooling's (95 % interval "
        f"{found.at[way, 'low']:.2f} to {found.at[way, 'high']:.2f}), which is the better one in "
        f"{found.at[way, 'wins']:.0%} of the data sets"
        for way, label in labels.items()
    ]
    says = "; ".join(sentences).capitalize() + "."
    return figure, f"Errors of the groups' lines, a point per data set. {says}", says
