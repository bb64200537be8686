"""Fake data with a known truth.

Every generator takes a ``numpy.random.Generator`` first and the truth as keywords, and returns a
table whose ``attrs["truth"]`` holds the values that made it under the names a fit gives them.
"""

import numpy as np
import pandas as pd

#: The contract's names of the origin's parameters -> the origin's own.
ORIGIN_NAMES = {"Intercept": "a", "x": "mu_b", "x|i_sigma": "sigma_b", "sigma": "eps"}
#: The origin's model as an instance of ours: each row its own group.
ORIGIN_FORMULA = "y ~ x + (0 + x | i)"
#: Where x ends, which is drawn evenly from zero on.
X_MAX = 10.0
#: The origin's priors; its ``Normal(0, 100²)`` has 100² for a standard deviation.
ORIGIN_PRIORS = {
    "Intercept": "Normal(0, 10000)",
    "x": "Normal(0, 10000)",
    "sd": "Uniform(0, 100)",
    "sigma": "Uniform(0, 10)",
}


def origin(
    rng: np.random.Generator,
    *,
    n: int = 100,
    a: float = 2.0,
    mu_b: float = 2.0,
    sigma_b: float = 1.0,
    eps: float = 0.0,
    x_max: float = X_MAX,
) -> pd.DataFrame:
    """One slope per point: ``y_i = a + b_i x_i + e_i`` with ``b_i ~ Normal(mu_b, sigma_b)``.

    The origin's own data have no noise: ``eps = 0``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of every draw.
    n : int
        Number of points; each is a group of its own.
    a, mu_b, sigma_b : float
        Intercept, mean slope, and standard deviation of the slopes.
    eps : float
        Standard deviation of the noise.
    x_max : float
        ``x_i ~ Uniform(0, x_max)``.

    Returns
    -------
    pandas.DataFrame
        Columns ``i``, ``x``, ``y``; fit it with ``y ~ x + (0 + x | i)``.

    Examples
    --------
    >>> table = origin(np.random.default_rng(0), n=3)
    >>> list(table.columns), len(table)
    (['i', 'x', 'y'], 3)
    >>> table.attrs["truth"]["x|i_sigma"]
    1.0
    """
    b = rng.normal(mu_b, sigma_b, n)
    x = rng.uniform(0, x_max, n)
    y = a + b * x + eps * rng.standard_normal(n)
    table = pd.DataFrame({"i": np.arange(n), "x": x, "y": y})
    table.attrs["truth"] = {
        "Intercept": a,
        "x": mu_b,
        "x|i_sigma": sigma_b,
        "sigma": eps,
        "x|i": (b - mu_b).tolist(),
    }
    return table


def grouped(
    rng: np.random.Generator,
    *,
    groups: int = 20,
    per_group: int | list[int] = 10,
    intercept: float = 2.0,
    slope: float = 2.0,
    sd_intercept: float = 1.0,
    sd_slope: float = 1.0,
    cor: float = 0.0,
    sigma: float = 1.0,
    x_max: float = X_MAX,
) -> pd.DataFrame:
    """Several observations per group, with correlated intercepts and slopes.

    ``y_ij = (intercept + b0_j) + (slope + b1_j) x_ij + e_ij`` with ``(b0_j, b1_j)`` from a
    bivariate normal distribution: the usual form of the origin's model.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of every draw.
    groups : int
        Number of groups J.
    per_group : int or list of int
        Rows in each group, one number for all or one for each.
    intercept, slope : float
        Population coefficients.
    sd_intercept, sd_slope, cor : float
        Standard deviations of the group effects and their correlation.
    sigma : float
        Standard deviation of the noise.
    x_max : float
        ``x_ij ~ Uniform(0, x_max)``.

    Returns
    -------
    pandas.DataFrame
        Columns ``group``, ``x``, ``y``; fit it with ``y ~ x + (x | group)``.

    Examples
    --------
    >>> table = grouped(np.random.default_rng(0), groups=2, per_group=[1, 3])
    >>> table["group"].value_counts(sort=False).tolist()
    [1, 3]
    """
    sizes = np.broadcast_to(np.asarray(per_group), (groups,))
    covariance = np.array(
        [
            [sd_intercept**2, cor * sd_intercept * sd_slope],
            [cor * sd_intercept * sd_slope, sd_slope**2],
        ]
    )
    b = rng.multivariate_normal([0.0, 0.0], covariance, size=groups, method="svd")
    group = np.repeat(np.arange(groups), sizes)
    x = rng.uniform(0, x_max, len(group))
    noise = sigma * rng.standard_normal(len(group))
    y = intercept + b[group, 0] + (slope + b[group, 1]) * x + noise
    table = pd.DataFrame({"group": group, "x": x, "y": y})
    table.attrs["truth"] = {
        "Intercept": intercept,
        "x": slope,
        "1|group_sigma": sd_intercept,
        "x|group_sigma": sd_slope,
        "cor(1,x|group)": cor,
        "sigma": sigma,
        "1|group": b[:, 0].tolist(),
        "x|group": b[:, 1].tolist(),
    }
    return table


def crossed(
    rng: np.random.Generator,
    *,
    groups: int = 20,
    items: int = 10,
    intercept: float = 2.0,
    slope: float = 2.0,
    sd_intercept: float = 1.0,
    sd_item: float = 0.5,
    sigma: float = 1.0,
    x_max: float = X_MAX,
) -> pd.DataFrame:
    """Every group meets every item once: two crossed factors.

    ``y_ij = intercept + b_i + c_j + slope x_ij + e_ij`` with ``b_i`` and ``c_j`` from normal
    distributions, as when subjects answer items.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of every draw.
    groups, items : int
        Levels of the two factors; there are ``groups * items`` rows.
    intercept, slope : float
        Population coefficients.
    sd_intercept, sd_item : float
        Standard deviations of the groups' and of the items' effects.
    sigma : float
        Standard deviation of the noise.
    x_max : float
        ``x_ij ~ Uniform(0, x_max)``.

    Returns
    -------
    pandas.DataFrame
        Columns ``group``, ``item``, ``x``, ``y``; fit it with ``y ~ x + (1 | group) + (1 | item)``.

    Examples
    --------
    >>> table = crossed(np.random.default_rng(0), groups=3, items=2)
    >>> table["item"].tolist()
    [0, 1, 0, 1, 0, 1]
    """
    b, c = rng.normal(0, sd_intercept, groups), rng.normal(0, sd_item, items)
    group, item = np.repeat(np.arange(groups), items), np.tile(np.arange(items), groups)
    x = rng.uniform(0, x_max, len(group))
    y = intercept + b[group] + c[item] + slope * x + sigma * rng.standard_normal(len(group))
    table = pd.DataFrame({"group": group, "item": item, "x": x, "y": y})
    table.attrs["truth"] = {
        "Intercept": intercept,
        "x": slope,
        "1|group_sigma": sd_intercept,
        "1|item_sigma": sd_item,
        "sigma": sigma,
        "1|group": b.tolist(),
        "1|item": c.tolist(),
    }
    return table
