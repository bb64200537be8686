"""Theta, coefficients and small factors' effects drawn: through a surrogate where that pays."""

from dataclasses import dataclass, replace

import numpy as np

from partialpool.fit import exact, importance, quadrature, surrogate
from partialpool.fit.crossproducts import CrossProducts
from partialpool.fit.elimination import Elimination
from partialpool.fit.exact import ThetaPosterior
from partialpool.fit.likelihoods import OneFactor, Reduced
from partialpool.fit.ratios import Ratios
from partialpool.fit.reduction import WAY_OUT, TooDear, of_crossproducts
from partialpool.fit.surrogate import FRESH, Certificate

#: Surrogates that are tried: wider, or of higher degree, from one to the next.
ATTEMPTS = 12
#: Products of an evaluation, and coordinates of theta, between which a surrogate is worth its nodes
#: where nothing is dense.
WORTH, FEW = 10_000, 8
#: Levels of the largest factor from which on its ratios have a posterior narrow enough.
MANY = 400
#: Products that an evaluation may cost where no surrogate is certified, so that ten thousand of
#: them are needed: about a minute in all.
MOST_PRODUCTS = 2e8
#: Words of the route.
THETA, REST = "importance sampling of theta", "then Gaussian draws"


@dataclass(frozen=True)
class Explored:
    """A sample of theta with all that was drawn beside it.

    Attributes
    ----------
    posterior : ThetaPosterior
        What was sampled: the density itself, or its surrogate.
    sample : importance.Sample
    certificate : Certificate, optional
        Of the surrogate; None where the density itself was sampled.
    route : str
        In words.
    """

    posterior: ThetaPosterior
    sample: importance.Sample
    certificate: Certificate | None
    route: str

    @property
    def attributes(self) -> dict[str, str | int | float]:
        """What a fit says of them."""
        found: dict[str, str | int | float] = {"route": self.route}
        if self.certificate is not None:
            found |= {
                "surrogate_error": self.certificate.rms,
                "surrogate_error_max": self.certificate.largest,
                "surrogate_edge_share": float(self.certificate.edges.max()),
                "surrogate_nodes": self.certificate.nodes,
                "surrogate_evaluations": self.certificate.evaluations,
            }
        return found


def explore(
    target: ThetaPosterior,
    starts: np.ndarray,
    rng: np.random.Generator,
    *,
    effective: int = 4000,
    scattered: bool = False,
) -> Explored:
    """Draw theta and coefficients, and the effects of small factors beside others.

    From the density itself where it is cheap, as with one factor of few groups; through a surrogate
    where it is dear, and from the density after all where no surrogate can be certified.

    Parameters
    ----------
    target : ThetaPosterior
    starts : (K, d) array
        Where the search for modes begins, see `exact.starting_places`.
    rng : numpy.random.Generator
    effective : int
        Number of draws that are wanted.
    scattered : bool
        Whether to begin at random places, as a second fit does that shall see what the first may
        have missed.

    Raises
    ------
    TooDear
        Where no surrogate can be certified and the density costs more than `MOST_PRODUCTS`.
    """
    if _cheap(target):
        if scattered:
            starts = exact.scattered(starts, rng)
        return _directly(target, starts, rng, effective, f"{THETA}, {REST}")
    exactly = target
    if isinstance(target.likelihood, OneFactor):
        one = target.likelihood
        target = replace(target, likelihood=Reduced(of_crossproducts(one.cross), one.prior))
    built = surrogate.build(target, starts[0], _somewhere(target, rng) if scattered else None)
    for _ in range(ATTEMPTS):
        posterior = built.posterior
        sample = importance.sample(
            posterior,
            built.starts(),
            rng,
            effective=effective,
            mirrors=target.mirrors,
            draw=posterior.with_coefficients,
        )
        u = sample.u[importance.resample(sample, rng)]
        edges = built.edges(u)
        if (edges > surrogate.MAX_EDGE).any():
            built.extend(edges > surrogate.MAX_EDGE)
            continue
        certificate = built.certify(u[:FRESH], edges)
        if certificate.passed and sample.trusted:
            sample = _integrated(posterior, sample, certificate)
            return Explored(posterior, sample, certificate, f"{THETA} on a surrogate, {REST}")
        if certificate.passed or len(built.interpolant.nodes) > surrogate.MAX_NODES:
            break
        built.grow(u[:200])
    assert isinstance(target.likelihood, Reduced)
    if target.likelihood.rows.products > MOST_PRODUCTS:
        raise TooDear(
            "An exact fit of these factors would take too long, for their density could not be "
            f"interpolated; choose {WAY_OUT}."
        )
    route = f"{THETA}, for no surrogate of its density was certified, {REST}"
    return _directly(exactly, starts, rng, effective, route)


def _cheap(target: ThetaPosterior) -> bool:
    """Whether the density itself is to be sampled: few products, or a ratio that is not free."""
    likelihood, sigma = target.likelihood, target.scales[0]
    rows: CrossProducts | Elimination
    if any(prior.fixed and prior.arguments[0] > 0 for prior in target.scales[1:]):
        return True
    if isinstance(likelihood, OneFactor):
        rows = likelihood.cross
        # a ratio needs noise that is there, and that every row has alike
        if (rows.log_weight is None and sigma.fixed) or rows.at is not None:
            return True
    else:
        assert isinstance(likelihood, Reduced)
        rows = likelihood.rows
        if rows.n_middle:
            return False
    products = rows.R.size * len(rows.E) ** 2
    return products <= WORTH or len(rows.R) < MANY or target.dimension > FEW


def _integrated(
    posterior: ThetaPosterior, sample: importance.Sample, certificate: Certificate
) -> importance.Sample:
    """The same sample with the evidence by quadrature, where that says more than sampling does."""
    if not 0 < posterior.dimension <= quadrature.MOST:
        return sample
    value, error = quadrature.log_integral(posterior, sample.u, sample.log_density)
    error = float(np.hypot(error, certificate.rms))
    apart = abs(value - sample.log_evidence) > importance.MAX_GAP * sample.log_evidence_se
    if apart or not error < sample.log_evidence_se:
        return sample
    return replace(sample, log_evidence=value, log_evidence_se=error)


def _somewhere(target: ThetaPosterior, rng: np.random.Generator) -> np.ndarray:
    """A random place, of ratios between 0.1 and 1.8."""
    assert isinstance(target.likelihood, Reduced)
    ratios = Ratios(target, target.likelihood)
    place = np.zeros(ratios.dimension)
    size = 0.4 * np.exp(rng.uniform(-1.5, 1.5, size=len(ratios.sizes)))
    place[: len(size)] = np.arcsinh(size * np.sqrt(ratios.weights[ratios.sizes]))
    return place


def _directly(
    target: ThetaPosterior,
    starts: np.ndarray,
    rng: np.random.Generator,
    effective: int,
    route: str,
) -> Explored:
    sample = importance.sample(
        target,
        starts,
        rng,
        effective=effective,
        mirrors=target.mirrors,
        draw=target.with_coefficients,
    )
    return Explored(target, sample, None, route)
