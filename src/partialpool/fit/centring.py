"""Centred or non-centred: chosen from the data, coefficient by coefficient.

A sampler that carries the group effects moves freely in centred form where the rows of a group say
much about its effect, and in non-centred form where they say little (Papaspiliopoulos, Roberts &
Sköld 2007; Betancourt & Girolami 2015). How much they say is known from the exact posterior of the
model with Gaussian noise (docs/method.md, eq. (30)), for a family with a link roughly.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from partialpool.design.default_priors import resolve
from partialpool.design.families import LINKS
from partialpool.design.priors import Prior
from partialpool.fit.regression import Regression

#: Share of an effect's variance that the rows must explain for the centred form.
INFORMED = 0.5


def with_gaussian_noise(regression: Regression) -> Regression:
    """The same groups and predictors with Gaussian noise, under default priors with a link.

    With a link the response is then each row's own logarithm, or log odds, half an answer added to
    each kind so that there always is one, with the standard error that this has; ordered answers
    count as numbers, and have that of the logistic distribution.
    """
    if not regression.linked:
        return regression.gaussian()
    design, y = regression.design, regression.design.y
    if LINKS[regression.family] == "log":
        y, se = np.log(y + 0.5), 1 / np.sqrt(y + 0.5)
    elif regression.family == "binomial":
        hits = y + 0.5
        misses = (1.0 if design.trials is None else design.trials) - y + 0.5
        y, se = np.log(hits / misses), np.sqrt(1 / hits + 1 / misses)
    else:
        se = np.full(len(y), np.pi / np.sqrt(3))
    if design.offset is not None:
        y = y - design.offset
    design = replace(design, y=y, se=se, trials=None, offset=None, answers=())
    other = regression.with_design(design)
    other.family, other.se = "gaussian", "se"
    other.priors = resolve(design) | {"sigma": Prior("Fixed", (0.0,))}
    return other


def choose(regression: Regression, gaussian: xr.DataTree) -> pd.DataFrame:
    """The form of each varying coefficient, and why.

    Parameters
    ----------
    regression : Regression
    gaussian : xarray.DataTree
        The exact posterior of `with_gaussian_noise`.

    Returns
    -------
    pandas.DataFrame
        Index: names of the group effects. ``informed`` is the share of the variance of an effect
        among groups that a group's rows explain, mean over groups: one minus posterior variance
        by prior variance ``sd²``; ``form`` is "centered" from `INFORMED` on, else "noncentered".
    """
    draws = gaussian["posterior"].to_dataset()
    design = regression.design
    rows = {}
    for effect, sd in zip(design.effects, design.sd_names, strict=True):
        if effect in draws:
            variance = draws[effect].var(("chain", "draw"))
        else:  # there are too many to be drawn with a fit
            moments = gaussian["group_effects"].to_dataset()
            variance = moments[effect].sel(figure="sd") ** 2
        left = variance.mean() / (draws[sd] ** 2).mean()
        informed = max(0.0, 1 - float(left))
        form = "centered" if informed >= INFORMED else "noncentered"
        rows[effect] = {"informed": informed, "form": form}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["informed", "form"])


def sentence(chosen: pd.DataFrame) -> str:
    """The choice in words."""
    words = {"centered": "centred", "noncentered": "non-centred"}
    return "; ".join(
        f"{name} is {words[row['form']]}, for its groups' rows explain {row['informed']:.0%} of "
        "its variance"
        for name, row in chosen.iterrows()
    )
