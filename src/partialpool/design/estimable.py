"""What the rows can tell: which coefficients apart, and whether the response suits the model."""

from itertools import chain, combinations

import numpy as np

from partialpool.design.covariances import alike
from partialpool.design.explained import Explained, Span
from partialpool.design.families import LINKS, OWN
from partialpool.design.matrices import Design, Grouping
from partialpool.design.totals import products

#: Fewer rows than this tell nothing of a response.
LEAST = 10
#: Kind of a response that noise with one spread does not fit -> what it is, and what fits it.
KINDS = {
    "binary": (
        "has only two values",
        "Its mean is a share between them, which a line can leave; `family: binomial` fits it",
    ),
    "ordinal": (
        "has {n} whole numbers from {low:.0f} to {high:.0f}, as ordered answers do",
        "Distances between answers are taken at face value; `family: cumulative` does not take "
        "them so",
    ),
    "count": (
        "has whole numbers from {low:.0f} up, a quarter of them below 20, as counts do",
        "Small counts spread less than large ones; `family: poisson` or `family: negbinomial` "
        "fits them",
    ),
}


def require_estimable(design: Design, family: str = "gaussian") -> None:
    """Raise a ValueError that names the column and the remedy."""
    n, p = design.n_rows, len(design.x_names)
    if "sigma" in design.x_names and family not in LINKS:
        raise ValueError(
            "A predictor cannot be called 'sigma', the name of the residual standard deviation; "
            "rename the column."
        )
    for name in OWN.get(family, ()):
        if name in design.x_names:
            raise ValueError(
                f"A predictor cannot be called {name!r}, the name of a parameter of `family: "
                f"{family}`; rename the column."
            )
    for grouping in design.groupings:
        if grouping.n_levels < 2:
            raise ValueError(
                f"The grouping column {grouping.name!r} has one level; a hierarchy needs at least "
                "two. Leave the group term out, or check the column."
            )
    if n < p:
        raise ValueError(
            f"There are {n} rows for {p} coefficients; give more rows or fewer predictors."
        )
    X, Z, _ = design.totals
    z_names = [name for grouping in design.groupings for name in grouping.z_names]
    for name, rms in zip([*design.x_names, *z_names], [*X.rms, *Z.rms], strict=True):
        if rms == 0:
            raise ValueError(f"The predictor {name!r} is zero in every row; leave it out.")
    x_constant, y_constant = _constant(design)
    for k, name in enumerate(design.x_names):
        if name != "Intercept" and x_constant[k] and "Intercept" in design.x_names:
            raise ValueError(
                f"The predictor {name!r} is constant ({design.X[0, k]:g}) and cannot be told from "
                "the intercept; leave it out."
            )
    dependent = _dependent(design) if p > 1 else None
    if dependent is not None:
        raise ValueError(
            f"The predictor {dependent!r} is a linear combination of the "
            "ones before it (collinear); leave one of them out."
        )
    if family in LINKS:
        _require_answers(design, family)
        return
    if y_constant:
        raise ValueError(f"The response {design.response!r} is constant ({design.y[0]:g}).")
    require_noise(design)


def _require_answers(design: Design, family: str) -> None:
    """Raise a ValueError for a response of one kind of answer, and for a second intercept."""
    if not design.y.any():
        raise ValueError(
            f"The response {design.response!r} is zero in every row; there is nothing to estimate."
        )
    if design.trials is not None and (design.y == design.trials).all():
        raise ValueError(
            f"The response {design.response!r} is a success in every trial; there is nothing to "
            "estimate."
        )
    if family == "cumulative" and design.x_names:
        whole = np.column_stack([np.ones(len(design.X)), design.X])
        if np.linalg.matrix_rank(whole / np.linalg.norm(whole, axis=0)) < whole.shape[1]:
            raise ValueError(
                "With `family: cumulative` the thresholds are the intercepts, and the predictors "
                "add up to another; leave '0 +' out of the formula."
            )


