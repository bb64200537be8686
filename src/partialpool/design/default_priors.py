"""A prior for every parameter of a design: what a person wrote, and defaults for the rest."""

from collections.abc import Mapping

import numpy as np

from partialpool.data.text import closest
from partialpool.design.choices import safe
from partialpool.design.matrices import Design
from partialpool.design.priors import FAMILIES, KINDS, Prior, parse


def defaults(design: Design, family: str = "gaussian") -> dict[str, Prior]:
    """Weakly informative priors on the data's own scale, one for each parameter.

    Coefficients ``Normal(0, 2.5 sd(y) / sd(x))``, the intercept widened for predictors that are
    not centred, as in Bambi (Capretto et al. 2022) and rstanarm (Goodrich et al.); standard
    deviations of groups ``HalfNormal(2.5 sd(y) / sd(z))``; sigma ``HalfStudentT(4, sd(y))``;
    correlations LKJ(2), which has its mode at zero. Where standard errors of y are known they are
    all of the noise: sigma is fixed at zero until it is given a prior. The degrees of freedom of
    Student's t have ``Gamma(2, 0.1)`` (Juárez & Steel 2010).
    """
    X, Z, y = design.totals
    spread = float(y.sd[0])
    wide: dict[str, Prior] = {}
    shift = 0.0
    for name, size, mean in zip(design.x_names, X.size, X.mean, strict=True):
        if name != "Intercept":
            sd = 2.5 * spread / size
            wide[name] = Prior("Normal", (0.0, _round(sd)))
            shift += (sd * mean) ** 2
    result: dict[str, Prior] = {}
    for name in design.x_names:
        if name == "Intercept":
            sd = np.sqrt((2.5 * spread) ** 2 + shift)
            result[name] = Prior("Normal", (_round(y.mean[0]), _round(sd)))
        else:
            result[name] = wide[name]
    for name, size in zip(design.sd_names, Z.size, strict=True):
        result[name] = Prior("HalfNormal", (_round(2.5 * spread / size),))
    for name in design.cor_names:
        result[name] = Prior("LKJ", (2.0,))
    result["sigma"] = (
        Prior("HalfStudentT", (4.0, _round(spread)))
        if design.se is None
        else Prior("Fixed", (0.0,))
    )
    if family == "student":
        result["nu"] = Prior("Gamma", (2.0, 0.1))
    return result


def resolve(
    design: Design, given: Mapping[str, str] | None = None, family: str = "gaussian"
) -> dict[str, Prior]:
    """A prior for every parameter of a design: what was given, and defaults for the rest.

    Parameters
    ----------
    design : Design
    given : mapping of str to str
        Keys are parameter names (``"Days"``, ``"1|Subject_sigma"``, ``"sigma"``) or kinds:
        ``"coefficients"``, ``"sd"`` (all group standard deviations), ``"cor"``. A name wins over
        a kind.
    family : {"gaussian", "student"}
        Of the noise; Student's t has the degrees of freedom ``nu``.

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
    kinds = (
        dict.fromkeys(design.x_names, "coefficients")
        | dict.fromkeys(design.sd_names, "sd")
        | dict.fromkeys(design.cor_names, "cor")
    )
    known = [*result, *(key for key in KINDS if key != "nu")]
    named = {safe(str(key)): text for key, text in (given or {}).items()}
    for key, text in sorted(named.items(), key=lambda item: item[0] not in KINDS):
        if key not in known:
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
        targets = [key] if key in result else [n for n, kind in kinds.items() if kind == key]
        result |= dict.fromkeys(targets, prior)
    if design.se is None and result["sigma"] == Prior("Fixed", (0.0,)):
        raise ValueError(
            "The prior of 'sigma' leaves the data without noise; it must be positive unless there "
            "are known standard errors (`se`)."
        )
    for block in design.blocks:
        etas = {result[name] for name in _block_cors(design, block)}
        if len(etas) > 1:
            raise ValueError(
                f"The correlations of {design.group} share one LKJ prior; give it as 'cor'."
            )
    return result


def _block_cors(design: Design, block: tuple[int, ...]) -> list[str]:
    return [
        name
        for name, pair in zip(design.cor_names, design.correlated_pairs, strict=True)
        if pair[0] in block
    ]


def _round(value: float) -> float:
    """Three significant digits: a default prior should be readable."""
    return float(f"{value:.3g}")
