"""Small figures of the posterior room against closed forms."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import comparison, draws


def test_intervals_are_equal_tailed_of_ninety_per_cent():
    assert draws.interval(np.arange(101.0)) == pytest.approx([5, 95])


def test_rows_far_from_the_line_weigh_as_students_t_says():
    """nu / (nu + z²) with nu 3 and scale 2: 1, a half and a quarter at 0, √3 and 3 scales."""
    values = {"Intercept": np.array([5.0]), "sigma": np.array([2.0]), "nu": np.array([3.0])}
    y = 5 + 2 * np.array([0, np.sqrt(3), -3])
    design = SimpleNamespace(
        x_names=("Intercept",), X=np.ones((3, 1)), groupings=(), se=None, offset=None, y=y
    )
    fitted = SimpleNamespace(
        model=SimpleNamespace(design=design), thinned=lambda _: SimpleNamespace(values=values)
    )
    np.testing.assert_allclose(comparison.weights(fitted), [1, 0.5, 0.25])


def test_correlations_from_the_prior_have_the_moments_of_lkj():
    """Each of d columns' pairs is 2 Beta(a, a) - 1 with a = eta - 1 + d / 2: variance 1/(2a + 1).

    Lewandowski, Kurowicka & Joe (2009): eta 2 and three columns give 1 / 6.
    """
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(40, 3)), columns=["y", "x", "w"])
    model = pp.Model("y ~ x + w + (x + w | g)", table.assign(g=np.arange(40) % 5))
    sets = [draws.from_prior(model.design, model.priors, rng) for _ in range(2000)]
    for name in model.design.cor_names:
        r = np.array([one[name] for one in sets])
        error = np.std(r**2) / np.sqrt(len(r))
        assert np.mean(r**2) == pytest.approx(1 / 6, abs=4 * error), name
        assert abs(r.mean()) < 4 * np.sqrt(1 / 6 / len(r)), name
