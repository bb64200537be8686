"""One model with a link, fitted with ever better integrals over the group effects, and sampled.

With one node an integral is Laplace's approximation, which is what many packages use unless they
are told otherwise. Every posterior is drawn from with the same care; what differs is the integral.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from partialpool.data.text import capital, number, rounded, short
from partialpool.design.families import LINKS
from partialpool.design.matrices import Grouping
from partialpool.fit import importance, integrated_fit
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated import FINE, certified_at, prepared
from partialpool.fit.integrated_design import integrated_posterior, start
from partialpool.fit.regression import Regression
from partialpool.posterior.draws import interval
from partialpool.posterior.finding import Finding
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.names import groups_in_words, readable

#: Key of the stream of the draws.
STREAM = 14
#: What the certified fit is called, and one node.
CERTIFIED, LAPLACE = "certified", "Laplace's approximation"
#: What the highest point of the likelihood is called, with the certified integral.
MAXIMUM = "certified, maximum of the likelihood"
#: Link -> its scale, and what differs by a factor there.
SCALES = {"logit": ("log-odds", "odds"), "log": ("logarithmic", "rates")}
#: Median distance between two draws from a standard normal distribution.
APART = NormalDist().inv_cdf(0.75) * 2**0.5


@dataclass(frozen=True)
class Approximation:
    """A posterior under an integral of so many nodes.

    Attributes
    ----------
    name : str
    draws : dict of str to (S,) array
    error : float
        Of the log likelihood by the certificate; not a number where there is none.
    log_evidence : float
    trusted : bool
        Whether the importance sampling that drew from it found nothing amiss.
    """

    name: str
    draws: dict[str, np.ndarray]
    error: float
    log_evidence: float
    trusted: bool


def approximate(model: Regression, nodes: int, total: int, seed: int) -> Approximation:
    """The posterior of a model whose integral over each group's effects has a few nodes.

    Parameters
    ----------
    model : Regression
        Whose group effects can be integrated out, `Regression.certifiable`.
    nodes : int
        Along each axis; 1 is Laplace's approximation.
    total : int
        Number of draws.
    seed : int
    """
    target = integrated_posterior(model.family, model.design, model.priors, model.thresholds)
    few = replace(target, integral=target.integral.with_nodes(nodes))
    few, first = few.about(start(few))
    mode, root = few.climb(first)
    stream = np.random.SeedSequence(seed, spawn_key=(STREAM, nodes))
    rng = np.random.default_rng(stream)
    options: dict[str, Any] = {"effective": total, "mirrors": few.mirrors}
    sample = importance.refine(few, mode, root, rng, **options)
    if not sample.trusted:
        sample = importance.sample(few, mode[None], rng, **options)
    at = importance.resample(sample, rng)
    error = few.certificate(sample.u[certified_at(sample.log_weights, at)]).max()
    return Approximation(
        LAPLACE if nodes == 1 else f"{nodes} nodes",
        integrated_fit.drawn(model, few, sample.u[at]),
        float(error),
        sample.log_evidence if model.proper else np.nan,
        bool(sample.trusted),
    )


def maximum(model: Regression) -> dict[str, float]:
    """Estimates at the maximum of the likelihood, with the certified integral and without priors.

    The climb is that to the mode, from which the priors' part is taken away.

    Parameters
    ----------
    model : Regression
        Whose group effects can be integrated out, `Regression.certifiable`.
    """
    target = integrated_posterior(model.family, model.design, model.priors, model.thresholds)
    target, mode, root = prepared(target, start(target))
    steps = FINE * np.eye(target.dimension)

    def minus(v: np.ndarray) -> tuple[float, np.ndarray]:
        u = mode + root @ v
        value, slope = target.gradient(u[None])
        prior = target.log_prior(np.vstack([u, u + steps, u - steps]))
        up, down = np.split(prior[1:], 2)
        return -float(value[0] - prior[0]), -root.T @ (slope[0] - (up - down) / (2 * FINE))

    found = optimize.minimize(minus, np.zeros(len(mode)), jac=True, options={"gtol": 1e-2})
    drawn = integrated_fit.drawn(model, target, (mode + root @ found.x)[None])
    return {name: float(drawn[name][0]) for name in model.parameters if name in drawn}


def of_fit(fitted: Fitted, name: str) -> Approximation:
    """A fit beside the approximations: the certified one, or one that is sampled row by row."""
    attrs = fitted.attrs
    error = float(attrs.get("integral_error_max", np.nan))
    evidence = float(attrs.get("log_evidence", np.nan))
    return Approximation(name, fitted.population, error, evidence, True)


def table(
    model: Regression,
    found: Sequence[Approximation],
    shown: Sequence[str],
    quoted: Mapping[str, Mapping[str, float]] | None = None,
    source: str = "",
    best: Mapping[str, float] | None = None,
) -> Finding:
    """Posterior means and standard deviations of some parameters by each way to integrate.

    Parameters
    ----------
    model : Regression
    found : sequence of Approximation
        The certified one last among those that integrate.
    shown : sequence of str
        Names of parameters.
    quoted : mapping, optional
        Method -> parameter -> estimate, of other packages.
    source : str
        Where these are from.
    best : mapping, optional
        Parameter -> `maximum`.
    """
    rows: dict[str, dict[Any, Any]] = {}
    maxima = {f"{name}, quoted": estimates for name, estimates in (quoted or {}).items()}
    maxima |= {MAXIMUM: best} if best else {}
    for name, estimates in maxima.items():
        rows[name] = {(key, "estimate"): estimates.get(key, np.nan) for key in shown}
    for one in found:
        rows[one.name] = {
            (key, figure): by(one.draws[key])
            for key in shown
            for figure, by in (("estimate", np.mean), ("sd", np.std))
        }
        rows[one.name] |= {("log evidence", ""): one.log_evidence}
        rows[one.name] |= {("error of the integral", ""): one.error}
    columns = [(key, figure) for key in shown for figure in ("estimate", "sd")]
    columns += [("log evidence", ""), ("error of the integral", "")]
    frame = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    frame.columns = pd.MultiIndex.from_tuples(columns)
    called = readable(model)
    formats: dict[Any, Any] = {
        column: ((called.get(column[0], column[0]), column[1]), "{:#.3g}") for column in columns
    }
    formats["log evidence", ""] = (("log evidence", ""), "{:,.1f}")
    formats["error of the integral", ""] = (("error of the integral", ""), "{:.2g}")
    says = sentence(model, found, shown[0])
    if best:
        ours, at = found_by(found, CERTIFIED).draws[shown[0]], best[shown[0]]
        says += (
            f" The maximum of the likelihood with the certified integral is {at:.2f}, which is "
            f"{abs(ours.mean() - at) / ours.std():.1f} posterior standard deviations from the "
            "posterior mean: so much is between a highest point and an average, and no fault of "
            "an integral."
        )
    if quoted:
        whence = f", from {source}" if source else ""
        says += f" Quoted figures are maxima of the likelihood by other packages{whence}."
    return Finding("approximations", says, table=frame, columns=formats)


def sentence(model: Regression, found: Sequence[Approximation], name: str) -> str:
    """How far the first approximation is from the certified posterior in a parameter."""
    exact, first = found_by(found, CERTIFIED), found[0]
    ours, theirs = exact.draws[name], first.draws[name]
    called = readable(model).get(name, name)
    apart = abs(theirs.mean() - ours.mean()) / ours.std()
    says = (
        f"The {called} is {theirs.mean():.2f} with {first.name} and {ours.mean():.2f} when the "
        f"integral is certified: {apart:.1f} posterior standard deviations apart"
    )
    if np.isfinite(first.log_evidence):
        says += f", and {abs(first.log_evidence - exact.log_evidence):.1f} in log evidence"
    trusted = "finds nothing amiss" if first.trusted else "objects"
    says += f". The sampler of the approximation {trusted}; the certificate of its integral"
    says += f" finds an error of {number(first.error, 2)} in the log likelihood (limit "
    says += f"{LIMIT:.0e})."
    return says


def headline(model: Regression, found: Sequence[Approximation], name: str) -> str:
    """The answer: a parameter by the certified integral and by the first approximation."""
    exact, first = found_by(found, CERTIFIED), found[0]
    ours, theirs = exact.draws[name], first.draws[name]
    mean, low, high = (rounded(float(x), float(ours.std())) for x in (ours.mean(), *interval(ours)))
    figures = f"{mean}{{}} (90 % interval {low} to {high})"
    grouping = _level_of(model, name)
    if grouping is not None:
        groups = groups_in_words(model, grouping)
        scale, differ = SCALES[LINKS[model.family]]
        says = f"{capital(groups)} differ by a standard deviation of "
        says += figures.format(f" on the {scale} scale")
        says += f": between two {groups} taken at random, alike in all else, the {differ} differ "
        says += f"by a median factor of {short(float(np.exp(APART * ours.mean())))}."
    else:
        says = f"{capital(readable(model).get(name, name))} is {figures.format('')}."
    ratio = theirs.mean() / ours.mean()
    what = "it" if grouping is None else "the standard deviation"
    makes = f"halves {what} to" if 0.45 < ratio < 0.55 else f"makes {what}"
    objects = "none of its sampler's checks objects" if first.trusted else "its sampler objects"
    other = rounded(float(theirs.mean()), float(theirs.std()))
    return f"{says} {first.name} {makes} {other}, and {objects}."


def found_by(found: Sequence[Approximation], name: str) -> Approximation:
    """The approximation of that name."""
    return next(one for one in found if one.name == name)


def _level_of(model: Regression, name: str) -> Grouping | None:
    """The factor of which a parameter is the spread of the intercepts."""
    for grouping in model.design.groupings:
        if name in grouping.sd_names and name == f"1|{grouping.name}_sigma":
            return grouping
    return None
