"""Fits that might have been, held against models fitted from scratch."""

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.simulation.what_if import DRAWS, ERRORS, WhatIf, differ, influence

FORMULA = "Reaction ~ Days + (Days | Subject)"
#: Draws of a fit, and standard errors of a difference: one of some forty fails once in 3,000 runs.
FIT, LIMIT = 4000, 4.5


@pytest.fixture(scope="module")
def fit():
    return pp.Model(FORMULA, pp.load("sleepstudy")).fit(seed=1)


@pytest.fixture(scope="module")
def what_if(fit):
    return WhatIf(fit, np.arange(0, 18, 2))


def same_means(ours, theirs):
    """Means of independent draws agree, as far as chance allows."""
    error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs))
    np.testing.assert_array_less(np.abs(ours.mean(0) - theirs.mean(0)), LIMIT * error)


def values(fit, name):
    return fit.posterior["posterior"][name].to_numpy().reshape(FIT, -1)


@pytest.mark.parametrize(
    ("scale", "left_out", "least"),
    [(1 / 8, None, 0), (1 / 8, None, FIT + 1), (1, 4, 0), (0.5, 1, 0)],
)
def test_a_refit_is_the_fit_of_a_model_made_so(fit, monkeypatch, scale, left_out, least):
    """So are draws of the fit that other priors leave, where these are enough."""
    monkeypatch.setattr("partialpool.simulation.what_if.LEFT", least)
    answer = WhatIf(fit, np.arange(0, 18, 2)).refit(scale, left_out)
    priors = {name: str(prior) for name, prior in fit.model.priors.items()}
    sds = fit.model.design.sd_names
    wide = [priors[name].removeprefix("HalfNormal(").rstrip(")") for name in sds]
    priors |= {n: f"HalfNormal({scale * float(w)})" for n, w in zip(sds, wide, strict=True)}
    levels = fit.model.design.only.levels
    table = fit.model.table
    if left_out is not None:
        table = table[table["Subject"] != levels[left_out]].reset_index(drop=True)
    other = pp.Model(FORMULA, table, priors).fit(seed=2)
    for name in sds:
        same_means(answer.sds[name][:, None], values(other, name))
    same_means(answer.beta, np.hstack([values(other, n) for n in ("Intercept", "Days")]))
    assert len(answer.beta) == DRAWS or (not least and left_out is None)
    assert len(answer.beta) == len(answer.effects) > DRAWS / 4
    assert answer.trusted
    there = [j for j in answer.groups if j != left_out]
    dataset = other.posterior["posterior"].sel(Subject=levels[there])
    for k, name in enumerate(fit.model.design.effects):
        ours = answer.effects[:, np.isin(answer.groups, there), k]
        same_means(ours, dataset[name].to_numpy().reshape(FIT, -1))


def test_a_group_left_out_is_a_new_one(fit, what_if):
    """Its line has the spread of `predict` for a group that was not in the data."""
    left_out = 3
    name = fit.model.design.only.levels[left_out]
    priors = {name: str(prior) for name, prior in fit.model.priors.items()}
    table = fit.model.table[fit.model.table["Subject"] != name]
    other = pp.Model(FORMULA, table.reset_index(drop=True), priors).fit(seed=2)
    row = pd.DataFrame({"Subject": [name], "Days": [9]})
    row = other.predict(row, unseen="population").iloc[0]
    unseen = what_if.group(what_if.refit(1, left_out), left_out, 9)
    error = row["sd"] * np.sqrt(1 / DRAWS + 1 / FIT)
    assert abs(unseen.mean() - row["mean"]) < LIMIT * error
    # heavier tails than the normal's give a standard deviation more error: half as much again
    assert abs(unseen.std() - row["sd"]) < LIMIT * 1.5 * error / np.sqrt(2)
    own = what_if.group(what_if.before, left_out, 9)
    assert own.std() < unseen.std() / 2


def test_as_it_was_the_fit_itself_answers(fit, what_if):
    before = what_if.refit(1, None)
    assert before is what_if.before
    rows = pd.DataFrame({"Subject": fit.model.design.only.levels[[0, 5]], "Days": [2, 7]})
    means = fit.predict(rows)["mean"]
    ours = [what_if.group(before, 0, 2).mean(), what_if.group(before, 5, 7).mean()]
    np.testing.assert_allclose(ours, means)
    np.testing.assert_allclose(what_if.middles(before)[0, 2], means[0])
    summary = fit.summary()["mean"]
    line = what_if.population(before).mean(0)
    np.testing.assert_allclose(line, summary["Intercept"] + summary["Days"] * what_if.places)


def test_places_are_the_datas_or_spread_evenly(fit, what_if):
    np.testing.assert_array_equal(what_if.places, np.arange(10))
    exam = pp.Model("normexam ~ standLRT + (1 | school)", pp.load("Exam")).fit(draws=100)
    many = WhatIf(exam, np.arange(5)).places
    assert len(many) == 41
    assert many[[0, -1]].tolist() == [exam.model.table["standLRT"].agg(f) for f in ("min", "max")]


