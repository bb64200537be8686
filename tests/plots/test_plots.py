"""Plots draw what they are given, and their sentences are computed from it."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.plots import groups, marginals, predictive, varying
from partialpool.posterior import comparison, leave_one_out, overview, predictions
from partialpool.posterior.fitted import POOLING
from partialpool.simulation import simulate


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def radon():
    model = pp.Model(
        "log.radon ~ basement + uranium + (basement | county)",
        pp.load("radon"),
        labels={"basement": "floor"},
    )
    return model.fit(seed=1)


def test_every_plot_has_words(radon):
    model, rows = radon.model, np.arange(919)
    rng = np.random.default_rng(0)
    held, replicated = leave_one_out.leave_out(radon), predictions.replicate(radon, rows, rng)
    wanted = predictions.chosen_rows(model)
    predicted = radon.predict(wanted, unseen="population")
    results = [
        groups.data(model),
        groups.group_lines(radon),
        varying.shrinkage(radon),
        varying.forest(radon),
        varying.variance(radon, rows),
        groups.predictive_lines(radon, rng),
        marginals.against_exact(radon),
        marginals.traces(radon),
        marginals.prior_and_posterior(radon),
        predictive.prior_check(model, rows, rng),
        predictive.densities(model, replicated, rows),
        predictive.statistics_check(model, replicated, rows),
        predictive.pit(model, held),
        predictive.residuals(model, held),
        predictive.predictions(model, predicted, predictions.row_names(wanted, model)),
        predictive.sensitivities(radon),
    ]
    assert len({found.name for found in results}) == len(results)
    for found in results:
        found.figure.canvas.draw()
        assert len(found.description) > 40
        assert "**" not in found.description
        assert re.search(r"\d", found.sentence), found.sentence
        for axes in found.figure.axes:
            assert axes.lines or axes.collections or axes.patches or not axes.get_visible()
    assert results[0].figure.axes[0].get_xlabel() == "floor"
    assert "919 rows" in results[0].sentence
    assert "18 of 85 groups" in results[1].sentence


def test_where_there_is_nothing_to_draw_a_sentence_says_why():
    plain = pp.Model("Reaction ~ Days", pp.load("sleepstudy"), {"Days": "Flat"})
    fit = plain.fit(draws=100)
    rng = np.random.default_rng(0)
    results = {
        "lines": groups.group_lines(fit),
        "shrink": varying.shrinkage(fit),
        "all rows share": varying.forest(fit),
        "flat": predictive.prior_check(plain, np.arange(180), rng),
        "family: student": marginals.against_gaussian(fit),
    }
    for words, found in results.items():
        assert found.figure is None
        assert words in found.sentence


def test_true_values_are_drawn_and_counted(radon):
    truth = {"basement": -10.0, "uranium": float(radon.population["uranium"].mean()), "b": [1]}
    found = marginals.traces(radon, ["basement", "uranium"], truth)
    assert "holds the true value for 1 of 2 parameters" in found.sentence
    assert found.figure.axes[0].get_legend().get_texts()[0].get_text() == "true value"
    shown = marginals.against_exact(radon, ["basement", "uranium"], truth)
    assert list(shown.table.index) == ["basement", "uranium"]
    assert [len(axes.lines) for axes in shown.figure.axes] == [3, 3]
    assert len(marginals.against_exact(radon, ["basement"]).figure.axes[0].lines) == 2


def test_eight_hundred_groups_stay_readable():
    table = simulate.grouped(np.random.default_rng(0), groups=800, per_group=3)
    model = pp.Model("y ~ x + (x | group)", table)
    assert len(groups.chosen_groups(model.design.groupings[0])) == groups.MAX_PANELS
    groups.data(model)


def test_chosen_groups_span_the_sizes():
    sizes = list(range(1, 101))
    table = simulate.grouped(np.random.default_rng(0), groups=100, per_group=sizes)
    chosen = groups.chosen_groups(pp.Model("y ~ x + (1 | group)", table).design.groupings[0])
    assert {0, 99} <= set(chosen)


def test_models_without_a_predictor_or_groups():
    dyes = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    assert predictions.main_predictor(dyes) is None
    groups.data(dyes)
    assert "numeric predictor" in groups.group_lines(dyes.fit(draws=100)).sentence
    plain = pp.Model("Reaction ~ Days", pp.load("sleepstudy"))
    assert predictions.main_predictor(plain) == "Days"
    groups.data(plain)


def test_lines_are_those_of_the_parameters(radon):
    row = radon.model.table.iloc[[500]]
    draws = radon.dataset.stack(sample=("chain", "draw"))
    county = row["county"].iloc[0]
    intercept = draws["Intercept"] + draws["1|county"].sel(county=county)
    slope = draws["basement"] + draws["basement|county"].sel(county=county)
    expected = (
        intercept + slope * row["basement"].iloc[0] + draws["uranium"] * row["uranium"].iloc[0]
    )
    np.testing.assert_allclose(predictions.line(radon, row)[:, 0], expected)
    with pytest.raises(ValueError, match="was not in the data"):
        predictions.line(radon, row.assign(county=999))


def test_pooling_sentence_names_the_highest_evidence(radon):
    evidence = {way: fit.attrs["log_evidence"] for way, fit in radon.ways.items()}
    best = max(evidence, key=evidence.get)
    found = comparison.coefficients(radon.ways)
    assert POOLING[best] in found.sentence.split(",")[0]
    assert list(found.table.index) == ["Intercept", "basement", "uranium", "sigma"]


@pytest.mark.parametrize(
    ("ratio", "position", "words"),
    [
        (2.9, 50, "of the data's order (within a factor of 3)"),
        (0.34, 50, "of the data's order"),
        (0.3, 50, "narrow"),
        (3.1, 50, "wider than the data (3 to 10 times)"),
        (10.1, 50, "far wider than the data"),
        (2.9, 0.5, "off beside the data"),
    ],
)
def test_a_prior_is_called_what_its_spread_says(ratio, position, words):
    assert predictive._width(ratio, position).startswith(words)


def test_a_prior_that_spreads_ten_times_as_much_is_not_of_the_datas_order():
    priors = {"Intercept": "Normal(300, 600)", "sd": "HalfNormal(10)", "sigma": "HalfNormal(900)"}
    model = pp.Model("Reaction ~ 1 + (1 | Subject)", pp.load("sleepstudy"), priors)
    said = predictive.prior_check(model, np.arange(180), np.random.default_rng(0)).sentence
    ratio = float(re.search(r"spreads ([\d.]+) times", said).group(1))
    assert 8 < ratio < 15
    assert ("far wider" if ratio > 10 else "wider than the data") in said
    assert "order" not in said


def test_lines_inside_the_band_do_not_deny_the_shrinkage():
    """Each line stays inside its band, although the spread over groups shrinks by a quarter."""
    fit = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(seed=0)
    said = groups.group_lines(fit).sentence
    assert "In all 18 panels" in said
    assert "changes little" not in said
    shrunk = [int(s) for s in re.findall(r"shrinks by (\d+)%", varying.shrinkage(fit).sentence)]
    assert max(shrunk) >= 20


def test_where_no_line_stays_inside_its_band_pooling_moves_all_by_more():
    """It was said of none that pooling moves it by less."""
    x, group = np.tile(np.linspace(0, 10, 20), 6), np.repeat(np.arange(6), 20)
    y = (2 * group - 5) * x + np.random.default_rng(0).normal(0, 1, 120)
    table = pd.DataFrame({"x": x, "group": group, "y": y})
    fit = pp.Model("y ~ x + (x | group)", table, {"sd": "HalfNormal(1e-3)"}).fit(draws=200)
    says = groups.group_lines(fit).sentence
    assert "In none of the 6 panels with an unpooled line this stays inside that band, so" in says
    assert "there pooling" not in says


@pytest.mark.parametrize(("alone", "words"), [(1, "1 group of group"), (2, "2 groups of group")])
def test_groups_that_cannot_estimate_a_slope_are_named(alone, words):
    """By one rule in the picture, in the table, and in the panels, which have no line of theirs."""
    table = simulate.grouped(
        np.random.default_rng(0), groups=12, per_group=[1] * alone + [10] * (12 - alone)
    )
    fit = pp.Model("y ~ x + (x | group)", table).fit(seed=0, draws=200)
    names = ", ".join(str(level) for level in fit.model.design.groupings[0].levels[:alone])
    said = f"Too uncertain alone, and left out: intercept and slope of x of {words} ({names})."
    assert said in varying.shrinkage(fit).sentence
    assert said in comparison.coefficients(fit.ways).sentence
    found = groups.group_lines(fit)
    assert f"{12 - alone} panels with an unpooled line" in found.sentence
    other = "other cannot tell its" if alone == 1 else "others cannot tell their"
    assert f"The {other} own line" in found.sentence
    assert sorted(len(axes.lines) for axes in found.figure.axes) == [2] * alone + [3] * (12 - alone)


def test_lines_without_pooling_are_least_squares_to_rounding():
    """In the panels and along the axis of the shrinkage, whatever the number of draws."""
    table = pp.load("sleepstudy")
    fit = pp.Model("Reaction ~ Days + (Days | Subject)", table).fit(seed=0, draws=100)
    lines = [np.polyfit(g["Days"], g["Reaction"], 1) for _, g in table.groupby("Subject")]
    for axes, line in zip(groups.group_lines(fit).figure.axes, lines, strict=True):
        x, y = axes.lines[1].get_data()
        np.testing.assert_allclose(y, np.polyval(line, x), rtol=1e-6)
    found = varying.shrinkage(fit)
    for axes, own in zip(found.figure.axes, np.array(lines).T[::-1], strict=True):
        at = axes.collections[1].get_offsets()[:, 0]
        np.testing.assert_allclose(at, own, rtol=1e-6)
    assert f"from {np.std(lines, axis=0)[1]:.3g} to" in found.sentence
    assert "of the **intercept** over" in found.sentence
    assert "of the **slope of Days** over" in found.sentence


def test_a_group_whose_rows_lie_close_together_is_too_uncertain():
    """Its estimate is no prior: two rows 0.001 apart; but it would stretch the axis."""
    table = simulate.grouped(np.random.default_rng(0), groups=12, per_group=[2] + [10] * 11)
    first = table["group"] == table["group"].iloc[0]
    table.loc[first, "x"] = [0.5, 0.501]
    fit = pp.Model("y ~ x + (x | group)", table).fit(seed=0, draws=200)
    label = table["group"].iloc[0]
    said = varying.shrinkage(fit).sentence
    assert f"left out: intercept and slope of x of 1 group of group ({label})." in said


def test_a_predictor_of_the_group_is_no_difference_between_groups(radon):
    """Most of what tells county levels apart is uranium: 44 of 85 intervals, but 1 deviation.

    The population's line has the same uranium for a county on its own.
    """
    (grouping,) = radon.model.design.groupings
    found = varying.forest(radon).sentence
    assert "The **intercept** of county, uranium included, goes from" in found
    deviation = radon.values["1|county"]
    low, high = np.quantile(deviation, [0.05, 0.95], axis=0)
    apart = int(((low > 0) | (high < 0)).sum())
    assert apart < 5
    assert f"for {apart} of 85 groups the interval of the deviation" in found
    total = radon.values["Intercept"][:, None] + deviation
    uranium = radon.model.table.groupby(grouping.codes)["uranium"].first().to_numpy()
    line = radon.values["uranium"].mean() * uranium + radon.values["Intercept"].mean()
    own = radon.ways["none"].figures(grouping)[0][:, 0] - line
    before, after = own.std(), radon.figures(grouping)[0][:, 0].std()
    assert after < 0.2 * before
    said = varying.shrinkage(radon).sentence
    assert f"from {before:.3g} to {after:.3g}" in said
    assert "**intercept** beyond what uranium explains over" in said
    assert total.mean(0).std() == pytest.approx(after, rel=0.03)


def test_a_predictor_of_two_values_has_two_ticks(radon):
    axes = groups.group_lines(radon).figure.axes[0]
    assert list(axes.get_xticks()) == [0, 1]


def legends(figure):
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def test_every_mark_has_a_name(radon):
    sleep = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(seed=0)
    assert "90 % interval of that mean" in legends(varying.forest(sleep).figure)
    assert {"what uranium explains", "mean of the groups"} <= legends(varying.forest(radon).figure)
    assert "a group's own least-squares line" in legends(groups.data(radon.model).figure)


def test_a_meta_analysis_has_no_prior_of_a_noise_that_it_has_not():
    schools = pp.Model("est ~ 1 + (1 | school)", pp.load("eight_schools"), se="se")
    assert schools.priors["sigma"].fixed
    assert list(overview.priors(schools).table["parameter"]) == ["Intercept", "1|school_sigma"]


def test_a_correlation_has_its_prior_in_the_picture_and_in_the_sentence(radon):
    """That of basements is least known of all: from LKJ(2), 3/4 (1 - r²), to its posterior.

    The middle half of that prior lies within ±0.347: where (3 r - r³) / 4 is a quarter.
    """
    name = "cor(1,basement|county)"
    found = marginals.prior_and_posterior(radon)
    panel = found.figure.axes[radon.model.parameters.index(name)]
    r, height = panel.lines[0].get_data()
    np.testing.assert_allclose(height, 0.75 * (1 - r**2), rtol=1e-12)
    quarter = max(np.roots([-1, 0, 3, -1]).real, key=lambda x: 0 < x < 1)
    half = np.subtract(*np.quantile(radon.population[name], [0.75, 0.25]))
    share = f"{1 - half / (2 * quarter):.0%} narrower"
    assert f"least that of **{name}**, whose middle half becomes {share}" in found.sentence


def test_a_correlation_among_three_has_another_marginal():
    """Of LKJ(1), uniform over matrices of three dimensions, one correlation is a semicircle."""
    table = simulate.grouped(np.random.default_rng(0), groups=12, per_group=8)
    table["w"] = np.random.default_rng(1).standard_normal(len(table))
    model = pp.Model("y ~ x + w + (x + w | group)", table, {"cor": "LKJ(1)"})
    at, height, middle = marginals._prior(model, "cor(x,w|group)", np.linspace(-2, 2, 9))
    np.testing.assert_allclose(height, 2 / np.pi * np.sqrt(1 - at**2))
    assert middle == pytest.approx(2 * 0.40397, abs=1e-4)  # quartiles of Wigner's semicircle


def test_the_farthest_group_and_the_chance_that_it_is_the_highest():
    """School A's 28 points: what remains, and in how many draws no other school is above it."""
    table = pp.load("eight_schools")
    priors = {"Intercept": "Normal(0, 20)", "sd": "HalfCauchy(5)"}
    fit = pp.Model("est ~ 1 + (1 | school)", table, priors, se="se").fit(draws=500, seed=1)
    schools = fit.values["Intercept"][:, None] + fit.values["1|school"]
    best = np.mean(schools[:, 0] == schools.max(1))
    says = varying.forest(fit).sentence
    assert f"(A, the highest of all with probability {best:.0%})" in says.replace(" %", "%")
    assert (
        f"and school A, farthest out alone, goes from 28.4 to {schools[:, 0].mean():.1f}"
        in varying.shrinkage(fit).sentence
    )


