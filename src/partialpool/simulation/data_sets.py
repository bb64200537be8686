"""The table that a study of samplers names: read, or simulated with its truth."""

from typing import Any

import numpy as np
import pandas as pd

from partialpool.data.tables import load, table_digest
from partialpool.design.families import LINKS
from partialpool.simulation.simulate import crossed, origin

#: Data that are simulated, by name -> the source in words.
SIMULATED = {
    "origin": "the origin's simulation",
    "crossed": "a simulation of two crossed factors",
    "intercepts": "a simulation of groups with intercepts of their own",
}
#: Sizes and truth of the last, under the names of a recovery study; those of other families are
#: ignored.
SIZES = {"groups": 20, "per_group": 5}
TRUTH: dict[str, Any] = {"intercept": -0.5, "slope": 1.0, "sd_intercept": 1.0, "noise": 1.0}
TRUTH |= {"shape": 5.0, "thresholds": [-0.5, 0.5, 1.5]}


def data_set(data: str, seed: int, family: str = "gaussian") -> Any:
    """The table that a notebook's settings name.

    Parameters
    ----------
    data : str
        ``"origin"``, ``"crossed"`` or ``"intercepts"`` for data simulated with their truth, or
        anything `tables.load` reads.
    seed : int
        Of simulated data.
    family : str
        Of their response; one with a link takes ``"intercepts"``.

    Raises
    ------
    ValueError
        For a family that the data named are not simulated from.
    """
    if data not in SIMULATED:
        return load(data)
    rng = np.random.default_rng(seed)
    if data == "intercepts":
        table = _intercepts(rng, family)
    elif family in LINKS:
        raise ValueError(
            f"data: {data} is simulated with Gaussian noise; with `family: {family}` choose "
            "intercepts, or a table."
        )
    else:
        table = origin(rng) if data == "origin" else crossed(rng)
    table.attrs |= {"source": SIMULATED[data], "sha256": table_digest(table)}
    return table


def _intercepts(rng: np.random.Generator, family: str) -> pd.DataFrame:
    """Rows in groups with intercepts of their own, of any family that recovery knows."""
    # what fits is not needed to look at other data, which shall be quick
    from partialpool.simulation import plans
    from partialpool.simulation.many_fits import respond

    plan = plans.plan("intercepts", SIZES, TRUTH, {}, family=family)
    model = plans.template(plan, rng)
    effects, _, y = respond(model, plan.truth, rng)
    table = model.table.assign(y=y)
    table.attrs["truth"] = plan.truth | {name: b.tolist() for name, b in effects.items()}
    return table
