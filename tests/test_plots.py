"""Plots draw what they are given, and their sentences are computed from it."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import partialpool as pp
from partialpool.plots import groups, marginals
from partialpool.posterior import pooling, predictions
from partialpool.simulation import simulate


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def radon():
    model = pp.Model("log.radon ~ basement + uranium + (basement | county)", pp.load("radon"))
    posterior = model.fit(seed=1)
    return model, posterior, pooling.three_ways(model, posterior, seed=2)


def test_every_plot_has_words(radon):
    model, posterior, fits = radon
    results = [
        groups.data(model, {"basement": "floor"}),
        groups.group_lines(model, fits),
        groups.shrinkage(model, posterior, fits["none"]),
        marginals.against_exact(posterior, model.reference_for(posterior)),
        marginals.traces(posterior, model.parameters),
        marginals.prior_and_posterior(model, posterior),
    ]
    for figure, alt, says in results:
        figure.canvas.draw()
        assert len(alt) > 40
        assert re.search(r"\d", says), says
        for axes in figure.axes:
            assert axes.lines or axes.collections or not axes.get_visible()
    assert "919 rows" in results[0][2]
    assert "18 of 85 groups" in results[1][2]


def test_eight_hundred_groups_stay_readable():
    table = simulate.grouped(np.random.default_rng(0), groups=800, per_group=3)
    model = pp.Model("y ~ x + (x | group)", table)
    assert len(groups.chosen_groups(model)) == groups.MAX_PANELS
    groups.data(model)


def test_chosen_groups_span_the_sizes():
    sizes = list(range(1, 101))
    table = simulate.grouped(np.random.default_rng(0), groups=100, per_group=sizes)
    chosen = groups.chosen_groups(pp.Model("y ~ x + (1 | group)", table))
    assert {0, 99} <= set(chosen)


def test_models_without_a_predictor_or_groups():
    dyes = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    assert predictions.main_predictor(dyes) is None
    groups.data(dyes)
    with pytest.raises(ValueError, match="numeric predictor"):
        groups.group_lines(dyes, {})
    plain = pp.Model("Reaction ~ Days", pp.load("sleepstudy"))
    assert predictions.main_predictor(plain) == "Days"
    groups.data(plain)


def test_lines_are_those_of_the_parameters(radon):
    model, posterior, _ = radon
    row = model.table.iloc[[500]]
    draws = posterior["posterior"].to_dataset().stack(sample=("chain", "draw"))
    county = row["county"].iloc[0]
    intercept = draws["Intercept"] + draws["1|county"].sel(county=county)
    slope = draws["basement"] + draws["basement|county"].sel(county=county)
    expected = (
        intercept + slope * row["basement"].iloc[0] + draws["uranium"] * row["uranium"].iloc[0]
    )
    np.testing.assert_allclose(model.mean(posterior, row)[:, 0], expected)
    with pytest.raises(ValueError, match="was not in the data"):
        model.mean(posterior, row.assign(county=999))


def test_shrinkage_pulls_towards_the_middle(radon):
    model, posterior, fits = radon
    partial = groups.group_coefficients(model, posterior)
    separate = groups.group_coefficients(*fits["none"])
    for name in ("Intercept", "basement"):
        assert partial[name].mean(0).std() < separate[name].mean(0).std()


def test_pooling_sentence_names_the_highest_evidence(radon):
    _, _, fits = radon
    evidence = {kind: fit.attrs["log_evidence"] for kind, (_, fit) in fits.items()}
    best = max(evidence, key=evidence.get)
    assert groups.POOLING[best] in pooling.sentence(fits).split(",")[0]
    table = pooling.coefficients(fits)
    assert list(table.index) == ["Intercept", "basement", "uranium", "sigma"]


def test_headline_has_the_figures(radon):
    model, posterior, _ = radon
    summary = pp.checks.summarize(posterior)
    assert f"{summary.loc['basement', 'mean']:.3g}" in pooling.headline(model, summary)
