"""The peers that give a point estimate, in Python."""

import time

import numpy as np
from scipy.linalg import block_diag

from data import Data
from results import Result, Settings, estimated


def statsmodels(data: Data, seed: int, settings: Settings) -> Result:
    """MixedLM, restricted maximum likelihood."""
    import statsmodels.formula.api as smf

    varying = "~ x" if data.correlated else "~ 0 + x"
    model = smf.mixedlm("y ~ x", data.table, groups="g", re_formula=varying)
    begun = time.perf_counter()
    fit = model.fit()
    seconds = time.perf_counter() - begun
    covariance = np.asarray(fit.cov_re)
    return estimated(data.model.design, fit.fe_params, covariance, np.sqrt(fit.scale), seconds)


def mixedlm(data: Data, seed: int, settings: Settings) -> Result:
    """The mixedlm package, lme4's way in Rust; restricted maximum likelihood."""
    import mixedlm as package

    fit = package.lmer(data.formula, data.table)
    groups = fit.VarCorr().groups
    covariance = block_diag(*(groups[name].cov for name in data.factors or ["g"]))
    return estimated(data.model.design, fit.fixef().values(), covariance, fit.sigma)


def gpboost(data: Data, seed: int, settings: Settings) -> Result:
    """The fastest point estimate we know; maximum likelihood."""
    import gpboost as package

    table = data.table
    slopes = {
        "group_rand_coef_data": table[["x"]].to_numpy(),
        "ind_effect_group_rand_coef": [1],
        "drop_intercept_group_rand_effect": None if data.correlated else [True],
    }
    model = package.GPModel(
        group_data=table[data.factors or ["g"]].to_numpy(),
        likelihood="gaussian",
        **({} if data.factors else slopes),
    )
    begun = time.perf_counter()
    model.fit(y=table["y"].to_numpy(), X=np.column_stack([np.ones(len(table)), table["x"]]))
    seconds = time.perf_counter() - begun
    noise, *variances = np.ravel(model.get_cov_pars())
    coefficients = np.ravel(model.get_coef())
    result = estimated(data.model.design, coefficients, np.diag(variances), np.sqrt(noise), seconds)
    for name in data.model.design.cor_names:
        result.point.pop(name, None)  # it has none: zero is no estimate
    return result


def glmm(data: Data, seed: int, settings: Settings) -> Result:
    """The glmm package, in Rust; maximum likelihood, adaptive quadrature with 25 nodes."""
    import glmm as package

    begun = time.perf_counter()
    fit = package.fit(data.table, data.formula, data.family, nagq=25)
    seconds = time.perf_counter() - begun
    (variance,) = fit.varcorr[0]
    return estimated(data.model.design, fit.beta, [[variance]], None, seconds)
