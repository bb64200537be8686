"""Leave-one-out prediction as a run keeps it, so that other runs can be compared with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from partialpool.fit.regression import Regression
from partialpool.posterior.alternatives import observed
from partialpool.posterior.leave_one_out import DRAWS, LeftOut
from partialpool.posterior.psis import estimated

#: File of a run in which its rows' densities are kept.
LEFT_OUT = "left_out.csv"


@dataclass(frozen=True)
class Kept:
    """What a run has kept of leaving rows out: numbers, responses, the estimate, and refits."""

    rows: np.ndarray
    y: np.ndarray
    elpd: Any
    refitted: int


def keep(model: Regression, left_out: LeftOut, output: str | Path | None) -> None:
    """Write ``left_out.csv`` into a run's folder, if there is one: a line for each row.

    With its number in the data, from 1 on, its response, by which runs of one study are told to be
    of the same, its log predictive density without itself and the Pareto k of that, zero where a
    fit of its own left it out.
    """
    if output is None:
        return
    rows = left_out.rows
    columns = {"row": rows + 1, "y": observed(model)[rows], "elpd": left_out.elpd.elpd_i}
    table = pd.DataFrame(columns | {"pareto_k": left_out.elpd.pareto_k})
    table.to_csv(Path(output) / LEFT_OUT, index=False)


def kept(folder: Path) -> Kept | None:
    """What `keep` has written; None where nothing is there."""
    if not (folder / LEFT_OUT).is_file():
        return None
    table = pd.read_csv(folder / LEFT_OUT)
    each, k = (xr.DataArray(table[name].to_numpy(), dims="row") for name in ("elpd", "pareto_k"))
    elpd = estimated(each, k, DRAWS)
    rows, y = table["row"].to_numpy(), table["y"].to_numpy()
    return Kept(rows, y, elpd, int((table["pareto_k"] == 0).sum()))
