"""Pictures of what a model says about data, before and after it has seen them."""

from collections.abc import Mapping

import arviz_plots as azp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from partialpool.model import Model
from partialpool.plots import theme
from partialpool.plots.groups import PROBABILITY, axis_label
from partialpool.plots.marginals import density
from partialpool.posterior import replications
from partialpool.posterior.leave_one_out import LeftOut

#: Replicated data sets that are drawn.
SHOWN = 50
#: Groups that get a column of their own in residual plots.
MAX_GROUPS = 80


def prior_check(
    model: Model, replicated: np.ndarray, rows: np.ndarray, labels: Mapping[str, str] | None = None
) -> tuple[Figure, str, str]:
    """Where the priors alone expect the response: a bar for each data set, the data behind."""
    y = model.design.y[rows]
    shown = replicated[:SHOWN]
    low, mid, high = np.quantile(shown, [0.05, 0.5, 0.95], axis=1)
    order = np.argsort(mid)
    figure, axes = plt.subplots(figsize=(8, 3.2))
    ends = np.quantile(y, [0.05, 0.95])
    axes.axhspan(*ends, color=theme.COLORS["data"], alpha=0.45, linewidth=0, label="the data")
    axes.vlines(
        range(len(shown)),
        low[order],
        high[order],
        color=theme.COLORS["prior"],
        lw=3,
        label="a data set that the priors imply",
    )
    limits = np.quantile([*low, *high, *ends], [0.03, 0.97])
    pad = 0.05 * np.ptp(limits)
    axes.set_ylim(min(limits[0], ends[0]) - pad, max(limits[1], ends[1]) + pad)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(shown)} data sets in the order of their medians")
    axes.set_ylabel(axis_label(model.design.response, labels))
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    ratio = np.median(replicated.std(1)) / max(y.std(), 1e-300)
    position = stats.percentileofscore(replicated.mean(1), y.mean())
    verdict = (
        "wide enough to let the data speak and of their order of magnitude"
        if 0.5 <= ratio <= 20 and 1 <= position <= 99
        else "far wider than the data: it may give weight to what nobody believes"
        if ratio > 20
        else "narrow or off beside the data: see the sensitivity below"
    )
    says = (
        f"In the median data set that the priors imply, {model.design.response} spreads "
        f"{ratio:.3g} times as much as in the data, and the mean of the data lies at the "
        f"{position:.0f} % point of the means: the prior is {verdict}. Bars and band go from the "
        "5 % to the 95 % point of the rows."
    )
    alt = f"Ranges of {len(shown)} data sets drawn from the priors beside that of the data. {says}"
    return figure, alt, says


def densities(
    model: Model, replicated: np.ndarray, rows: np.ndarray, labels: Mapping[str, str] | None = None
) -> tuple[Figure, str, str]:
    """Density of the response and of replications of it."""
    y = model.design.y[rows]
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for k, one in enumerate(replicated[:SHOWN]):
        axes.plot(
            *density(one),
            color=theme.COLORS["partial"],
            lw=0.7,
            alpha=0.35,
            label=f"{SHOWN} replications" if k == 0 else None,
        )
    axes.plot(*density(y), color=theme.INK, lw=2, label="the data")
    axes.set(xlabel=axis_label(model.design.response, labels), yticks=[], ylim=(0, None))
    axes.spines["left"].set_visible(False)
    axes.legend()
    low, high = np.quantile(replicated, [0.05, 0.95], axis=0)
    inside = np.mean((y >= low) & (y <= high))
    says = (
        f"The 90 % interval of its own replications holds {inside:.0%} of the rows (more than "
        "90 % is usual, for the model has seen them)."
    )
    alt = f"Density of {model.design.response} over those of {SHOWN} replications. {says}"
    return figure, alt, says


