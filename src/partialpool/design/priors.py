"""One vocabulary of priors, for PyMC and for the exact fit.

A prior is written ``"HalfNormal(100)"``; `parse` reads it, and the result knows its log density,
its support, and the PyMC distribution of the same name. `resolve` turns what a person
wrote, ``{"sd": "HalfNormal(100)"}``, into a prior for every parameter of a design.
"""

import ast
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from partialpool.data.names import safe
from partialpool.design.totals import of_design

if TYPE_CHECKING:
    from partialpool.design.matrices import Design


#: Family -> names of its arguments (PyMC's), and what it is a prior for.
FAMILIES = {
    "Normal": (("mu", "sigma"), "coefficient"),
    "Flat": ((), "coefficient"),
    "HalfNormal": (("sigma",), "scale"),
    "HalfStudentT": (("nu", "sigma"), "scale"),
    "HalfCauchy": (("beta",), "scale"),
    "Exponential": (("lam",), "scale"),
    "Gamma": (("alpha", "beta"), "scale"),
    "Uniform": (("lower", "upper"), "scale"),
    "HalfFlat": ((), "scale"),
    "Fixed": (("value",), "scale"),  # zero: without it
    "LKJ": (("eta",), "correlation"),
}

#: Keys that speak for a whole kind of parameter.
KINDS = {
    "coefficients": "coefficient",
    "sd": "scale",
    "sigma": "scale",
    "nu": "scale",
    "cor": "correlation",
}


def _log_student(x: np.ndarray, nu: float, sigma: float) -> np.ndarray:
    constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - log(nu * pi) / 2 - log(sigma)
    return constant - (nu + 1) / 2 * np.log1p((x / sigma) ** 2 / nu)


def _log_gamma(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    power = (alpha - 1) * np.log(x) if alpha != 1 else 0.0
    return power - beta * x + alpha * log(beta) - lgamma(alpha)


#: Log densities on their support. scipy has them too, but takes 50 to 100 µs to be asked, which is
#: more than the likelihood of a few groups takes; the tests compare with PyMC's.
LOG_DENSITIES: dict[str, Callable[..., np.ndarray]] = {
    "Normal": lambda x, mu, sigma: -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi),
    "HalfNormal": lambda x, sigma: -0.5 * (x / sigma) ** 2 - log(sigma) + 0.5 * log(2 / pi),
    "HalfStudentT": lambda x, nu, sigma: log(2) + _log_student(x, nu, sigma),
    "HalfCauchy": lambda x, beta: log(2) + _log_student(x, 1.0, beta),
    "Exponential": lambda x, lam: log(lam) - lam * x,
    "Gamma": _log_gamma,
    "Uniform": lambda x, lower, upper: np.full_like(x, -log(upper - lower)),
}


