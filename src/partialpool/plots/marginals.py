"""Pictures of a fit: its traces, its priors, and its distance from another fit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import arviz_plots as azp
import arviz_stats as azs
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from partialpool.data.text import listed
from partialpool.fit.regression import Regression
from partialpool.plots import theme
from partialpool.posterior import checks
from partialpool.posterior.comparison import noise_in_words
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import readable

#: Most draws of a chain in the picture of its trace.
MAX_DRAWS = 1000
#: Size of a panel with densities, in inches.
SIZE = (3.2, 2.2)


def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ArviZ's kernel density estimate, which respects bounds: grid and density."""
    grid, height, _ = azs.base.array_stats.kde(values)
    return grid, height


def ecdf_pit(
    probabilities: Mapping[str, np.ndarray], **options: Any
) -> tuple[Figure, list[Axes], float]:
    """ArviZ's differences of ECDFs from the uniform one, a panel for each name.

    The test whose points and p-values ArviZ shows is not the one that is reported; it is left out.

    Returns
    -------
    figure, panels
    band : float
        Half the width of the band drawn, which holds the whole curve of uniform probabilities with
        probability 99 % or more (Dvoretzky, Kiefer & Wolfowitz 1956; Massart 1990).
    """
    data = xr.Dataset({name: ("sample", values) for name, values in probabilities.items()})
    tree = xr.DataTree.from_dict({"prior_sbc": data})
    visuals = {"suspicious_points": False, "p_value_text": False, **options.pop("visuals", {})}
    drawn = azp.plot_ecdf_pit(
        tree, sample_dims="sample", backend="matplotlib", visuals=visuals, **options
    )
    figure = drawn.viz["figure"].item()
    shown = [axes for axes in figure.axes if axes.lines]
    band = float(np.sqrt(np.log(2 / 0.01) / (2 * data.sizes["sample"])))
    for axes in shown:
        axes.axhspan(-band, band, **theme.CHANCE)
    return figure, shown, band


