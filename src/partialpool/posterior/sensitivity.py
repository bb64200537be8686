"""Power-scaling: what happens to the posterior when prior or likelihood weigh a little more."""

import logging
import warnings

import arviz_stats as azs
import numpy as np
import pandas as pd

from partialpool.fit import exact, integrated_fit, mixed_equations
from partialpool.fit.exact_fit import (
    coefficients,
    covariance_root,
    integrated_values,
    n_draws,
)
from partialpool.posterior import responses
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted

#: ArviZ's threshold, that of Kallioinen et al. (2024), and its words.
THRESHOLD = 0.05
#: Posterior draws used, in all chains together.
DRAWS = 4000
CONFLICT, STRONG = "potential prior-data conflict", "potential strong prior / weak likelihood"
#: Where draws cannot be weighed, as those of a chain that is stuck far out.
UNKNOWN = "cannot be told"
#: What moves with both, but is not pulled apart.
BOTH = "prior matters"
#: Posterior sds by which a mean moves, for each doubling of a part's weight, from which on it is
#: pulled; a move to which Kallioinen et al. liken the threshold of sensitivity.
PULL = 0.3


def power_scaling(fitted: Fitted) -> pd.DataFrame:
    """ArviZ's `psense_summary` of every parameter that is no group effect, and where it is pulled.

    The likelihood that is scaled is that of the rows with the group effects integrated out where
    the noise is Gaussian or the integral is certified, and given the effects elsewhere; the prior
    that of the parameters.

    A sensitivity is a distance and has no sign: a parameter may follow both because they agree. Of
    a conflict is spoken here where they move its mean to opposite sides.

    Returns
    -------
    pandas.DataFrame
        Columns ``prior`` and ``likelihood`` (sensitivities), ``prior_shift`` and
        ``likelihood_shift`` (see `_shift`) and ``diagnosis``.
    """
    design, most = fitted.model.design, DRAWS
    if fitted.model.family == "gaussian" and len(design.groupings) > 1:
        most = mixed_equations.affordable(design, DRAWS)
    thin = fitted.thinned(most)
    logs = {"log_prior": _log_prior(thin), "log_likelihood": _log_likelihood(thin)}
    tree = thin.with_densities(**{name: log[:, None] for name, log in logs.items()})
    log = logging.getLogger(azs.psense_summary.__module__)
    level = log.level
    log.setLevel(logging.ERROR)  # it says what the table says
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            table = azs.psense_summary(tree, threshold=THRESHOLD, round_to=12)
    except ValueError:  # no weight is larger than others
        table = pd.DataFrame(np.nan, fitted.model.parameters, ["prior", "likelihood"])
        table["diagnosis"] = UNKNOWN
    finally:
        log.setLevel(level)
    diagnosis = table.pop("diagnosis")
    for name, power in (("prior", logs["log_prior"]), ("likelihood", logs["log_likelihood"])):
        shifts = [_shift(thin.population[parameter], power) for parameter in table.index]
        table[f"{name}_shift"] = shifts
    prior, likelihood = table["prior_shift"], table["likelihood_shift"]
    apart = (prior * likelihood < 0) & (prior.abs() >= PULL) & (likelihood.abs() >= PULL)
    return table.assign(diagnosis=diagnosis.mask((diagnosis == CONFLICT) & ~apart, BOTH))


def _shift(values: np.ndarray, log: np.ndarray) -> float:
    """Posterior sds by which a mean moves for each doubling of a part's weight, at weight one.

    The derivative of a mean by the power of a density is its covariance with the log density.
    """
    return float(np.log(2) * np.cov(values, log, bias=True)[0, 1] / np.std(values))


def _log_prior(fitted: Fitted) -> np.ndarray:
    """Log prior density of every draw, up to a constant: (S,)."""
    model, design, values = fitted.model, fitted.model.design, fitted.population
    total = np.zeros(n_draws(values))
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
    if model.certifiable:
        place = integrated_values(model, fitted.held)
        return integrated_fit.log_likelihood(model, place).sum(1)
    if model.family != "gaussian":
        return responses.summed(model, fitted.values, np.arange(len(design.y)))
    values = fitted.population
    sigma, beta = values["sigma"], coefficients(design, values)
    if len(design.groupings) > 1:
        roots = [covariance_root(grouping, values) for grouping in design.groupings]
        return mixed_equations.log_likelihood(design, sigma, roots, beta)
    return exact.log_likelihood_given(model.cross, sigma, covariance_root(design, values), beta)


def finding(fitted: Fitted) -> Finding:
    """The sensitivities as a table, with what they say."""
    table = power_scaling(fitted)
    columns = {
        "prior": ("prior sensitivity", "{:.3f}"),
        "likelihood": ("likelihood sensitivity", "{:.3f}"),
        "prior_shift": ("shift of the mean, in sd, if the prior counts twice", "{:+.2f}"),
        "likelihood_shift": ("if the likelihood does", "{:+.2f}"),
    }
    return Finding("sensitivity", sentence(table), table=table, columns=columns)


def conflicts(table: pd.DataFrame) -> list[str]:
    """Parameters that prior and likelihood pull to opposite sides."""
    return [str(name) for name in table.index[table["diagnosis"] == CONFLICT]]


def sentence(table: pd.DataFrame) -> str:
    """What the sensitivities say, in plain language, from the diagnoses of the table."""
    if (table["diagnosis"] == UNKNOWN).all():
        return (
            "How prior and likelihood move the posterior cannot be told: the largest weights of "
            "its draws are all alike, as where a chain is stuck."
        )
    words = {
        CONFLICT: "prior and data pull to opposite sides, so look whether the prior is meant",
        BOTH: "the prior matters here: moves with the prior and with the likelihood",
        STRONG: "the prior speaks louder than the data: its result is mostly what you put in",
    }
    says = [
        f"{', '.join(f'**{name}**' for name in table.index[table['diagnosis'] == diagnosis])} "
        f"({what})"
        for diagnosis, what in words.items()
        if (table["diagnosis"] == diagnosis).any()
    ]
    calm = table[~table["diagnosis"].isin(words)]
    if says:
        rest = ""
        if len(calm):
            others = f"the {len(calm)} others" if len(calm) > 1 else "the other"
            rest = f", and below that for {others}"
        return (
            f"Power-scaling sensitivity to the prior is {THRESHOLD:g} or more for "
            f"{'; '.join(says)}{rest}."
        )
    return (
        f"Power-scaling sensitivity to the prior is below {THRESHOLD:g} for every parameter; the "
        f"largest is {table['prior'].max():.3f} (**{table['prior'].idxmax()}**)."
    )