def pit(model: Model, left_out: LeftOut) -> tuple[Figure, str, str]:
    """ArviZ's ECDF difference of the leave-one-out probability integral transform."""
    name, n = model.design.response, len(left_out.pit)
    collection = azp.plot_ecdf_pit(
        xr.DataTree.from_dict({"prior_sbc": xr.Dataset({name: ("sample", left_out.pit)})}),
        sample_dims="sample",
        backend="matplotlib",
        figure_kwargs={"figsize": (8, 3.2)},
        visuals={"title": False, "xlabel": False, "ylabel": False, "p_value_text": False},
    )
    figure = collection.viz["figure"].item()
    axes = figure.axes[0]
    band = np.sqrt(np.log(2 / 0.01) / (2 * n))
    axes.axhspan(-band, band, color=theme.COLORS["exact"], alpha=0.25, linewidth=0)
    axes.set_xlabel(f"probability that a prediction without the row is below its {name}")
    axes.set_ylabel("ECDF minus uniform")
    p = stats.kstest(left_out.pit, "uniform").pvalue
    tails = np.mean((left_out.pit < 0.05) | (left_out.pit > 0.95))
    word = "agrees with" if p > 0.01 else "is at odds with"
    says = (
        f"If the predictions are calibrated the {n:,} probabilities are uniform; a "
        f"Kolmogorov–Smirnov test gives p = {p:.2g}, which {word} that. {tails:.0%} of the rows "
        "fall outside their 90 % predictive interval. The band holds the whole curve of a "
        "calibrated model with probability 99 % or more."
    )
    return figure, f"Calibration curve of leave-one-out predictions. {says}", says


