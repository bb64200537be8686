"""A prior for every parameter of a design: what a person wrote, and defaults for the rest."""

from collections.abc import Mapping

import numpy as np

from partialpool.data.text import closest, safe
from partialpool.design.families import LINKS, OWN, thresholds
from partialpool.design.matrices import Design, Grouping
from partialpool.design.priors import FAMILIES, KINDS, Prior, parse
from partialpool.design.totals import CONSTANT, Totals, of_columns, products


def defaults(design: Design, family: str = "gaussian") -> dict[str, Prior]:
    """Weakly informative priors on the data's own scale, one for each parameter.

    With s(y) the response's `spread`, and s(x) that of a column or what the other columns leave of
    its standard deviation, whichever is least: coefficients ``Normal(0, 2.5 s(y) / s(x))``, the
    intercept about the response's median and widened for predictors that are not centred, as in
    Bambi (Capretto et al. 2022) and rstanarm (Goodrich et al.), which take standard deviations;
    standard deviations of groups ``HalfNormal(2.5 s(y) / s(z))``; sigma ``HalfStudentT(4, s(y))``;
    correlations LKJ(2), which has its mode at zero. So neither a wild value nor columns that
    nearly repeat each other, such as powers of one predictor, make a prior narrow or absurd. A line
    without an intercept has to reach the response from zero: for coefficients and groups the s(y)
    is then that of its distances from zero, ``sqrt(s(y)² + median²)``.

    Where standard errors of y are known they are all of the noise: sigma is fixed at zero until it
    is given a prior. The degrees of freedom of Student's t have ``Gamma(2, 0.1)`` (Juárez & Steel
    2010). Of Gaussian data in parts, spreads are those of the sample of rows.

    A family with a link has the same on the link's scale with s(y) = 1, as rstanarm has: 2.5 in
    log odds or logarithms is a wide effect of one standard deviation. The intercept is about the
    link of the response's overall mean, an offset taken into account; thresholds between ordered
    answers share the intercept's width, about zero. The shape of `negbinomial` has
    ``Exponential(0.1)``: rstanarm's family, with a mean of ten rather than one, so that counts that
    are nearly Poisson are as likely as counts that spread much more.
    """
    X, _, y = design.totals
    scale = 1.0 if family in LINKS else spread(design.y) or float(y.sd[0])
    if family == "cumulative":  # thresholds take the place of an intercept
        middle = 0.0
    else:
        middle = linked_mean(design) if family in LINKS else float(np.median(design.y))
    reach = scale if "Intercept" in design.x_names else float(np.hypot(scale, middle))
    x_size = _sizes(design, design.x_names, design.X, X)
    wide = 2.5 * reach / x_size
    slopes = np.array([name != "Intercept" for name in design.x_names], dtype=bool)
    shift = (wide[slopes] * X.mean[slopes]) ** 2
    width = _round(float(np.sqrt((2.5 * scale) ** 2 + shift.sum())))
    result: dict[str, Prior] = {}
    if family == "cumulative":
        result |= dict.fromkeys(thresholds(len(design.answers)), Prior("Normal", (0.0, width)))
    for name, sd in zip(design.x_names, wide, strict=True):
        if name == "Intercept":
            result[name] = Prior("Normal", (_round(middle), width))
        else:
            result[name] = Prior("Normal", (0.0, _round(sd)))
    for grouping in design.groupings:
        figures = design.figures(grouping.z_names, grouping.Z)
        sizes = _sizes(design, grouping.z_names, grouping.Z, figures)
        for name, size in zip(grouping.sd_names, sizes, strict=True):
            result[name] = Prior("HalfNormal", (_round(2.5 * reach / size),))
    for name in design.cor_names:
        result[name] = Prior("LKJ", (2.0,))
    own = {
        "sigma": Prior("HalfStudentT", (4.0, _round(scale))),
        "nu": Prior("Gamma", (2.0, 0.1)),
        "shape": Prior("Exponential", (0.1,)),
    }
    if design.se is not None:
        own["sigma"] = Prior("Fixed", (0.0,))
    return result | {name: own[name] for name in OWN.get(family, ())}


def linked_mean(design: Design) -> float:
    """Log odds of a success, or logarithm of the rate, in all rows; offsets taken into account."""
    times = 1 if design.repeats is None else design.repeats
    successes = (times * design.y).sum()
    added = np.zeros(len(design.y)) if design.offset is None else design.offset
    if design.trials is None:
        return float(np.log(successes) - np.log((times * np.exp(added)).sum()))
    trials = times * design.trials
    share = successes / trials.sum()
    return float(np.log(share / (1 - share)) - added @ trials / trials.sum())


def spread(values: np.ndarray, repeats: np.ndarray | None = None) -> float:
    """A standard deviation of most of the values (n,), which a few wild ones do not move.

    The median absolute deviation or the distance between the deciles, whichever is larger, each
    multiplied so that it estimates the standard deviation of a normal distribution; the first alone
    would be next to nothing where half of the values nearly agree. The standard deviation where
    both are zero, as of a rare 0/1 predictor. Each value is there `repeats` times (n,).
    """
    if not len(values):
        return 0.0
    low, high = _in_order(values, 0.1, repeats)[1], _in_order(values, 0.9, repeats)[0]
    away = np.abs(values - np.mean(_in_order(values, 0.5, repeats)))
    deviation = float(np.mean(_in_order(away, 0.5, repeats)))
    wide = max(1.4826 * deviation, float(high - low) / 2.5631)
    return wide or float(of_columns(values[:, None], repeats).sd[0])


