"""The groups of a stored posterior that ArviZ looks for, so that its functions work on the file."""

import numpy as np
import xarray as xr

from partialpool.fit.exact_fit import n_draws
from partialpool.posterior import draws, predictions, responses
from partialpool.posterior.fitted import Fitted

#: Most numbers in a group of rows, 4 bytes each.
NUMBERS = 2_000_000
#: Most rows of the data; of more, a random sample.
ROWS = 2000
#: Most draws of new data; log likelihoods are of every draw, as far as `NUMBERS` allows.
DRAWS = 500
#: Key of the stream of new data, which is spawned from the fit's seed.
STREAM = 12


def groups(fitted: Fitted) -> dict[str, xr.Dataset]:
    """Log likelihood, new data from the posterior and from the prior, and the prior's draws.

    Returns
    -------
    dict of str to xarray.Dataset
        ``log_likelihood`` (given the group effects), ``posterior_predictive``, and, where every
        prior is a distribution, ``prior`` and ``prior_predictive``. Rows are the variable of the
        response, over ``chain``, ``draw`` and ``row``. Attributes say which part of draws and rows
        is kept: ``thinned`` (each so-manieth draw) and ``rows`` (how many, of how many).
    """
    model, design = fitted.model, fitted.model.design
    rows = draws.some_rows(design, ROWS, fitted.seed)
    rng = np.random.default_rng(np.random.SeedSequence(fitted.seed, spawn_key=(STREAM,)))
    attrs = {"rows": f"{len(rows)} of {design.n_rows}"}
    at = {} if len(rows) == design.n_rows else {"row": rows}

    def over(values: np.ndarray, coords: xr.Dataset, **more: object) -> xr.Dataset:
        shape = (coords.sizes["chain"], coords.sizes["draw"], len(rows))
        variable = (("chain", "draw", "row"), values.reshape(shape).astype("float32"))
        kept = {"chain": coords["chain"], "draw": coords["draw"], **at}
        return xr.Dataset({design.response: variable}, kept, attrs | more)

    some = fitted.thinned(max(1, NUMBERS // len(rows)))
    line = draws.line(design, some.values, rows)
    density = responses.Rows(model, some.values, line, rows).log_density()
    log = over(density, some.dataset, thinned=_every(fitted, some))
    few = fitted.thinned(DRAWS)
    new = responses.respond(model, few.values, rows, rng)
    found = {
        "log_likelihood": log,
        "posterior_predictive": over(new, few.dataset, thinned=_every(fitted, few)),
    }
    prior = predictions.prior_values(model, rng)
    if prior is None:
        return found
    # effects of very many groups follow from the rest, and weigh more than all else
    dims = {name: (grouping.dim,) for grouping in design.groupings for name in grouping.effects}
    found["prior"] = xr.Dataset(
        {
            name: (("chain", "draw", *dims.get(name, ())), value[None])
            for name, value in prior.items()
            if value.size <= NUMBERS
        },
        {"chain": [0], "draw": np.arange(n_draws(prior)), **_levels(fitted)},
    )
    new = responses.respond(model, prior, rows, rng)
    return found | {"prior_predictive": over(new, found["prior"])}


def _every(fitted: Fitted, some: Fitted) -> int:
    """Of how many draws one is kept."""
    return -(-fitted.dataset.sizes["draw"] // some.dataset.sizes["draw"])


def _levels(fitted: Fitted) -> dict[str, xr.DataArray]:
    """Names of the groups, as the posterior has them."""
    dims = [grouping.dim for grouping in fitted.model.design.groupings]
    return {dim: fitted.dataset[dim] for dim in dims if dim in fitted.dataset.coords}
