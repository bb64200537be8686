"""Power-scaling: what happens to the posterior when prior or likelihood weigh a little more."""

import logging
import warnings

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from partialpool.fit import exact, fitting
from partialpool.model import Model
from partialpool.posterior import draws

#: ArviZ's threshold, that of Kallioinen et al. (2024).
THRESHOLD = 0.05


def power_scaling(model: Model, posterior: xr.DataTree) -> pd.DataFrame:
    """ArviZ's `psense_summary` of every parameter that is no group effect.

    The likelihood that is scaled is that of the rows with the group effects integrated out where
    the noise is Gaussian, and given the effects elsewhere; the prior that of the parameters.

    Returns
    -------
    pandas.DataFrame
        Columns ``prior`` and ``likelihood`` (sensitivities) and ``diagnosis``.
    """
    thin = draws.thinned(posterior, 4000)
    shape = tuple(thin["posterior"].sizes[d] for d in ("chain", "draw"))
    dims = ("chain", "draw", "once")
    log_prior, log_likelihood = _log_prior(model, thin), _log_likelihood(model, thin)
    tree = xr.DataTree.from_dict(
        {
            "posterior": thin["posterior"].to_dataset()[[*model.parameters]],
            "log_prior": xr.Dataset({"all": (dims, log_prior.reshape(*shape, 1))}),
            "log_likelihood": xr.Dataset({"rows": (dims, log_likelihood.reshape(*shape, 1))}),
        }
    )
    log = logging.getLogger(azs.psense_summary.__module__)
    level = log.level
    log.setLevel(logging.ERROR)  # it says what the table says
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return azs.psense_summary(tree, threshold=THRESHOLD)
    finally:
        log.setLevel(level)


def _log_prior(model: Model, posterior: xr.DataTree) -> np.ndarray:
    """Log prior density of every draw, up to a constant: (S,)."""
    values = {
        str(name): value.to_numpy().reshape(-1)
        for name, value in posterior["posterior"].to_dataset()[[*model.parameters]].items()
    }
    design = model.design
    total = np.zeros(len(next(iter(values.values()))))
    for name, value in values.items():
        if name not in design.cor_names:
            total += model.priors[name].logpdf(value)
    for block in design.blocks:
        if len(block) < 2:
            continue
        correlation = np.tile(np.eye(len(block)), (len(total), 1, 1))
        for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
            if i in block:
                a, b = block.index(i), block.index(j)
                correlation[:, a, b] = correlation[:, b, a] = values[name]
                eta = model.priors[name].arguments[0]
        total += (eta - 1) * np.linalg.slogdet(correlation)[1]
    return total


def _log_likelihood(model: Model, posterior: xr.DataTree) -> np.ndarray:
    design = model.design
    if model.family != "gaussian":
        values = draws.flat(model, posterior)
        rows = np.arange(len(design.y))
        line, scale = draws.line(model, values, rows), draws.noise(model, values, rows)
        return stats.t(values["nu"][:, None], line, scale).logpdf(design.y).sum(1)
    dataset = posterior["posterior"].to_dataset()
    names = [*design.x_names, *design.sd_names, *design.cor_names, "sigma"]
    values = {name: dataset[name].to_numpy().reshape(-1) for name in names}
    beta = np.stack([values[n] for n in design.x_names], -1) if design.x_names else None
    beta = np.empty((len(values["sigma"]), 0)) if beta is None else beta
    L = fitting.covariance_root(design, values) if design.z_names else np.empty((len(beta), 0, 0))
    return exact.log_likelihood_given(model.cross, values["sigma"], L, beta)


def sentence(table: pd.DataFrame) -> str:
    """What the sensitivities say, in plain language."""
    prior, likelihood = table["prior"] > THRESHOLD, table["likelihood"] > THRESHOLD
    groups = {
        "pull between prior and data: both move it, so look whether the prior is meant": (
            prior & likelihood
        ),
        "the prior speaks louder than the data: its result is mostly what you put in": (
            prior & ~likelihood
        ),
    }
    says = [
        f"**{', '.join(map(str, table.index[which]))}** ({words})"
        for words, which in groups.items()
        if which.any()
    ]
    if not says:
        return (
            f"None of the {len(table)} parameters depends on the prior: all prior sensitivities "
            f"are below {THRESHOLD:g}, the largest {table['prior'].max():.3f} "
            f"({table['prior'].idxmax()})."
        )
    calm = int((~prior).sum())
    return f"Sensitive to the prior: {'; '.join(says)}. The other {calm} are not."


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with headings for readers."""
    headings = {"prior": "prior sensitivity", "likelihood": "likelihood sensitivity"}
    return table.rename(columns=headings)
