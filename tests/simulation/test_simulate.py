"""Simulated data against the distributions they are said to come from."""

import numpy as np
import pytest
from scipy import stats

from partialpool.simulation import simulate


def test_origin_is_the_origin():
    table = simulate.origin(np.random.default_rng(0))
    truth = table.attrs["truth"]
    assert list(table.columns) == ["i", "x", "y"]
    assert len(table) == 100
    b = truth["x"] + np.array(truth["x|i"])
    np.testing.assert_allclose(table["y"], truth["Intercept"] + b * table["x"])  # no noise


def test_origin_distributions():
    table = simulate.origin(np.random.default_rng(1), n=20_000, a=-1, mu_b=3, sigma_b=0.5, eps=2)
    truth = table.attrs["truth"]
    b = np.array(truth["x|i"])
    assert stats.kstest(b / 0.5, "norm").pvalue > 1e-3
    assert stats.kstest(table["x"].to_numpy() / 10, "uniform").pvalue > 1e-3
    noise = table["y"] - truth["Intercept"] - (truth["x"] + b) * table["x"]
    assert stats.kstest(noise.to_numpy() / 2, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(b, table["x"])[0, 1]) < 4 / np.sqrt(len(b))


def test_grouped_covariance():
    J = 20_000
    table = simulate.grouped(
        np.random.default_rng(2), groups=J, per_group=1, sd_intercept=2, sd_slope=0.5, cor=-0.6
    )
    b = np.column_stack([table.attrs["truth"][name] for name in ("1|group", "x|group")])
    # Standard error of a sample sd is sd / sqrt(2 J), of a correlation (1 - r²) / sqrt(J).
    np.testing.assert_allclose(b.std(0) / [2, 0.5], 1, atol=4 / np.sqrt(2 * J))
    assert abs(np.corrcoef(b.T)[0, 1] + 0.6) < 4 * (1 - 0.36) / np.sqrt(J)


def test_group_sizes_and_seed():
    sizes = [1, 3, 5]
    make = lambda: simulate.grouped(np.random.default_rng(3), groups=3, per_group=sizes)  # noqa: E731
    assert make()["group"].value_counts(sort=False).tolist() == sizes
    assert make().equals(make())


def test_crossed_factors_meet_once_and_spread_as_asked():
    table = simulate.crossed(np.random.default_rng(5), groups=400, items=500, sd_item=0.3, sigma=2)
    truth = table.attrs["truth"]
    assert (table.groupby(["group", "item"]).size() == 1).all()
    assert len(table) == 200_000
    for name, sd, n in (("1|group", 1.0, 400), ("1|item", 0.3, 500)):
        assert truth[f"{name}_sigma"] == sd
        assert abs(np.std(truth[name]) / sd - 1) < 4 / np.sqrt(2 * n)
    line = truth["Intercept"] + truth["x"] * table["x"]
    line += np.array(truth["1|group"])[table["group"]] + np.array(truth["1|item"])[table["item"]]
    assert stats.kstest((table["y"] - line).to_numpy() / 2, "norm").pvalue > 1e-3


@pytest.mark.parametrize("cor", [-1.0, 1.0])
def test_degenerate_correlation(cor):
    truth = simulate.grouped(np.random.default_rng(4), cor=cor).attrs["truth"]
    np.testing.assert_allclose(truth["1|group"], cor * np.array(truth["x|group"]), atol=1e-6)
