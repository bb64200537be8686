"""Words that a person chooses from; of priors one vocabulary, for PyMC and for the exact fit.

A prior is written ``"HalfNormal(100)"``; `parse` reads it, and the result knows its log density,
its support, and the PyMC distribution of the same name.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from math import lgamma, log, pi
from typing import Any

import numpy as np

from partialpool.data.text import closest

#: What to do with rows that lack a value.
MISSING = ("refuse", "drop")
#: Method -> the parametrization it uses when none is asked for.
METHODS = {"exact": None, "nuts": "marginal", "nutpie": "marginal", "metropolis": "centered"}
PARAMETRIZATIONS = ("centered", "noncentered", "marginal")

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
    "shape": "scale",
    "thresholds": "coefficient",
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

    def scaled(self, factor: float) -> "Prior":
        """The prior on a scale, `factor` times as wide; itself where it is flat or a fixed value.

        Examples
        --------
        >>> str(parse("HalfStudentT(4, 10)").scaled(0.5)), str(parse("Exponential(1)").scaled(2))
        ('HalfStudentT(4, 5)', 'Exponential(0.5)')
        """
        rates = {"lam", *(["beta"] if self.family == "Gamma" else [])}
        powers = dict.fromkeys(("sigma", "lower", "upper", "beta"), 1) | dict.fromkeys(rates, -1)
        named = zip(FAMILIES[self.family][0], self.arguments, strict=True)
        return Prior(self.family, tuple(v * factor ** powers.get(name, 0) for name, v in named))

    def sample(self, rng: np.random.Generator, size: Any = None) -> np.ndarray:
        """Draws, by inversion; a ValueError for the flat families, which cannot be drawn from."""
        if self.fixed:
            return np.full(() if size is None else size, self.arguments[0])
        if not self.proper:
            raise ValueError(f"One cannot draw from the prior {self}; give a proper one.")
        return _quantiles(self, rng.uniform(size=size))


def _quantiles(prior: Prior, u: Any) -> Any:
    """Quantiles of a proper prior on one number, as SciPy has them.

    Its distributions check and broadcast what is a number here, which takes a hundred times as
    long. SciPy is imported here, so that a study's priors can be checked without waiting for it.
    """
    from scipy import special

    make: dict[str, Callable[..., Any]] = {
        "Normal": lambda mu, sigma: special.ndtri(u) * sigma + mu,
        "HalfNormal": lambda sigma: special.ndtri((1 + u) / 2) * sigma,
        "HalfStudentT": lambda nu, sigma: special.stdtrit(nu, 0.5 + u / 2) * sigma,
        "HalfCauchy": lambda beta: np.tan(pi / 2 * u) * beta,
        "Exponential": lambda lam: -special.log1p(-u) * (1 / lam),
        "Gamma": lambda alpha, beta: special.gammaincinv(alpha, u) * (1 / beta),
        "Uniform": lambda lower, upper: u * (upper - lower) + lower,
    }
    return make[prior.family](*prior.arguments)


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
        hint = closest(family, FAMILIES) or f"; there are {', '.join(FAMILIES)}."
        raise ValueError(f"The prior {text!r} is of no known family{hint}")
    names = FAMILIES[family][0]
    given = dict(zip(names, values, strict=False)) | named
    if set(given) != set(names) or len(values) + len(named) > len(names):
        raise ValueError(f"The prior {text!r} needs the arguments {family}({', '.join(names)}).")
    if given.get("value", 0) < 0 or given.get("value", 0) == np.inf:
        raise ValueError(f"In the prior {text!r}, value must be zero or positive.")
    for name in ("sigma", "nu", "beta", "lam", "alpha", "eta"):
        if name in given and not (given[name] > 0 and np.isfinite(given[name])):
            raise ValueError(f"In the prior {text!r}, {name} must be positive.")
    if family == "Uniform" and not 0 <= given["lower"] < given["upper"] < np.inf:
        raise ValueError(f"The prior {text!r} needs 0 <= lower < upper, for it is one on a scale.")
    return Prior(family, tuple(given[name] for name in names))
