"""Ours, and the peers that draw from the posterior."""

import partialpool as pp
from data import COUNTED, Data
from partialpool.fit import fitting
from results import Result, Settings, sampled


def exact(data: Data, seed: int, settings: Settings) -> Result:
    """Ours, from the table to draws of everything, group effects included."""
    return _exact(data, seed, settings.draws, settings.chains)


def exact_without_effects(data: Data, seed: int, settings: Settings) -> Result:
    """Ours, without a draw of every group's effects: what point estimates do not give either."""
    fitting.MAX_EFFECTS = 0  # a fit that would draw more than this leaves them out
    return _exact(data, seed, settings.draws, settings.chains)


def reference(data: Data, seed: int, settings: Settings) -> Result:
    """What estimates are held against: the exact posterior, with ten times the draws."""
    fitting.MAX_EFFECTS = 0
    return _exact(data, seed + 1000, 10 * settings.draws, settings.chains)


def _exact(data: Data, seed: int, draws: int, chains: int) -> Result:
    model = pp.Model(data.formula, data.table, data.given, family=data.family)
    fit = model.fit(draws=draws, chains=chains, seed=seed)
    return sampled(fit.posterior, model.parameters, fit.attrs["fit_seconds"])


def marginal(data: Data, seed: int, settings: Settings) -> Result:
    """Ours, NUTS on the marginal model."""
    model = pp.Model(data.formula, data.table, data.given, family=data.family)
    fit = model.fit("nutpie", "marginal", seed=seed, **_sizes(settings))
    return sampled(fit.posterior, model.parameters, fit.attrs["fit_seconds"])


def metropolis(data: Data, seed: int, settings: Settings) -> Result:
    """The origin's way: the centred model, the first half of the draws thrown away."""
    half = settings.metropolis // 2
    model = pp.Model(data.formula, data.table, data.given, family=data.family)
    fit = model.fit("metropolis", draws=half, tune=half, chains=2, seed=seed)
    return sampled(fit.posterior, model.parameters, fit.attrs["fit_seconds"])


def bambi_nutpie(data: Data, seed: int, settings: Settings) -> Result:
    """Bambi's formula interface, sampled by nutpie."""
    return _bambi(data, seed, settings, "nutpie")


def bambi_pymc(data: Data, seed: int, settings: Settings) -> Result:
    """Bambi's formula interface, sampled by PyMC."""
    return _bambi(data, seed, settings, "pymc")


def _bambi(data: Data, seed: int, settings: Settings, method: str) -> Result:
    import bambi as bmb

    design = data.model.design

    def prior(name: str) -> bmb.Prior:
        ours = data.model.priors[name]
        return bmb.Prior(ours.family, **{k: float(v) for k, v in ours.keywords.items()})

    own = [] if data.model.linked else ["sigma"]
    priors = {name: prior(name) for name in [*design.x_names, *own]}
    for effect, name in zip(design.effects, design.sd_names, strict=True):
        priors[effect] = bmb.Prior("Normal", mu=0, sigma=prior(name))
    formula, family = data.formula.replace(COUNTED, "p(y, n)"), data.family
    if family == "binomial" and formula == data.formula:
        family = "bernoulli"
    model = bmb.Model(formula, data.table, family=family, priors=priors)
    tree = model.fit(
        inference_method=method, random_seed=seed, progressbar=False, **_sizes(settings)
    )
    return sampled(tree, data.model.parameters)


def pymc_lkj(data: Data, seed: int, settings: Settings) -> Result:
    """What one writes by hand: LKJCholeskyCov, centred, sampled by nutpie."""
    import numpy as np
    import pymc as pm

    design, priors = data.model.design, data.model.priors

    def distribution(name: str) -> type:
        return getattr(pm, priors[name].family)

    with pm.Model():
        beta = [distribution(name)(name, **priors[name].keywords) for name in design.x_names]
        sigma = distribution("sigma")("sigma", **priors["sigma"].keywords)
        # one family for the standard deviations, each with its own scale
        widths = np.array([priors[name].keywords["sigma"] for name in design.sd_names])
        cholesky, cor, sds = pm.LKJCholeskyCov(
            "cholesky",
            n=len(widths),
            eta=priors[design.cor_names[0]].keywords["eta"],
            sd_dist=distribution(design.sd_names[0]).dist(sigma=widths, shape=len(widths)),
        )
        of = design.only
        b = pm.MvNormal("b", 0, chol=cholesky, shape=(of.n_levels, len(widths)))
        mean = sum(
            coefficient * column for coefficient, column in zip(beta, design.X.T, strict=True)
        )
        pm.Normal("y", mean + (b[of.codes] * of.Z).sum(-1), sigma, observed=design.y)
        for k, name in enumerate(design.sd_names):
            pm.Deterministic(name, sds[k])
        for name, pair in zip(design.cor_names, design.correlated_pairs, strict=True):
            pm.Deterministic(name, cor[pair])
        tree = pm.sample(
            nuts_sampler="nutpie",
            random_seed=seed,
            progressbar=False,
            quiet=True,
            **_sizes(settings),
        )
    return sampled(tree, data.model.parameters)


def _sizes(settings: Settings) -> dict[str, int]:
    return {"draws": settings.draws, "tune": settings.tune, "chains": settings.chains}
