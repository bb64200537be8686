"""One door to every way of fitting a regression; what comes out is always an xarray DataTree."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from partialpool.data.tables import table_digest
from partialpool.design.families import OWN
from partialpool.design.matrices import Design
from partialpool.design.priors import METHODS
from partialpool.fit import centring, importance, integrated_fit, pymc_fit
from partialpool.fit.dense import one_thread
from partialpool.fit.exact_fit import drawn, explore, moments, of_several, warm_up, with_effects
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated import IntegratedPosterior
from partialpool.fit.regression import Regression, needed

#: Keys under which independent streams are spawned from the fit's seed; `exact_fit` has another.
FIT_STREAM, REFERENCE_STREAM, CERTIFICATE_STREAM = 1, 3, 5
#: Most group effects that are drawn with a fit (draws x groups x columns), 8 bytes each; more are
#: drawn when they are asked for.
MAX_EFFECTS = 8_000_000
#: What is said of a fit of a family with a link that PyMC samples row by row.
NOT_CERTIFIED = "sampled row by row, which is not certified"
#: What is said of one whose group effects are integrated out.
CERTIFIED = "certified"
#: Seconds after which who waits is told why, and what.
PATIENCE = 2.0
COMPILING = (
    "Compiling loops for fits of this kind, once for this environment: up to two minutes ..."
)
#: Draws of every variable by name, statistics of the sampler, and attributes of the fit.
Drawn = tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]


def fit(
    regression: Regression,
    method: str | None = None,
    parametrization: str | None = None,
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 0,
    start: Mapping[str, Any] | None = None,
    progress: bool = False,
    reference: bool = False,
) -> xr.DataTree:
    """Draw from the posterior of a regression; `Model.fit` explains most arguments.

    An exact fit that is to be a `reference` for others looks for modes from places of its own, see
    `exact_fit.population_draws`.
    """
    method = method or ("exact" if regression.exact else "nutpie")
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; choose from {', '.join(METHODS)}.")
    if method == "exact" and not regression.exact and regression.family != "gaussian":
        raise ValueError(
            f"method: the exact fit needs Gaussian noise, or a family with a link and {needed()}; "
            f"this model's family is {regression.family}; choose nutpie or nuts."
        )
    if method == "exact" and parametrization is not None:
        raise ValueError("The exact fit has no parametrization; leave it out.")
    form = parametrization or METHODS[method] or ""
    integrated = regression.linked and regression.certifiable and parametrization == "marginal"
    if integrated and method != "nutpie":
        raise ValueError(
            f"method: {method} cannot sample the marginal model of family {regression.family}, "
            "whose group effects are integrated out numerically; choose nutpie."
        )
    several = len(regression.design.groupings) > 1
    own = method == "exact" or integrated
    if regression.linked and regression.design.sampled and not own:
        raise ValueError(
            f"method: {method} samples row by row, and of data in parts only a sample of the rows "
            "is kept; choose exact, or nutpie with `parametrization: marginal`."
        )
    with _told(COMPILING, progress or sys.stderr.isatty()):
        loading = warm_up(several, regression.linked) if own else 0.0
    begun = time.perf_counter()
    sizes: dict[str, Any] = {"draws": draws, "chains": chains, "seed": seed}
    if method == "exact":
        draw = _certified if regression.linked else _exact
        variables, stats, attrs = draw(regression, draws, chains, seed, reference)
    elif integrated:
        variables, stats, attrs = _integrated_nuts(regression, draws, tune, chains, seed)
    else:
        options = sizes | {"tune": tune, "start": start, "progress": progress}
        forms: str | list[str] = form
        route = f"PyMC, {form}"
        if parametrization is None and form == "marginal" and not _lean(regression):
            forms, words = _forms(regression)
            form, route = "", f"PyMC; {words}".rstrip("; ")
            if regression.linked:
                route = f"{route}; {NOT_CERTIFIED}"
            options |= {"accept": pymc_fit.ACCEPT}
        variables, stats = pymc_fit.sample(regression, method, forms, **options)
        attrs = {"route": route}
    attrs = {"method": method, "parametrization": form, "tune": tune, **attrs}
    attrs |= {
        "family": regression.family,
        "formula": regression.formula,
        "priors": "; ".join(f"{name} ~ {prior}" for name, prior in regression.priors.items()),
        **sizes,
        "fit_seconds": time.perf_counter() - begun,
        "loading_seconds": loading,
        "data_source": str(regression.table.attrs.get("source", "a table")),
        "data_sha256": regression.table.attrs.get("sha256") or table_digest(regression.table),
    }
    return _tree(regression, variables, stats, attrs)


@contextmanager
def _told(why: str, aloud: bool) -> Iterator[None]:
    """Say why something takes its time, if it does."""
    timer = threading.Timer(PATIENCE, print, (why,), {"file": sys.stderr, "flush": True})
    if aloud:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _forms(regression: Regression) -> tuple[str | list[str], str]:
    """The form of each varying coefficient, and why.

    As the exact posterior with Gaussian noise says; where there is none, or not in reasonable time,
    non-centred but for effects of a fixed standard deviation, which have no funnel.
    """
    sds = regression.design.sd_names
    gaussian = centring.with_gaussian_noise(regression)
    if gaussian.closed_form:
        try:
            chosen = centring.choose(regression, fit(gaussian))
            return list(chosen["form"]) or "centered", centring.sentence(chosen)
        except ValueError:
            pass  # too dear, or without noise: nobody knows how much the rows say of each effect
    priors = [regression.priors[name] for name in sds]
    held = [prior.fixed and prior.arguments[0] > 0 for prior in priors]
    return ["centered" if fixed else "noncentered" for fixed in held], "noncentered"


# matrices are small: BLAS's threads would wait for each other, on a busy machine most of the time
@one_thread()
def _certified(
    regression: Regression, draws: int, chains: int, seed: int, reference: bool
) -> Drawn:
    """A family with a link: group effects integrated out, with a certificate of the integral."""
    posterior, mode, _ = regression.integrated
    error = float(posterior.certificate(mode[None])[0])
    if error > LIMIT:  # and so it would be at the draws, where many nodes cost much
        return _nuts_instead(regression, _not_certified(error), draws, chains, seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(FIT_STREAM,)))
    found = integrated_fit.explore(regression, draws * chains, rng, scattered=reference)
    sample = found.sample
    if not found.certified:
        return _nuts_instead(regression, _not_certified(found.error), draws, chains, seed)
    if not sample.trusted:
        return _integrated_nuts(regression, draws, 1000, chains, seed, _not_trusted(sample))
    stats = {"lp": sample.log_density[found.at].reshape(chains, draws)}
    attrs = {"route": f"{CERTIFIED}; importance sampling, then draws from the integrals", "tune": 0}
    attrs |= found.attributes | _of_sample(regression, sample)
    u = sample.u[found.at].reshape(chains, draws, -1)
    return _at_coordinates(regression, found.posterior, u, seed), stats, attrs


@one_thread()
def _integrated_nuts(
    regression: Regression, draws: int, tune: int, chains: int, seed: int, why: str = ""
) -> Drawn:
    """NUTS on the density of all but the effects, certified at its draws; `why` in words."""
    posterior = regression.integrated.posterior
    u, stats = integrated_fit.nuts(
        regression.integrated, draws=draws, tune=tune, chains=chains, seed=seed
    )
    each = u.reshape(draws * chains, -1)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(CERTIFICATE_STREAM,)))
    some = rng.choice(len(each), min(len(each), 200), replace=False)
    error = float(posterior.certificate(each[some]).max())
    if error > LIMIT:
        return _nuts_instead(regression, _not_certified(error), draws, chains, seed)
    attrs = {"method": "nutpie", "parametrization": "marginal", "tune": tune}
    attrs |= {"route": ": ".join(filter(None, [f"{CERTIFIED}; NUTS without the effects", why]))}
    attrs |= integrated_fit.attributes(posterior, error)
    return _at_coordinates(regression, posterior, u, seed), stats, attrs


def _at_coordinates(
    regression: Regression, posterior: IntegratedPosterior, u: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Every variable at coordinates (chains, draws, d), effects too unless they are very many."""
    chains, draws, d = u.shape
    values = integrated_fit.drawn(regression, posterior, u.reshape(chains * draws, d))
    values = {n: value.reshape(chains, draws, *value.shape[1:]) for n, value in values.items()}
    if 0 < chains * draws * n_effects(regression.design) <= MAX_EFFECTS:
        values = with_effects(regression, values, seed)
    return values