def statistics_check(
    model: Model, replicated: np.ndarray, rows: np.ndarray
) -> tuple[Figure, str, str]:
    """Histograms of figures of the replications, with those of the data."""
    found = replications.statistics(model, rows)
    y = model.design.y[rows][None]
    figure, panels = plt.subplots(1, len(found), figsize=(10, 2.6))
    extreme = []
    for panel, (name, statistic) in zip(panels, found.items(), strict=True):
        theirs, ours = statistic(replicated), float(statistic(y)[0])
        panel.hist(theirs, bins=25, color=theme.COLORS["partial"], alpha=0.5)
        panel.axvline(ours, color=theme.INK, lw=2)
        panel.set(xlabel=name, yticks=[])
        panel.spines["left"].set_visible(False)
        above = float(np.mean(theirs >= ours))
        extreme.append((min(above, 1 - above), name, above))
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=theme.COLORS["partial"], alpha=0.5, label="replications"),
        plt.Line2D([], [], color=theme.INK, lw=2, label="the data"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    words = "; ".join(f"{name} {above:.0%}" for _, name, above in extreme)
    odd = [name for tail, name, _ in extreme if tail < 0.025]
    verdict = (
        f"The model does not reproduce: **{', '.join(odd)}**."
        if odd
        else "The model reproduces all of them."
    )
    says = f"Share of replications at or above the data: {words}. {verdict}"
    return figure, f"Histograms of {len(found)} figures of replications. {says}", says


def residuals(
    model: Model, left_out: LeftOut, labels: Mapping[str, str] | None = None
) -> tuple[Figure, str, str]:
    """Standardized leave-one-out residuals, against the prediction and by group."""
    design = model.design
    y, codes = design.y[left_out.rows], design.codes[left_out.rows]
    z = (y - left_out.mean) / left_out.sd
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
    style = {
        "s": 12,
        "alpha": max(0.2, min(0.8, 300 / len(z))),
        "linewidths": 0,
        "rasterized": len(z) > 2000,
    }
    left.scatter(left_out.mean, z, color=theme.COLORS["data"], **style)
    left.set(
        xlabel=f"predicted {axis_label(design.response, labels)}",
        ylabel="residual in predictive sd",
    )
    counts = np.bincount(codes, minlength=design.n_groups)
    spread = pd.Series(z).groupby(codes).agg(["mean", "std", "size"])
    order = spread["mean"].sort_values().index.to_numpy()
    if len(order) > MAX_GROUPS:
        order = order[np.linspace(0, len(order) - 1, MAX_GROUPS).round().astype(int)]
    place = {j: k for k, j in enumerate(order)}
    shown = np.isin(codes, order)
    where = np.array([place[j] for j in codes[shown]])
    right.scatter(where, z[shown], color=theme.COLORS["data"], **style)
    right.scatter(
        range(len(order)),
        spread.loc[order, "mean"],
        color=theme.COLORS["partial"],
        marker="_",
        s=40,
        label="mean of the group",
    )
    right.set_xticks([])
    of = "" if len(order) == (counts > 0).sum() else f"{len(order)} of "
    right.set_xlabel(
        f"{of}{(counts > 0).sum()} groups of {design.group}, sorted" if design.group else "rows"
    )
    for axes in (left, right):
        axes.axhline(0, color=theme.INK, lw=0.8)
        for end in (-3, 3):
            axes.axhline(end, color=theme.INK, lw=0.6, ls=":")
    if design.group:
        right.legend(loc="upper left")
    far = np.flatnonzero(np.abs(z) > 3)
    expected = 2 * stats.norm.sf(3) * len(z)
    worst = int(np.abs(z).argmax())
    table_row = int(left_out.rows[worst])
    says = (
        f"{len(far)} of {len(z):,} rows lie more than 3 standard deviations from what the others "
        f"predict, where normal noise gives about {expected:.1f}; the farthest is row {table_row}"
        + (f" ({design.group} {design.levels[codes[worst]]})" if design.group else "")
        + f", at {z[worst]:+.1f}."
    )
    several = spread[spread["size"] >= 5]
    if len(several) > 1:
        top, bottom = several["std"].idxmax(), several["std"].idxmin()
        # Bartlett's test asks whether the groups' noise can be the same.
        test = stats.bartlett(*[z[codes == j] for j in several.index])
        same = "could well be" if test.pvalue > 0.01 else "is hardly"
        says += (
            f" Residuals spread most in {design.levels[top]} ({several.at[top, 'std']:.2f}) and "
            f"least in {design.levels[bottom]} ({several.at[bottom, 'std']:.2f}); their noise "
            f"{same} the same in every group (Bartlett's test, p = {test.pvalue:.2g})."
        )
    if len(far) > 3 * expected + 3:
        says += " Try `family: student`, which bends less to outliers."
    alt = f"Residuals against predictions and by group. {says}"
    return figure, alt, says


def predictions(
    table: pd.DataFrame, names: list[str], response: str, labels: Mapping[str, str] | None = None
) -> tuple[Figure, str, str]:
    """Intervals of the line and of a new observation for chosen rows.

    Parameters
    ----------
    table : pandas.DataFrame
        From `predictions.predict`.
    names : list of str
        What to call each row.
    response : str
        Of the model.
    labels : mapping, optional
        Axis labels by column name.
    """
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(table) + 1.1))
    places = np.arange(len(table))[::-1]
    axes.hlines(
        places,
        table["observation_lower"],
        table["observation_upper"],
        color=theme.COLORS["data"],
        lw=1.5,
        label="a new observation",
    )
    axes.hlines(
        places,
        table["lower"],
        table["upper"],
        color=theme.COLORS["partial"],
        lw=4,
        label="the line",
    )
    axes.scatter(table["mean"], places, color=theme.INK, s=18, zorder=3)
    axes.set_yticks(places, names)
    axes.set_xlabel(axis_label(response, labels))
    figure.legend(loc="outside upper center", ncols=2)
    wide = (table["observation_upper"] - table["observation_lower"]).to_numpy()
    line = (table["upper"] - table["lower"]).to_numpy()
    k, most = int(wide.argmin()), int(wide.argmax())
    says = (
        f"The surest prediction is that for {names[k]}: {table['mean'].iloc[k]:.4g}, a new "
        f"observation within {table['observation_lower'].iloc[k]:.4g} to "
        f"{table['observation_upper'].iloc[k]:.4g}; the least sure that for {names[most]}, "
        f"{wide[most] / wide[k]:.2g} times as wide. Not knowing the line is "
        f"{np.median((line / wide) ** 2):.0%} of the squared width in the median. Intervals are "
        f"{PROBABILITY:.0%} equal-tailed."
    )
    return figure, f"Predictions for {len(table)} rows with intervals. {says}", says


def sensitivities(table: pd.DataFrame, threshold: float) -> tuple[Figure, str]:
    """Sensitivity to prior and likelihood, a pair of marks for each parameter."""
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(table) + 1.1))
    places = np.arange(len(table))[::-1]
    for column, color, marker in (("prior", "prior", "D"), ("likelihood", "partial", "o")):
        axes.scatter(table[column], places, color=theme.COLORS[color], marker=marker, label=column)
    axes.axvline(threshold, color=theme.INK, lw=0.8, ls=":")
    axes.set_yticks(places, list(table.index))
    axes.set_xlim(0, None)
    axes.set_xlabel(f"power-scaling sensitivity (dotted: {threshold:g})")
    figure.legend(loc="outside upper center", ncols=2)
    worst = table["prior"].idxmax()
    alt = (
        f"Sensitivity of {len(table)} parameters to prior and likelihood; the largest to the "
        f"prior is that of {worst}, {table.at[worst, 'prior']:.3f}."
    )
    return figure, alt
