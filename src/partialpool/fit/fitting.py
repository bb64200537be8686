"""One door to every way of fitting a model; what comes out is always an xarray DataTree."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import xarray as xr

from partialpool.data.tables import table_digest
from partialpool.design.matrices import Design
from partialpool.fit import centring, exact, importance
from partialpool.fit.settings import METHODS

if TYPE_CHECKING:
    from partialpool.model import Model

#: Keys under which independent streams are spawned from the run's seed.
FIT_STREAM, EFFECT_STREAM, REFERENCE_STREAM = 1, 2, 3
#: Draws in all, from which on PyMC's chains get processes of their own.
LONG = 100_000
#: Acceptance that NUTS aims at where group effects are parameters, as in rstanarm; else 0.8.
ACCEPT = 0.95
#: Largest number of group effects drawn (draws x groups x columns), 8 bytes each.
MAX_EFFECTS = 100_000_000


def fit(
    model: "Model",
    method: str | None,
    parametrization: str | None,
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    start: Mapping[str, Any] | None,
    progress: bool,
) -> xr.DataTree:
    """Draw from the posterior of a model; see `Model.fit`, the door to this."""
    gaussian = model.family == "gaussian"
    method = method or ("exact" if gaussian else "nutpie")
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; choose from {', '.join(METHODS)}.")
    if method == "exact" and not gaussian:
        raise ValueError(
            f"method: the exact fit needs Gaussian noise, and this model's is {model.family}; "
            "choose nutpie or nuts."
        )
    if method == "exact" and parametrization is not None:
        raise ValueError("The exact fit has no parametrization; leave it out.")
    form = parametrization or METHODS[method] or ""
    begun = time.perf_counter()
    if method == "exact":
        variables, stats, attrs = _fit_exact(model, draws, chains, seed)
    elif parametrization is None and form == "marginal" and not _integrates(model):
        forms, route = _chosen(model)
        variables, stats, attrs = _fit_pymc(
            model, method, forms, draws, tune, chains, seed, start, progress, ACCEPT
        )
        attrs |= {"route": route}
        form = ""
    else:
        variables, stats, attrs = _fit_pymc(
            model, method, form, draws, tune, chains, seed, start, progress
        )
    attrs |= {
        "method": method,
        "family": model.family,
        "parametrization": form,
        "formula": model.formula,
        "priors": "; ".join(f"{name} ~ {prior}" for name, prior in model.priors.items()),
        "seed": seed,
        "draws": draws,
        "tune": 0 if method == "exact" else tune,
        "chains": chains,
        "fit_seconds": time.perf_counter() - begun,
        "data_source": str(model.table.attrs.get("source", "a table")),
        "data_sha256": model.table.attrs.get("sha256") or table_digest(model.table),
    }
    return _tree(model, variables, stats, attrs)


def _fit_exact(
    model: "Model", draws: int, chains: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(FIT_STREAM,)))
    values, u, sample = population_draws(model, draws * chains, rng)
    if not sample.trusted:
        return _fit_marginal_instead(model, sample, draws, chains, seed)
    values = {name: value.reshape(chains, draws) for name, value in values.items()}
    attrs: dict[str, Any] = {
        "route": "importance sampling of theta, then Gaussian draws",
        "pareto_khat": sample.khat,
        "effective_draws": sample.effective,
        "evaluations": len(sample.u),
        "stages": sample.stages,
        "evidence_gap": sample.gap,
    }
    if all(prior.proper for prior in model.priors.values()):
        attrs |= {
            "log_evidence": sample.log_evidence,
            "log_evidence_se": sample.log_evidence_se,
        }
    stats = {"lp": model.theta_posterior(u).reshape(chains, draws)}
    return _with_effects(model, values, seed), stats, attrs


def population_draws(
    model: "Model", total: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, importance.Sample]:
    """Exact draws of everything but the group effects, and the sample they come from.

    Returns
    -------
    dict
        Parameter name -> draws (total,).
    (total, d) array
        The coordinates of theta they belong to.
    importance.Sample
        Says whether the draws are to be trusted.
    """
    target, design = model.theta_posterior, model.design
    sample = importance.sample(target, exact.start(design, target), rng, effective=total)
    u = importance.resample(sample, total, rng)
    scales, correlations = target.parameters(u)
    values: dict[str, np.ndarray] = {"sigma": scales[:, 0]}
    values |= dict(zip(design.sd_names, scales[:, 1:].T, strict=True))
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        values[name] = correlations[:, i, j]
    beta = exact.conditional_coefficients(target, u, rng)
    return values | dict(zip(design.x_names, beta.T, strict=True)), u, sample


def _fit_marginal_instead(
    model: "Model", sample: importance.Sample, draws: int, chains: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """The sturdier route: NUTS on the marginal model, which has the same posterior."""
    form = "marginal" if _integrates(model) else "noncentered"
    variables, stats, attrs = _fit_pymc(
        model, "nutpie", form, draws, 1000, chains, seed, None, False
    )
    reason = (
        f"importance sampling was not trusted after {sample.stages} stages "
        f"(Pareto k {sample.khat:.2f}, {sample.effective:.0f} effective draws)"
    )
    return variables, stats, attrs | {"route": f"NUTS on the {form} model: {reason}"}


def _integrates(model: "Model") -> bool:
    """Whether group effects integrate out of the rows once and for all: the marginal model."""
    return model.family == "gaussian" and model.cross.at is None


def _chosen(model: "Model") -> tuple[list[str] | str, str]:
    """The form of each varying coefficient that suits the data, and the reason in words."""
    chosen = centring.choose(model)
    return list(chosen["form"]) or "centered", f"PyMC; {centring.sentence(chosen)}".rstrip("; ")


def _fit_pymc(
    model: "Model",
    method: str,
    parametrization: str | Sequence[str],
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    start: Mapping[str, Any] | None,
    progress: bool,
    accept: float = 0.8,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    import pymc as pm

    from partialpool.fit import pymc_models

    with model.pymc(parametrization) as built:
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
            common |= {"initvals": pymc_models.initial_values(model.design, start, built)}
            if method != "metropolis":
                common |= {"init": "adapt_diag"}
        if method == "metropolis":
            tree = pm.sample(step=pm.Metropolis(), quiet=True, **common)
        else:
            sampler = "pymc" if method == "nuts" else "nutpie"
            common |= {"nuts_sampler": sampler, "target_accept": accept}
            tree = pm.sample(quiet=not progress, **common)
    wanted = {
        "sigma",
        *model.parameters,
        *map(model.design.effect, range(len(model.design.z_names))),
    }
    posterior = tree["posterior"].to_dataset()
    variables = {str(name): value.to_numpy() for name, value in posterior.items() if name in wanted}
    stats = {
        str(name): value.to_numpy()
        for name, value in tree["sample_stats"].to_dataset().items()
        if value.dims == ("chain", "draw") and value.dtype.kind in "fiub"
    }
    if parametrization == "marginal":
        variables = _with_effects(model, variables, seed)
    route = parametrization if isinstance(parametrization, str) else ", ".join(parametrization)
    return variables, stats, {"route": f"PyMC, {route}"}


def _with_effects(
    model: "Model", values: dict[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Add group effects drawn from their Gaussians given every draw of the rest."""
    design = model.design
    q = len(design.z_names)
    if not q:
        return values
    chains, draws = values["sigma"].shape
    size = chains * draws * design.n_groups * q
    if size > MAX_EFFECTS:
        return values
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EFFECT_STREAM,)))
    effects = effect_draws(model, values, rng)
    shaped = effects.reshape(q, chains, draws, design.n_groups)
    return values | {design.effect(k): shaped[k] for k in range(q)}