def _not_certified(error: float) -> str:
    return (
        f"{NOT_CERTIFIED}: the integral over group effects has an error of {error:.1g}, more than "
        f"the {LIMIT:.0e} allowed"
    )


def _not_trusted(sample: importance.Sample) -> str:
    return (
        f"importance sampling was not trusted after {sample.stages} stages "
        f"(Pareto k {sample.khat:.2f}, {sample.effective:.0f} effective draws)"
    )


def _of_sample(regression: Regression, sample: importance.Sample) -> dict[str, Any]:
    """What a sample says of itself."""
    attrs: dict[str, Any] = {
        "pareto_khat": sample.khat,
        "effective_draws": sample.effective,
        "inflation": sample.inflation,
        "evaluations": len(sample.u),
        "stages": sample.stages,
        "evidence_gap": sample.gap,
    }
    if regression.proper:
        attrs |= {
            "log_evidence": sample.log_evidence,
            "log_evidence_se": sample.log_evidence_se,
        }
    return attrs


def _exact(regression: Regression, draws: int, chains: int, seed: int, reference: bool) -> Drawn:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(FIT_STREAM,)))
    explored = explore(regression, draws * chains, rng, scattered=reference)
    sample, design = explored.sample, regression.design
    if not sample.trusted:
        return _nuts_instead(regression, _not_trusted(sample), draws, chains, seed)
    at = importance.resample(sample, rng)
    values, lp = drawn(design, explored, at)
    values = {name: value.reshape(chains, draws) for name, value in values.items()}
    attrs: dict[str, Any] = explored.attributes | {"tune": 0} | _of_sample(regression, sample)
    stats = {"lp": lp.reshape(chains, draws)}
    few = draws * chains * n_effects(design) <= MAX_EFFECTS
    if len(design.groupings) > 1:
        found, attrs["moments"] = of_several(regression, explored, at, seed, draw=few)
        values |= {name: b.reshape(chains, draws, -1) for name, b in found.items()}
    elif few:
        values = with_effects(regression, values, seed)
    else:
        attrs["moments"] = moments(regression, values)
    return values, stats, attrs


