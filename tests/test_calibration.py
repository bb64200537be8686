"""Ranks of the truth over simulated data sets: uniform for the exact fit, not for wrong ones."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import partialpool as pp
from partialpool import simulate, studies

PRIORS = {
    "Intercept": "Normal(1, 2)",
    "x": "Normal(-1, 1)",
    "sd": "HalfNormal(1)",
    "sigma": "Exponential(2)",
    "cor": "LKJ(1.5)",
}


def template(formula, **sizes):
    table = simulate.grouped(np.random.default_rng(0), **sizes, x_max=2)
    return pp.Model(formula, table, PRIORS)


MODELS = {
    "q = 1, one row per group": template("y ~ x + (0 + x | group)", groups=15, per_group=1),
    "q = 2, correlated": template("y ~ x + (x | group)", groups=6, per_group=4),
}


@pytest.mark.parametrize("name", MODELS)
def test_exact_fit_is_calibrated(name):
    """1,000 data sets; the smallest p over parameters, Bonferroni at 1e-3."""
    model = MODELS[name]
    table = pd.DataFrame(studies.ranks(model, seed=1, data_sets=1000))
    few = table[[c for c in table if "[" not in c or c.endswith(("[0]", "[5]"))]]
    p = studies.uniformity(few)
    assert p.min() > 1e-3 / len(p), p.sort_values()


def test_a_wrong_prior_is_found_out():
    """Group effects fitted as if their prior scale were a quarter: sd ranks pile up at the top."""
    model = MODELS["q = 1, one row per group"]
    wrong = {**PRIORS, "sd": "HalfNormal(0.25)"}

    def fit(simulated, seed):
        other = pp.Model(model.formula, model.table, wrong).with_response(simulated.design.y)
        return other.fit(draws=25, seed=seed)

    table = pd.DataFrame(studies.ranks(model, seed=2, data_sets=200, fit=fit))
    assert studies.uniformity(table)["x|group_sigma"] < 1e-6


def test_narrow_draws_are_found_out():
    """Draws a fifth too narrow, about their own mean."""
    model = MODELS["q = 2, correlated"]

    def fit(simulated, seed):
        posterior = simulated.fit(draws=25, seed=seed)
        draws = posterior["posterior"].to_dataset()
        centre = draws.mean(("chain", "draw"))
        narrow = xr.DataTree.from_dict({"posterior": centre + 0.8 * (draws - centre)})
        return narrow

    table = pd.DataFrame(studies.ranks(model, seed=3, data_sets=400, fit=fit))
    assert studies.uniformity(table)["Intercept"] < 1e-3


def test_ranks_do_not_depend_on_how_many():
    model = MODELS["q = 2, correlated"]
    few = list(studies.ranks(model, seed=4, data_sets=2))
    many = list(studies.ranks(model, seed=4, data_sets=4))
    assert few == many[:2]


def test_flat_priors_cannot_be_drawn_from():
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"), {"sd": "HalfFlat"})
    with pytest.raises(ValueError, match="cannot draw from the prior HalfFlat"):
        studies.draw_from_prior(model, np.random.default_rng(0))
