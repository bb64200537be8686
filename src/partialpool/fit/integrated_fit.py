"""The certified fit of families with a link: draws of all parameters, and of the group effects.

Importance sampling from the mode, or with adapted kernels where that wastes too much, or in bent
coordinates where neither is trusted, or else NUTS on the same density; what is drawn is judged by
the certificate of the integral in it (docs/method.md, eq. (58) to (60)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partialpool.fit import importance
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated import (
    DRAWN,
    IntegratedPosterior,
    Prepared,
    Values,
    certified_at,
    integrated_root,
    prepared,
)
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.fit.modes import folded
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import integrated_columns, split

#: Effective share from which on the sample from the mode is taken as it is; dimensions from which
#: on it is in any case, for adapted kernels of heavy tails waste more still.
GOOD_SHARE, MANY = 0.5, 20


@dataclass(frozen=True)
class IntegratedSample:
    """Weighted draws of everything but the group effects, and how far they can be trusted.

    Attributes
    ----------
    posterior : IntegratedPosterior
    sample : importance.Sample
    at : (S,) int array
        Draws of the sample that are kept.
    error : float
        Of the log likelihood, by the certificate.
    """

    posterior: IntegratedPosterior
    sample: importance.Sample
    at: np.ndarray
    error: float

    @property
    def certified(self) -> bool:
        """Whether the integral is as good as exact at the draws."""
        return self.error <= LIMIT

    @property
    def attributes(self) -> dict[str, Any]:
        """What a fit says of them."""
        return attributes(self.posterior, self.error)


def attributes(posterior: IntegratedPosterior, error: float) -> dict[str, Any]:
    """What a fit says of the integral in its density, which has this error."""
    nodes, *around = posterior.integral.nodes_by_factor
    found = {
        "integral_error_max": error,
        "nodes_max": int(nodes.max()),
        "nodes_mean": float(nodes.mean()),
    }
    return found | ({"nodes_around": [int(each.max()) for each in around]} if around else {})


def explore(
    regression: Regression, total: int, rng: np.random.Generator, *, scattered: bool = False
) -> IntegratedSample:
    """A weighted sample of everything but the group effects, and its certificate.

    Parameters
    ----------
    regression : Regression
    total : int
        Number of draws that are wanted.
    rng : numpy.random.Generator
    scattered : bool
        Whether the mode is looked for from a random place, as a second fit does that shall see what
        the first one may have missed.
    """
    posterior, mode, root = _from_elsewhere(regression, rng) if scattered else regression.integrated
    options: dict[str, Any] = {"effective": total, "mirrors": posterior.mirrors}
    sample = importance.refine(posterior, mode, root, rng, **options)
    good = sample.trusted and sample.effective >= GOOD_SHARE * len(sample.u)
    if not good and posterior.dimension < MANY:
        sample = importance.sample(posterior, mode[None], rng, **options)
    if not sample.trusted:
        sample = importance.refine(posterior, mode, root, rng, bent=True, **options)
    at = importance.resample(sample, rng)
    errors = posterior.certificate(sample.u[certified_at(sample.log_weights, at)])
    return IntegratedSample(posterior, sample, at, float(errors.max()))


def _from_elsewhere(regression: Regression, rng: np.random.Generator) -> Prepared:
    known, mode, root = regression.integrated
    if known.small.number:  # whose coordinates mean nothing before rows are looked at
        return prepared(known, mode + 2 * root @ rng.standard_normal(len(mode)))
    target = integrated_posterior(
        regression.family, regression.design, regression.priors, regression.thresholds
    )
    first = start(target)
    return prepared(target, first + 2 * root @ rng.standard_normal(len(first)))


def drawn(
    regression: Regression, posterior: IntegratedPosterior, u: np.ndarray
) -> dict[str, np.ndarray]:
    """Every parameter by name, at coordinates (S, d), and the effects (S, J) of small factors.

    Those that are integrated out are not among them.
    """
    design = regression.design
    values = posterior.values(u)
    names, at = [*design.x_names, *regression.thresholds], posterior.effects
    coefficients = np.delete(values.coefficients, at, axis=1)
    found = dict(zip(names, coefficients.T, strict=True))
    found |= dict(zip(design.sd_names, values.sds.T, strict=False))
    _, correlations = posterior.scales.parameters(u[:, : posterior.scales.dimension])
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        found[name] = correlations[:, i, j]
    if "shape" in regression.priors:
        found["shape"] = values.shape
    beside = values.coefficients[:, at]
    for grouping in split(design)[1]:
        n = grouping.n_levels * len(grouping.z_names)
        effects = beside[:, :n].reshape(len(u), grouping.n_levels, -1)
        found |= dict(zip(grouping.effects, np.moveaxis(effects, -1, 0), strict=True))
        beside = beside[:, n:]
    return found


def as_values(regression: Regression, values: Mapping[str, np.ndarray], L: np.ndarray) -> Values:
    """Draws (S,) by name, and roots L (S, Q, Q) of all effects' covariance, side by side.

    Effects of small factors are among the draws: (S, J), or flat.
    """
    design, S = regression.design, len(L)
    beside = split(design)[1]
    columns = [np.empty((S, 0)), *(values[name].reshape(S, 1) for name in design.x_names)]
    for small in beside:
        effects = [values[name].reshape(S, -1) for name in small.effects]
        columns.append(np.stack(effects, -1).reshape(S, -1))
    columns += [values[name].reshape(S, 1) for name in regression.thresholds]
    sds = np.ones((S, 1))
    if design.sd_names:
        sds = np.stack([values[name] for name in design.sd_names], -1)
        L = np.ascontiguousarray(integrated_root(L, *integrated_columns(design)))
    else:
        L = np.ones((S, 1, 1))
    return Values(values.get("shape", np.ones(S)), sds, L, np.hstack(columns))


def log_likelihood(
    regression: Regression, values: Values, some: np.ndarray | None = None
) -> np.ndarray:
    """Log likelihood (S, J) of the rows of each group, or of some, its effects integrated out.

    Of nested factors the groups of the outermost one are meant.

    See docs/method.md, eq. (54).
    """
    integral = regression.integrated.posterior.integral
    return integral.by_group(*values.place, some)


def certified(regression: Regression, values: Values) -> bool:
    """Whether effects integrate out, with a certificate at some of the draws (S,) given."""
    every = -(-len(values.L) // DRAWN)
    integral = regression.integrated.posterior.integral
    errors = integral.errors(*(v[::every] for v in values.place))
    return bool(errors.sum(1).max() <= LIMIT)


def effect_draws(
    regression: Regression, values: Values, seed: int, some: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """One exact draw of the integrated effects for each draw of the rest: (q, S, J) each.

    Of each factor of `small_factors.split`, or of some of its groups. Which a group gets does not
    hang on the others (docs/method.md, eq. (61)).
    """
    integral = regression.integrated.posterior.integral
    return integral.draw(*values.place, seed, some)


def effect_moments(regression: Regression, values: Values) -> list[tuple[np.ndarray, np.ndarray]]:
    """Posterior means (J, q) and standard deviations (J, q) of the effects of each such factor.

    From the integrals given each draw (Rao & Blackwell), so without noise of their own.
    """
    integral = regression.integrated.posterior.integral
    sums: list[list[np.ndarray]] = []
    for _, found in integral.moments(*values.place):
        both = [(mean, np.diagonal(square, axis1=2, axis2=3)) for mean, square in found]
        sums.append([figures.sum(0) for pair in both for figures in pair])
    totals = [np.sum(each, axis=0) / len(values.L) for each in zip(*sums, strict=True)]
    return [
        (mean, np.sqrt(np.maximum(square - mean**2, 0.0)))
        for mean, square in zip(totals[::2], totals[1::2], strict=True)
    ]


def nuts(
    target: Prepared, *, draws: int, tune: int, chains: int, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """NUTS by nutpie on the density itself: coordinates (chains, draws, d), and statistics."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    posterior, mode, root = target
    d = len(mode)

    def density(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = posterior.gradient((mode + root @ v)[None])
        return float(value[0]), root.T @ slope[0]

    compiled = from_pyfunc(
        d,
        lambda: density,
        lambda *_: lambda v: {"v": v},
        [np.dtype(float)],
        [(d,)],
        ["v"],
        make_initial_point_fn=lambda seed: np.random.default_rng(seed).normal(size=d),
    )
    tree = nutpie.sample(
        compiled, draws=draws, tune=tune, chains=chains, seed=seed, cores=1, progress_bar=False
    )
    v = tree["posterior"]["v"].to_numpy()
    u = folded((mode + v @ root.T).reshape(-1, d), posterior.mirrors)
    stats = {
        str(name): value.to_numpy()
        for name, value in tree["sample_stats"].to_dataset().items()
        if value.dims == ("chain", "draw") and value.dtype.kind in "fiub"
    }
    return u.reshape(chains, draws, d), stats