def require_noise(design: Design) -> None:
    """Raise a ValueError where the columns give every row exactly, with rows to spare.

    The density of the posterior then grows without bound as sigma goes to zero; where effects of
    groups are not needed, as their standard deviations do too. Nothing is wrong with data that the
    effects give exactly, such as one slope for each row, when no row is left to tell it.
    """
    if design.se is not None:
        return
    if len(design.groupings) > 1:
        _require_noise_of_several(design)
        return
    explained, q = Explained(design), len(design.only.z_names)
    population = range(len(design.x_names))
    for z in ([], [*range(q)]):
        rank, left = explained.by(z, population)
        needed = 1 if z else q + 1
        if left < 1e-13 and design.n_rows - rank >= needed and _exact(design, z):
            raise ValueError(_no_noise(design, groups=bool(z)))


def _no_noise(design: Design, *, groups: bool) -> str:
    return (
        f"The response {design.response!r} has no noise: it is an exact combination of the "
        f"{'predictors within each group' if groups else 'predictors'}. Check the columns; "
        "there is nothing to estimate."
    )


def _require_noise_of_several(design: Design) -> None:
    """The same for several groupings, each of which may be needed or not.

    A response that all of them leave something of, all fewer do. Otherwise, the dimension of what
    some groupings leave of all rows is counted by random values in the place of the response:
    as many of these as its dimension leave independent rests.
    """
    y = Span(design, ()).left(design.y, precise=True)

    def exact(span: Span) -> bool:
        left = span.left(y)
        if np.linalg.norm(left) < 0.05 * np.linalg.norm(y):
            left = span.left(y, precise=True)
        return bool(np.abs(left).max() <= _rounding(design))

    if not exact(Span(design, design.groupings)):
        return
    rng = np.random.default_rng(2_718_281_828)  # which no simulated column will have come from
    sizes = range(len(design.groupings) + 1)
    for some in chain.from_iterable(combinations(design.groupings, size) for size in sizes):
        span = Span(design, some)
        if not exact(span):
            continue
        needed = 1 + len(design.sd_names) - sum(len(grouping.z_names) for grouping in some)
        rests = [span.left(rng.standard_normal(len(y)), precise=True) for _ in range(needed)]
        if np.linalg.matrix_rank(np.stack(rests), tol=1e-6 * np.sqrt(len(y))) == needed:
            raise ValueError(_no_noise(design, groups=bool(some)))


def _exact(design: Design, z: list[int]) -> bool:
    """Whether nothing but rounding is left of the response, seen row by row where they are here."""
    if design.moments is not None:
        return True
    rows = np.column_stack([design.X, design.y])
    if z:
        for j in range(design.only.n_levels):
            here = design.only.codes == j
            Z = design.only.Z[here]
            rows[here] -= Z @ np.linalg.lstsq(Z, rows[here], rcond=None)[0]
    left = rows[:, -1]
    if design.X.shape[1]:
        X = rows[:, :-1] / np.maximum(np.linalg.norm(rows[:, :-1], axis=0), 1e-300)
        left = left - X @ np.linalg.lstsq(X, left, rcond=1e-10)[0]
    return bool(np.abs(left).max() <= _rounding(design))


def _rounding(design: Design) -> float:
    """What rounding may leave of a response that is given exactly."""
    return float(1e-10 * np.std(design.y) + 1e-14 * np.abs(design.y).max())


