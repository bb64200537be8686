"""What a model says about data: replications under prior and posterior, variance explained."""

from collections.abc import Callable, Mapping

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr

from partialpool.design.matrices import Design
from partialpool.fit.exact_fit import covariance_root, prior_effects
from partialpool.fit.regression import Regression
from partialpool.posterior import draws
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted

#: Replicated data sets.
REPLICATIONS = 400
#: Draws from the prior: a data set each.
PRIOR_SETS = 200


def replicate(fitted: Fitted, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """New responses at rows of the data, in the groups that they are in: (replications, n)."""
    return _respond(fitted.model.design, fitted.thinned(REPLICATIONS).values, rows, rng)


def replicate_prior(
    model: Regression, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Responses at rows of the data that the priors alone imply; None if one of them is flat."""
    if not model.proper:
        return None
    design = model.design
    truths = [draws.from_prior(design, model.priors, rng) for _ in range(PRIOR_SETS)]
    values = {name: np.array([truth[name] for truth in truths]) for name in truths[0]}
    if "nu" in model.priors:
        values["nu"] = model.priors["nu"].sample(rng, PRIOR_SETS)
    if design.z_names:
        effects = prior_effects(design, values, rng)
        values |= {design.effect(k): effect for k, effect in enumerate(effects)}
    return _respond(design, values, rows, rng)


def _respond(
    design: Design, values: Mapping[str, np.ndarray], rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    line = draws.line(design, values, rows)
    unit = draws.standard_noise(values, line.shape, rng)
    return line + draws.noise(design, values, rows) * unit


def statistics(design: Design, rows: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Figures by which replications are held against the data: name -> function of (S, n)."""
    codes = np.unique(design.codes[rows], return_inverse=True)[1]
    counts = np.bincount(codes)

    def means(y: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(y), len(counts)))
        np.add.at(sums.T, codes, y.T)
        return sums / counts

    def within(y: np.ndarray) -> np.ndarray:
        left = np.zeros((len(y), len(counts)))
        np.add.at(left.T, codes, ((y - means(y)[:, codes]) ** 2).T)
        several = counts > 1
        return np.sqrt(left[:, several] / (counts[several] - 1))

    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "smallest value": lambda y: y.min(1),
        "largest value": lambda y: y.max(1),
    }
    if len(counts) > 1 and counts.max() > 1:
        found |= {
            "sd of group means": lambda y: means(y).std(1),
            "largest sd within a group": lambda y: within(y).max(1),
        }
    else:
        found |= {
            "standard deviation": lambda y: y.std(1),
            "mean absolute deviation": lambda y: np.abs(y - y.mean(1)[:, None]).mean(1),
        }
    return found


def variance_explained(fitted: Fitted, rows: np.ndarray) -> Finding:
    """Bayesian R² and the share of variance between groups, with 90 % intervals.

    R² is ArviZ's (Gelman, Goodrich, Gabry & Vehtari 2019), with the variance of the residuals at
    each draw. The share between groups is that of ``z' Sigma z`` in what the population's part of
    the line leaves, mean over rows (docs/method.md, eq. (31); Johnson 2014); it is the intraclass
    correlation where only the intercept varies.

    Returns
    -------
    Finding
        Columns ``mean``, ``q05``, ``q95``.
    """
    design, values = fitted.model.design, fitted.thinned(1000).values
    y = design.y[rows]
    shares = {}
    lines = {"by population and groups": draws.line(design, values, rows)}
    if design.z_names and set(design.x_names) - {"Intercept"}:
        lines["by the population's part alone"] = draws.population_line(design, values, rows)
    for name, line in lines.items():
        tree = xr.DataTree.from_dict(
            {
                "posterior": xr.Dataset(
                    {
                        "line": (("chain", "draw", "row"), line[None]),
                        "residual": (("chain", "draw"), (y - line).std(1)[None]),
                    }
                )
            }
        )
        shares[f"R² {name}"] = azs.bayesian_r2(tree, "line", "residual", summary=False)
    if design.z_names:
        L = covariance_root(design, values)
        gram = design.Z[rows].T @ design.Z[rows] / len(rows)
        between = np.einsum("sik,ij,sjk->s", L, gram, L)
        rest = ((y - lines["by population and groups"]) ** 2).mean(1)
        shares["share of the remaining variance between groups"] = between / (between + rest)
    table = pd.DataFrame(
        {
            name: {
                "mean": np.mean(share),
                "q05": np.quantile(share, 0.05),
                "q95": np.quantile(share, 0.95),
            }
            for name, share in shares.items()
        }
    ).T
    columns = {n: (h, "{:.1%}") for n, h in (("mean", "mean"), ("q05", "5 %"), ("q95", "95 %"))}
    return Finding("variance", _variance_sentence(table), table=table, columns=columns)


def _variance_sentence(table: pd.DataFrame) -> str:
    """What the shares of variance say, in words."""
    whole, *others = table.index
    says = f"The line with its groups explains {table.at[whole, 'mean']:.0%} of the variance"
    for name in others:
        share = f"{table.at[name, 'mean']:.0%}"
        if "alone" in name:
            says += f", what all groups share {share} alone"
        else:
            says += (
                f"; of the variance that the population's part leaves, {share} lies between groups"
            )
    return says + "."
