"""One function per peer: table, formula and priors in; seconds, draws or estimates out.

A sampler returns ``draws``, name -> (chain, draw); a point estimate returns ``point``, name ->
value. Names are the package's. ``seconds`` is the whole call, from the table on, compiling
included. `NOTES` says where a peer's priors or model differ from ours.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import partialpool as pp

NOTES = {
    "Metropolis": "the origin's sampler, centred; fewer draws, for the rate is what counts",
    "Bambi, nutpie": "non-centred; effects uncorrelated (Bambi has no other); predictors centred",
    "Bambi, PyMC": "non-centred; effects uncorrelated (Bambi has no other); predictors centred",
    "PyMC LKJ, nutpie": "centred, LKJCholeskyCov",
    "statsmodels": "REML, point estimate",
    "mixedlm": "REML, point estimate",
    "gpboost": "maximum likelihood, point estimate; effects uncorrelated",
    "lme4": "REML, point estimate (R)",
    "rstanarm": "its own priors (R)",
}
SAMPLERS = {"draws": 1000, "tune": 1000, "chains": 4}


def _model(table: pd.DataFrame, formula: str, priors: dict[str, str]) -> pp.Model:
    return pp.Model(formula, table, priors)


def _draws(tree: Any, names: list[str]) -> dict[str, np.ndarray]:
    posterior = tree["posterior"]
    return {name: posterior[name].to_numpy() for name in names if name in posterior}


def exact(table, formula, priors, seed):
    """Ours, from the table to posterior draws of everything, group effects included."""
    model = _model(table, formula, priors)
    tree = model.fit(seed=seed)
    return {"draws": _draws(tree, model.parameters)}


def marginal(table, formula, priors, seed):
    """Ours, NUTS on the marginal model."""
    model = _model(table, formula, priors)
    return {"draws": _draws(model.fit("nutpie", seed=seed), model.parameters)}


def metropolis(table, formula, priors, seed):
    """The origin's way, with 10,000 draws kept and 10,000 thrown away in each of two chains."""
    model = _model(table, formula, priors)
    tree = model.fit("metropolis", draws=10_000, tune=10_000, chains=2, seed=seed)
    return {"draws": _draws(tree, model.parameters)}


def _bambi(table, formula, priors, seed, sampler):
    import bambi as bmb

    model = _model(table, formula, priors)

    def prior(name):
        found = model.priors[name]
        return bmb.Prior(found.family, **{k: float(v) for k, v in found.keywords.items()})

    given = {name: prior(name) for name in [*model.design.x_names, "sigma"]}
    for k, name in enumerate(model.design.sd_names):
        given[model.design.effect(k)] = bmb.Prior("Normal", mu=0, sigma=prior(name))
    peer = bmb.Model(formula, table, priors=given, center_predictors=True)
    tree = peer.fit(**SAMPLERS, random_seed=seed, progressbar=False, nuts_sampler=sampler, cores=2)
    return {"draws": _draws(tree, model.parameters)}


def bambi_nutpie(table, formula, priors, seed):
    """Bambi's formula interface, sampled by nutpie."""
    return _bambi(table, formula, priors, seed, "nutpie")


def bambi_pymc(table, formula, priors, seed):
    """Bambi's formula interface, sampled by PyMC."""
    return _bambi(table, formula, priors, seed, "pymc")


def pymc_lkj(table, formula, priors, seed):
    """What one writes by hand: PyMC's LKJCholeskyCov, centred."""
    import pymc as pm

    ours = _model(table, formula, priors)
    design = ours.design

    def variable(name):
        found = ours.priors[name]
        return getattr(pm, found.family)(name, **found.keywords)

    with pm.Model():
        beta = [variable(name) for name in design.x_names]
        sigma = variable("sigma")
        scale = ours.priors[design.sd_names[0]]
        # one family for all sds, each with its own width
        widths = np.array([ours.priors[n].arguments[-1] for n in design.sd_names])
        distribution = getattr(pm, scale.family).dist(
            **{**scale.keywords, list(scale.keywords)[-1]: widths}, shape=len(widths)
        )
        chol, cor, sds = pm.LKJCholeskyCov("chol", n=len(widths), eta=2.0, sd_dist=distribution)
        b = pm.MvNormal("b", 0, chol=chol, shape=(design.n_groups, len(widths)))
        mean = sum(b_ * design.X[:, k] for k, b_ in enumerate(beta))
        mean = mean + (b[design.codes] * design.Z).sum(-1)
        pm.Normal("y", mean, sigma, observed=design.y)
        for k, name in enumerate(design.sd_names):
            pm.Deterministic(name, sds[k])
        for name, pair in zip(design.cor_names, design.correlated_pairs, strict=True):
            pm.Deterministic(name, cor[pair])
        tree = pm.sample(
            **SAMPLERS, random_seed=seed, progressbar=False, nuts_sampler="nutpie", quiet=True
        )
    return {"draws": _draws(tree, ours.parameters)}