def effect_draws(
    model: "Model", values: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Group effects given draws of everything else: (q, draws, groups)."""
    design = model.design
    draws = values["sigma"].size
    flat = {name: value.reshape(-1) for name, value in values.items()}
    beta = (
        np.stack([flat[name] for name in design.x_names], axis=-1)
        if design.x_names
        else np.empty((draws, 0))
    )
    L = covariance_root(design, flat)
    return exact.conditional_effects(model.cross, flat["sigma"], L, beta, rng)


def prior_effects(
    design: Design, values: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Group effects from ``N(0, Sigma)``, knowing nothing of y: (q, draws, groups)."""
    L = covariance_root(design, values)
    return np.einsum("sik,skj->isj", L, rng.standard_normal((*L.shape[:2], design.n_groups)))


def covariance_root(design: Design, values: dict[str, np.ndarray]) -> np.ndarray:
    """Lower triangular L (draws, q, q) with ``L Lᵀ = Sigma``, from sds and correlations."""
    q = len(design.z_names)
    sds = np.stack([values[name] for name in design.sd_names], axis=-1)
    correlation = np.tile(np.eye(q), (len(sds), 1, 1))
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        correlation[:, i, j] = correlation[:, j, i] = values[name]
    return sds[:, :, None] * _semidefinite_root(correlation)


def _tree(
    model: "Model",
    variables: dict[str, np.ndarray],
    stats: dict[str, np.ndarray],
    attrs: dict[str, Any],
) -> xr.DataTree:
    design = model.design
    effects = [design.effect(k) for k in range(len(design.z_names))]
    order = [n for n in dict.fromkeys([*model.parameters, "sigma", *effects]) if n in variables]
    chains, draws = variables["sigma"].shape
    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    posterior = xr.Dataset(
        {
            name: (
                ("chain", "draw", design.group_dim) if name in effects else ("chain", "draw"),
                variables[name],
            )
            for name in order
        },
        coords=coords | ({design.group_dim: design.levels} if design.group else {}),
    )
    sample_stats = xr.Dataset(
        {name: (("chain", "draw"), value) for name, value in stats.items()}, coords=coords
    )
    observed = xr.Dataset({design.response: (("row",), design.y)})
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "sample_stats": sample_stats, "observed_data": observed}
    )
    tree.attrs = attrs
    return tree


def _processes(method: str, chains: int, length: int) -> int:
    """Chains to run at a time: this run's share of the machine where that pays.

    PyMC's own guess is half of the processors, and a process for a chain takes seconds to start.
    """
    if method != "nutpie" and chains * length < LONG:
        return 1
    return min(chains, numba.get_num_threads())


def _semidefinite_root(correlation: np.ndarray) -> np.ndarray:
    """A lower triangular root (S, q, q), also where rounding left a pivot at or below zero."""
    q = correlation.shape[-1]
    root = np.zeros_like(correlation)
    for i in range(q):
        for j in range(i):
            rest = correlation[:, i, j] - (root[:, i, :j] * root[:, j, :j]).sum(-1)
            root[:, i, j] = rest / np.maximum(root[:, j, j], 1e-150)
        left = 1 - (root[:, i, :i] ** 2).sum(-1)
        root[:, i, i] = np.sqrt(np.maximum(left, 0))
    return root
