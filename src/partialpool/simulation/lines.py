"""Exact fits of simulated data without their packing, and how far their lines are from the true."""

from collections.abc import Mapping

import numpy as np

from partialpool.design.matrices import Design
from partialpool.fit.exact_fit import (
    coefficients,
    draws_of_several,
    effect_draws,
    moments,
    population_draws,
)
from partialpool.fit.regression import Regression

#: Draws of one fit: scalar parameters (draws,), group effects (draws, J), and whether to trust.
Draws = tuple[dict[str, np.ndarray], dict[str, np.ndarray], bool]


def fit_exactly(model: Regression, rng: np.random.Generator, draws: int) -> Draws:
    """The exact fit, without packing it into a DataTree."""
    if len(model.design.groupings) > 1:
        values, sample = draws_of_several(model, draws, rng)
        effects = {name: values.pop(name) for name in model.design.effects}
        return values, effects, sample.trusted
    values, _, sample = population_draws(model, draws, rng)
    return values, effect_draws(model, values, rng), sample.trusted


def line_of(design: Design, beta: np.ndarray, effects: Mapping[str, np.ndarray]) -> np.ndarray:
    """Regression lines (N,) of coefficients (p,) and group effects (J,)."""
    line = design.X @ beta
    for grouping in design.groupings:
        for name, z in zip(grouping.effects, grouping.Z.T, strict=True):
            line = line + effects[name][grouping.codes] * z
    return line


def of_lines(
    model: Regression, rng: np.random.Generator, draws: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws that `error` needs: of one factor's effects none."""
    if len(model.design.groupings) > 1:
        return fit_exactly(model, rng, draws)[:2]
    return population_draws(model, draws, rng)[0], {}


def unpooled(model: Regression) -> Regression:
    """No pooling of any factor."""
    for f in range(len(model.design.groupings)):
        model = model.unpooled(model.design.groupings[f])
    return model


def error(
    model: Regression,
    values: dict[str, np.ndarray],
    effects: dict[str, np.ndarray],
    line: np.ndarray,
) -> float:
    """Root mean squared error of the posterior mean of the groups' lines, over the rows.

    Effects of one factor are averages of their means given each draw of the rest (Rao &
    Blackwell): those of draws have errors of their own, which is all that no pooling would show
    where noise is zero.
    """
    design, beta = model.design, coefficients(model.design, values)
    means = {name: drawn.mean(0) for name, drawn in effects.items()}
    if len(design.groupings) == 1:
        means = {name: figures[0] for name, figures in moments(model, values).items()}
    return float(np.sqrt(np.mean((line_of(design, beta.mean(0), means) - line) ** 2)))
