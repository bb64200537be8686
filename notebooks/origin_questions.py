"""Evidence on the questions that the origin left open, for `origin.ipynb` beside this file.

Why did starting from the maximum hurt? And is the non-zero eps a failure to converge, or what the
data say? Both are asked of the origin's model, ``y ~ x + (0 + x | i)`` with its own priors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from scipy.optimize import minimize

import partialpool as pp
from partialpool.data.text import rounded
from partialpool.plots import palette, theme
from partialpool.plots.marginals import density
from partialpool.posterior import checks
from partialpool.posterior.draws import interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.headline import headline as regression_headline
from partialpool.posterior.verdict import Verdict
from partialpool.simulation.simulate import (
    ORIGIN_FORMULA,
    ORIGIN_NAMES,
    ORIGIN_PRIORS,
    origin,
)

#: The smallest scale the optimiser may reach: low enough to see that it wants lower.
FLOOR = 1e-4
#: Below this a scale is on its way to zero.
LOW = 0.01
#: The two scales, by our names.
SCALES = {"x|i_sigma": "sigma_b", "sigma": "eps"}


def as_origin(fit: Fitted) -> Fitted:
    """A fit, and its reference, under the origin's names and with slopes ``b``."""
    renamed = Fitted(fit.model, _renamed(fit.posterior))
    assert fit.reference is not None  # the noise is Gaussian
    renamed.reference = Fitted(fit.model, _renamed(fit.reference.posterior))
    return renamed


def _renamed(tree: xr.DataTree) -> xr.DataTree:
    draws = tree["posterior"].to_dataset()
    slopes = draws["x"] + draws["x|i"]
    renamed = draws.drop_vars("x|i").rename(ORIGIN_NAMES).assign(b=slopes)
    return xr.DataTree.from_dict({"posterior": renamed})


def estimates(fit: Fitted, verdict: Verdict) -> Finding:
    """Figures of the four parameters under the origin's names, and the verdict in words."""
    found = checks.estimates(fit)
    assert found.table is not None
    says = f"{found.sentence} {verdict.sentence}"
    return replace(found, sentence=says, table=found.table.rename(index=ORIGIN_NAMES))


def joint_density(
    x: np.ndarray, y: np.ndarray, a: float, mu_b: float, sigma_b: float, eps: float, b: np.ndarray
) -> float:
    """Log joint density of the centred model, slopes and all, without the uniform priors."""
    n = len(x)
    residual = y - a - b * x
    return float(
        -n * np.log(2 * np.pi * sigma_b * eps)
        - (residual @ residual) / (2 * eps**2)
        - ((b - mu_b) @ (b - mu_b)) / (2 * sigma_b**2)
        - (a**2 + mu_b**2) / (2 * 1e4**2)
    )


def unbounded(exact: Fitted) -> Finding:
    """The joint density on two paths to a zero scale, and the marginal density on the same.

    Path one: all slopes equal, ``sigma_b`` to zero. Path two: every line through its point,
    ``eps`` to zero.
    """
    x, y = (exact.model.table[name].to_numpy() for name in "xy")
    scales = np.logspace(-6, 0.5, 60)
    slope, intercept = np.polyfit(x, y, 1)
    spread, equal = float(np.std(y - intercept - slope * x)), np.full(len(x), slope)
    a = float(np.median(exact.values["Intercept"]))
    b = (y - a) / x
    joint = {
        "sigma_b to 0, all slopes equal": [
            joint_density(x, y, intercept, slope, s, spread, equal) for s in scales
        ],
        "eps to 0, every line through its point": [
            joint_density(x, y, a, b.mean(), b.std(), s, b) for s in scales
        ],
    }
    # columns: eps, sigma_b
    walked = [
        np.column_stack([np.full(60, spread), scales]),
        np.column_stack([scales, np.full(60, b.std())]),
    ]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
    for (name, heights), values, color in zip(joint.items(), walked, palette.CHOSEN, strict=False):
        left.plot(scales, heights, color=color, label=name)
        right.plot(scales, _marginal_density(exact, values), color=color)
    left.set_title("joint density, with the slopes")
    right.set_title("slopes integrated out")
    for panel in (left, right):
        panel.set(xscale="log", xlabel="the scale that shrinks", ylabel="log density")
    theme.legend(figure)
    n = len(x)
    says = (
        f"Each time a scale shrinks tenfold the joint density rises by {n} · log 10 = "
        f"{n * np.log(10):.0f} on the log scale, without end: **it has no maximum**. With the "
        "slopes integrated out the density stays bounded on the same paths."
    )
    what = "Log densities against a shrinking scale, two panels."
    return theme.finding("unbounded", figure, what, says)


def _marginal_density(exact: Fitted, values: np.ndarray) -> np.ndarray:
    """Log density of eps and sigma_b themselves, given as rows of `values`."""
    target = exact.model.theta_posterior
    u = np.array([target.coordinates(row) for row in values])
    return target(u) - target.scale_values(u)[1]  # without the Jacobian of the coordinates


