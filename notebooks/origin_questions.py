"""Evidence on the questions that the origin left open, for `origin.ipynb` beside this file.

Why did starting from the maximum hurt? And is the non-zero eps a failure to converge, or what the
data say? Both are asked of the origin's model, ``y ~ x + (0 + x | i)`` with its own priors.
"""

import re
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
from partialpool.data.text import capital, number, percent, rounded
from partialpool.fit.regression import Regression
from partialpool.model import Fit
from partialpool.plots import palette, theme, varying
from partialpool.plots.marginals import density
from partialpool.posterior import checks, overview
from partialpool.posterior.draws import interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.headline import headline as regression_headline
from partialpool.posterior.names import readable
from partialpool.posterior.verdict import Verdicts
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
#: After so many steps the optimiser is stopped on its way.
STEPS = 1000
#: Draws of each chain that the origin kept.
KEPT = 100_000
#: Data tell a value from the likeliest one where its density is below this share of the highest:
#: half of the 95 % quantile of chi-squared with one degree of freedom lower on the log scale.
TOLD = np.exp(-1.92)
#: The two scales, by our names.
SCALES = {"x|i_sigma": "sigma_b", "sigma": "eps"}
#: How the exact interval is drawn under traces.
EXACT_BAND: dict[str, Any] = {"color": theme.COLORS["exact"], "alpha": 0.3, "linewidth": 0}


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


def priors(model: Regression) -> Finding:
    """The priors under the origin's names."""
    return replace(overview.priors(model), names=ORIGIN_NAMES)


def check(fit: Fit) -> Verdicts:
    """The verdict on a fit, in which parameters have the origin's names."""
    verdict, called = fit.check(), readable(fit.model)
    its = {called.get(name, name): own for name, own in ORIGIN_NAMES.items()}
    its |= {called["x|i"]: f"b − mu_b of {fit.model.words('i')}", "intercept": "a"}
    pattern = "|".join(sorted(map(re.escape, its), key=len, reverse=True))

    def told(one: dict[str, Any]) -> dict[str, Any]:
        return one | {"help": re.sub(rf"\b({pattern})\b", lambda f: its[f[0]], one["help"])}

    fitting = replace(verdict.fit, checks=[*map(told, verdict.fit.checks)])
    return replace(verdict, checks=[*map(told, verdict.checks)], fit=fitting)


def estimates(fit: Fitted, verdict: Verdicts) -> Finding:
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


def density_at_zero(exact: Fitted) -> float:
    """The exact density of eps at zero, as a share of the highest."""
    most = exact.values["sigma"].max()
    eps = np.concatenate([[1e-8], np.linspace(0, most, 201)[1:]])
    between = np.linspace(exact.values["x|i_sigma"].min(), exact.values["x|i_sigma"].max(), 60)
    grid = np.array([[e, s] for e in eps for s in between])
    heights = _marginal_density(exact, grid).reshape(len(eps), -1)
    shares = np.exp(heights - heights.max()).sum(1)
    return float(shares[0] / shares.max())


def _zero(exact: Fitted) -> str:
    """What the exact posterior says of eps and zero."""
    share = density_at_zero(exact)
    # on a grid, and the highest place may lie so near zero that nobody would see it
    high = "as high at 0 as anywhere" if share > 0.995 else f"at 0 {percent(share)} of the highest"
    tell = "cannot tell" if share > TOLD else "tell"
    return f"the data {tell} eps from 0, for its exact density is {high}"


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
    options = {"maxiter": STEPS, "maxfun": 2 * STEPS}
    ends, steps = [], []
    for _ in range(starts):
        scales = np.log(rng.uniform(0.1, 3, 2))
        v = np.concatenate([rng.normal(0, 3, 2), scales, rng.normal(0, 3, n)])
        end = minimize(downhill, v, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        ends.append(end.x)
        steps.append(end.nit)
    order = np.argsort([downhill(v)[0] for v in ends])
    ends, steps = [ends[k] for k in order], [steps[k] for k in order]
    best = ends[0]
    start = {
        "Intercept": best[0],
        "x": best[1],
        "x|i_sigma": np.exp(best[2]),
        "sigma": np.exp(best[3]),
        "x|i": best[4:] - best[1],
    }
    return _ends(np.array(ends), np.array([-downhill(v)[0] for v in ends]), np.array(steps)), start


def _ends(ends: np.ndarray, heights: np.ndarray, steps: np.ndarray) -> Finding:
    sigma_b, eps = np.exp(ends[:, 2:4]).T
    result = pd.DataFrame({"sigma_b": sigma_b, "eps": eps, "log_density": heights, "steps": steps})
    floor = int((np.minimum(sigma_b, eps) < 1.001 * FLOOR).sum())
    stopped = int((steps >= STEPS).sum())
    says = f"Of {len(ends)} random starts {np.sum(eps < LOW)} led to eps below {LOW}"
    if other := np.sum(sigma_b < LOW):
        says += f" and {other} to sigma_b below it, the other infinity"
    parts = [f"{floor} of them ended at {FLOOR:g}, below which no scale may go"] if floor else []
    parts += [f"{stopped} had not ended after {STEPS:,} steps"] if stopped else []
    says += f": {', and '.join(parts)}." if parts else "."
    columns = {name: (name, "{:#.4g}") for name in ("sigma_b", "eps")}
    columns |= {"log_density": ("log density", "{:,.1f}"), "steps": ("steps", "{:,}")}
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
            f"{capital(label)}: R-hat up to {worst['rhat'].max():.2f}, "
            f"{worst['ess_bulk'].min():.0f} effective draws, "
            + " and ".join(f"{percent(part)} of the draws of {at}" for at, part in inside.items())
            + " in the exact 90 % interval; eps begins "
            + _range(fit.dataset["sigma"].to_numpy()[:, 0])
        )
    for panel, short in zip(panels[:, 0], SCALES.values(), strict=True):
        panel.set_ylabel(short)
    band = plt.Rectangle((0, 0), 1, 1, **EXACT_BAND, label="exact 90 % interval")
    theme.legend(figure, [band])
    says = ". ".join(sentences) + ". Of exact draws 90 % are in the interval, by definition. Draw "
    says += "0 is the first after tuning, which is not shown."
    what = "Traces from different starts over the exact 90 % interval."
    return theme.finding("starts", figure, what, says)


