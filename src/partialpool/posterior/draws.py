"""Draws of a posterior as plain arrays, and what a model makes of them at its own rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from partialpool.fit import fitting

if TYPE_CHECKING:
    from partialpool.model import Model

#: Most group effects drawn on demand, 8 bytes each.
MAX_EFFECTS = 40_000_000
#: Most rows of the data at which lines are drawn; of more, a random sample.
MAX_ROWS = 10_000


def thinned(posterior: xr.DataTree, most: int) -> xr.DataTree:
    """At most `most` draws in all, evenly spaced in each chain."""
    sizes = posterior["posterior"].sizes
    every = max(1, -(-sizes["chain"] * sizes["draw"] // most))
    dataset = posterior["posterior"].to_dataset().isel(draw=slice(None, None, every))
    tree = xr.DataTree.from_dict({"posterior": dataset})
    tree.attrs = posterior.attrs
    return tree


def flat(model: "Model", posterior: xr.DataTree) -> dict[str, np.ndarray]:
    """Every variable with chains after each other: name -> (S,), or (S, J) for group effects.

    Effects that a fit left out, because the groups are very many, are drawn now, given the rest;
    of fewer draws where memory would not hold them.
    """
    design = model.design
    effects = [design.effect(k) for k in range(len(design.z_names))]
    dataset = posterior["posterior"].to_dataset()
    if effects and effects[0] not in dataset:
        most = max(1, MAX_EFFECTS // (design.n_groups * len(effects)))
        dataset = thinned(posterior, most)["posterior"].to_dataset()
    stacked = dataset.stack(sample=("chain", "draw"))
    values = {str(n): v.transpose("sample", ...).to_numpy() for n, v in stacked.items()}
    if effects and effects[0] not in values:
        seed = np.random.SeedSequence(
            int(posterior.attrs["seed"]), spawn_key=(fitting.EFFECT_STREAM,)
        )
        drawn = fitting.effect_draws(model, values, np.random.default_rng(seed))
        values |= dict(zip(effects, drawn, strict=True))
    return values


def some_rows(model: "Model", most: int = MAX_ROWS, seed: int = 0) -> np.ndarray:
    """All rows of the data, or a random sample of `most` of them, in order."""
    n = len(model.design.y)
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def line(model: "Model", values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The regression line ``X beta + Z b`` at rows (n,) of the data: (S, n)."""
    design = model.design
    total = population_line(model, values, rows)
    for k in range(len(design.z_names)):
        total += values[design.effect(k)][:, design.codes[rows]] * design.Z[rows, k]
    return total


def population_line(
    model: "Model", values: Mapping[str, np.ndarray], rows: np.ndarray
) -> np.ndarray:
    """The population's part of the line, ``X beta``, at rows (n,) of the data: (S, n)."""
    design = model.design
    total = np.zeros((len(values["sigma"]), len(rows)))
    for k, name in enumerate(design.x_names):
        total += values[name][:, None] * design.X[rows, k]
    return total


def noise(model: "Model", values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Scale of the noise at rows (n,), known standard errors included: (S, n)."""
    sigma = values["sigma"][:, None]
    if model.design.se is None:
        return np.broadcast_to(sigma, (len(sigma), len(rows)))
    return np.hypot(sigma, model.design.se[rows])


def standard_noise(
    values: Mapping[str, np.ndarray], shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Noise of scale one, of shape (S, ...): Student's t where there are degrees of freedom."""
    if "nu" not in values:
        return rng.standard_normal(shape)
    return rng.standard_t(values["nu"].reshape(-1, *[1] * (len(shape) - 1)), shape)


def from_prior(model: "Model", rng: np.random.Generator) -> dict[str, float]:
    """Values of everything but group effects, drawn from the model's priors.

    Raises
    ------
    ValueError
        For a flat prior, from which one cannot draw.
    """
    design = model.design
    truth = {
        name: float(model.priors[name].sample(rng))
        for name in [*design.x_names, "sigma", *design.sd_names]
    }
    cors = dict(zip(design.correlated_pairs, design.cor_names, strict=True))
    for block in design.blocks:
        L = np.zeros((len(block), len(block)))
        for i in range(len(block)):
            left = 1.0
            for j in range(i):
                eta = model.priors[cors[block[j], block[i]]].arguments[0]
                alpha = eta + (len(block) - 2 - j) / 2  # as in ThetaPosterior
                z = 2 * rng.beta(alpha, alpha) - 1
                L[i, j] = z * np.sqrt(left)
                left *= 1 - z**2
            L[i, i] = np.sqrt(left)
        for i, j in cors.keys() & {(a, b) for a in block for b in block}:
            truth[cors[i, j]] = float(L[block.index(i)] @ L[block.index(j)])
    return truth
