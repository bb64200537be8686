"""Default priors against the figures that Bambi and rstanarm document, on data of known scale."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from partialpool.design.default_priors import resolve
from partialpool.design.from_table import build


def normal(n, mean, sd, rng):
    """Quantiles of a normal distribution: its mean, median, deviations and deciles agree."""
    return mean + sd * rng.permutation(stats.norm.ppf((np.arange(n) + 0.5) / n))


@pytest.fixture(scope="module")
def priors():
    rng, n = np.random.default_rng(1), 2000
    columns = {"y": (50, 10), "x": (30, 4), "w": (-5, 2)}
    table = pd.DataFrame({name: normal(n, *figures, rng) for name, figures in columns.items()})
    return resolve(build("y ~ x + w + (x | g)", table.assign(g=np.arange(n) % 7)))


def test_coefficients_have_the_scale_of_response_over_predictor(priors):
    """2.5 sd(y) / sd(x): 2.5 × 10 / 4 and 2.5 × 10 / 2, about zero."""
    assert priors["x"].arguments == pytest.approx((0, 6.25), rel=0.01)
    assert priors["w"].arguments == pytest.approx((0, 12.5), rel=0.01)


def test_the_intercept_is_widened_by_predictors_that_are_not_centred(priors):
    """2.5 sd(y) at the predictors' means is far from zero: 25² + (30 × 6.25)² + (5 × 12.5)²."""
    mean, sd = priors["Intercept"].arguments
    assert mean == pytest.approx(50, abs=0.5)
    assert sd == pytest.approx(199.22, rel=0.01)


def test_noise_and_groups_have_the_scale_of_the_response(priors):
    assert priors["sigma"].family == "HalfStudentT"
    assert priors["sigma"].arguments == pytest.approx((4, 10), rel=0.01)
    assert priors["1|g_sigma"].arguments == pytest.approx((25,), rel=0.01)
    assert priors["x|g_sigma"].arguments == pytest.approx((6.25,), rel=0.01)


def test_without_an_intercept_the_line_reaches_the_response_from_zero():
    """Means of cells about 50, with sds of 10: 2.5 × √(10² + 50²) over sd(x) = 1/2; and groups."""
    rng, n = np.random.default_rng(1), 2000
    cell, g = np.arange(n) % 2, np.arange(n) // 2 % 7
    table = pd.DataFrame({"y": normal(n, 50, 10, rng), "cell": cell, "g": g})
    priors = resolve(build("y ~ 0 + factor(cell) + (1 | g)", table))
    assert priors["factor(cell)[0]"].arguments == pytest.approx((0, 254.95), rel=0.01)
    assert priors["1|g_sigma"].arguments == pytest.approx((127.48,), rel=0.01)
    assert priors["sigma"].arguments == pytest.approx((4, 10), rel=0.01)
    counts = table.assign(y=np.resize([90, 110], n))
    rates = resolve(build("y ~ 0 + (1 | g)", counts, family="poisson"), family="poisson")
    assert rates["1|g_sigma"].arguments == pytest.approx(
        (2.5 * np.hypot(1, np.log(100)),), rel=0.01
    )