def _range(values: np.ndarray) -> str:
    """Where values lie, in words."""
    low, high = (number(float(value), 2) for value in (values.min(), values.max()))
    return f"at {low}" if low == high else f"between {low} and {high}"


def _traces(panel: Axes, chains: np.ndarray, low: float, high: float) -> None:
    """Chains (C, draws), thinned to some 500 points, over an interval."""
    step = max(1, chains.shape[1] // 500)
    at = np.arange(chains.shape[1])[::step]
    for chain in chains:
        panel.plot(at, np.maximum(chain[::step], 1e-8), lw=0.7, alpha=0.8)
    panel.axhspan(low, high, **EXACT_BAND)
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
        f"{percent(share)} for eps = {eps:g}"
        for eps, share in held.groupby(noisy["eps"]).mean().items()
    )
    says = (
        f"**Mostly no.** The exact posterior, which has no chains, lies above zero as well: "
        f"{_zero(exact)}, and what cannot be negative has a positive median, here "
        f"{rounded(float(np.median(ours)), ours.std())}. Over {len(none)} data sets without any "
        f"noise the median lies between {low:.2f} and {high:.2f} in 90 % of them: each point has a "
        "slope of its own to absorb its noise, so that only points near x = 0 speak about eps. "
        f"{_walk(chains, checks.summarize(metropolis.dataset, ['sigma']).loc['sigma'])} Where "
        f"there is noise the 90 % intervals hold the true eps in {shares} of the data sets."
    )
    what = "Posterior of eps, here and over simulated data."
    return theme.finding("eps", figure, what, says)


def _walk(chains: np.ndarray, figures: pd.Series) -> str:
    """What Metropolis chains (C, draws) make of eps, and that they are short."""
    medians, n = np.median(chains, axis=1), chains.shape[1]
    partly = figures["rhat"] > checks.MAX_RHAT
    says = "**And partly the chains**" if partly else "The chains agree"
    short = f" (as short as {n:,} draws; the origin kept {KEPT:,})" if n < KEPT else ""
    return (
        f"{says}: in those of Metropolis{short} eps has {figures['ess_bulk']:.0f} "
        f"effective draws of "
        f"{chains.size:,} and an R-hat of {figures['rhat']:.2f}, with medians from "
        f"{medians.min():.2f} to {medians.max():.2f} by chain."
    )


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


def usual(radon: Fitted) -> Finding:
    """The answer to the third question, and the pooling of its groups."""
    found = varying.shrinkage(radon)
    return replace(found, sentence=f"{regression_headline(radon)} {found.sentence}")


def headline(
    fit: Fitted, exact: Fitted, truth: Mapping[str, float], radon: Fitted | None = None
) -> str:
    """The result and the three answers, in plain text; `truth` by the origin's names."""
    mu_b, ours, known = fit.values["x"], fit.values["sigma"], exact.values["sigma"]
    mean, low, high = (rounded(x, mu_b.std()) for x in (mu_b.mean(), *interval(mu_b)))
    median, certain = (rounded(float(np.median(x)), known.std()) for x in (ours, known))
    says = (
        f"mu_b is {mean} (90 % interval {low} to {high}; true value {truth['mu_b']:g}). Starting "
        "from the maximum hurt because there is none: the joint density rises without end as a "
        "scale goes to zero. "
    )
    medians = f"{median} here and {certain} in the exact posterior, which has no chains that could "
    medians += f"fail (true value {truth['eps']:g})."
    if truth["eps"] == 0:
        says += f"The chains are not what keeps eps from zero: {_zero(exact)}, and what cannot "
        says += f"be negative has a positive median, {medians}"
    else:
        says += f"And eps is known: its median is {medians}"
    if radon is None:
        return says
    usual = regression_headline(radon).partition(";")[0]
    usual = f"{usual[0].lower()}{usual[1:]}"
    return f"{says} The usual case, radon in the houses of many counties: {usual}."
