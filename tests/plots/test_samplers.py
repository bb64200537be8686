"""The comparison of samplers: its figures, its words, its pictures, its notebook."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import partialpool as pp
from partialpool.data import text
from partialpool.fit.integral import LIMIT
from partialpool.fit.regression import Regression
from partialpool.plots import samplers, theme
from partialpool.posterior import checks
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.verdict import WARNINGS
from partialpool.simulation import data_sets, method_words, methods, plans

LINKED = "y ~ x + (1 | group)"
PRIORS = {"coefficients": "Normal(0, 10000)", "sd": "Uniform(0, 100)", "sigma": "Uniform(0, 10)"}


@pytest.fixture(scope="module")
def comparison():
    """The exact fit and one sampler that is too short to be right; nutpie compiles quickest."""
    model = Regression("y ~ x + (0 + x | i)", data_sets.data_set("origin", 0), PRIORS)
    return methods.compare_methods(
        model, ["nutpie centered"], draws=200, tune=200, chains=2, seed=1
    )


@pytest.fixture(scope="module")
def linked():
    """The certified fit of simulated counts, and NUTS on the same integrals, without PyMC."""
    table = data_sets.data_set("intercepts", 1, "negbinomial")
    model = Regression(LINKED, table, plans.PRIORS["negbinomial"], family="negbinomial")
    sizes = {"draws": 300, "tune": 300, "chains": 2}
    return methods.compare_methods(model, ["nutpie marginal"], **sizes, seed=1)


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def test_rows_hold_what_their_posteriors_say(comparison):
    assert list(comparison.rows.index) == ["Exact", "nutpie, centred"]
    for words, fitted in comparison.fits.items():
        row = comparison.rows.loc[words]
        summary = checks.summarize(fitted.dataset)
        assert row["draws"] == 400
        assert row["ess"] == pytest.approx(summary["ess_bulk"].min())
        assert row["worst"] == summary["ess_bulk"].idxmin()
        assert row["rhat"] == pytest.approx(summary["rhat"].max())
        seconds = fitted.attrs["fit_seconds"] + fitted.attrs["loading_seconds"]
        assert row["ess_per_second"] == pytest.approx(row["ess"] / seconds)
    diverging = comparison.fits["nutpie, centred"].posterior["sample_stats"]["diverging"]
    assert comparison.rows.at["nutpie, centred", "divergences"] == int(diverging.sum())
    assert np.isnan(comparison.rows.at["Exact", "divergences"])


def test_exact_is_near_the_reference_and_a_stuck_sampler_is_not(comparison):
    rows = comparison.rows
    assert rows.at["Exact", "z"] < rows.at["Exact", "z_limit"]
    # 400 against 4000 draws: 0.05 is what chance alone leaves
    assert rows.at["Exact", "wasserstein"] < 0.2
    assert rows.at["Exact", "reached"]
    assert not rows.at["nutpie, centred", "reached"]
    assert rows.at["nutpie, centred", "missed"].startswith("R-hat of ")
    assert rows.at["nutpie, centred", "wasserstein"] > rows.at["Exact", "wasserstein"]


def test_reference_has_a_seed_of_its_own(comparison):
    assert comparison.reference.seed != comparison.fits["Exact"].seed
    assert comparison.reference is comparison.fits["Exact"].reference


def test_sentences_follow_the_figures(comparison):
    row = comparison.rows.loc["nutpie, centred"]
    before = method_words.method_table(comparison).sentence
    assert before.count("\n") == 3
    assert f"within {row['z_limit']:g} Monte Carlo errors" in before
    assert f"R-hat {row['rhat']:.3f}" in before
    good = {"rhat": 1.0, "ess": 900.0, "divergences": 0.0, "missed": "", "z": 1.0}
    good |= {"wasserstein": 0.01}
    rows = comparison.rows.copy()
    for name, value in good.items():
        rows.at["nutpie, centred", name] = value
    after = method_words.method_table(replace(comparison, rows=rows)).sentence
    rows.at["nutpie, centred", "worst"] = "sigma"
    words = method_words.method_table(replace(comparison, rows=rows)).sentence
    assert "Sd of the noise is worth 900 independent draws" in words
    assert "**nutpie, centred**: Its chains agree (R-hat 1.000)." in after
    assert "which chance explains" in after
    assert "diverged" not in after


def test_headline_names_who_reached_the_exact_posterior(comparison):
    speed = {words: text.short(x) for words, x in comparison.rows["ess_per_second"].items()}
    said = method_words.headline(comparison)
    assert said.startswith(
        "None of 1 samplers reaches the exact posterior within the limits, as its own checks show. "
        "The exact fit gives "
    )
    assert f"gives {speed['Exact']} effective draws a second" in said
    rows = comparison.rows.assign(reached=True, missed="")
    good = method_words.headline(replace(comparison, rows=rows))
    assert good.startswith(
        "1 of 1 samplers reaches the exact posterior within the limits; 1 passes its own checks as "
        "well (nutpie centred). The "
    )
    assert good.endswith(f", nutpie centred {speed['nutpie, centred']}.")


def test_near_the_exact_posterior_is_not_what_chains_say_of_themselves(comparison):
    """Samplers within the limits were told to have failed "against the exact posterior"."""
    rows = comparison.rows.rename(index={"nutpie, centred": "A, one"})
    rows = pd.concat([rows, rows.iloc[1:].rename(index={"A, one": "B"}), rows.iloc[1:]])
    rows.index = ["Exact", "A, one", "B", "C"]
    rows["reached"], rows["missed"] = True, ["", "", "R-hat of 1.012 (limit 1.01)", "5 divergences"]
    said = method_words.reached(replace(comparison, rows=rows))
    assert said == (
        "All 3 samplers reach the exact posterior within the limits; 1 passes its own checks as "
        "well (A one), B has R-hat of 1.012 (limit 1.01) and C has 5 divergences."
    )
    rows["reached"] = [True, True, True, False]
    said = method_words.reached(replace(comparison, rows=rows))
    assert said.startswith("2 of 3 samplers reach ")
    assert said.endswith("; the other 1 does not, as its own checks show.")
    rows["reached"] = [True, False, True, False]
    said = method_words.reached(replace(comparison, rows=rows))
    assert said.endswith("; the other 2 do not, which own checks show of 1 of them.")
    verdict = comparison.verdict
    assert verdict.of == "the exact fit"
    own = checks.verdict(comparison.fits["nutpie, centred"].posterior).missed
    for check in (one for one in own if one["name"] not in WARNINGS):
        name = "divergence" if check["name"] == "Divergences" else f"{check['name']} of "
        assert name in comparison.rows.at["nutpie, centred", "missed"]


def test_crosses_that_coincide_are_told():
    x = np.array([1.0, 1, 2])
    assert samplers._divergences(3, x, x) == "3 divergences at 2 places"
    assert samplers._divergences(1, x[:1], x[:1]) == "1 divergence"
    assert samplers._divergences(0, x[:0], x[:0]) == "0 divergences"


def test_table_shows_every_method(comparison):
    table = method_words.method_table(comparison).to_html()
    assert table.count("<tr") == 1 + len(comparison.rows)
    assert "nutpie, centred" in table
    assert f"{comparison.rows.at['nutpie, centred', 'wasserstein']:.3f}" in table


@pytest.mark.parametrize(
    ("rhat", "ess", "grade", "means"),
    [
        (1.009, 500, "Its chains agree", "which chance explains"),
        (1.012, 585, "Its chains are not quite mixed by the limit of 1.01", "chance explains"),
        (1.5, 90, "Its chains tell different stories", "fewer than 100 effective draws"),
    ],
)
def test_chains_are_graded_by_rhat_and_means_by_effective_draws(
    comparison, rhat, ess, grade, means
):
    rows = comparison.rows.copy()
    for name, value in {"rhat": rhat, "ess": ess, "divergences": 0.0, "z": 1.0}.items():
        rows.at["nutpie, centred", name] = value
    says = method_words.method_table(replace(comparison, rows=rows)).sentence
    assert grade in says
    assert means in says.splitlines()[-1]


@pytest.mark.parametrize("draw", [samplers.speed, samplers.distances])
def test_dot_plots_have_a_dot_for_each_method(comparison, draw):
    found = draw(comparison)
    dots = [line for line in found.figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == len(comparison.rows)
    assert found.sentence in found.description
    assert "nutpie centred" in found.sentence
    legend = [text.get_text() for text in found.figure.legends[0].get_texts()]
    assert legend[0] == "exact fit"


def test_traces_mark_the_truth_and_judge_by_the_medians(comparison):
    truth = comparison.model.table.attrs["truth"]
    found = samplers.sampler_traces(comparison, "x")
    lines = found.figure.axes[0].lines
    red = [line for line in lines if line.get_color() == theme.COLORS["truth"]]
    assert [line.get_ydata()[0] for line in red] == [truth["x"]]
    assert found.sentence.startswith("On slope of x, the chains of nutpie centred ")
    assert "Traces of slope of x" in found.description
    # marks are named by the legend, for colours differ between light and dark
    legend = [text.get_text() for text in found.figure.legends[0].get_texts()]
    assert legend == ["exact posterior", "true value"]
    assert found.figure.get_supylabel() == "slope of x"
    assert not any(axes.get_ylabel() for axes in found.figure.axes)
    assert "blue" not in found.figure.axes[-1].get_xlabel()


def test_trace_of_a_standard_deviation_says_where_a_true_zero_is(comparison):
    found = samplers.sampler_traces(comparison, "sigma")
    assert "The true sd of the noise is 0, below any log axis." in found.sentence
    assert found.figure.axes[0].get_yscale() == "log"


def test_every_log_axis_has_plain_numbers_on_it(comparison):
    """Also one that spans less than a factor of two, or many powers of ten."""
    found = [
        samplers.sampler_traces(comparison, "sigma"),
        samplers.sampler_traces(comparison, "x|i_sigma"),
        samplers.funnels(comparison),
        samplers.distances(comparison),
    ]
    for figure in (one.figure for one in found):
        figure.canvas.draw()
        axes = figure.axes[0]
        axis = axes.yaxis if axes.get_yscale() == "log" else axes.xaxis
        low, high = axis.get_view_interval()
        labels = [
            tick.get_text()
            for at, tick in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            if low <= at <= high
        ]
        assert 2 <= len(labels) <= 8
        assert all(float(label) > 0 for label in labels)


def test_funnel_is_where_the_exact_posterior_narrows_most(comparison):
    scale, effect, group, ratio = samplers.funnel_pair(comparison)
    posterior = comparison.reference.dataset
    sigma = posterior["sigma"].to_numpy().ravel()
    b = posterior[effect].isel(i=group).to_numpy().ravel()
    low, high = sigma < np.quantile(sigma, samplers.NECK), sigma > np.median(sigma)
    assert scale == "sigma"  # no noise in the origin's data
    assert ratio == pytest.approx(b[high].std() / b[low].std())
    assert ratio > 2


def test_funnel_marks_divergences_and_the_true_effect(comparison):
    found = samplers.funnels(comparison)
    panel = found.figure.axes[0]
    diverged = int(comparison.rows.at["nutpie, centred", "divergences"])
    exact, draws, marked = (len(c.get_offsets()) for c in panel.collections)
    assert (exact, draws, marked) == (4000, 400, diverged)
    # grey is the data's, and orange says that nothing was pooled
    below, own, crosses = (to_hex(c.get_edgecolors()[0]) for c in panel.collections)
    assert (below, own, crosses) == (theme.EXACT, theme.PARTIAL, theme.INK)
    group = samplers.funnel_pair(comparison)[2]
    true = comparison.model.table.attrs["truth"]["x|i"][group]
    assert [line.get_xdata()[0] for line in panel.lines] == [true]
    assert "times narrower" in found.sentence
    assert found.figure.get_supxlabel().endswith(", deviation from the population")
    assert "Where sd of the noise is in its lowest" in found.sentence


@pytest.mark.parametrize("method", ["gibbs", "nuts sideways", "exact centered", ""])
def test_unknown_methods_are_named_before_anything_runs(comparison, method):
    with pytest.raises(ValueError, match="methods: "):
        methods.compare_methods(comparison.model, [method])


def test_a_model_without_groups_has_one_form_only():
    model = Regression("y ~ x", data_sets.data_set("origin", 0), {})
    with pytest.raises(ValueError, match="no group term"):
        methods.compare_methods(model, ["nuts centered"])


def test_noise_beside_known_errors_leaves_no_marginal_model():
    schools, priors = pp.load("eight_schools"), {"sigma": "HalfNormal(1)"}
    model = Regression("est ~ 1 + (1 | school)", schools, priors, se="se")
    with pytest.raises(ValueError, match="leaves no marginal model; choose centered or non"):
        methods.compare_methods(model, ["nutpie marginal"])


def test_two_crossed_factors_have_an_exact_fit():
    """The exact fit holds the truth, and the pictures choose among the effects of both factors."""
    table = data_sets.data_set("crossed", 2)
    model = Regression(plans.KINDS["crossed"].formula, table, plans.PRIORS["gaussian"])
    found = methods.compare_methods(model, [], draws=500, chains=2, seed=1)
    assert found.good.tolist() == [True]
    truth, values = table.attrs["truth"], found.reference.population
    for name in model.parameters:
        assert abs(values[name].mean() - truth[name]) < 4 * values[name].std(), name
    assert samplers.funnel_pair(found)[1] in {"1|group", "1|item"}
    assert "the exact posterior of intercept of " in samplers.funnels(found).sentence


def test_with_a_link_samplers_are_held_against_the_certified_fit(linked):
    rows = linked.rows
    assert list(rows.index) == ["Certified", "nutpie, marginal"]
    assert linked.own == "Certified"
    assert (rows["z"] < rows["z_limit"]).all()
    # 600 draws against 4000: chance leaves 1.13 sqrt(1/300 + 1/4000) = 0.07 on average of the means
    assert (rows["wasserstein"] < 0.25).all()
    for fitted in (*linked.fits.values(), linked.reference):
        assert fitted.attrs["integral_error_max"] < LIMIT


def test_with_a_link_nothing_is_called_exact(linked):
    found = [
        method_words.method_table(linked),
        samplers.sampler_traces(linked),
        samplers.funnels(linked),
        samplers.speed(linked),
        samplers.distances(linked),
    ]
    said = " ".join(
        [method_words.headline(linked), *(f"{one.sentence} {one.description}" for one in found)]
    )
    assert "exact" not in said.lower()
    assert "The certified fit gives" in said
    assert "group effects integrated out, is right to" in said


def test_a_shape_is_positive_and_no_neck(linked):
    """It has a log axis; effects are narrow where it is large, which is no funnel."""
    assert samplers.sampler_traces(linked, "shape").figure.axes[0].get_yscale() == "log"
    assert samplers.sampler_traces(linked, "Intercept").figure.axes[0].get_yscale() == "linear"
    scale, effect, _, _ = samplers.funnel_pair(linked)
    assert (scale, effect) == ("1|group_sigma", "1|group")


@pytest.mark.parametrize("family", ["gaussian", *plans.WORDS])
def test_simulated_groups_hold_their_truth(family):
    table = data_sets.data_set("intercepts", 3, family)
    model = Regression(LINKED, table, plans.PRIORS[family], family=family)
    values, truth = Fitted.of(model, draws=250, seed=1).values, table.attrs["truth"]
    for name in model.parameters:
        assert abs(values[name].mean() - truth[name]) < 4 * values[name].std(), name
    off = (values["1|group"].mean(0) - truth["1|group"]) / values["1|group"].std(0)
    assert np.abs(off).max() < 4
    assert truth["1|group"] == data_sets.data_set("intercepts", 3, family).attrs["truth"]["1|group"]


def test_what_has_no_certified_posterior_is_refused(linked, monkeypatch):
    with pytest.raises(ValueError, match="sampled by nutpie alone"):
        methods.compare_methods(linked.model, ["nuts marginal"])
    with pytest.raises(ValueError, match="data: origin is simulated with Gaussian noise"):
        data_sets.data_set("origin", 0, "poisson")
    heavy = Regression(LINKED, linked.model.table, family="student")
    with pytest.raises(ValueError, match="no exact or certified posterior with family student"):
        methods.compare_methods(heavy, ["nutpie noncentered"])
    by_rows = Fitted(linked.model, linked.reference.posterior.copy())
    del by_rows.posterior.attrs["integral_error_max"]
    monkeypatch.setattr(methods.Fitted, "of", lambda *_, **__: by_rows)
    with pytest.raises(ValueError, match="the fit is not certified"):
        methods.compare_methods(linked.model, [])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.034, "0.034 s"),
        (300, "5 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7300, "2 h 1 min"),
        (1e6, "11 d 13 h"),
    ],
)
def test_durations_read_like_speech(seconds, words):
    assert text.duration(seconds) == words


COUNTS = {"data": "intercepts", "formula": LINKED, "family": "poisson"}
COUNTS |= {"priors": plans.PRIORS["poisson"], "methods": ["nutpie marginal"]}


@pytest.mark.parametrize("settings", [{"methods": ["nutpie centered"]}, COUNTS])
def test_notebook_runs_with_small_settings(tmp_path, settings):
    papermill = pytest.importorskip("papermill")
    notebook = papermill.execute_notebook(
        Path(__file__).parents[2] / "notebooks" / "samplers.ipynb",
        tmp_path / "executed.ipynb",
        parameters={
            **settings,
            "draws": 300,
            "tune": 300,
            "chains": 2,
            "seed": 3,
            "output": str(tmp_path),
        },
        progress_bar=False,
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] in ("passed", "warned", "failed")
    assert (tmp_path / "posterior.nc").is_file()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    alts = [
        output["metadata"]["image/svg+xml"]["alt"]
        for output in outputs
        if "image/svg+xml" in output.get("data", {})
    ]
    assert len(alts) == 5
    assert all(len(alt) > 40 for alt in alts)
    assert not any(output.output_type == "stream" for output in outputs)