def test_an_axis_of_two_answers_names_these_alone():
    """It went from 0.0 to 1.0 in steps of 0.2, as if there were something between."""
    table = pd.DataFrame({"g": np.repeat(np.arange(6), 5), "x": np.arange(30.0)})
    table["y"] = np.arange(30) % 2
    model = pp.Model("y ~ x + (1 | g)", table, family="binomial")
    (panel,) = groups.data(model).figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0", "1"]
    assert list(panel.get_yticks()) == [0, 1]


def test_long_tails_of_replications_leave_room_for_the_rest():
    """With Student's noise one replication in a thousand made a single bar of all others."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=30), "g": np.repeat(np.arange(6), 5)})
    model = pp.Model("y ~ 1 + (1 | g)", table)
    replicated = rng.normal(size=(2000, 30))
    plain = predictive.statistics_check(model, replicated, np.arange(30))
    assert "long tails" not in plain.sentence
    replicated[:3, 0] = -1e4
    found = predictive.statistics_check(model, replicated, np.arange(30))
    smallest = found.figure.axes[0]
    low, high = smallest.get_xlim()
    assert -10 < low < high < 10
    drawn = sum(bar.get_height() for bar in smallest.patches)
    assert 0.98 * 2000 < drawn < 2000
    assert found.sentence.endswith("the middle 99% of the replications are drawn.")


def test_names_of_statistics_fit_into_their_panels():
    """Of two neighbours one stood on the other, and the last was cut off."""
    table = pd.DataFrame({"a_long_department_name": np.repeat(np.arange(6), 5)})
    table["y"] = np.random.default_rng(0).normal(size=30)
    model = pp.Model("y ~ 1 + (1 | a_long_department_name)", table)
    replicated = np.random.default_rng(1).normal(size=(40, 30))
    found = predictive.statistics_check(model, replicated, np.arange(30))
    lines = [line for panel in found.figure.axes for line in panel.get_xlabel().splitlines()]
    assert max(map(len, lines)) <= 26


def test_no_interval_can_hold_a_boundary_and_none_is_counted_for_it(radon):
    truth = {"basement": -10.0, "sigma": 0.0}
    found = marginals.traces(radon, ["basement", "sigma"], truth)
    assert "holds the true value for 0 of 1 parameters. " in found.sentence
    assert found.sentence.endswith("of sigma is 0, the boundary, which none can hold.")
