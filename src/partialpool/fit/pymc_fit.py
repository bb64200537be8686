"""Fits by PyMC: NUTS, nutpie or Metropolis on one of the model's three forms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from partialpool.design.families import OWN
from partialpool.fit.exact_fit import with_effects
from partialpool.fit.regression import Regression

#: Draws in all, from which on PyMC's chains get processes of their own.
LONG = 100_000
#: Acceptance that NUTS aims at where group effects are parameters, as in rstanarm; else 0.8.
ACCEPT = 0.95


def sample(
    regression: Regression,
    method: str,
    parametrization: str | Sequence[str],
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    start: Mapping[str, Any] | None = None,
    progress: bool = False,
    accept: float = 0.8,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws and statistics of a sampler: name -> (chains, draws) or (chains, draws, J)."""
    import pymc as pm

    from partialpool.fit import pymc_models

    design = regression.design
    with pymc_models.build(regression, parametrization) as built:
        common: dict[str, Any] = {
            "draws": draws,
            "tune": tune,
            "chains": chains,
            "random_seed": seed,
            "progressbar": progress,
            "compute_convergence_checks": False,
            "cores": _processes(method, chains, draws + tune),
            # numba's threads do not survive a plain fork
            "mp_ctx": "forkserver",
        }
        if start is not None:
            # jitter would move the chains away from where they were told to start
            common |= {"initvals": pymc_models.initial_values(regression, start, built)}
            if method != "metropolis":
                common |= {"init": "adapt_diag"}
        if method == "metropolis":
            tree = pm.sample(step=pm.Metropolis(), quiet=True, **common)
        else:
            sampler = "pymc" if method == "nuts" else "nutpie"
            common |= {"nuts_sampler": sampler, "target_accept": accept}
            if regression.linked and start is None:
                common |= _starts(regression, built, method, chains, seed)
            tree = pm.sample(quiet=not progress, **common)
    own = OWN.get(regression.family, ())
    wanted = {*own, *regression.parameters, *design.effects}
    posterior = tree["posterior"].to_dataset()
    variables = {str(name): value.to_numpy() for name, value in posterior.items() if name in wanted}
    stats = {
        str(name): value.to_numpy()
        for name, value in tree["sample_stats"].to_dataset().items()
        if value.dims == ("chain", "draw") and value.dtype.kind in "fiub"
    }
    if parametrization == "marginal":
        variables = with_effects(regression, variables, seed)
    return variables, stats


def _starts(
    regression: Regression, model: Any, method: str, chains: int, seed: int
) -> dict[str, Any]:
    """Options with which chains of a family with a link start apart, see `pymc_models.apart`."""
    from partialpool.fit import pymc_models

    free = pymc_models.apart(regression, model)
    if method == "nutpie":
        return {"compile_kwargs": {"jitter_rvs": free}}
    rng = np.random.default_rng(seed)
    sizes = {rv.name: rv.shape.eval() for rv in model.free_RVs if rv in free and rv.ndim}
    effects = {name: size for name, size in sizes.items() if name != pymc_models.THRESHOLDS}
    each = [{name: rng.uniform(-1, 1, s) for name, s in effects.items()} for _ in range(chains)]
    return {"initvals": each, "init": "adapt_diag"}


def _processes(method: str, chains: int, length: int) -> int:
    """Chains to run at a time: this run's share of the machine where that pays.

    PyMC's own guess is half of the processors, and a process for a chain takes seconds to start.
    """
    if method != "nutpie" and chains * length < LONG:
        return 1
    return min(chains, numba.get_num_threads())
