"""The plots of this subject that ArviZ does not have.

Every function returns a figure and a sentence computed from what it shows; `theme.show` displays
both. Nothing here fits or simulates.
"""

from collections.abc import Mapping
from typing import Any

import arviz_plots as azp
import arviz_stats as azs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from partialpool import checks, theme
from partialpool.model import Model

#: Probability of every interval drawn here; all are equal-tailed.
PROBABILITY = 0.9
#: Most groups that get a panel or a row of their own; more are thinned evenly by size.
MAX_PANELS = 18
#: The three ways to pool, as they are called in every figure.
POOLING = {"complete": "complete pooling", "none": "no pooling", "partial": "partial pooling"}


def axis_label(name: str, labels: Mapping[str, str] | None) -> str:
    """The label a person gave a column, or its name."""
    return (labels or {}).get(name, name)


def predictor(model: Model) -> str | None:
    """The numeric column along which groups are drawn: the first one whose effect varies."""
    for name in model.design.predictors:
        if pd.api.types.is_numeric_dtype(model.table[name]) and np.ptp(model.table[name]) > 0:
            return name
    return None


def chosen_groups(model: Model, most: int = MAX_PANELS) -> np.ndarray:
    """Codes of at most `most` groups, spread evenly from the smallest to the largest."""
    counts = model.design.counts
    if len(counts) <= most:
        return np.arange(len(counts))
    order = np.argsort(counts, kind="stable")
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]


def data(model: Model, labels: Mapping[str, str] | None = None) -> tuple[Figure, str, str]:
    """Rows against the main predictor, with each group's mean or least-squares line behind."""
    design, table = model.design, model.table
    counts = design.counts
    name = predictor(model)
    figure, axes = plt.subplots()
    rng = np.random.default_rng(0)  # jitter only
    if name is None:
        x = design.codes + rng.uniform(-0.15, 0.15, len(design.y))
        axes.set_xlabel(axis_label(design.group, labels))
        if design.n_groups <= 40:
            axes.set_xticks(range(design.n_groups), design.levels, rotation=45)
    else:
        x = table[name].to_numpy(float)
        few = table[name].nunique() <= 6
        for j in chosen_groups(model, 200):
            rows = design.codes == j
            if rows.sum() > 2 and np.ptp(x[rows]) > 0:
                slope, intercept = np.polyfit(x[rows], design.y[rows], 1)
                ends = np.array([x[rows].min(), x[rows].max()])
                axes.plot(
                    ends, intercept + slope * ends, color=theme.COLORS["none"], alpha=0.35, lw=1
                )
        if few:
            levels = np.sort(table[name].unique())
            axes.set_xticks(levels)
            x = x + rng.uniform(-0.1, 0.1, len(x)) * np.min(np.diff(levels))
        axes.set_xlabel(axis_label(name, labels))
    axes.scatter(
        x,
        design.y,
        s=14,
        color=theme.COLORS["data"],
        alpha=max(0.15, min(0.8, 300 / len(x))),
        linewidths=0,
        rasterized=len(x) > 2000,
    )
    axes.set_ylabel(axis_label(design.response, labels))
    groups = f"{design.n_groups:,} groups of {design.group}" if design.group else "no groups"
    sizes = (
        f"{counts.min()} {'row' if counts.min() == 1 else 'rows'} each"
        if counts.min() == counts.max()
        else f"{counts.min()} to {counts.max():,} rows each, median {np.median(counts):g}"
    )
    n = design.n_rows
    says = f"**{n:,} rows** in **{groups}**, {sizes}." if design.group else f"{n:,} rows."
    if len(x) < n:
        says += f" Figures show a random sample of {len(x):,} of them; the fit knows all."
    alt = (
        f"Scatter plot of {design.response} against {name or design.group}: {len(x):,} rows, "
        f"{groups}, {sizes}; {design.response} runs from {design.y.min():.3g} to "
        f"{design.y.max():.3g}."
    )
    return figure, alt, says