def _in_order(values: np.ndarray, share: float, repeats: np.ndarray | None) -> tuple[float, float]:
    """The values next below and above a quantile; each value is there `repeats` times."""
    if repeats is None:
        low, high = (np.quantile(values, share, method=m) for m in ("lower", "higher"))
    else:
        order = np.argsort(values, kind="stable")
        before = np.cumsum(repeats[order])
        place = share * (before[-1] - 1)
        at = np.searchsorted(before, [np.floor(place), np.ceil(place)], side="right")
        low, high = values[order[at]]
    return float(low), float(high)


def _sizes(
    design: Design, names: tuple[str, ...], columns: np.ndarray, figures: Totals
) -> np.ndarray:
    """Scale (k,) of columns (N, k): the least of spread, sd, and sd given the other columns."""
    size = figures.size.copy()
    free = np.array([name not in CONSTANT for name in names], dtype=bool)
    repeats = design.repeats
    about = columns if free.all() else columns - np.average(columns, axis=0, weights=repeats)
    if repeats is not None:
        about = about * np.sqrt(repeats)[:, None]
    if design.moments is None:
        triangle = np.linalg.qr(about[:, free] / size[free], mode="r")
    else:
        gram = products(design.moments, names) / np.outer(size[free], size[free])
        triangle = np.linalg.cholesky(gram).T if (np.linalg.eigvalsh(gram) > 0).all() else gram[:0]
    root = np.sqrt(design.n_rows)
    # what is left of a column is one over the root of its place in the inverse of the products
    if len(triangle) == free.sum() and (np.abs(np.diag(triangle)) > 1e-8 * root).all():
        left = 1 / np.linalg.norm(np.linalg.inv(triangle), axis=1) / root
        size[free] *= np.minimum(1, left)
    for k in np.flatnonzero(figures.sd > 0):
        size[k] = min(size[k], spread(columns[:, k], repeats) or size[k])
    return size


def resolve(
    design: Design, given: Mapping[str, str] | None = None, family: str = "gaussian"
) -> dict[str, Prior]:
    """A prior for every parameter of a design: what was given, and defaults for the rest.

    Parameters
    ----------
    design : Design
    given : mapping of str to str
        Keys are parameter names (``"Days"``, ``"1|Subject_sigma"``, ``"sigma"``) or kinds:
        ``"coefficients"``, ``"sd"`` (all group standard deviations), ``"cor"``, or those of one
        grouping factor: ``"sd|Subject"``, ``"cor|Subject"``. A name wins over a kind, and a
        factor's over all. The thresholds of ordered answers share one prior, ``"thresholds"``.
    family : str
        Of the response, see `families`; Student's t has the degrees of freedom ``nu``.

    Raises
    ------
    ValueError
        For a key that names no parameter, or a family that does not fit its parameter.

    Examples
    --------
    >>> import partialpool as pp
    >>> from partialpool.design import from_table
    >>> design = from_table.build("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
    >>> str(resolve(design, {"sd": "HalfNormal(100)"})["1|Subject_sigma"])
    'HalfNormal(100)'
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError("The priors are a mapping, such as {'sd': 'HalfNormal(1)'}.")
    result = defaults(design, family)
    members = {"coefficients": [*design.x_names], "sd": design.sd_names, "cor": design.cor_names}
    kinds = {name: kind for kind, names in members.items() for name in names}
    for grouping in design.groupings:
        for kind, names in (("sd", grouping.sd_names), ("cor", grouping.cor_names)):
            key = f"{kind}|{safe(grouping.name)}"
            members[key], kinds[key] = names, kind
    if cuts := [*thresholds(len(design.answers))] if family == "cumulative" else []:
        members["thresholds"] = cuts
        kinds |= dict.fromkeys(cuts, "thresholds")
    members |= {name: [name] for name in result}
    # from all of a kind to the single parameter: what comes later wins
    order = {key: place for place, key in enumerate(members)}
    named = {safe(str(key)): text for key, text in (given or {}).items()}
    for key, text in sorted(named.items(), key=lambda item: order.get(item[0], 0)):
        if key not in members:
            known = [*result, *(key for key in members if key not in result)]
            hint = closest(key, known) or f"; there are {', '.join(known)}."
            raise ValueError(f"The prior for {key!r} belongs to no parameter{hint}")
        prior = parse(text)
        use = KINDS[kinds.get(key, key)]
        if FAMILIES[prior.family][1] != use:
            fitting = [name for name, (_, kind) in FAMILIES.items() if kind == use]
            raise ValueError(
                f"The prior {text!r} does not suit {key!r}, which is a {use}: choose from "
                f"{', '.join(fitting)}."
            )
        result |= dict.fromkeys(members[key], prior)
    if design.se is None and result.get("sigma") == Prior("Fixed", (0.0,)):
        raise ValueError(
            "The prior of 'sigma' leaves the data without noise; it must be positive unless there "
            "are known standard errors (`se`)."
        )
    if len({result[name] for name in cuts}) > 1:
        raise ValueError("The thresholds share one prior; give it as 'thresholds'.")
    for grouping in design.groupings:
        for block in grouping.blocks:
            if len({result[name] for name in _block_cors(grouping, block)}) > 1:
                factor = safe(grouping.name)
                raise ValueError(
                    f"The correlations of {factor} share one LKJ prior; give it as 'cor' or "
                    f"'cor|{factor}'."
                )
    return result


def _block_cors(grouping: Grouping, block: tuple[int, ...]) -> list[str]:
    return [
        name
        for name, pair in zip(grouping.cor_names, grouping.correlated_pairs, strict=True)
        if pair[0] in block
    ]


def _round(value: float) -> float:
    """Three significant digits: a default prior should be readable."""
    return float(f"{value:.3g}")
