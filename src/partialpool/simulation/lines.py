"""Exact fits of simulated data without their packing, and how far their lines are from the true."""

from collections.abc import Mapping

import numpy as np

from partialpool.fit import integrated_fit
from partialpool.fit.exact_fit import (
    draws_of_several,
    effect_draws,
    integrated_values,
    moments,
    population_draws,
)
from partialpool.fit.regression import Regression
from partialpool.posterior import draws as posterior_draws

#: Draws of one fit: scalar parameters (draws,), group effects (draws, J), and whether to trust.
Draws = tuple[dict[str, np.ndarray], dict[str, np.ndarray], bool]


def fit_exactly(model: Regression, rng: np.random.Generator, draws: int) -> Draws:
    """The exact fit, without packing it into a DataTree; with a link it must be certified too."""
    if len(model.design.groupings) > 1 and not model.linked:
        values, sample = draws_of_several(model, draws, rng)
        effects = {name: values.pop(name) for name in model.design.effects}
        return values, effects, sample.trusted
    values, trusted = _population(model, rng, draws)
    effects = effect_draws(model, values, rng)
    return {n: v for n, v in values.items() if n not in effects}, effects, trusted


def _population(
    model: Regression, rng: np.random.Generator, draws: int
) -> tuple[dict[str, np.ndarray], bool]:
    """Draws (draws,) of all but the effects, and whether to trust them.

    Of several factors with a link those of small ones (draws, J) are among them.
    """
    if not model.linked:
        values, _, sample = population_draws(model, draws, rng)
        return values, sample.trusted
    found = integrated_fit.explore(model, draws, rng)
    values = integrated_fit.drawn(model, found.posterior, found.sample.u[found.at])
    return values, found.sample.trusted and found.certified


def line_of(model: Regression, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Regression lines (N,) of one value (1,) of the coefficients and of the group effects (1, J).

    Of ordered answers, whose effects and thresholds may all move together, from the middle of the
    thresholds.
    """
    rows = np.arange(len(model.design.y))
    middle = np.mean([values[name][0] for name in model.thresholds] or [0.0])
    return posterior_draws.line(model.design, values, rows)[0] - middle


def of_lines(
    model: Regression, rng: np.random.Generator, draws: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws that `error` needs: of one factor's effects none."""
    if len(model.design.groupings) > 1:
        return fit_exactly(model, rng, draws)[:2]
    return _population(model, rng, draws)[0], {}


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
    where noise is zero. With a link lines are those before it, see `line_of`.
    """
    means = {name: drawn.mean(0)[None] for name, drawn in {**values, **effects}.items()}
    if len(model.design.groupings) == 1:
        means |= {name: b[None] for name, b in _mean_effects(model, values).items()}
    return float(np.sqrt(np.mean((line_of(model, means) - line) ** 2)))


def _mean_effects(model: Regression, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Posterior means (J,) of the only factor's effects, by name."""
    if not model.linked:
        return {name: figures[0] for name, figures in moments(model, values).items()}
    ((mean, _),) = integrated_fit.effect_moments(model, integrated_values(model, values))
    return dict(zip(model.design.effects, mean.T, strict=True))