def group_lines(
    model: Model,
    posteriors: Mapping[str, tuple[Model, xr.DataTree]],
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, str, str]:
    """A panel per group: its rows, and the line of each way to pool with the partial interval.

    Parameters
    ----------
    model : Model
        The partially pooled model.
    posteriors : mapping
        Keys of `POOLING` -> model and its posterior.
    labels : mapping, optional
        Axis labels by column name.
    """
    design, table = model.design, model.table
    name = predictor(model)
    if name is None:
        raise ValueError("Group lines need a numeric predictor.")
    groups = chosen_groups(model)
    columns = 6 if len(groups) > 4 else max(len(groups), 1)
    rows = -(-len(groups) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(10, 1.75 * rows + 0.9),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    grid = np.linspace(table[name].min(), table[name].max(), 25)
    tail = (1 - PROBABILITY) / 2
    inside = total = 0
    for panel, j in zip(panels.flat, groups, strict=False):
        mine = design.codes == j
        new = pd.concat([table[mine].head(1)] * len(grid)).assign(**{name: grid})
        panel.scatter(
            table.loc[mine, name], design.y[mine], s=9, color=theme.COLORS["data"], linewidths=0
        )
        for kind, (fitted, posterior) in posteriors.items():
            lines = fitted.mean(posterior, new)
            if kind == "partial":
                low, high = np.quantile(lines, [tail, 1 - tail], axis=0)
                panel.fill_between(
                    grid, low, high, color=theme.COLORS[kind], alpha=0.2, linewidth=0
                )
            panel.plot(grid, lines.mean(0), color=theme.COLORS[kind], lw=1.4, label=POOLING[kind])
        panel.set_title(f"{design.levels[j]} ({design.counts[j]:,})", fontsize=8, pad=2)
        for kind in ("none",):
            if kind in posteriors and "partial" in posteriors:
                none = posteriors[kind][0].mean(posteriors[kind][1], new).mean(0)
                partial = posteriors["partial"][0].mean(posteriors["partial"][1], new)
                low, high = np.quantile(partial, [tail, 1 - tail], axis=0)
                inside += int(((none >= low) & (none <= high)).all())
                total += 1
    for panel in list(panels.flat)[len(groups) :]:
        panel.set_visible(False)
    pad = 0.08 * np.ptp(design.y)
    panels[0, 0].set_ylim(design.y.min() - pad, design.y.max() + pad)
    figure.supxlabel(axis_label(name, labels), fontsize=10)
    figure.supylabel(axis_label(design.response, labels), fontsize=10)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    of = "all" if len(groups) == design.n_groups else f"{len(groups)} of {design.n_groups}"
    says = (
        f"{of.capitalize()} groups, with their number of rows in brackets; the band is the "
        f"{PROBABILITY:.0%} equal-tailed interval of the partially pooled line. In {inside} of "
        f"{total} panels the unpooled line stays inside that band: there pooling changes little."
    )
    alt = (
        f"{len(groups)} small panels, one per group of {design.group}, each with its rows and the "
        f"lines of {', '.join(POOLING[kind] for kind in posteriors)}; in {inside} the unpooled "
        "line lies within the interval of the partially pooled one."
    )
    return figure, alt, says


def group_coefficients(model: Model, posterior: xr.DataTree) -> dict[str, np.ndarray]:
    """Each group's coefficients, population part included: name -> draws (draws, J).

    That part takes in what predictors of the group contribute, for no group on its own can tell
    them from its own coefficients; see `Design.absorbed`.
    """
    design = model.design
    draws = posterior["posterior"].to_dataset().stack(sample=("chain", "draw"))
    absorbed = design.absorbed()
    result = {}
    for k, name in enumerate(design.z_names):
        coefficient = "Intercept" if name == "1" else name
        values = draws[design.effect(k)].transpose("sample", ...).to_numpy()
        for column, (at, factor) in absorbed.items():
            if at == k:
                values = values + draws[design.x_names[column]].to_numpy()[:, None] * factor
        result[coefficient] = values
    return result


def shrinkage(
    model: Model, posterior: xr.DataTree, unpooled: Model, separate: xr.DataTree
) -> tuple[Figure, str, str]:
    """From no pooling to partial pooling: how far each group's coefficients are drawn in.

    One panel per varying coefficient: the group's own estimate on the x axis, the partially
    pooled one on the y axis with its interval; the diagonal is no pooling, the flat line
    complete pooling.
    """
    partial, none = group_coefficients(model, posterior), group_coefficients(unpooled, separate)
    counts = model.design.counts
    figure, panels = plt.subplots(
        1, len(partial), figsize=(4.6 * len(partial) + 0.6, 4.2), squeeze=False
    )
    sentences, tail = [], (1 - PROBABILITY) / 2
    for panel, (name, values) in zip(panels.flat, partial.items(), strict=True):
        x, y = none[name].mean(0), values.mean(0)
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        # A group that cannot estimate this coefficient has an unpooled value from the vague prior
        # alone; it would stretch the axis and say nothing.
        known = none[name].std(0) < 5 * np.median(none[name].std(0)) + 1e-12
        panel.vlines(x[known], low[known], high[known], color=theme.COLORS["partial"], alpha=0.3)
        points = panel.scatter(
            x[known],
            y[known],
            s=12 + 60 * counts[known] / counts.max(),
            color=theme.COLORS["partial"],
            alpha=0.85,
            linewidths=0,
        )
        points.set_label("a group, sized by its rows")
        centre = y.mean()
        panel.axhline(centre, color=theme.COLORS["complete"], lw=1.4, label="mean of the groups")
        ends = np.array([x[known].min(), x[known].max()])
        panel.plot(ends, ends, color=theme.COLORS["none"], lw=1.4, label="no pooling")
        panel.set_xlabel(f"{name}, group on its own")
        panel.set_ylabel(f"{name}, partially pooled")
        spread = 1 - np.std(y[known]) / np.std(x[known])
        left = "" if known.all() else f" ({(~known).sum()} groups cannot estimate it alone)"
        sentences.append(f"the spread of **{name}** over groups shrinks by {spread:.0%}{left}")
    panels[0, 0].legend(loc="upper left")
    says = "Pooling draws groups together: " + "; ".join(sentences) + "."
    alt = f"Partially pooled against unpooled group coefficients. {says.replace('**', '')}"
    return figure, alt, says


def against_exact(
    posterior: xr.DataTree,
    reference: xr.DataTree,
    truth: Mapping[str, Any] | None = None,
    names: list[str] | None = None,
) -> tuple[Figure, str, str]:
    """Marginals of a fit over those of the exact posterior, with true values where known.

    Parameters
    ----------
    posterior, reference : xarray.DataTree
        The fit, and what `Model.reference_for` returns for it.
    truth : mapping, optional
        True values by parameter name.
    names : list of str, optional
        Parameters to draw; all that are no group effects when not given.
    """
    draws, exact_draws = (checks.flat(t["posterior"].to_dataset()) for t in (posterior, reference))
    names = [n for n in names or draws if "[" not in n and np.std(exact_draws[n]) > 0]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.2 * columns + 0.4, 2.3 * rows + 0.5), squeeze=False
    )
    for panel, name in zip(panels.flat, names, strict=False):
        for values, style in (
            (exact_draws[name], {"color": theme.COLORS["exact"], "lw": 5, "alpha": 0.55}),
            (draws[name], {"color": theme.INK, "lw": 1.4}),
        ):
            panel.plot(*density(values.ravel()), **style)
        value = (truth or {}).get(name)
        if isinstance(value, int | float):
            panel.axvline(value, **theme.TRUTH)
        panel.set(xlabel=name, yticks=[], ylim=(0, None))
        panel.spines["left"].set_visible(False)
    for panel in list(panels.flat)[len(names) :]:
        panel.set_visible(False)
    handles = [
        plt.Line2D([], [], color=theme.COLORS["exact"], lw=5, alpha=0.55, label="exact"),
        plt.Line2D([], [], color=theme.INK, lw=1.4, label="this fit"),
    ]
    if truth:
        handles.append(plt.Line2D([], [], label="true value", **theme.TRUTH))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    comparison = checks.compare(posterior, reference)
    means = comparison["z"].abs()
    shown = comparison.loc[names]
    far = shown["wasserstein"].idxmax()
    says = (
        f"Over {len(comparison)} parameters and group effects the posterior means differ from the "
        f"exact ones by at most {means.max():.1f} Monte Carlo errors ({means.idxmax()}), where "
        f"chance alone gives about {expected_extreme(len(means)):.1f}. The farthest marginal is "
        f"that of {far}, {shown.loc[far, 'wasserstein']:.3f} posterior standard deviations away."
    )
    alt = f"Densities of {', '.join(names)}: this fit over the exact posterior. {says}"
    return figure, alt, says