def climb(
    table: pd.DataFrame, rng: np.random.Generator, starts: int = 10
) -> tuple[Finding, dict[str, Any]]:
    """Send an optimiser up the joint density from random places.

    Returns
    -------
    Finding
        Where it ended, from the highest end to the lowest.
    dict
        The highest end as a start for chains, by our names of the parameters.
    """
    x, y, n = table["x"].to_numpy(), table["y"].to_numpy(), len(table)

    def downhill(v: np.ndarray) -> tuple[float, np.ndarray]:
        a, mu, (s, e), b = v[0], v[1], np.exp(v[2:4]), v[4:]
        r, d = y - a - b * x, b - mu
        gradient = np.concatenate(
            [
                [r.sum() / e**2 - a / 1e8, d.sum() / s**2 - mu / 1e8],
                [d @ d / s**2 - n, r @ r / e**2 - n],
                r * x / e**2 - d / s**2,
            ]
        )
        return -joint_density(x, y, a, mu, s, e, b), -gradient

    free, floor = (None, None), np.log(FLOOR)
    bounds = [free, free, (floor, np.log(100)), (floor, np.log(10)), *[free] * n]
    options = {"maxiter": 1000, "maxfun": 2000}
    ends = []
    for _ in range(starts):
        scales = np.log(rng.uniform(0.1, 3, 2))
        v = np.concatenate([rng.normal(0, 3, 2), scales, rng.normal(0, 3, n)])
        end = minimize(downhill, v, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        ends.append(end.x)
    ends.sort(key=lambda v: downhill(v)[0])
    best = ends[0]
    start = {
        "Intercept": best[0],
        "x": best[1],
        "x|i_sigma": np.exp(best[2]),
        "sigma": np.exp(best[3]),
        "x|i": best[4:] - best[1],
    }
    return _ends(np.array(ends), np.array([-downhill(v)[0] for v in ends])), start


def _ends(ends: np.ndarray, heights: np.ndarray) -> Finding:
    sigma_b, eps = np.exp(ends[:, 2:4]).T
    result = pd.DataFrame({"sigma_b": sigma_b, "eps": eps, "log_density": heights})
    gone = np.mean((sigma_b < LOW) | (eps < LOW))
    low, high = f"{eps.min():.2g}", f"{eps.max():.2g}"
    says = (
        f"From {len(ends)} random starts the optimiser brought a scale below {LOW} in {gone:.0%} "
        f"of the cases (it was stopped at {FLOOR:g}); eps ended "
        + (f"at {low}." if low == high else f"between {low} and {high}.")
    )
    columns = {name: (name.replace("_d", " d"), "{:.4g}") for name in result.columns}
    return Finding("ends", says, table=result, columns=columns, index=False)


def starts(fits: Mapping[str, Fitted], exact: Fitted) -> Finding:
    """Traces of sigma_b and eps from different starting places, over the exact interval."""
    figure, panels = plt.subplots(
        len(SCALES), len(fits), figsize=(9.5, 5), sharex=True, sharey="row", squeeze=False
    )
    intervals = {name: np.quantile(exact.values[name], [0.05, 0.95]) for name in SCALES}
    sentences = []
    for column, (label, fit) in zip(panels.T, fits.items(), strict=True):
        inside = {}
        for panel, (name, (low, high)) in zip(column, intervals.items(), strict=True):
            draws = fit.dataset[name].to_numpy()
            _traces(panel, draws, low, high)
            inside[SCALES[name]] = np.mean((draws >= low) & (draws <= high))
        column[0].set_title(label)
        column[-1].set_xlabel("draw")
        worst = checks.summarize(fit.dataset, SCALES)
        sentences.append(
            f"{label}: R-hat up to {worst['rhat'].max():.2f}, {worst['ess_bulk'].min():.0f} "
            "effective draws, "
            + " and ".join(f"{share:.0%} of the draws of {name}" for name, share in inside.items())
            + " in the exact 90 % interval"
        )
    for panel, short in zip(panels[:, 0], SCALES.values(), strict=True):
        panel.set_ylabel(short)
    says = "; ".join(sentences) + " (90 % of exact draws are, by definition)."
    what = "Traces from different starts over the exact 90 % interval."
    return theme.finding("starts", figure, what, says)


def _traces(panel: Axes, chains: np.ndarray, low: float, high: float) -> None:
    """Chains (C, draws), thinned to some 500 points, over an interval."""
    step = max(1, chains.shape[1] // 500)
    at = np.arange(chains.shape[1])[::step]
    for chain in chains:
        panel.plot(at, np.maximum(chain[::step], 1e-8), lw=0.7, alpha=0.8)
    panel.axhspan(low, high, color=theme.COLORS["exact"], alpha=0.3, linewidth=0)
    panel.set(yscale="log")


def eps_over_data_sets(
    rng: np.random.Generator, truths: Sequence[float], data_sets: int, n: int = 100
) -> pd.DataFrame:
    """Exact posterior of eps for many simulated data sets.

    Returns
    -------
    pandas.DataFrame
        A row per data set: true ``eps``; quantiles ``q05``, ``q50``, ``q95``.
    """
    rows = []
    for eps in np.repeat(truths, data_sets):
        table = origin(rng, n=n, eps=eps)
        model = pp.Model(ORIGIN_FORMULA, table, ORIGIN_PRIORS)
        fit = model.fit(draws=250, seed=int(rng.integers(2**31)))
        rows.append([eps, *np.quantile(fit.values["sigma"], [0.05, 0.5, 0.95])])
    return pd.DataFrame(rows, columns=["eps", "q05", "q50", "q95"])


def eps_from_the_data(
    over_data_sets: pd.DataFrame, metropolis: Fitted, exact: Fitted, true: float
) -> Finding:
    """Left: eps in this run, exact and by Metropolis. Right: over many data sets, by true eps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
    ours = exact.values["sigma"]
    chains = metropolis.dataset["sigma"].to_numpy()
    _eps_here(left, ours, chains, true)
    _eps_there(right, over_data_sets)
    none = over_data_sets.loc[over_data_sets["eps"] == 0, "q50"]
    low, high = np.quantile(none, [0.05, 0.95])
    noisy = over_data_sets[over_data_sets["eps"] > 0]
    held = (noisy["q05"] <= noisy["eps"]) & (noisy["eps"] <= noisy["q95"])
    shares = "; ".join(
        f"{share:.0%} for eps = {eps:g}" for eps, share in held.groupby(noisy["eps"]).mean().items()
    )
    figures = checks.summarize(metropolis.dataset, ["sigma"]).loc["sigma"]
    medians = np.median(chains, axis=1)
    says = (
        f"**Mostly the data.** The exact posterior median of eps is {np.median(ours):.2f} here, "
        f"and over {len(none)} data sets without any noise it lies between {low:.2f} and "
        f"{high:.2f} in 90 % of them: each point has a slope of its own to absorb its noise, so "
        "that only points near x = 0 speak about eps. **And partly the chains**: in the "
        f"Metropolis chains on the left eps has {figures['ess_bulk']:.0f} effective draws of "
        f"{chains.size:,} and an R-hat of {figures['rhat']:.2f}, with medians from "
        f"{medians.min():.2f} to {medians.max():.2f} by chain. Where there is noise the 90 % "
        f"intervals hold the true eps in {shares} of the data sets."
    )
    what = "Posterior of eps, here and over simulated data."
    return theme.finding("eps", figure, what, says)


def _eps_here(panel: Axes, exact: np.ndarray, chains: np.ndarray, true: float) -> None:
    panel.plot(*density(exact), label="exact", color=theme.COLORS["exact"], lw=5, alpha=0.55)
    for k, chain in enumerate(chains):
        label = f"Metropolis, {len(chains)} chains" if k == 0 else None
        panel.plot(*density(chain), label=label, color=theme.INK, lw=1)
    panel.axvline(true, label="true value", **theme.TRUTH)
    theme.without_heights(panel, "eps")
    panel.set_xlim(0, 1.1 * max(np.quantile(chains, 0.995), np.quantile(exact, 0.995)))
    panel.set_title("eps of this run's data")
    panel.legend()


def _eps_there(panel: Axes, result: pd.DataFrame) -> None:
    values = sorted(result["eps"].unique())
    for at, eps in enumerate(values):
        rows = result[result["eps"] == eps].sort_values("q50")
        x = at + np.linspace(-0.38, 0.38, len(rows))
        panel.vlines(x, rows["q05"], rows["q95"], color=theme.COLORS["exact"], alpha=0.6, lw=1)
        panel.plot(x, rows["q50"], ".", ms=3, color=theme.COLORS["exact"])
        panel.hlines(eps, at - 0.45, at + 0.45, **theme.TRUTH)
    panel.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    panel.set(xlabel="true eps", ylabel="eps: median, 90 % interval", title="many data sets")


def headline(
    fit: Fitted, exact: Fitted, truth: Mapping[str, float], radon: Fitted | None = None
) -> str:
    """The result and the three answers, in plain text; `truth` by the origin's names."""
    mu_b, ours, known = fit.values["x"], fit.values["sigma"], exact.values["sigma"]
    mean, low, high = (rounded(x, mu_b.std()) for x in (mu_b.mean(), *interval(mu_b)))
    median, certain = (rounded(float(np.median(x)), known.std()) for x in (ours, known))
    why = (
        "The data, not the chains, keep eps from zero" if truth["eps"] == 0 else "And eps is known"
    )
    says = (
        f"mu_b is {mean} (90 % interval {low} to {high}; true value {truth['mu_b']:g}). Starting "
        "from the maximum hurt because there is none: the joint density rises without end as a "
        f"scale goes to zero. {why}: its median is {median} here and {certain} in the exact "
        f"posterior, which has no chains that could fail (true value {truth['eps']:g})."
    )
    if radon is None:
        return says
    usual = regression_headline(radon).partition(";")[0]
    usual = f"{usual[0].lower()}{usual[1:]}"
    return f"{says} The usual case, radon in the houses of many counties: {usual}."
