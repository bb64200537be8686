"""Pictures of a fit: its traces, its priors, and its distance from the exact posterior."""

from collections.abc import Mapping
from typing import Any

import arviz_plots as azp
import arviz_stats as azs
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from partialpool.model import Model
from partialpool.plots import theme
from partialpool.posterior import checks


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
    names = names or [str(n) for n, v in posterior["posterior"].data_vars.items() if v.ndim == 2]
    figure = beside(posterior, reference, names, truth)
    comparison = checks.compare(posterior, reference)
    means = comparison["z"].abs()
    shown = comparison.loc[[name for name in names if name in comparison.index]]
    far = shown["wasserstein"].idxmax()
    says = (
        f"Over {len(comparison)} parameters and group effects the posterior means differ from the "
        f"exact ones by at most {means.max():.1f} Monte Carlo errors ({means.idxmax()}), where "
        f"chance alone gives about {expected_extreme(len(means)):.1f}. The farthest marginal is "
        f"that of {far}, {shown.loc[far, 'wasserstein']:.3f} posterior standard deviations away."
    )
    alt = f"Densities of {', '.join(names)}: this fit over the exact posterior. {says}"
    return figure, alt, says


def beside(
    posterior: xr.DataTree,
    other: xr.DataTree,
    names: list[str],
    truth: Mapping[str, Any] | None = None,
    labels: tuple[str, str] = ("this fit", "exact"),
) -> Figure:
    """Marginals of one fit over those of another, a panel for each of `names` that both have."""
    draws, others = (checks.flat(t["posterior"].to_dataset()) for t in (posterior, other))
    names = [n for n in names if n in others and np.std(others[n]) > 0]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.2 * columns + 0.4, 2.3 * rows + 0.5), squeeze=False
    )
    for panel, name in zip(panels.flat, names, strict=False):
        for values, style in (
            (others[name], {"color": theme.COLORS["exact"], "lw": 5, "alpha": 0.55}),
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
        plt.Line2D([], [], color=theme.COLORS["exact"], lw=5, alpha=0.55, label=labels[1]),
        plt.Line2D([], [], color=theme.INK, lw=1.4, label=labels[0]),
    ]
    if truth:
        handles.append(plt.Line2D([], [], label="true value", **theme.TRUTH))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


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
            contraction[name] = 1 - _middle(draws[name]) / _middle(sample)
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
            f"The data narrow every prior; least that of {least}, whose middle half becomes "
            f"{contraction[least]:.0%} narrower."
            if contraction[least] > 0
            else f"The posterior of {least} is wider than its prior: the two disagree, or the data "
            "say nothing of it."
        )
    return figure, f"Prior and posterior densities of {', '.join(names)}. {says}", says


def _middle(values: np.ndarray) -> float:
    """Width of the middle half of draws; a Cauchy prior has no variance."""
    return float(np.subtract(*np.quantile(values, [0.75, 0.25])))