@dataclass(frozen=True)
class Prior:
    """A prior of the vocabulary: family name and arguments in the family's order."""

    family: str
    arguments: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.family}({', '.join(f'{a:g}' for a in self.arguments)})"

    @property
    def keywords(self) -> dict[str, np.float64]:
        """Arguments by PyMC's names, typed so that PyTensor does not take them for float32."""
        values = map(np.float64, self.arguments)
        return dict(zip(FAMILIES[self.family][0], values, strict=True))

    @property
    def proper(self) -> bool:
        """Whether the prior is a probability distribution, so that there is an evidence."""
        return self.family not in ("Flat", "HalfFlat")

    @property
    def fixed(self) -> bool:
        """Whether it is a value rather than a prior."""
        return self.family == "Fixed"

    @property
    def upper(self) -> float:
        """Upper end of a scale's support; the lower one is `lower`."""
        return self.arguments[1] if self.family == "Uniform" else np.inf

    @property
    def lower(self) -> float:
        """Lower end of a scale's support."""
        return self.arguments[0] if self.family == "Uniform" else 0.0

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at `x`; 0 for the flat families and a fixed value, which have none."""
        x = np.asarray(x, dtype=float)
        if self.family not in LOG_DENSITIES:
            return np.zeros_like(x)
        with np.errstate(divide="ignore"):
            value = LOG_DENSITIES[self.family](x, *self.arguments)
        if FAMILIES[self.family][1] == "coefficient":
            return value
        return np.where((x >= self.lower) & (x <= self.upper), value, -np.inf)

    def sample(self, rng: np.random.Generator, size: Any = None) -> np.ndarray:
        """Draws, by inversion; a ValueError for the flat families, which cannot be drawn from."""
        if self.fixed:
            return np.full(() if size is None else size, self.arguments[0])
        frozen = _frozen(self)
        if frozen is None:
            raise ValueError(f"One cannot draw from the prior {self}; give a proper one.")
        return frozen.ppf(rng.uniform(size=size))


@lru_cache(maxsize=256)
def _frozen(prior: Prior) -> Any:
    """The scipy distribution of a prior, None where it has none; kept, for making one takes time.

    scipy is imported here, so that a study's priors can be checked without waiting for it.
    """
    from scipy import stats

    class HalfStudentT:
        """A Student t folded at zero, which scipy lacks."""

        def __init__(self, nu: float, sigma: float) -> None:
            self.t = stats.t(nu, scale=sigma)

        def ppf(self, u: np.ndarray) -> np.ndarray:
            return self.t.ppf(0.5 + np.asarray(u) / 2)

    make: dict[str, Callable[..., Any]] = {
        "Normal": stats.norm,
        "HalfNormal": lambda sigma: stats.halfnorm(scale=sigma),
        "HalfStudentT": HalfStudentT,
        "HalfCauchy": lambda beta: stats.halfcauchy(scale=beta),
        "Exponential": lambda lam: stats.expon(scale=1 / lam),
        "Gamma": lambda alpha, beta: stats.gamma(alpha, scale=1 / beta),
        "Uniform": lambda lower, upper: stats.uniform(lower, upper - lower),
    }
    return make[prior.family](*prior.arguments) if prior.family in make else None


def parse(text: str) -> Prior:
    """Read ``"HalfStudentT(4, 10)"`` or ``"Normal(mu=0, sigma=1)"``.

    Raises
    ------
    ValueError
        For an unknown family, a wrong number of arguments, or a scale that is not positive.
    """
    try:
        call = ast.parse(str(text).strip(), mode="eval").body
        if isinstance(call, ast.Name):
            call = ast.Call(func=call, args=[], keywords=[])
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        family = call.func.id
        values = [float(ast.literal_eval(a)) for a in call.args]
        named = {str(k.arg): float(ast.literal_eval(k.value)) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError):
        raise ValueError(
            f"The prior {text!r} cannot be read; write a family and its arguments, such as "
            "'Normal(0, 10)'."
        ) from None
    if family not in FAMILIES:
        close = difflib.get_close_matches(family, FAMILIES, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"The prior {text!r} is of no known family (there are {', '.join(FAMILIES)}).{hint}"
        )
    names = FAMILIES[family][0]
    given = dict(zip(names, values, strict=False)) | named
    if (
        len(values) > len(names)
        or set(given) != set(names)
        or len(values) + len(named) > len(names)
    ):
        raise ValueError(f"The prior {text!r} needs the arguments {family}({', '.join(names)}).")
    if given.get("value", 0) < 0 or given.get("value", 0) == np.inf:
        raise ValueError(f"In the prior {text!r}, value must be zero or positive.")
    for name in ("sigma", "nu", "beta", "lam", "alpha", "eta"):
        if name in given and not (given[name] > 0 and np.isfinite(given[name])):
            raise ValueError(f"In the prior {text!r}, {name} must be positive.")
    if family == "Uniform" and not 0 <= given["lower"] < given["upper"] < np.inf:
        raise ValueError(f"The prior {text!r} needs 0 <= lower < upper, for it is one on a scale.")
    return Prior(family, tuple(given[name] for name in names))


def defaults(design: "Design", family: str = "gaussian") -> dict[str, Prior]:
    """Weakly informative priors on the data's own scale, one for each parameter.

    Coefficients ``Normal(0, 2.5 sd(y) / sd(x))``, the intercept widened for predictors that are
    not centred, as in Bambi (Capretto et al. 2022) and rstanarm (Goodrich et al.); standard
    deviations of groups ``HalfNormal(2.5 sd(y) / sd(z))``; sigma ``HalfStudentT(4, sd(y))``;
    correlations LKJ(2), which has its mode at zero. Where standard errors of y are known they are
    all of the noise: sigma is fixed at zero until it is given a prior. The degrees of freedom of
    Student's t have ``Gamma(2, 0.1)`` (Juárez & Steel 2010).
    """
    X, Z, y = of_design(design)
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
    design: "Design", given: Mapping[str, str] | None = None, family: str = "gaussian"
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
    >>> design = pp.matrices.build("Reaction ~ Days + (1 | Subject)", pp.load("sleepstudy"))
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
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."
            raise ValueError(f"The prior for {key!r} belongs to no parameter; {hint}")
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


def _block_cors(design: "Design", block: tuple[int, ...]) -> list[str]:
    return [
        name
        for name, pair in zip(design.cor_names, design.correlated_pairs, strict=True)
        if pair[0] in block
    ]


def _round(value: float) -> float:
    """Three significant digits: a default prior should be readable."""
    return float(f"{value:.3g}")
