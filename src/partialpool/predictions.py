"""Predictions for chosen rows: groups that were in the data, and groups that were not."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from partialpool.model import Model

UNSEEN = ("refuse", "population")


def line(
    model: "Model",
    posterior: xr.DataTree,
    table: pd.DataFrame,
    *,
    unseen: str = "refuse",
    seed: int = 0,
) -> np.ndarray:
    """Draws of the regression line ``X beta + Z b`` at rows: (draws, rows).

    Parameters
    ----------
    model : Model
    posterior : xarray.DataTree
        A fit of it.
    table : pandas.DataFrame
        The rows; the response is not needed.
    unseen : {"refuse", "population"}
        For a group that was not in the data: an error, or effects drawn from the population's
        distribution, ``b ~ N(0, Sigma)``, the same for all rows of that group.
    seed : int
        Of the effects of new groups.

    Raises
    ------
    ValueError
        For a group level that was not in the data, unless `unseen` is ``"population"``.
    """
    if unseen not in UNSEEN:
        raise ValueError(f"unseen: choose from {', '.join(UNSEEN)}, not {unseen!r}.")
    design = model.design
    X, Z, codes = design.rows(table)
    new = codes < 0
    if new.any() and unseen == "refuse":
        level = table[design.group.split(":")].to_numpy()[new][0]
        shown = repr(level[0]) if len(level) == 1 else repr(":".join(map(str, level)))
        raise ValueError(
            f"The level {shown} of {design.group} was not in the data; "
            "set `unseen` to 'population' to predict a new group."
        )
    draws = posterior["posterior"].to_dataset().stack(sample=("chain", "draw"))
    total = np.zeros((draws.sizes["sample"], len(table)))
    for k, name in enumerate(design.x_names):
        total += draws[name].to_numpy()[:, None] * X[:, k]
    for k in range(len(design.z_names)):
        effects = draws[design.effect(k)].transpose("sample", ...).to_numpy()
        total[:, ~new] += effects[:, codes[~new]] * Z[~new, k]
    if new.any():
        labels = table[design.group.split(":")].astype(str).agg(":".join, axis=1)[new]
        which, levels = pd.factorize(labels)
        effects = _new_effects(model, draws, len(levels), seed)
        total[:, new] += np.einsum("snk,nk->sn", effects[:, which], Z[new])
    return total


def predict(
    model: "Model",
    posterior: xr.DataTree,
    table: pd.DataFrame,
    *,
    unseen: str = "refuse",
    probability: float = 0.89,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict rows: the line, and a new observation around it.

    Parameters
    ----------
    model, posterior, table, unseen, seed
        See `line`.
    probability : float
        Of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        The rows, with ``mean`` and ``sd`` of the line, its interval ``lower`` to ``upper``, and
        that of a new observation, ``observation_lower`` to ``observation_upper``.

    Raises
    ------
    ValueError
        See `line`.
    """
    total = line(model, posterior, table, unseen=unseen, seed=seed)
    sigma = posterior["posterior"]["sigma"].to_numpy().reshape(-1, 1)
    rng = np.random.default_rng([seed, 1])
    observed = total + sigma * rng.standard_normal(total.shape)
    tails = [(1 - probability) / 2, (1 + probability) / 2]
    lower, upper = np.quantile(total, tails, axis=0)
    observation_lower, observation_upper = np.quantile(observed, tails, axis=0)
    return table.assign(
        mean=total.mean(axis=0),
        sd=total.std(axis=0, ddof=1),
        lower=lower,
        upper=upper,
        observation_lower=observation_lower,
        observation_upper=observation_upper,
    )


def _new_effects(model: "Model", draws: xr.Dataset, groups: int, seed: int) -> np.ndarray:
    """Effects (draws, groups, q) of groups that were not in the data, from ``N(0, Sigma)``."""
    design = model.design
    q, n = len(design.z_names), draws.sizes["sample"]
    correlation = np.broadcast_to(np.eye(q), (n, q, q)).copy()
    for name, (i, j) in zip(design.cor_names, design.correlated_pairs, strict=True):
        correlation[:, i, j] = correlation[:, j, i] = draws[name].to_numpy()
    sd = np.stack([draws[name].to_numpy() for name in design.sd_names], axis=-1)
    L = sd[:, :, None] * np.linalg.cholesky(correlation)
    z = np.random.default_rng([seed, 0]).standard_normal((n, groups, q))
    return np.einsum("skl,sgl->sgk", L, z)