def traces(
    fitted: Fitted,
    names: Sequence[str] | None = None,
    truth: Mapping[str, Any] | None = None,
) -> Finding:
    """Density and trace of each chain, with true values marked.

    Long chains are thinned in the picture; the figures in words use every draw.

    Parameters
    ----------
    fitted : Fitted
    names : sequence of str, optional
        Parameters in the order of their panels; all that are no group effects when not given.
    truth : mapping, optional
        True values by parameter name.
    """
    called = readable(fitted.model)
    names, true = list(names or fitted.model.parameters), _numbers(truth)
    draws = fitted.dataset[names]
    every = max(1, draws.sizes["draw"] // MAX_DRAWS)
    collection = azp.plot_trace_dist(
        xr.DataTree.from_dict({"posterior": draws.isel(draw=slice(None, None, every))}),
        compact=True,
        figure_kwargs={"figsize": (9, 1.8 * len(names) + 0.4)},
        visuals={"xlabel_trace": False, "label": False},
        backend="matplotlib",
    )
    figure = collection.viz["figure"].item()
    panels = np.asarray(figure.axes, dtype=object).reshape(len(names), 2)
    for (left, right), name in zip(panels, names, strict=True):
        left.set_title(theme.wrapped(called.get(name, name), 44), loc="left")
        left.set_yticks([])
        if name in true:
            left.axvline(true[name], label="true value", **theme.TRUTH)
            right.axhline(true[name], **theme.TRUTH)
            left.legend()
    for panel in figure.axes:
        panel.set_xlabel("")
        for drawn in panel.lines[: draws.sizes["chain"]]:  # one colour has one meaning
            drawn.set_color(theme.PARTIAL)
    panels[-1, 1].set_xlabel(f"draw (one in {every} shown)" if every > 1 else "draw")
    summary = checks.summarize(draws)
    says = (
        f"{draws.sizes['chain']} chains of {draws.sizes['draw']:,} draws. Largest R-hat "
        f"{summary['rhat'].max():.3f} (**{summary['rhat'].idxmax()}**); fewest effective draws "
        f"{summary['ess_bulk'].min():,.0f} (**{summary['ess_bulk'].idxmin()}**)."
    )
    known = [name for name in names if name in true]
    if known:
        # what is never negative has no draw below a true value of 0
        edge = [n for n in known if true[n] == 0 and float(draws[n].min()) > 0]
        rows = summary.loc[[name for name in known if name not in edge]].itertuples()
        held = sum(row.q05 <= true[row.Index] <= row.q95 for row in rows)
        says += (
            f" The 90 % equal-tailed interval holds the true value for {held} of "
            f"{len(known) - len(edge)} parameters."
        )
        if edge:
            says += f" The true value of {listed(edge)} is 0, the boundary, which none can hold."
    what = f"Densities and traces of {', '.join(names)}, a line style per chain."
    return replace(theme.finding("traces", figure, what, says), names=called)


def prior_and_posterior(fitted: Fitted) -> Finding:
    """Each parameter's posterior with its prior density over the same range."""
    draws, model, called = fitted.population, fitted.model, readable(fitted.model)
    names = [name for name in model.parameters if np.std(draws[name]) > 0]
    figure, panels = theme.panels(len(names), 3, SIZE)
    contraction = {}
    for panel, name in zip(panels, names, strict=True):
        grid, height = density(draws[name])
        panel.fill_between(grid, height, color=theme.PARTIAL, alpha=0.35, linewidth=0)
        if model.priors[name].proper:
            wide = np.linspace(grid[0] - np.ptp(grid) / 2, grid[-1] + np.ptp(grid) / 2, 200)
            at, prior_height, middle = _prior(model, name, wide)
            panel.plot(at, prior_height, **theme.PRIOR)
            contraction[name] = 1 - _middle(draws[name]) / middle
        theme.without_heights(panel, theme.wrapped(called.get(name, name)))
        panel.locator_params(axis="x", nbins=5)
    area = plt.Rectangle((0, 0), 1, 1, color=theme.PARTIAL, alpha=0.35, label="posterior")
    theme.legend(figure, [area, plt.Line2D([], [], label="prior", **theme.PRIOR)])
    says = "Every prior here is flat, so that there is nothing to compare."
    if contraction:
        least = min(contraction, key=contraction.__getitem__)
        every = "every prior" if len(contraction) == len(names) else "every prior that is not flat"
        says = (
            f"The data narrow {every}; least that of **{least}**, whose middle half becomes "
            f"{contraction[least]:.0%} narrower."
            if contraction[least] > 0
            else f"The posterior of **{least}** is wider than its prior: the two disagree, or the "
            "data say nothing of it."
        )
    what = f"Prior and posterior densities of {', '.join(names)}."
    found = theme.finding("prior_and_posterior", figure, what, says)
    return replace(found, names=called)


def _prior(model: Regression, name: str, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Where in a range the prior of a parameter lies, its density there, and its middle half."""
    prior, design = model.priors[name], model.design
    if prior.family == "LKJ":
        i, _ = design.correlated_pairs[design.cor_names.index(name)]
        size = len(next(block for block in design.blocks if i in block))
        # a single correlation of LKJ(eta) in d dimensions (Lewandowski, Kurowicka & Joe 2009)
        alpha = prior.arguments[0] + size / 2 - 1
        marginal = stats.beta(alpha, alpha, loc=-1, scale=2)
        at = wide[np.abs(wide) < 1]
        return at, marginal.pdf(at), float(np.diff(marginal.ppf([0.25, 0.75]))[0])
    at = wide[(wide >= prior.lower) | (prior.family == "Normal")]
    sample = prior.sample(np.random.default_rng(0), 4000)
    return at, np.exp(prior.logpdf(at)), _middle(sample)


def _middle(values: np.ndarray) -> float:
    """Width of the middle half of draws; a Cauchy prior has no variance."""
    return float(np.subtract(*np.quantile(values, [0.75, 0.25])))


def against_exact(
    fitted: Fitted,
    names: Sequence[str] | None = None,
    truth: Mapping[str, Any] | None = None,
) -> Finding:
    """Marginals of a fit over those of its exact reference, and the distance between them.

    Parameters
    ----------
    fitted : Fitted
    names : sequence of str, optional
        Parameters to draw; all that are no group effects when not given.
    truth : mapping, optional
        True values by parameter name.
    """
    reference = fitted.reference
    if reference is None:
        says = "For this model there is no exact posterior to hold the fit against."
        if fitted.model.family == "student":
            says = "With Student's t there is no exact posterior; see *Robustness* below."
        if fitted.model.linked:
            says = _certified(fitted)
        return Finding("against_exact", says)
    names = list(names or fitted.model.parameters)
    figure = _beside(fitted, reference, names, ("this fit", "exact"), truth)
    comparison = checks.compare(fitted.posterior, reference.posterior)
    shown = comparison.loc[[name for name in names if name in comparison.index]]
    shown.insert(1, "sd", checks.summarize(fitted.dataset, list(shown.index))["sd"])
    means, far = comparison["z"].abs(), shown["wasserstein"].idxmax()
    says = (
        f"Over {len(comparison)} parameters and group effects the posterior means differ from the "
        f"{'certified' if fitted.model.linked else 'exact'} ones by at most {means.max():.1f} "
        f"Monte Carlo errors ({means.idxmax()}), where chance alone gives about "
        f"{_expected_extreme(len(means)):.1f}. The farthest marginal is that of **{far}**, "
        f"{shown.loc[far, 'wasserstein']:.3f} posterior standard deviations away."
    )
    effects = [name for grouping in fitted.model.design.groupings for name in grouping.effects]
    if not set(effects) <= set(comparison.index.str.replace(r"\[.*", "", regex=True)):
        says += " The checks in full take in further group effects."
    what = f"Densities of {', '.join(names)}: this fit over the exact posterior."
    found = theme.finding("against_exact", figure, what, says)
    called = readable(fitted.model)
    return replace(found, table=shown, columns=checks.HEADINGS, names=called)


def _certified(fitted: Fitted) -> str:
    """Whether a fit of a family with a link is certified, in words."""
    return (
        f"With `family: {fitted.model.family}` and these groups there is no certified posterior to "
        f"hold the fit against: {fitted.attrs['route']}. R-hat, effective draws and divergences, "
        "among the checks, are all that vouches for these draws."
    )


def _expected_extreme(n: int) -> float:
    """Expected largest of n absolute standard normal values, approximately (Blom 1958)."""
    return float(stats.norm.isf(0.5 * (1 - (n - 0.375) / (n + 0.25))))


def against_gaussian(fitted: Fitted) -> Finding:
    """Marginals with Student's t over those of the same model with Gaussian noise."""
    if fitted.model.family == "gaussian":
        says = "Noise is taken to be Gaussian; `family: student` bends less to outliers."
        return Finding("against_gaussian", says)
    figure = _beside(fitted, fitted.gaussian, fitted.model.parameters, ("Student's t", "Gaussian"))
    what = "Densities with Student's t over Gaussian ones."
    found = theme.finding("against_gaussian", figure, what, noise_in_words(fitted))
    return replace(found, names=readable(fitted.model))


def _beside(
    fitted: Fitted,
    other: Fitted,
    names: list[str],
    called: tuple[str, str],
    truth: Mapping[str, Any] | None = None,
) -> Figure:
    """Marginals of one fit over those of another, a panel for each of `names` that both have."""
    draws, others, true = fitted.population, other.population, _numbers(truth)
    words = readable(fitted.model)
    names = [name for name in names if name in others and np.std(others[name]) > 0]
    figure, panels = theme.panels(len(names), 3, SIZE)
    for panel, name in zip(panels, names, strict=True):
        panel.plot(*density(others[name]), color=theme.EXACT, lw=5, alpha=0.7, label=called[1])
        panel.plot(*density(draws[name]), color=theme.INK, lw=1.4, label=called[0])
        if name in true:
            panel.axvline(true[name], label="true value", **theme.TRUTH)
        theme.without_heights(panel, theme.wrapped(words.get(name, name)))
    theme.legend(figure)
    return figure


def _numbers(truth: Mapping[str, Any] | None) -> dict[str, float]:
    """The true values that are single numbers."""
    return {n: float(v) for n, v in (truth or {}).items() if isinstance(v, int | float)}
