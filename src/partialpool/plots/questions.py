"""Evidence on the questions that the origin left open.

Why did starting from the maximum hurt? And is the non-zero eps a failure to converge, or what the
data say? Both are asked of the origin's model, ``y ~ x + (0 + x | i)`` with its own priors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.optimize import minimize

from partialpool.model import Model
from partialpool.plots import theme
from partialpool.plots.marginals import density
from partialpool.posterior import checks
from partialpool.simulation import simulate

#: The smallest scale the optimiser may reach: low enough to see that it wants lower.
FLOOR = 1e-4


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


def climb(
    table: pd.DataFrame, rng: np.random.Generator, starts: int = 10
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Send an optimiser up the joint density from random places.

    Returns
    -------
    pandas.DataFrame
        A row per start: ``sigma_b``, ``eps``, ``log_density`` where it ended.
    dict
        The highest end as a start for chains, by the contract's parameter names.
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

    bounds = [(None, None)] * 2 + [(np.log(FLOOR), np.log(100)), (np.log(FLOOR), np.log(10))]
    bounds += [(None, None)] * n
    rows, ends = [], []
    for _ in range(starts):
        scales = np.log(rng.uniform(0.1, 3, 2))
        v = np.concatenate([rng.normal(0, 3, 2), scales, rng.normal(0, 3, n)])
        end = minimize(
            downhill,
            v,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 1000, "maxfun": 2000},
        ).x
        ends.append(end)
        rows.append(
            {
                "sigma_b": np.exp(end[2]),
                "eps": np.exp(end[3]),
                "log_density": -downhill(end)[0],
            }
        )
    result = pd.DataFrame(rows)
    best = ends[int(result["log_density"].idxmax())]
    start = {
        "Intercept": best[0],
        "x": best[1],
        "x|i_sigma": np.exp(best[2]),
        "sigma": np.exp(best[3]),
        "x|i": best[4:] - best[1],
    }
    return result, start


def unbounded(table: pd.DataFrame, model: Model) -> tuple[Figure, str, str]:
    """The joint density on two paths to a zero scale, and the marginal density on the same.

    Path one: all slopes equal, ``sigma_b`` to zero. Path two: every line through its point,
    ``eps`` to zero.
    """
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    slope, intercept = np.polyfit(x, y, 1)
    spread = float(np.std(y - intercept - slope * x))
    a = float(np.median(model.reference["posterior"]["Intercept"]))
    b = (y - a) / x
    scales = np.logspace(-6, 0.5, 60)
    paths = {
        "sigma_b to 0, all slopes equal": (
            [
                joint_density(x, y, intercept, slope, s, spread, np.full(len(x), slope))
                for s in scales
            ],
            np.column_stack([np.full(60, spread), scales]),
        ),
        "eps to 0, every line through its point": (
            [joint_density(x, y, a, b.mean(), b.std(), s, b) for s in scales],
            np.column_stack([scales, np.full(60, b.std())]),
        ),
    }
    target = model.theta_posterior
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8))
    for (name, (joint, values)), color in zip(paths.items(), theme.PALETTE, strict=False):
        u = np.array([target.coordinates(v) for v in values])
        # the density over sigma_b and eps themselves, so without the Jacobian of the coordinates
        marginal = target(u) - target.scale_values(u)[1]
        panels[0].plot(scales, joint, color=color, label=name)
        panels[1].plot(scales, marginal, color=color)
    for panel, title in zip(
        panels, ("joint density, with the slopes", "slopes integrated out"), strict=True
    ):
        panel.set(xscale="log", xlabel="the scale that shrinks", ylabel="log density", title=title)
    figure.legend(loc="outside upper center", ncols=2)
    per_decade = len(table) * np.log(10)
    says = (
        f"Each time a scale shrinks tenfold the joint density rises by "
        f"{len(table)} · log 10 = {per_decade:.0f} on the log scale, without end: **it has no "
        "maximum**. With the slopes integrated out the density stays bounded on the same paths."
    )
    return (
        figure,
        f"Log densities against a shrinking scale, two panels. {says}".replace("**", ""),
        says,
    )


def starts(fits: Mapping[str, xr.DataTree], reference: xr.DataTree) -> tuple[Figure, str, str]:
    """Traces of sigma_b and eps from different starting places, over the exact interval."""
    names = {"x|i_sigma": "sigma_b", "sigma": "eps"}
    figure, panels = plt.subplots(
        len(names), len(fits), figsize=(9.5, 5), sharex=True, sharey="row", squeeze=False
    )
    sentences = []
    for column, (label, fit) in enumerate(fits.items()):
        summary = checks.summarize(fit)
        for row, name in enumerate(names):
            panel = panels[row, column]
            draws = fit["posterior"][name].to_numpy()
            step = max(1, draws.shape[1] // 500)
            at = np.arange(draws.shape[1])[::step]
            for chain in draws:
                panel.plot(at, np.maximum(chain[::step], 1e-8), lw=0.7, alpha=0.8)
            low, high = np.quantile(reference["posterior"][name], [0.05, 0.95])
            panel.axhspan(low, high, color=theme.COLORS["exact"], alpha=0.3, linewidth=0)
            panel.set(yscale="log")
        panels[0, column].set_title(label)
        panels[-1, column].set_xlabel("draw")
        worst = summary.loc[list(names)]
        inside = np.mean(
            [
                np.mean((fit["posterior"][n] >= lo) & (fit["posterior"][n] <= hi))
                for n in names
                for lo, hi in [np.quantile(reference["posterior"][n], [0.05, 0.95])]
            ]
        )
        sentences.append(
            f"{label}: R-hat up to {worst['rhat'].max():.2f}, {worst['ess_bulk'].min():.0f} "
            f"effective draws, {inside:.0%} of draws of sigma_b and eps in the exact 90 % intervals"
        )
    for row, short in enumerate(names.values()):
        panels[row, 0].set_ylabel(short)
    says = "; ".join(sentences) + " (90 % of exact draws are, by definition)."
    return figure, f"Traces from different starts over the exact 90 % interval. {says}", says


def eps_over_data_sets(
    rng: np.random.Generator, truths: Sequence[float], data_sets: int, n: int = 100
) -> pd.DataFrame:
    """Exact posterior of eps for many simulated data sets.

    Returns
    -------
    pandas.DataFrame
        A row per data set: true ``eps``; quantiles ``q05``, ``q50``, ``q95``; ``nearest``, the
        smallest x, at which the slopes can hide the least noise.
    """
    rows = []
    for eps in truths:
        for _ in range(data_sets):
            table = simulate.origin(rng, n=n, eps=eps)
            model = Model(simulate.ORIGIN_FORMULA, table, simulate.ORIGIN_PRIORS)
            fit = model.fit(draws=250, seed=int(rng.integers(2**31)))
            q05, q50, q95 = np.quantile(fit["posterior"]["sigma"], [0.05, 0.5, 0.95])
            rows.append(
                {"eps": eps, "q05": q05, "q50": q50, "q95": q95, "nearest": table["x"].min()}
            )
    return pd.DataFrame(rows)


def eps_figure(
    result: pd.DataFrame, metropolis: xr.DataTree, reference: xr.DataTree, eps_true: float
) -> tuple[Figure, str, str]:
    """Left: eps in this run, exact and by Metropolis. Right: over many data sets, by true eps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
    exact = reference["posterior"]["sigma"].to_numpy()
    chains = metropolis["posterior"]["sigma"].to_numpy()
    style = {"color": theme.COLORS["exact"], "lw": 5, "alpha": 0.55}
    left.plot(*density(exact.ravel()), label="exact", **style)
    for k, chain in enumerate(chains):
        label = f"Metropolis, {len(chains)} chains" if k == 0 else None
        left.plot(*density(chain), label=label, color=theme.INK, lw=1)
    left.set_xlim(0, 1.1 * max(np.quantile(chains, 0.995), np.quantile(exact, 0.995)))
    left.axvline(eps_true, label="true value", **theme.TRUTH)
    left.set(xlabel="eps", yticks=[], ylim=(0, None), title="eps of this run's data")
    left.spines["left"].set_visible(False)
    left.legend()
    covered = {}
    for at, (eps, rows) in enumerate(result.groupby("eps")):
        order = rows.sort_values("q50")
        x = at + np.linspace(-0.38, 0.38, len(order))
        right.vlines(x, order["q05"], order["q95"], color=theme.COLORS["exact"], alpha=0.6, lw=1)
        right.plot(x, order["q50"], ".", ms=3, color=theme.COLORS["partial"])
        right.hlines(eps, at - 0.45, at + 0.45, **{k: v for k, v in theme.TRUTH.items()})
        covered[eps] = np.mean((rows["q05"] <= eps) & (eps <= rows["q95"]))
    values = sorted(result["eps"].unique())
    right.set_xticks(range(len(values)), [f"{v:g}" for v in values])
    right.set(xlabel="true eps", ylabel="eps: median, 90 % interval", title="many data sets")
    none = result[result["eps"] == 0]
    low, high = np.quantile(none["q50"], [0.05, 0.95])
    mine = float(np.median(exact))
    figures = checks.summarize(metropolis).loc["sigma"]
    medians = np.median(chains, axis=1)
    others = "; ".join(
        f"{share:.0%} for eps = {eps:g}" for eps, share in covered.items() if eps > 0
    )
    says = (
        f"**Mostly the data.** The exact posterior median of eps is {mine:.2f} here, and over "
        f"{len(none)} data sets without any noise it lies between {low:.2f} and {high:.2f} in 90 % "
        "of them: each point has a slope of its own to absorb its noise, so that only points near "
        "x = 0 speak about eps. **And partly the chains**: in the Metropolis chains on the left "
        f"eps has {figures['ess_bulk']:.0f} effective draws of {chains.size:,} and an R-hat of "
        f"{figures['rhat']:.2f}, with medians from {medians.min():.2f} to {medians.max():.2f} by "
        "chain. Where there is noise the 90 % intervals hold the true eps in "
        f"{others} of the data sets."
    )
    return figure, f"Posterior of eps, here and over simulated data. {says}".replace("**", ""), says