def test_what_a_groups_rows_share_stays(fit):
    """A county has its own uranium, the population the mean."""
    model = pp.Model(
        "log.radon ~ basement + uranium + (1 | county.name)",
        pp.load("radon"),
    )
    found = WhatIf(model.fit(seed=1), np.arange(3))
    summary = model.fit(seed=1).summary(groups=True)["mean"]
    level = model.design.only.levels[2]
    uranium = model.table.loc[model.table["county.name"] == level, "uranium"].iloc[0]
    own = summary[f"1|county.name[{level}]"]
    rest = summary["Intercept"] + summary["basement"]
    expected = rest + own + uranium * summary["uranium"]
    assert found.group(found.before, 2, 1).mean() == pytest.approx(expected)
    expected = rest + model.table["uranium"].mean() * summary["uranium"]
    assert found.population(found.before)[:, 1].mean() == pytest.approx(expected)


def test_a_difference_is_one_beyond_monte_carlo_error():
    rng = np.random.default_rng(0)
    same = [differ(rng.normal(size=2000), rng.normal(size=4000)) for _ in range(1000)]
    # three standard errors: 2.7 of 1,000 by chance
    assert sum(same) <= 12
    shift = 2 * ERRORS * np.sqrt(np.pi / 2 * (1 / 2000 + 1 / 4000))
    apart = [differ(rng.normal(size=2000), shift + rng.normal(size=4000)) for _ in range(200)]
    assert sum(apart) >= 195


SLEEP = pp.load("sleepstudy").assign(slow=lambda t: (t["Reaction"] > 300).astype(int))


@pytest.mark.parametrize(
    ("formula", "family", "says"),
    [
        ("Reaction ~ Days", "gaussian", "has no grouping factors"),
        ("Reaction ~ 1 + (1 | Subject) + (1 | Days)", "gaussian", "has 2 grouping factors"),
        ("slow ~ Days + (1 | Subject)", "binomial", "has `family: binomial`"),
    ],
)
def test_a_model_that_sliders_cannot_fit_is_refused(fit, formula, family, says):
    other = pp.Fit(pp.Model(formula, SLEEP, family=family), fit.posterior)
    with pytest.raises(ValueError, match=says):
        WhatIf(other, np.arange(2))


def test_a_sampled_fit_and_very_many_groups_are_refused(fit):
    posterior = fit.posterior.copy()
    posterior.attrs = fit.posterior.attrs | {"method": "nutpie"}
    with pytest.raises(ValueError, match="was fitted by nutpie"):
        WhatIf(pp.Fit(fit.model, posterior), np.arange(2))
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=2400), "g": np.repeat(np.arange(1200), 2)})
    many = pp.Fit(pp.Model("y ~ 1 + (1 | g)", table), fit.posterior)
    with pytest.raises(ValueError, match="1,200 groups, more than 1,000"):
        WhatIf(many, np.arange(2))


def test_a_posterior_that_is_none_without_a_group_is_refused():
    table = pp.load("Dyestuff")
    table = table[table["Batch"].isin(["A", "B", "C"])].reset_index(drop=True)
    priors = {"sd": "HalfFlat()", "Intercept": "Flat()"}
    three = pp.Model("Yield ~ 1 + (1 | Batch)", table, priors)
    with pytest.raises(ValueError, match="There is no posterior"):
        WhatIf(three.fit(draws=250), np.arange(3)).refit(1, 0)


def test_the_group_on_which_most_hangs(fit, what_if):
    found = influence(fit)
    table, levels = found.table, fit.model.design.only.levels
    assert len(table) == 18
    assert table["moved"].is_monotonic_decreasing
    worst = table.index[0]
    answer = what_if.refit(1, int(np.flatnonzero(levels == worst)[0]))
    moved = {
        name: abs(np.median(draws) - np.median(what_if.before.sds[name]))
        / np.std(what_if.before.sds[name])
        for name, draws in answer.sds.items()
    }
    assert table.at[worst, "moved"] == pytest.approx(max(moved.values()))
    name = max(moved, key=moved.get)
    assert f"Subject **{worst}**: without it the median of the **{name}** goes" in found.sentence
    # by least squares of each alone this one's slope lies farthest from the mean of all
    rows = fit.model.table.groupby("Subject")
    slopes = rows[["Days", "Reaction"]].apply(lambda t: np.polyfit(t["Days"], t["Reaction"], 1)[0])
    assert worst == (slopes - slopes.mean()).abs().idxmax()


def test_influence_of_many_groups_and_of_none():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(120), 3)
    y = rng.normal(size=120)[groups] + rng.normal(size=360)
    table = pd.DataFrame({"y": y, "g": groups})
    found = influence(pp.Model("y ~ 1 + (1 | g)", table).fit(draws=250))
    assert len(found.table) == 20
    assert "median one of 100 groups of g" in found.sentence
    fixed = pp.Model("y ~ 1 + (1 | g)", table, {"sd": "Fixed(1)"}).fit(draws=250)
    assert influence(fixed).table is None
