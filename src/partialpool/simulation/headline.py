"""The answer of a study of many fits: how far off estimates are, and whether intervals hold.

All numbers are those of `calibration`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from partialpool.data.text import listed, number, percent, short
from partialpool.posterior.agreement import explained
from partialpool.posterior.fitted import POOLING
from partialpool.simulation.calibration import (
    called,
    coverage,
    errors,
    exact_lines,
    of_population,
    on_the_edge,
    pooling,
    without_noise,
)


def headline(
    calibrated: pd.DataFrame,
    recovered: pd.DataFrame,
    scale: str = "",
    names: Mapping[str, str] | None = None,
) -> str:
    """The study's result: how far off estimates and groups' lines are, and whether intervals hold.

    Estimates are those of coefficients, and of standard deviations and shapes; `scale` is
    `Plan.scale`.
    """
    found = errors(of_population(recovered))
    told = ("Intercept", "x", "sigma", "shape")
    found = found.loc[[n for n in found.index if n in told or n.endswith("_sigma")]]
    each = [
        f"{short(row['rmse'])} for the {called(str(name), names)} "
        f"({'' if k else 'true value '}{number(row['truth'])})"
        for k, (name, row) in enumerate(found.iterrows())
    ]
    says = (
        f"Estimates are off by {listed(each)} (root mean square over "
        f"{recovered['data_set'].nunique():,} data sets with these values)"
        f"{_worst(found, on_the_edge(recovered), names)}; "
    )
    says += exact_lines(recovered) if without_noise(recovered) else _lines(recovered, scale)
    kept = coverage(calibrated)
    widest = kept.loc[kept["nominal"] == kept["nominal"].max()]
    low, high = (percent(share, 1) for share in (widest["covered"].min(), widest["covered"].max()))
    return says + (
        f" Of {calibrated['data_set'].nunique():,} data sets with truths from the prior, "
        f"{percent(widest['nominal'].iloc[0])} intervals hold the truth in {low} to {high}, by "
        "parameter."
    )


def _worst(found: pd.DataFrame, edge: list[str], names: Mapping[str, str] | None) -> str:
    """The estimate that is farthest off for the size of what is true, and to which side."""
    size = found["truth"].abs()
    off = (found["rmse"] / size.where(size > 0)).where(~found.index.isin(edge), np.inf)
    if off.isna().all():
        return ""
    row = found.loc[off.idxmax()]
    says = f", for its size most for the {called(str(row.name), names)}"
    if abs(row["bias"]) > explained(len(found)) * row["bias_se"]:
        side = "high" if row["bias"] > 0 else "low"
        says += f", on average {short(abs(row['bias']))} too {side}"
    return says


def _lines(table: pd.DataFrame, scale: str) -> str:
    """How far off the groups' lines are by each way to pool."""
    found, where = pooling(table), f", in {scale}," if scale else ""
    none, complete = (_times(found.at[way, "ratio"]) for way in ("none", "complete"))
    says = (
        f"the groups' lines{where} are {none} far off with no pooling, and {complete} far with "
        "complete pooling, as with partial pooling"
    )
    return f"{says}{''.join(f', so that {one}' for one in not_better(table))}."


def _times(ratio: float) -> str:
    """How a ratio begins a comparison; one that is written as 1 is none."""
    return "as" if abs(ratio - 1) < 0.005 else f"{number(ratio, 3, zeros=True)} times as"


def not_better(table: pd.DataFrame) -> list[str]:
    """Ways to pool that are better than partial pooling, or not told from it, in words."""
    says = []
    for way in ("none", "complete"):
        low, high = pooling(table).loc[way, ["low", "high"]]
        if high < 1:
            says.append(f"{POOLING[way]} is the better one here")
        elif low <= 1:
            says.append(f"{POOLING[way]} is about as good here")
    return says


def told_too_noisy(table: pd.DataFrame) -> str:
    """Why partial pooling may be the worse: noise that is overestimated pools too much."""
    found = errors(table)
    if "sigma" not in found.index:
        return ""
    noise = found.loc["sigma"]
    if noise["bias"] <= explained(1) * noise["bias_se"]:
        return ""
    return (
        f" The fits take the noise for larger than it is, {number(noise['estimate'], 3)} for "
        f"{number(noise['truth'])} on average, so that they draw lines too far towards their mean."
    )