def unidentified(design: Design, family: str = "gaussian") -> str:
    """Say so where no figure of the data tells effects from the noise, or from other effects.

    The data say of the effects and the noise what these add to the variances and covariances of
    the rows: ``sigma² I`` and, for each entry of each Sigma, a matrix that follows from Z and the
    groups. Where these matrices depend on each other, only the priors tell their factors apart.
    Of families without noise, a single 0/1 or ordered answer says nothing of its own effect; counts
    do, and effects of their own are the usual way to let them spread more (Harrison 2014).
    """
    if family in LINKS and (
        family != "cumulative" and (design.trials is None or design.trials.max() > 1)
    ):
        return ""
    for grouping in design.groupings:
        if _like_noise(grouping) and family in LINKS:
            return (
                f"Every row is a group of its own in {grouping.name!r}, and one answer tells "
                "nothing of the spread between groups; only the prior does: give several rows for "
                "each group, or leave the group term out."
            )
        if _like_noise(grouping):
            return (
                f"Every row is a group of its own in {grouping.name!r}, so that the data cannot "
                "tell the group effects from the noise and only the priors do: give several rows "
                "for each group, leave the group term out, or give known standard errors (`se`)."
            )
    confused = alike(design) if len(design.groupings) > 1 else []
    if not confused:
        return ""
    names = [repr(name) if name else "the noise" for name in confused]
    return (
        f"The data cannot tell {', '.join(names[:-1])} and {names[-1]} apart, for what the effects "
        "of one add to the variances of the rows the others can add, and only the priors do: "
        "leave one of the group terms out."
    )


def _like_noise(grouping: Grouping) -> bool:
    """Whether every row is a group, and its effects vary as its noise does.

    The variance of a row about the line is ``sigma² + z' Sigma z``. With one row in each group,
    the data say nothing but this sum; if a combination of the products in ``z' Sigma z`` is the
    same in every row, such as that of a varying intercept, it cannot be told from sigma².
    """
    if grouping.counts.max() > 1:
        return False
    Z = grouping.Z
    pairs = np.stack([Z[:, i] * Z[:, j] for block in grouping.blocks for i in block for j in block])
    pairs = pairs.T / np.maximum(np.linalg.norm(pairs, axis=1), 1e-300)
    ones = np.ones(len(pairs)) / np.sqrt(len(pairs))
    left = ones - pairs @ np.linalg.lstsq(pairs, ones, rcond=None)[0]
    return bool(np.linalg.norm(left) <= 1e-6)


def _constant(design: Design) -> tuple[np.ndarray, bool]:
    if design.moments is None:
        return np.ptp(design.X, axis=0) == 0, bool(np.ptp(design.y) == 0)
    X, _, y = design.totals
    return X.sd == 0, bool(y.sd[0] == 0)


def _dependent(design: Design) -> str | None:
    """The first column of X that is a combination of the ones before it."""
    if design.moments is None:
        scaled = design.X / np.linalg.norm(design.X, axis=0)
        _, triangle = np.linalg.qr(scaled)
        small = np.abs(np.diag(triangle)) < 1e-10
        return design.x_names[small.argmax()] if small.any() else None
    # From cross-products, where a square root of the precision is left.
    varying = [name for name in design.x_names if name != "Intercept"]
    left = products(design.moments, design.x_names)
    size = np.sqrt(np.diag(left))
    left = left / np.outer(size, size)
    for k, name in enumerate(varying):
        if left[k, k] < 1e-12:
            return name
        left = left - np.outer(left[:, k], left[k]) / left[k, k]
    return None


def response_kind(y: np.ndarray) -> str:
    """Kind of a response (N,), from its values alone.

    Returns
    -------
    {"binary", "ordinal", "count", ""}
        ``"binary"`` for two values; ``"ordinal"`` for 3 to 7 successive whole numbers that start
        at 0 or 1; ``"count"`` for other whole numbers from 0 up, of which at least a quarter are
        below 20; ``""`` for anything else, and for fewer than 10 rows.
    """
    values = np.unique(y)
    if len(y) < LEAST:
        return ""
    if len(values) == 2:
        return "binary"
    if values[0] < 0 or np.any(values != np.round(values)):
        return ""
    if len(values) <= 7 and values[0] <= 1 and np.all(np.diff(values) == 1):
        return "ordinal"
    return "count" if np.quantile(y, 0.25) < 20 else ""


def kind_sentence(y: np.ndarray, name: str) -> str:
    """What a reader of a Gaussian fit should know of the response; empty where it is nothing."""
    kind = response_kind(y)
    if not kind:
        return ""
    what, remedy = KINDS[kind]
    said = what.format(n=len(np.unique(y)), low=np.min(y), high=np.max(y))
    return f"The response {name} {said}. {remedy}."
