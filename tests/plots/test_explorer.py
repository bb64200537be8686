"""The sliders: what is computed, what is drawn, and what the widget does with it."""

import json
from dataclasses import replace

import numpy as np
import pytest

import partialpool as pp
from partialpool.data.paths import find_root
from partialpool.plots.explorer import Explorer, draw
from partialpool.plots.explorer_picture import DRAWS, Picture, State, quick_posterior
from partialpool.simulation.simulate import ORIGIN_FORMULA, ORIGIN_NAMES

PNG = b"\x89PNG\r\n\x1a\n"
STATE = State(n=40, eps=0.8)


def test_draws_are_those_of_the_exact_fit():
    found = quick_posterior(STATE)
    fit = pp.Model(ORIGIN_FORMULA, STATE.table(), STATE.priors).fit(seed=5)
    summary = fit.summary(groups=True)
    for ours, name in ORIGIN_NAMES.items():
        error = summary.at[ours, "sd"] * np.sqrt(1 / DRAWS + 1 / 4000)
        assert abs(found.draws[name].mean() - summary.at[ours, "mean"]) < 4.5 * error, name
    slopes = [summary.at["x", "mean"] + summary.at[f"x|i[{i}]", "mean"] for i in range(STATE.n)]
    np.testing.assert_allclose(found.slopes.mean(0), slopes, atol=0.15)
    assert found.trusted


def test_truth_is_that_of_the_state():
    assert STATE.truth == {"a": 2.0, "mu_b": 2.0, "sigma_b": 1.0, "eps": 0.8}
    no_noise = quick_posterior(replace(STATE, eps=0.0))
    assert no_noise.true_slopes.shape == (STATE.n,)
    np.testing.assert_allclose(2.0 + no_noise.true_slopes * no_noise.x, no_noise.y)


def test_a_moved_picture_reacts_and_forgets():
    picture = Picture()

    def redrawn(state):
        finding = draw(state, picture)
        return finding.sentence, picture.pngs()

    first = redrawn(STATE)
    moved = redrawn(replace(STATE, mu_b=-3.0))
    assert all(png.startswith(PNG) for png in first[1])
    assert moved[0] != first[0]
    assert moved[1] != first[1]
    # nothing of the other state stays behind, and nothing depends on the clock
    assert redrawn(STATE) == first


def test_what_is_said_is_computed():
    found = quick_posterior(STATE)
    errors = found.errors()
    partial = np.sqrt(np.mean((found.slopes.mean(0) - found.true_slopes) ** 2))
    assert errors["partial pooling"] == pytest.approx(partial)
    best = min(errors, key=errors.get)
    assert f"{best} does best" in found.sentence()
    low, high = np.quantile(found.draws["eps"], [0.05, 0.95])
    assert f"**eps** {low:.2f} to {high:.2f} (true 0.8" in found.sentence()
    assert "rough" in replace(found, trusted=False).sentence()


def test_the_picture_is_a_finding_with_the_same_words():
    finding = draw(STATE)
    assert finding.sentence == quick_posterior(STATE).sentence()
    assert finding.figure.axes
    assert finding.description.endswith(finding.sentence.replace("*", ""))
    assert "*" not in finding.description


def test_noise_takes_slopes_from_no_pooling_towards_the_mean():
    def pull(eps):
        found = quick_posterior(replace(STATE, eps=eps))
        mean = found.draws["mu_b"].mean()
        return np.median(np.abs(found.slopes.mean(0) - mean) / np.abs(found.unpooled() - mean))

    assert pull(0.0) > pull(2.0) > pull(5.0)


def test_a_prior_that_is_sure_moves_the_posterior():
    wide = quick_posterior(replace(STATE, n=5))
    sure = quick_posterior(replace(STATE, n=5, prior_coefficients="Normal(0, 0.1)"))
    assert abs(sure.draws["mu_b"].mean()) < abs(wide.draws["mu_b"].mean()) / 2


def test_sliders_redraw_and_keep_their_word():
    widget = Explorer(State(n=20))
    before = widget.image.value
    widget.controls["eps"].value = 2.0
    assert widget.state.eps == 2.0
    assert widget.image.value != before
    assert "(true 2" in widget.text.value
    widget.controls["prior_sd"].value = "HalfNormal(1)"
    assert widget.state.prior_sd == "HalfNormal(1)"


def test_a_state_without_a_posterior_is_explained_and_left_again():
    widget = Explorer(State(n=20, eps=0.5))
    widget.controls["sigma_b"].value = 0.0
    picture = widget.image.value
    widget.controls["eps"].value = 0.0
    assert "every point lies on one line" in widget.text.value
    assert widget.image.value == picture
    widget.controls["eps"].value = 1.0
    assert "every point lies on one line" not in widget.text.value
    assert widget.image.value != picture


def test_values_from_outside_widen_their_slider():
    widget = Explorer(State(n=400, prior_sigma="HalfNormal(3)"))
    assert widget.controls["n"].max == 400
    assert "HalfNormal(3)" in widget.controls["prior_sigma"].options


def test_without_a_kernel_the_first_picture_stands_in():
    widget = Explorer(State(n=20))
    data, metadata = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/png"].startswith("iVBOR")
    assert metadata["image/png"]["alt"] == widget.finding.description


@pytest.mark.parametrize("headless", [True, False])
def test_notebook_runs(tmp_path, headless):
    papermill = pytest.importorskip("papermill")
    notebook = papermill.execute_notebook(
        find_root() / "notebooks" / "explore.ipynb",
        tmp_path / "executed.ipynb",
        parameters={"n": 30, "seed": 2} | ({"output": str(tmp_path)} if headless else {}),
        progress_bar=False,
    )
    outputs = {cell["id"]: cell.get("outputs", []) for cell in notebook.cells}["sliders"]
    kind = "image/svg+xml" if headless else "image/png"
    assert outputs[0]["metadata"][kind]["alt"].startswith("Three panels.")
    live = "application/vnd.jupyter.widget-view+json" in outputs[0]["data"]
    assert live is not headless
    if headless:
        result = json.loads((tmp_path / "result.json").read_text())
        assert set(result["estimates"]) >= {"Intercept", "x", "sigma"}
