"""The comparison of samplers: its figures, its words, its pictures, its notebook."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from partialpool.batch.project import find_root
from partialpool.plots import funnels, samplers, theme
from partialpool.posterior import checks
from partialpool.simulation import methods

PRIORS = {"coefficients": "Normal(0, 10000)", "sd": "Uniform(0, 100)", "sigma": "Uniform(0, 10)"}


@pytest.fixture(scope="module")
def comparison():
    """The exact fit and one sampler that is too short to be right; nutpie compiles quickest."""
    model = methods.data_set("origin", "y ~ x + (0 + x | i)", PRIORS, np.random.default_rng(0))
    return methods.compare_methods(
        model, ["nutpie centered"], draws=200, tune=200, chains=2, seed=1
    )


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def test_rows_hold_what_their_posteriors_say(comparison):
    assert list(comparison.rows.index) == ["Exact", "nutpie, centred"]
    for words, posterior in comparison.posteriors.items():
        row = comparison.rows.loc[words]
        summary = checks.summarize(posterior)
        assert row["draws"] == 400
        assert row["ess"] == pytest.approx(summary["ess_bulk"].min())
        assert row["worst"] == summary["ess_bulk"].idxmin()
        assert row["rhat"] == pytest.approx(summary["rhat"].max())
        assert row["ess_per_second"] == pytest.approx(row["ess"] / posterior.attrs["fit_seconds"])
    diverging = comparison.posteriors["nutpie, centred"]["sample_stats"]["diverging"]
    assert comparison.rows.at["nutpie, centred", "divergences"] == int(diverging.sum())
    assert np.isnan(comparison.rows.at["Exact", "divergences"])


def test_exact_is_near_the_reference_and_a_stuck_sampler_is_not(comparison):
    rows = comparison.rows
    assert rows.at["Exact", "z"] < rows.at["Exact", "z_limit"]
    # 400 against 4000 draws: 0.05 is what chance alone leaves
    assert rows.at["Exact", "wasserstein"] < 0.2
    assert rows.at["nutpie, centred", "verdict"] == "failed"
    assert rows.at["nutpie, centred", "wasserstein"] > rows.at["Exact", "wasserstein"]


def test_reference_has_a_seed_of_its_own(comparison):
    exact = comparison.posteriors["Exact"]
    assert comparison.reference.attrs["seed"] != exact.attrs["seed"]


def test_sentences_follow_the_figures(comparison):
    row = comparison.rows.loc["nutpie, centred"]
    before = methods.sentences(comparison)
    assert before.count("\n") == 1
    assert f"**nutpie, centred** {row['verdict']}." in before
    assert f"R-hat {row['rhat']:.3f}" in before
    good = {"rhat": 1.0, "divergences": 0.0, "verdict": "passed", "z": 1.0, "wasserstein": 0.01}
    rows = comparison.rows.copy()
    for name, value in good.items():
        rows.at["nutpie, centred", name] = value
    after = methods.sentences(replace(comparison, rows=rows))
    assert "**nutpie, centred** passed. Its chains agree (R-hat 1.000)." in after
    assert "which chance explains" in after
    assert "diverged" not in after


def test_table_shows_every_method(comparison):
    table = comparison._repr_html_()
    assert table.count("<tr>") == 1 + len(comparison.rows)
    assert "nutpie, centred" in table


@pytest.mark.parametrize(("draw", "more"), [(samplers.speed, 1), (samplers.distances, 0)])
def test_dot_plots_have_a_dot_for_each_method(comparison, draw, more):
    figure, alt, says = draw(comparison)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == len(comparison.rows) + more  # the exact fit again, with its code loaded
    assert says in alt
    assert "nutpie centred" in says


def test_traces_mark_the_truth_and_judge_by_the_medians(comparison):
    truth = comparison.model.table.attrs["truth"]
    figure, alt, says = samplers.traces(comparison, "x", truth)
    red = [line for line in figure.axes[0].lines if line.get_color() == theme.COLORS["truth"]]
    assert [line.get_ydata()[0] for line in red] == [truth["x"]]
    assert "nutpie centred" in says
    assert "Traces of x" in alt


def test_trace_of_a_standard_deviation_says_where_a_true_zero_is(comparison):
    truth = comparison.model.table.attrs["truth"]
    _, _, says = samplers.traces(comparison, "sigma", truth)
    assert "The true `sigma` is 0, below any log axis." in says


def test_funnel_is_where_the_exact_posterior_narrows_most(comparison):
    scale, effect, level, ratio = funnels.funnel_pair(comparison)
    posterior = comparison.reference["posterior"].to_dataset()
    sigma = posterior["sigma"].to_numpy().ravel()
    b = posterior[effect].sel(i=level).to_numpy().ravel()
    low, high = sigma < np.quantile(sigma, funnels.NECK), sigma > np.median(sigma)
    assert scale == "sigma"  # no noise in the origin's data
    assert ratio == pytest.approx(b[high].std() / b[low].std())
    assert ratio > 2


def test_funnel_marks_divergences_and_the_true_effect(comparison):
    figure, _, says = funnels.funnels(comparison, comparison.model.table.attrs["truth"])
    panel = figure.axes[0]
    diverged = int(comparison.rows.at["nutpie, centred", "divergences"])
    exact, draws, marked = (len(c.get_offsets()) for c in panel.collections)
    assert (exact, draws, marked) == (4000, 400, diverged)
    assert len(panel.lines) == 1
    assert "times narrower" in says


@pytest.mark.parametrize("method", ["gibbs", "nuts sideways", "exact centered", ""])
def test_unknown_methods_are_named_before_anything_runs(comparison, method):
    with pytest.raises(ValueError, match="methods: "):
        methods.compare_methods(comparison.model, [method])


def test_a_model_without_groups_has_one_form_only():
    model = methods.data_set("origin", "y ~ x", {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no group term"):
        methods.compare_methods(model, ["nuts centered"])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.034, "0.034 s"), (300, "5.0 minutes"), (7300, "2.0 hours"), (1e6, "12 days")],
)
def test_durations_read_like_speech(seconds, words):
    assert methods.duration(seconds) == words


def test_notebook_runs_with_small_settings(tmp_path):
    papermill = pytest.importorskip("papermill")
    notebook = papermill.execute_notebook(
        find_root() / "notebooks" / "samplers.ipynb",
        tmp_path / "executed.ipynb",
        parameters={
            "methods": ["nutpie marginal"],
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
