"""Whether there is a posterior, and which of its means exist; told before any draw.

It follows from ranks and priors. With effects integrated out, ``y ~ N(X beta, V)``, and V grows as
the square of a standard deviation in as many directions as its effects span. Coefficients with a
flat prior, columns F of X, take away the directions that they span themselves. So, along a ray on
which the standard deviations S grow as r, the likelihood falls as ``r^-t`` with
``t = rank([F Z_S]) - rank(F)``, Z_S having a column for each group and effect; with sigma among S,
t is ``N - rank(F)``. A prior on a scale falls as ``r^-a``: a = 0 if it is flat, 2 for a
half-Cauchy, nu + 1 for a half-t, and faster than any power else. The posterior's integral, and
that of its d-th moments, is finite where ``t + sum(a) > |S| + d`` for every S (power counting; for
one flat standard deviation these are the conditions of Hobert & Casella 1996, Theorem 1, and of
Gelman 2006, section 2.2: three groups at least). At zero the likelihood is bounded, as long as the
data have noise, of which `estimable` makes sure. Correlations are left out: their prior makes the
ranks less only on a set of measure zero. Student's t, a mixture of normal distributions, needs the
same (Fernández & Steel 1999).
"""

from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from partialpool.design.explained import Ranks
from partialpool.design.matrices import Design
from partialpool.design.priors import Prior


@dataclass(frozen=True)
class Propriety:
    """Which summaries of a posterior exist.

    Attributes
    ----------
    without_mean : tuple of str
        Parameters, and effects of groups, whose posterior has no finite mean: median and quantiles
        say where they lie.
    without_variance : tuple of str
        Those without a finite variance, these included: a mean has no Monte Carlo error then.
    """

    without_mean: tuple[str, ...]
    without_variance: tuple[str, ...]


def propriety(design: Design, priors: dict[str, Prior]) -> Propriety:
    """Say which means the posterior has.

    Raises
    ------
    ValueError
        If there is no posterior: one sentence that names the prior and the remedy.
    """
    flat = [k for k, name in enumerate(design.x_names) if not priors[name].proper]
    tails = {name: tail(priors[name]) for name in [*design.sd_names, "sigma"]}
    # one that falls faster than r^-3 by itself can be left out of every S
    heavy = [name for name, a in tails.items() if a <= 3]
    if not heavy:
        return Propriety((), ())
    ranks = Ranks(design)
    own = ranks.of([], flat)
    spare: dict[tuple[str, ...], float] = {}
    for some in chain.from_iterable(combinations(heavy, k + 1) for k in range(len(heavy))):
        z = [design.sd_names.index(name) for name in some if name != "sigma"]
        # with more directions than this, nothing is lacking
        enough = own + len(some) + 2
        rank = design.n_rows if "sigma" in some else ranks.of(z, flat, enough)
        spare[some] = rank - own + sum(tails[name] for name in some) - len(some)
        if spare[some] <= 0:
            raise ValueError(_no_posterior(design, priors, some, rank - own))
    without = []
    for d in (1, 2):
        lacking = {name for some, more in spare.items() if more <= d for name in some}
        without.append(tuple(_affected(design, ranks, flat, lacking)))
    return Propriety(*without)


def tail(prior: Prior) -> float:
    """The power a of a scale's prior, which falls as ``r^-a``."""
    if prior.family == "HalfFlat":
        return 0.0
    if prior.family == "HalfCauchy":
        return 2.0
    return prior.arguments[0] + 1 if prior.family == "HalfStudentT" else np.inf


def _affected(design: Design, ranks: Ranks, flat: list[int], lacking: set[str]) -> list[str]:
    """The scales that lack a moment, and the coefficients and effects that vary with them.

    A coefficient with a flat prior does if free effects of the groups could take its place; these
    effects then do too.
    """
    if not lacking:
        return []
    z = [k for k, name in enumerate(design.sd_names) if name in lacking]
    result = []
    whole = ranks.of(z, flat)
    for c in flat:
        if "sigma" in lacking or ranks.of(z, [k for k in flat if k != c]) == whole:
            result.append(design.x_names[c])
    effects = [design.effects[k] for k in z] if result else []
    scales = [name for name in [*design.sd_names, "sigma"] if name in lacking]
    return [*result, *scales, *effects]


def _no_posterior(
    design: Design, priors: dict[str, Prior], some: tuple[str, ...], directions: int
) -> str:
    names = ", ".join(f"{priors[name]} on {name!r}" for name in some)
    subject = "rows" if "sigma" in some else "groups"
    ways = f"{directions} direction{'s' if directions != 1 else ''}"
    levels = [g.n_levels for g in design.groupings if {*g.sd_names} & {*some}]
    number = design.n_rows if "sigma" in some else sum(levels)
    return (
        f"There is no posterior: with {names}, the data have {ways} to judge "
        f"{'it' if len(some) == 1 else 'them'} by and more than {len(some)} are needed. Give a "
        f"proper prior, such as the default, or more than {number} {subject}."
    )