def _nuts_instead(regression: Regression, reason: str, draws: int, chains: int, seed: int) -> Drawn:
    """The sturdier route: NUTS on PyMC's model, marginal where effects integrate out."""
    form = "marginal" if _lean(regression) else "noncentered"
    if form != "marginal" and regression.design.sampled:
        raise ValueError(
            f"This model needs every row, and of data in parts only a sample is kept ({reason}): "
            "read the parts into one table."
        )
    made = {"method": "nutpie", "parametrization": form, "tune": 1000}
    variables, stats = pymc_fit.sample(
        regression, "nutpie", form, draws=draws, tune=1000, chains=chains, seed=seed
    )
    return variables, stats, made | {"route": f"NUTS on the {form} model: {reason}"}


def _lean(regression: Regression) -> bool:
    """Whether the marginal model is PyMC's best form: of one factor.

    That of several solves their equations at every step, which costs more than rows do.
    """
    return regression.integrates and len(regression.design.groupings) < 2


def n_effects(design: Design) -> int:
    """Number of group effects."""
    return sum(grouping.n_levels * len(grouping.z_names) for grouping in design.groupings)


def another_seed(seed: int) -> int:
    """A seed whose streams are independent of those of `seed`: that of a second, exact fit."""
    other = np.random.SeedSequence(seed, spawn_key=(REFERENCE_STREAM,))
    return int(other.generate_state(1)[0])


def _tree(
    regression: Regression,
    variables: dict[str, np.ndarray],
    stats: dict[str, np.ndarray],
    attrs: dict[str, Any],
) -> xr.DataTree:
    design = regression.design
    dims = {name: (grouping.dim,) for grouping in design.groupings for name in grouping.effects}
    own = OWN.get(regression.family, ())
    order = [n for n in dict.fromkeys([*regression.parameters, *own, *dims]) if n in variables]
    chains, draws = variables[order[0]].shape[:2]
    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    posterior = xr.Dataset(
        {name: (("chain", "draw", *dims.get(name, ())), variables[name]) for name in order},
        coords=coords | {grouping.dim: grouping.levels for grouping in design.groupings},
        attrs={key: attrs[key] for key in ("inflation",) if key in attrs},
    )
    propriety = regression.propriety
    for lacking, what in ((propriety.without_mean, "mean"), (propriety.without_variance, "sd")):
        for name in set(lacking) & set(posterior):
            posterior[name].attrs[what] = "infinite"
    sample_stats = xr.Dataset(
        {name: (("chain", "draw"), value) for name, value in stats.items()}, coords=coords
    )
    observed = xr.Dataset({design.response: (("row",), design.y)})
    groups = {"posterior": posterior, "sample_stats": sample_stats, "observed_data": observed}
    if figures := attrs.pop("moments", None):
        groups["group_effects"] = xr.Dataset(
            {name: (("figure", *dims[name]), both) for name, both in figures.items()},
            {"figure": ["mean", "sd"]} | {g.dim: g.levels for g in design.groupings},
        )
    tree = xr.DataTree.from_dict(groups)
    left_out = [g.name for g in design.groupings if not set(g.effects) <= variables.keys()]
    held = f"draws of {', '.join(left_out)} left out" if left_out else "draws"
    tree.attrs = attrs | ({"group_effects": held} if dims else {})
    return tree
