"""The data sets of the bench, with formula and priors; every peer gets the same."""

import numpy as np
import pandas as pd

import partialpool as pp
from partialpool import simulate

CORRELATED = "y ~ x + (x | g)"


def _renamed(name: str, y: str, x: str, g: str) -> pd.DataFrame:
    # plain names: not every peer's formula reads `log.radon`
    table = pp.load(name)[[y, x, g]].set_axis(["y", "x", "g"], axis=1)
    return table.astype({"y": float, "x": float})


def _grouped() -> pd.DataFrame:
    table = simulate.grouped(
        np.random.default_rng(0), groups=1000, per_group=100, cor=0.3, sd_slope=0.5
    )
    return table.rename(columns={"group": "g"})


#: Name -> (table, formula, priors given; the rest are the package's defaults, spelled out to all).
DATASETS = {
    "origin": lambda: (
        simulate.origin(np.random.default_rng(0)).rename(columns={"i": "g"}),
        "y ~ x + (0 + x | g)",
        simulate.ORIGIN_PRIORS,
    ),
    "sleepstudy": lambda: (_renamed("sleepstudy", "Reaction", "Days", "Subject"), CORRELATED, {}),
    "radon": lambda: (_renamed("radon", "log.radon", "basement", "county"), CORRELATED, {}),
    "Exam": lambda: (_renamed("Exam", "normexam", "standLRT", "school"), CORRELATED, {}),
    "1,000 x 100": lambda: (_grouped(), CORRELATED, {}),
}
