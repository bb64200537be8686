import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from partialpool.fit import pareto


@pytest.mark.parametrize("shape", [0.1, 0.9])
@pytest.mark.parametrize("r_eff", [1.0, 0.4])
@pytest.mark.parametrize("draws", [200, 1000])
def test_smoothed_weights_are_those_of_arviz(draws, r_eff, shape):
    """Row by row, of thin and thick tails, with draws that occur more than once."""
    rng = np.random.default_rng(3)
    log = -np.log(stats.genpareto(shape).rvs(size=(50, draws), random_state=rng))
    log[25:] = log[25:, rng.integers(draws, size=draws)]
    weights, k = pareto.smoothed(log, r_eff)
    expected, theirs = array_stats.psislw(log, r_eff=r_eff)
    np.testing.assert_allclose(weights, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(k, theirs, rtol=1e-12)
    assert np.median(k) == pytest.approx(shape, abs=0.15)
