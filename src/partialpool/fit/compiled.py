"""PyMC's model compiled once for the many responses of a simulation."""

from typing import Any

import xarray as xr

from partialpool.fit.regression import Regression

#: Shapes, names and priors of a design -> the model that nutpie compiled for it, in this process.
COMPILED: dict[Any, Any] = {}


def sample(regression: Regression, draws: int, seed: int) -> xr.DataTree:
    """NUTS by nutpie on the non-centred model.

    Parameters
    ----------
    regression : Regression
        Compiled anew only if none with the same sizes and priors was before.
    draws : int
        In all four chains together.
    seed : int
    """
    import nutpie

    from partialpool.fit import pymc_models

    design, priors = regression.design, regression.priors
    groups = tuple((g.dim, g.z_names, g.blocks, g.n_levels) for g in design.groupings)
    data = pymc_models.row_data(regression)
    shapes = tuple((name, value.shape) for name, value in data.items())
    key = (regression.family, shapes, groups, design.x_names, tuple(map(str, priors.values())))
    if key not in COMPILED:
        model = pymc_models.build(regression, "noncentered")
        apart = pymc_models.apart(regression, model)
        COMPILED[key] = nutpie.compile_pymc_model(model, jitter_rvs=apart)
    return nutpie.sample(
        COMPILED[key].with_data(**data),
        draws=-(-draws // 4),
        tune=500,
        chains=4,
        seed=seed,
        cores=1,
        progress_bar=False,
    )
