"""Pictures of many fits of simulated data; the numbers are `calibration`'s."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.stats import binom, kstest

from partialpool.data.text import capital, in_words, number, percent, rounded
from partialpool.fit.regression import ALONE_LINKED
from partialpool.plots import groups, theme
from partialpool.plots.marginals import ecdf_pit
from partialpool.posterior.agreement import explained
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import POOLING
from partialpool.simulation import calibration, headline
from partialpool.simulation.calibration import called
from partialpool.simulation.many_fits import example
from partialpool.simulation.plans import Plan

#: Size of a panel in inches, and letters in a line along each of its sides.
SIZE, ALONG, UP = (3.1, 2.3), 36, 28
Names = Mapping[str, str] | None


def _words(name: str, names: Names) -> str:
    return in_words(name, names or {})


def _listed(every: Iterable[str], names: Names) -> str:
    return ", ".join(_words(name, names) for name in every)


def first(plan: Plan, seed: int) -> Finding:
    """The first data set with the fixed truth, so that its noise can be seen."""
    found = groups.data(example(plan, seed))
    found.figure.set_size_inches(*(0.7 * found.figure.get_size_inches()))  # it is no main thing
    says = f"The first of the data sets with the fixed truth: {found.sentence}"
    return replace(found, name="example", sentence=says, table=None)


def rank_histograms(table: pd.DataFrame, names: Names = None) -> Finding:
    """Histograms of the truths' ranks, with the band that a uniform one stays in.

    Here and below `names` are words for parameters.
    """
    every = list(table["parameter"].unique())
    figure, panels = theme.panels(len(every), 3, SIZE)
    n = table["data_set"].nunique()
    bins = calibration.BINS
    low, mid, high = binom.ppf([0.005, 0.5, 0.995], n, 1 / bins)
    outside = 0
    for panel, name in zip(panels, every, strict=True):
        counts = np.histogram(table.loc[table["parameter"] == name, "rank"], bins, (0, 1))[0]
        panel.axhspan(low, high, **theme.CHANCE)
        panel.axhline(mid, color=theme.INK, lw=0.8)
        panel.stairs(counts, np.linspace(0, 1, bins + 1), color=theme.PARTIAL, lw=1.6)
        panel.set(ylim=(0, 1.08 * max(counts.max(), high)), yticks=[0, int(mid)])
        panel.set_ylabel("data sets")
        panel.set_xlabel(theme.wrapped(f"rank of the true {_words(name, names)}", ALONG))
        outside += int(((counts < low) | (counts > high)).sum())
    p = calibration.uniformity(table)
    total = bins * len(every)
    says = (
        f"Of {total} bars {outside} {'lies' if outside == 1 else 'lie'} outside their 99 % band, "
        f"where chance alone gives about {0.01 * total:.0f}. The smallest of {len(p)} "
        f"p-values that ranks are uniform is {p.min():.3f} ({called(p.idxmin(), names)})."
    )
    what = f"Histograms of the ranks of {_listed(every, names)} over {n:,} data sets."
    return theme.finding("ranks", figure, what, says)


def rank_curves(table: pd.DataFrame, names: Names = None) -> Finding:
    """ArviZ's ECDF differences of the ranks, with a simultaneous 99 % band."""
    groups = table.groupby("parameter", sort=False)["rank"]
    ranks = {str(name): rank.to_numpy() for name, rank in groups}
    size = (9.5, 2.4 * -(-len(ranks) // 3))
    drawn = {theme.wrapped(_words(name, names), ALONG): rank for name, rank in ranks.items()}
    hidden = dict.fromkeys(("xlabel", "ylabel"), False)
    options = {"figure_kwargs": {"figsize": size}, "visuals": hidden}
    figure, _, band = ecdf_pit(drawn, col_wrap=3, **options)
    figure.supxlabel("rank of the truth among its posterior draws", fontsize=10)
    figure.supylabel("ECDF minus uniform", fontsize=10)
    # Kolmogorov and Smirnov's statistic is the largest gap
    largest = {name: kstest(rank, "uniform").statistic for name, rank in ranks.items()}
    worst = max(largest, key=largest.__getitem__)
    says = (
        f"The farthest that a curve leaves zero is {largest[worst]:.3f} ({called(worst, names)}). "
        f"The band, {band:.3f} either way, holds the whole curve of a right fit with probability "
        "99 % or more (Dvoretzky, Kiefer and Wolfowitz 1956; Massart 1990)."
    )
    if out := sum(gap > band for gap in largest.values()):
        says += f" Of {len(largest)} curves {out} {'leaves' if out == 1 else 'leave'} it."
    what = "Differences of empirical from uniform distribution."
    return theme.finding("rank-curves", figure, what, says)


def coverage(table: pd.DataFrame, names: Names = None) -> Finding:
    """How often intervals of 50, 80 and 95 % hold the truth, with Monte Carlo intervals."""
    found = calibration.coverage(table)
    by_nominal = found.groupby("nominal")
    height = 0.32 * found["parameter"].nunique() + 0.6
    figure, panels = theme.panels(3, 3, (3.1, height), sharey=True)
    for panel, (nominal, rows) in zip(panels, by_nominal, strict=True):
        at = np.arange(len(rows))[::-1]
        panel.axvline(nominal, color=theme.INK, lw=0.9, ls=":")
        panel.hlines(at, rows["low"], rows["high"], lw=4, **theme.INTERVAL)
        panel.plot(rows["covered"], at, "o", color=theme.PARTIAL, ms=5)
        panel.set_yticks(at, [theme.wrapped(_words(n, names), UP) for n in rows["parameter"]])
        panel.set(xlabel=f"held by the {percent(nominal)} interval", ylim=(-0.6, len(rows) - 0.4))
        panel.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
        panel.locator_params(axis="x", nbins=4)
    off = found[(found["low"] > found["nominal"]) | (found["high"] < found["nominal"])]
    gap = (found["covered"] - found["nominal"]).abs()
    worst = found.loc[gap.idxmax()]
    word = "misses" if len(off) == 1 else "miss"
    says = (
        f"The largest gap between stated and found coverage is {100 * gap.max():.1f} percentage "
        f"points, at the {worst['nominal']:.0%} interval of {called(worst['parameter'], names)}. "
        f"Of {len(found)} Monte Carlo intervals (95 %) {len(off)} {word} the stated probability, "
        f"where chance alone gives about {0.05 * len(found):.1f}."
    )
    return theme.finding("coverage", figure, "Coverage of intervals by parameter.", says)


def estimates(table: pd.DataFrame, names: Names = None, most: int = 60) -> Finding:
    """Estimates and 95 % intervals of the first data sets about the fixed truth."""
    every = [str(name) for name in calibration.of_population(table)["parameter"].unique()]
    figure, panels = theme.panels(len(every), 3, SIZE)
    for panel, name in zip(panels, every, strict=True):
        rows = table[table["parameter"] == name].head(most).sort_values("mean")
        at = np.arange(len(rows))
        panel.vlines(at, rows["q2.5"], rows["q97.5"], lw=1, **theme.INTERVAL)
        panel.plot(at, rows["mean"], ".", ms=3, color=theme.PARTIAL)
        panel.axhline(rows["truth"].iloc[0], **theme.TRUTH)
        panel.set(xlabel="data sets, in order", xticks=[])
        panel.set_ylabel(theme.wrapped(_words(name, names), UP))
    marks = [
        Line2D([], [], label="true value", **theme.TRUTH),
        Line2D([], [], color=theme.PARTIAL, marker=".", ls="", label="posterior mean"),
        Line2D([], [], lw=3, label="95 % interval", **theme.INTERVAL),
    ]
    theme.legend(figure, marks)
    found = calibration.errors(table).loc[every]
    z = (found["bias"] / found["bias_se"]).abs()
    worst = found.loc[z.idxmax()]
    n, told = table["data_set"].nunique(), rounded(worst["estimate"], worst["bias_se"])
    says = f"Drawn are the first {most} of {n:,} data sets. " if n > most else ""
    says += (
        f"Over {f'all {n:,}' if n > most else f'{n:,} data sets'} the average posterior mean lies "
        f"farthest from the truth for {called(str(worst.name), names)}: {told} for "
        f"{number(worst['truth'])}, {z.max():.1f} Monte Carlo errors away. "
    )
    if z.max() <= explained(len(z)):
        says += (
            f"That much is chance: the limit for {len(z)} parameters is {explained(len(z)):.1f}."
        )
    elif worst.name in calibration.on_the_edge(table):
        says += "That truth is zero, the boundary, and every estimate lies above it."
    else:
        says += (
            "A posterior mean need not be unbiased: where data say little, it leans towards the "
            "prior."
        )
    what = f"Estimates of {_listed(every, names)} with 95 % intervals, in order."
    return theme.finding("estimates", figure, what, says)


def pooling_errors(table: pd.DataFrame, scale: str = "") -> Finding:
    """Error of the groups' lines by complete and by no pooling, against partial pooling's.

    Parameters
    ----------
    table : pandas.DataFrame
    scale : str
        `Plan.scale`.
    """
    ways = calibration.once(table)[list(POOLING)]
    exact = calibration.without_noise(table)
    others = ["complete"] if exact else ["complete", "none"]
    shown = ways[[*others, "partial"]].to_numpy()
    # no shared ticks, for on a telephone each panel stands alone
    figure, panels = theme.panels(len(others), 2, (4, 3))
    ends = shown.min(), shown.max()
    room = (ends[1] / ends[0]) ** 0.06
    sentences = []
    for panel, way in zip(panels, others, strict=True):
        panel.plot(ends, ends, color=theme.INK, lw=0.9, ls=":")
        panel.plot(ways["partial"], ways[way], "o", ms=3, alpha=0.6, color=theme.COLORS[way])
        panel.set(xscale="log", yscale="log", ylabel=f"by {POOLING[way]} (log scale)")
        panel.set(xlim=(ends[0] / room, ends[1] * room), ylim=(ends[0] / room, ends[1] * room))
        for axis in (panel.xaxis, panel.yaxis):
            theme.round_numbers(axis)
        by = f"error by partial pooling{f', {scale}' if scale else ''} (log scale)"
        panel.set_xlabel(by)
        if exact:
            continue
        row = calibration.pooling(table).loc[way]
        sentences.append(
            f"{POOLING[way]}'s error is {number(row['ratio'], 3, zeros=True)} times partial "
            f"pooling's (95 % interval {number(row['low'], 3, zeros=True)} to "
            f"{number(row['high'], 3, zeros=True)}); partial pooling has the smaller error in "
            f"{percent(row['wins'])} of the data sets."
        )
    says = " ".join(map(capital, [calibration.exact_lines(table)] if exact else sentences))
    if not exact and (others := headline.not_better(table)):
        says += f" {capital('; '.join(others))}.{headline.told_too_noisy(table)}"
    if scale:
        says += (
            f" Errors are in {scale}: lines are those of the linear predictor. With no pooling, "
            f"only a normal distribution of sd {ALONE_LINKED:g} holds a group whose answers are "
            "all alike, or counts all zero."
        )
    what = "Errors of the groups' lines, a point per data set; on the dotted line both are alike."
    return theme.finding("pooling", figure, what, says)