def statsmodels_mixedlm(table, formula, priors, seed):
    """statsmodels' MixedLM."""
    import statsmodels.formula.api as smf

    varying = "~ 0 + x" if "0 + x" in formula else "~ x"
    fit = smf.mixedlm("y ~ x", table, groups=table["g"], re_formula=varying).fit()
    return {"point": _point(fit.fe_params["Intercept"], fit.fe_params["x"])}


def mixedlm(table, formula, priors, seed):
    """The mixedlm package: lme4 in Rust."""
    import mixedlm as peer

    found = peer.lmer(formula, table.assign(g=table["g"].astype(str))).fixef()
    return {"point": _point(found["(Intercept)"], found["x"])}


def gpboost(table, formula, priors, seed):
    """gpboost, the fastest point estimate we know."""
    import gpboost as gpb

    X = np.column_stack([np.ones(len(table)), table["x"]])
    peer = gpb.GPModel(
        group_data=table[["g"]].to_numpy(),
        group_rand_coef_data=table[["x"]].to_numpy(float),
        ind_effect_group_rand_coef=[1],
        drop_intercept_group_rand_effect=[True] if "0 + x" in formula else None,
        likelihood="gaussian",
    )
    peer.fit(y=table["y"].to_numpy(), X=X)
    intercept, slope = np.ravel(np.asarray(peer.get_coef()))[:2]
    return {"point": _point(intercept, slope)}


def _point(intercept, slope):
    return {"Intercept": float(intercept), "x": float(slope)}


def _r(call, table, formula):
    """Time a fit inside one R process; None where R or the package is missing."""
    if shutil.which("Rscript") is None:
        raise ModuleNotFoundError("Rscript is not found")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.csv"
        table.to_csv(data, index=False)
        script = Path(__file__).with_name("fit.R")
        begun = time.perf_counter()
        run = subprocess.run(
            ["Rscript", "--vanilla", str(script), call, str(data), formula, folder],
            capture_output=True,
            text=True,
        )
        if run.returncode:
            said = [text for text in run.stderr.strip().splitlines() if "halted" not in text]
            raise RuntimeError(" ".join(said[-2:]) or "R failed")
        whole = time.perf_counter() - begun
        out = pd.read_csv(Path(folder) / "out.csv")
    inside = float(out.pop("seconds").iloc[0])
    extra = {"seconds": inside, "whole_process": whole}
    if "chain" in out:
        chains = [rows.drop(columns="chain") for _, rows in out.groupby("chain")]
        names = chains[0].columns
        return {"draws": {n: np.stack([c[n].to_numpy() for c in chains]) for n in names}} | extra
    return {"point": out.iloc[0].to_dict()} | extra


def lme4(table, formula, priors, seed):
    """R's lme4."""
    return _r("lme4", table, formula)


def rstanarm(table, formula, priors, seed):
    """R's rstanarm."""
    return _r("rstanarm", table, formula)


def brms(table, formula, priors, seed):
    """R's brms."""
    return _r("brms", table, formula)


PEERS = {
    "exact": exact,
    "marginal, nutpie": marginal,
    "Metropolis": metropolis,
    "Bambi, nutpie": bambi_nutpie,
    "Bambi, PyMC": bambi_pymc,
    "PyMC LKJ, nutpie": pymc_lkj,
    "statsmodels": statsmodels_mixedlm,
    "mixedlm": mixedlm,
    "gpboost": gpboost,
    "lme4": lme4,
    "rstanarm": rstanarm,
    "brms": brms,
}
#: Ours; everything else is a peer.
OURS = ("exact", "marginal, nutpie")
