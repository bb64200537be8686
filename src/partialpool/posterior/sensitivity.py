"""Power-scaling: what happens to the posterior when prior or likelihood weigh a little more."""

import logging
import warnings

import arviz_stats as azs
import numpy as np
import pandas as pd
from scipy import stats

from partialpool.fit import exact
from partialpool.fit.exact_fit import coefficients, covariance_root
from partialpool.posterior import draws
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted

#: ArviZ's threshold, that of Kallioinen et al. (2024), and its words.
THRESHOLD = 0.05
CONFLICT, STRONG = "potential prior-data conflict", "potential strong prior / weak likelihood"


def power_scaling(fitted: Fitted) -> pd.DataFrame:
    """ArviZ's `psense_summary` of every parameter that is no group effect.

    The likelihood that is scaled is that of the rows with the group effects integrated out where
    the noise is Gaussian, and given the effects elsewhere; the prior that of the parameters.

    Returns
    -------
    pandas.DataFrame
        Columns ``prior`` and ``likelihood`` (sensitivities) and ``diagnosis``.
    """
    thin = fitted.thinned(4000)
    logs = {"log_prior": _log_prior(thin), "log_likelihood": _log_likelihood(thin)}
    tree = thin.with_densities(**{name: log[:, None] for name, log in logs.items()})
    log = logging.getLogger(azs.psense_summary.__module__)
    level = log.level
    log.setLevel(logging.ERROR)  # it says what the table says
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return azs.psense_summary(tree, threshold=THRESHOLD, round_to=12)
    finally:
        log.setLevel(level)


def _log_prior(fitted: Fitted) -> np.ndarray:
    """Log prior density of every draw, up to a constant: (S,)."""
    model, design, values = fitted.model, fitted.model.design, fitted.population
    total = np.zeros(len(values["sigma"]))
    for name in model.parameters:
        if name not in design.cor_names:
            total += model.priors[name].logpdf(values[name])
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


def _log_likelihood(fitted: Fitted) -> np.ndarray:
    model, design = fitted.model, fitted.model.design
    if model.family != "gaussian":
        values = fitted.values
        rows = np.arange(len(design.y))
        line, scale = draws.line(design, values, rows), draws.noise(design, values, rows)
        return stats.t(values["nu"][:, None], line, scale).logpdf(design.y).sum(1)
    values = fitted.population
    beta, L = coefficients(design, values), covariance_root(design, values)
    return exact.log_likelihood_given(model.cross, values["sigma"], L, beta)


def finding(fitted: Fitted) -> Finding:
    """The sensitivities as a table, with what they say."""
    table = power_scaling(fitted)
    columns = {
        "prior": ("prior sensitivity", "{:.3f}"),
        "likelihood": ("likelihood sensitivity", "{:.3f}"),
    }
    return Finding("sensitivity", sentence(table), table=table, columns=columns)


def conflicts(table: pd.DataFrame) -> list[str]:
    """Parameters that both prior and likelihood move: each pulls them its own way."""
    return [str(name) for name in table.index[table["diagnosis"] == CONFLICT]]


def sentence(table: pd.DataFrame) -> str:
    """What the sensitivities say, in plain language, from the diagnoses of the table."""
    words = {
        CONFLICT: "pull between prior and data: both move it, so look whether the prior is meant",
        STRONG: "the prior speaks louder than the data: its result is mostly what you put in",
    }
    says = [
        f"{', '.join(f'**{name}**' for name in table.index[table['diagnosis'] == diagnosis])} "
        f"({what})"
        for diagnosis, what in words.items()
        if (table["diagnosis"] == diagnosis).any()
    ]
    if not says:
        return (
            f"None of the {len(table)} parameters depends on the prior: all prior sensitivities "
            f"are below {THRESHOLD:g}, the largest {table['prior'].max():.3f} "
            f"({table['prior'].idxmax()})."
        )
    calm = int((~table["diagnosis"].isin(words)).sum())
    return (
        f"Sensitive to the prior (sensitivity of {THRESHOLD:g} or more): {'; '.join(says)}. "
        f"The other {calm} are not."
    )