def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ArviZ's kernel density estimate, which respects bounds: grid and density."""
    grid, height, _ = azs.base.array_stats.kde(values)
    return grid, height


def expected_extreme(n: int) -> float:
    """Expected largest of n absolute standard normal values, approximately (Blom 1958)."""
    from scipy.stats import norm

    return float(norm.isf(0.5 * (1 - (n - 0.375) / (n + 0.25))))


def traces(
    posterior: xr.DataTree, names: list[str], truth: Mapping[str, Any] | None = None
) -> tuple[Figure, str, str]:
    """Density and trace of each chain, with true values in red.

    Long chains are thinned to 1,000 points in the picture; the figures in words use every draw.
    """
    draws = posterior["posterior"].to_dataset()[names]
    every = max(1, draws.sizes["draw"] // 1000)
    thin = draws.isel(draw=slice(None, None, every))
    collection = azp.plot_trace_dist(
        xr.DataTree.from_dict({"posterior": thin}),
        compact=True,
        figure_kwargs={"figsize": (9, 1.8 * len(names) + 0.4)},
        visuals={"xlabel_trace": False, "label": False},
        backend="matplotlib",
    )
    figure = collection.viz["figure"].item()
    panels = np.asarray(figure.axes, dtype=object).reshape(len(names), 2)
    for (left, right), name in zip(panels, names, strict=True):
        left.set_title(name, loc="left")
        left.set_yticks([])
        value = (truth or {}).get(name)
        if isinstance(value, int | float):
            left.axvline(value, **theme.TRUTH)
            right.axhline(value, **theme.TRUTH)
    for panel in figure.axes:
        panel.set_xlabel("")
    panels[-1, 1].set_xlabel(f"draw (one in {every} shown)" if every > 1 else "draw")
    summary = checks.summarize(xr.DataTree.from_dict({"posterior": draws}))
    worst = summary["rhat"].idxmax()
    says = (
        f"{draws.sizes['chain']} chains of {draws.sizes['draw']:,} draws. Largest R-hat "
        f"{summary['rhat'].max():.3f} ({worst}); fewest effective draws "
        f"{summary['ess_bulk'].min():,.0f} ({summary['ess_bulk'].idxmin()})."
    )
    if truth:
        hit = [
            name
            for name in names
            if isinstance(truth.get(name), int | float)
            and summary.loc[name, "q05"] <= float(truth[name]) <= summary.loc[name, "q95"]
        ]
        says += (
            f" The 90 % equal-tailed interval holds the true value for {len(hit)} of "
            f"{sum(isinstance(truth.get(n), int | float) for n in names)} parameters."
        )
    alt = f"Densities and traces of {', '.join(names)}, a line style per chain. {says}"
    return figure, alt, says


def predictive_lines(
    model: Model,
    posterior: xr.DataTree,
    rng: np.random.Generator,
    points: int = 5,
    lines: int = 100,
    labels: Mapping[str, str] | None = None,
) -> tuple[Figure, str, str]:
    """The origin's predictive check: lines of random draws for a few rows, each its own colour."""
    design, table = model.design, model.table
    name = predictor(model)
    if name is None:
        raise ValueError("Predictive lines need a numeric predictor.")
    rows = rng.choice(len(table), points, replace=False)
    grid = np.array([0.0, table[name].max()])
    figure, axes = plt.subplots()
    axes.scatter(table[name], design.y, s=12, color=theme.COLORS["data"], alpha=0.5, linewidths=0)
    hits = 0
    for color, i in zip(theme.PALETTE, rows, strict=False):
        new = pd.concat([table.iloc[[i]]] * 3).assign(**{name: [*grid, table[name].iloc[i]]})
        drawn = model.mean(posterior, new)
        chosen = drawn[rng.choice(len(drawn), lines, replace=False)]
        axes.plot(grid, chosen[:, :2].T, color=color, alpha=0.12, lw=0.8, rasterized=True)
        axes.scatter(
            table[name].iloc[i], design.y[i], s=55, color=color, edgecolor="white", zorder=3
        )
        low, high = np.quantile(drawn[:, 2], [0.05, 0.95])
        hits += int(low <= design.y[i] <= high)
    axes.set(xlabel=axis_label(name, labels), ylabel=axis_label(design.response, labels))
    says = (
        f"For {hits} of {points} points the 90 % equal-tailed interval of the line at the point's "
        f"{name} holds the point."
    )
    alt = (
        f"Scatter plot with {points} points marked in colour and {lines} posterior lines through "
        f"each. {says}"
    )
    return figure, alt, says


def prior_and_posterior(
    model: Model, posterior: xr.DataTree, names: list[str] | None = None
) -> tuple[Figure, str, str]:
    """Each parameter's posterior with its prior density over the same range."""
    draws = checks.flat(posterior["posterior"].to_dataset())
    names = [n for n in names or model.parameters if np.std(draws[n]) > 0]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.2 * columns + 0.4, 2.3 * rows + 0.5), squeeze=False
    )
    contraction = {}
    for panel, name in zip(panels.flat, names, strict=False):
        grid, height = density(draws[name].ravel())
        panel.fill_between(grid, height, color=theme.COLORS["partial"], alpha=0.35, linewidth=0)
        prior = model.priors[name]
        if prior.proper and prior.family != "LKJ":
            wide = np.linspace(grid[0] - np.ptp(grid) / 2, grid[-1] + np.ptp(grid) / 2, 200)
            wide = wide[(wide >= prior.lower) | (prior.family == "Normal")]
            panel.plot(wide, np.exp(prior.logpdf(wide)), **theme.PRIOR)
            sample = prior.sample(np.random.default_rng(0), 4000)
            contraction[name] = 1 - np.var(draws[name]) / np.var(sample)
        panel.set(xlabel=name, yticks=[], ylim=(0, None))
        panel.spines["left"].set_visible(False)
    for panel in list(panels.flat)[len(names) :]:
        panel.set_visible(False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=theme.COLORS["partial"], alpha=0.35, label="posterior"),
        plt.Line2D([], [], label="prior", **theme.PRIOR),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    says = "Every prior here is flat or a correlation's, so that there is nothing to compare."
    if contraction:
        least = min(contraction, key=contraction.__getitem__)
        says = (
            f"The data narrow every prior; least that of {least}, whose variance falls by "
            f"{contraction[least]:.0%}."
        )
    return figure, f"Prior and posterior densities of {', '.join(names)}. {says}", says
