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


def _origin() -> Data:
    table = simulate.origin(np.random.default_rng(0)).rename(columns={"i": "g"})
    formula = simulate.ORIGIN_FORMULA.replace("i)", "g)")
    return Data(_plain(table), formula, simulate.ORIGIN_PRIORS)


def _example(name: str, y: str, x: str, g: str) -> Data:
    table = pp.load(name)[[y, x, g]].set_axis(["y", "x", "g"], axis=1)
    return Data(_plain(table), CORRELATED)


def _simulated() -> Data:
    rng = np.random.default_rng(0)
    table = simulate.grouped(rng, groups=1000, per_group=100, cor=0.3, sd_slope=0.5)
    return Data(_plain(table.rename(columns={"group": "g"})), CORRELATED)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    # no attributes, so that nobody finds a digest that was computed before the clock started
    return pd.DataFrame(table.astype({"y": float, "x": float}).to_dict("series"))


DATASETS: dict[str, Callable[[], Data]] = {
    "origin": _origin,
    "sleepstudy": lambda: _example("sleepstudy", "Reaction", "Days", "Subject"),
    "radon": lambda: _example("radon", "log.radon", "basement", "county"),
    "Exam": lambda: _example("Exam", "normexam", "standLRT", "school"),
    "1000x100": _simulated,
}
