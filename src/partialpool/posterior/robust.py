"""What Student's t changes: the same model with Gaussian noise beside it."""

import numpy as np
import pandas as pd
import xarray as xr

from partialpool.model import Model
from partialpool.posterior import checks, draws


def weights(model: Model, posterior: xr.DataTree) -> np.ndarray:
    """How much each row counts, relative to one on the line: mean of ``nu / (nu + z²)``, (N,).

    Student's t is a mixture of normals; given the parameters, a row at z scales from the line has
    a precision of ``(nu + 1) / (nu + z²)`` on average (Lange, Little & Taylor 1989).
    """
    values = draws.flat(model, draws.thinned(posterior, 1000))
    rows = np.arange(len(model.design.y))
    z = (model.design.y - draws.line(model, values, rows)) / draws.noise(model, values, rows)
    nu = values["nu"][:, None]
    return (nu / (nu + z**2)).mean(0)


def lightest(model: Model, posterior: xr.DataTree, most: int = 5) -> pd.DataFrame:
    """The rows that count least, with their weight."""
    weight = weights(model, posterior)
    order = np.argsort(weight)[:most]
    design = model.design
    parts = design.group.split(":") if design.group else []
    columns = dict.fromkeys([*parts, *design.predictors])
    table = model.table.iloc[order][list(columns)].copy()
    table[design.response] = design.y[order]
    table["weight"] = weight[order]
    return table


def sentence(model: Model, posterior: xr.DataTree) -> str:
    """How the two families differ, in words."""
    ours = checks.summarize(checks.checked(posterior))
    theirs = checks.summarize(checks.checked(model.gaussian.reference))
    moved = {
        name: abs(ours.at[name, "mean"] - theirs.at[name, "mean"]) / theirs.at[name, "sd"]
        for name in model.design.x_names
    }
    says = ""
    if "nu" in model.parameters:
        nu = ours.loc["nu"]
        tail = "far from" if nu["q95"] < 10 else "close to" if nu["q05"] > 20 else "perhaps not"
        says = (
            f"The degrees of freedom are {nu['mean']:.1f} (90 % interval {nu['q05']:.1f} to "
            f"{nu['q95']:.1f}): the noise is {tail} Gaussian. "
        )
    if not moved:
        return says
    most = max(moved, key=moved.__getitem__)
    return says + (
        f"The coefficient that moves most against Gaussian noise is **{most}**, from "
        f"{theirs.at[most, 'mean']:.4g} to {ours.at[most, 'mean']:.4g}: {moved[most]:.2f} of its "
        "posterior standard deviation."
    )
