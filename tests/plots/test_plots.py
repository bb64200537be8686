"""Plots draw what they are given, and their sentences are computed from it."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import partialpool as pp
from partialpool.plots import groups, marginals, predictive
from partialpool.posterior import comparison, effects, leave_one_out, predictions
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
        groups.shrinkage(radon),
        groups.forest(radon),
        groups.predictive_lines(radon, rng),
        marginals.against_exact(radon),
        marginals.traces(radon),
        marginals.prior_and_posterior(radon),
        predictive.prior_check(model, rows, rng),
        predictive.densities(model, replicated, rows),
        predictive.statistics_check(model, replicated, rows),
        predictive.pit(model, held),
        predictive.residuals(model, held),
        predictive.predictions(model, predicted, predictions.row_names(wanted)),
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
        "shrink": groups.shrinkage(fit),
        "all rows share": groups.forest(fit),
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
    shown = marginals.against_exact(radon, ["basement", "uranium"], truth)
    assert list(shown.table.index) == ["basement", "uranium"]
    assert [len(axes.lines) for axes in shown.figure.axes] == [3, 3]
    assert len(marginals.against_exact(radon, ["basement"]).figure.axes[0].lines) == 2


def test_eight_hundred_groups_stay_readable():
    table = simulate.grouped(np.random.default_rng(0), groups=800, per_group=3)
    model = pp.Model("y ~ x + (x | group)", table)
    assert len(groups.chosen_groups(model.design)) == groups.MAX_PANELS
    groups.data(model)


def test_chosen_groups_span_the_sizes():
    sizes = list(range(1, 101))
    table = simulate.grouped(np.random.default_rng(0), groups=100, per_group=sizes)
    chosen = groups.chosen_groups(pp.Model("y ~ x + (1 | group)", table).design)
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


def test_shrinkage_pulls_towards_the_middle(radon):
    partial = effects.group_coefficients(radon)
    separate = effects.group_coefficients(radon.ways["none"])
    for name in ("Intercept", "basement"):
        assert partial[name].mean(0).std() < separate[name].mean(0).std()


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
    assert "In 18 of the 18 panels" in said
    assert "changes little" not in said
    shrunk = [int(s) for s in re.findall(r"shrinks by (\d+)%", groups.shrinkage(fit).sentence)]
    assert max(shrunk) >= 20


@pytest.mark.parametrize(("alone", "words"), [(1, "(1 group cannot"), (2, "(2 groups cannot")])
def test_groups_that_cannot_estimate_a_slope_are_counted(alone, words):
    table = simulate.grouped(
        np.random.default_rng(0), groups=12, per_group=[1] * alone + [10] * (12 - alone)
    )
    fit = pp.Model("y ~ x + (x | group)", table).fit(seed=0, draws=200)
    assert words in groups.shrinkage(fit).sentence


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
    assert f"least that of {name}" in found.sentence or f"of {name} is wider" in found.sentence
    assert f"{1 - half / (2 * quarter):.0%} narrower" in found.sentence or half > 2 * quarter


def test_a_correlation_among_three_has_another_marginal():
    """Of LKJ(1), uniform over matrices of three dimensions, one correlation is a semicircle."""
    table = simulate.grouped(np.random.default_rng(0), groups=12, per_group=8)
    table["w"] = np.random.default_rng(1).standard_normal(len(table))
    model = pp.Model("y ~ x + w + (x + w | group)", table, {"cor": "LKJ(1)"})
    at, height, middle = marginals._prior(model, "cor(x,w|group)", np.linspace(-2, 2, 9))
    np.testing.assert_allclose(height, 2 / np.pi * np.sqrt(1 - at**2))
    assert middle == pytest.approx(2 * 0.40397, abs=1e-4)  # quartiles of Wigner's semicircle
