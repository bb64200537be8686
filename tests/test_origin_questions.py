"""The origin's questions, asked in a module beside its notebook."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import origin_questions
import partialpool as pp
from conftest import op_by_op
from partialpool.batch.staleness import dependencies
from partialpool.data.text import percent, rounded
from partialpool.simulation import simulate

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "origin.ipynb"


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def exact():
    table = simulate.origin(np.random.default_rng(1), n=30)
    return pp.Model(simulate.ORIGIN_FORMULA, table, simulate.ORIGIN_PRIORS).fit()


def test_a_run_depends_on_the_module_beside_its_notebook():
    assert Path(origin_questions.__file__) in dependencies(NOTEBOOK)


def test_the_joint_density_of_the_origin_has_no_maximum():
    table = simulate.origin(np.random.default_rng(0))
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    b = (y - 2) / x
    scales = 10.0 ** -np.arange(8)
    values = [origin_questions.joint_density(x, y, 2, 2, 1, eps, b) for eps in scales]
    np.testing.assert_allclose(np.diff(values), 100 * np.log(10))


def test_joint_density_is_that_of_the_centred_pymc_model():
    import pymc as pm

    table = simulate.origin(np.random.default_rng(0), n=5)
    model = pp.Model(simulate.ORIGIN_FORMULA, table, simulate.ORIGIN_PRIORS)
    b = np.array([1.0, 2.0, 3.0, 2.5, 1.5])
    with model.pymc("centered") as built:
        point = {"Intercept": 1.5, "x": 2.5, "x|i_sigma": 0.8, "sigma": 0.3, "x|i_whole": b}
        logps = [pm.logp(v, point[v.name]).sum() for v in built.free_RVs]
        logps += [pm.logp(v, table["y"].to_numpy()).sum() for v in built.observed_RVs]
        given = {built[k]: v for k, v in point.items()}
        total = float(sum(logps).eval(given, mode=op_by_op()))
    constant = -2 * np.log(1e4) - np.log(2 * np.pi) - np.log(100) - np.log(10)
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    ours = origin_questions.joint_density(x, y, 1.5, 2.5, 0.8, 0.3, b) + constant
    assert ours == pytest.approx(total, rel=1e-6)


def test_one_density_grows_on_its_way_to_zero_and_the_other_does_not(exact):
    finding = origin_questions.unbounded(exact)
    for kind, axes in zip(("joint", "marginal"), finding.figure.axes, strict=True):
        for path in axes.lines:
            scale, height = path.get_data()
            gain = height[0] - height[10]  # by a factor of twelve nearer to zero
            expected = 30 * np.log(scale[10] / scale[0]) if kind == "joint" else 0
            assert gain == pytest.approx(expected, abs=0.01), (kind, path.get_label())
    assert f"30 · log 10 = {30 * np.log(10):.0f}" in finding.sentence


def test_the_optimiser_runs_to_the_floor(exact):
    finding, start = origin_questions.climb(exact.model.table, np.random.default_rng(0), starts=3)
    ends = finding.table
    assert ((ends["eps"] < 0.01) | (ends["sigma_b"] < 0.01)).all()
    assert finding.sentence.startswith(
        f"Of 3 random starts {(ends['eps'] < 0.01).sum()} led to eps below 0.01"
    )
    at_floor = (ends[["sigma_b", "eps"]].min(axis=1) < 1.0001e-4).sum()
    stopped = (ends["steps"] == origin_questions.STEPS).sum()
    assert at_floor + stopped == 3
    assert (f"{at_floor} of them ended at 0.0001" in finding.sentence) == (at_floor > 0)
    assert (f"{stopped} had not ended after 1,000 steps" in finding.sentence) == (stopped > 0)
    assert ends["log_density"].is_monotonic_decreasing
    x, y = (exact.model.table[name].to_numpy() for name in "xy")
    top = origin_questions.joint_density(
        x, y, start["Intercept"], start["x"], start["x|i_sigma"], start["sigma"],
        start["x"] + start["x|i"],
    )  # fmt: skip
    assert top == pytest.approx(ends["log_density"].max())


def test_every_end_of_the_optimiser_is_told():
    """One end was the other infinity, and most were stopped before the floor."""
    ends = np.log([[1, 1, 0.9, 2e-4], [1, 1, 1e-4, 5.7], [1, 1, 0.8, 1e-4]])
    found = origin_questions._ends(ends, np.array([3.0, 2, 1]), np.array([1000, 120, 600]))
    assert found.sentence == (
        "Of 3 random starts 2 led to eps below 0.01 and 1 to sigma_b below it, the other "
        "infinity: 2 of them ended at 0.0001, below which no scale may go, and 1 had not ended "
        "after 1,000 steps."
    )
    assert found.readable()["sigma_b"].tolist() == ["0.9000", "0.0001000", "0.8000"]


def test_starts_count_the_draws_within_the_exact_intervals(exact):
    finding = origin_questions.starts({"exact": exact, "again": exact}, exact)
    shares = "90 % of the draws of sigma_b and 90 % of the draws of eps"
    assert finding.sentence.count(shares) == 2
    assert finding.sentence.startswith("Exact: R-hat")
    assert ". Again: R-hat" in finding.sentence
    first = exact.dataset["sigma"].to_numpy()[:, 0]
    assert f"eps begins between {first.min():.2g} and {first.max():.2g}" in finding.sentence
    (legend,) = finding.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["exact 90 % interval"]
    assert len(finding.figure.axes) == 4


def test_eps_follows_the_data(exact):
    result = origin_questions.eps_over_data_sets(np.random.default_rng(0), [0, 2], 10, n=100)
    assert result["eps"].tolist() == [0] * 10 + [2] * 10
    medians = result.groupby("eps")["q50"].median()
    assert medians[0] < 0.6 < medians[2]
    finding = origin_questions.eps_from_the_data(result, exact, exact, 0.0)
    noisy = result[result["eps"] == 2]
    held = np.mean((noisy["q05"] <= 2) & (noisy["q95"] >= 2))
    assert f"hold the true eps in {percent(held)} for eps = 2 of the data" in finding.sentence
    low, high = np.quantile(result["q50"][:10], [0.05, 0.95])
    assert f"lies between {low:.2f} and {high:.2f}" in finding.sentence
    assert "the data cannot tell eps from 0" in finding.sentence
    assert "The chains agree: in those of Metropolis (as short" in finding.sentence
    assert "the origin kept 100,000)" in finding.sentence


@pytest.mark.parametrize(("eps", "tells"), [(0.0, "cannot tell"), (3.0, "tell")])
def test_whether_data_tell_eps_from_zero_is_computed(eps, tells):
    """Nothing in data without noise keeps eps from zero."""
    table = simulate.origin(np.random.default_rng(1), eps=eps)
    fit = pp.Model(simulate.ORIGIN_FORMULA, table, simulate.ORIGIN_PRIORS).fit(draws=4000)
    share, draws = origin_questions.density_at_zero(fit), fit.values["sigma"]
    assert (share > 0.5) == (eps == 0)
    # draws have the same density: near zero and where most of them lie
    counts = np.histogram(draws, np.linspace(0, draws.max(), 16))[0]
    assert counts[0] / counts.max() == pytest.approx(share, abs=0.15)
    assert f"the data {tells} eps from 0" in origin_questions._zero(fit)


def test_short_chains_are_said_to_be_short():
    figures = pd.Series({"rhat": 1.8, "ess_bulk": 6.0})
    short = origin_questions._walk(np.ones((4, 1000)), figures)
    assert short.startswith("**And partly the chains**: in those of Metropolis (as ")
    assert "(as short as 1,000 draws; the origin kept 100,000)" in short
    assert "as short" not in origin_questions._walk(np.ones((2, 100_000)), figures)


def test_parameters_are_called_what_the_origin_calls_them():
    table = simulate.origin(np.random.default_rng(1), n=30)
    model = pp.Model(simulate.ORIGIN_FORMULA, table, simulate.ORIGIN_PRIORS, labels={"i": "point"})
    priors = origin_questions.priors(model)
    assert re.findall("<td[^>]*>(a|mu_b|sigma_b|eps)</td>", priors.to_html()) == [
        *("a", "mu_b", "sigma_b", "eps")
    ]
    assert "30 rows in 30 points" in priors.sentence
    fit = model.fit("nuts", draws=100, tune=100, chains=2)
    verdict = origin_questions.check(fit)
    told = " ".join(check["help"] for check in [*verdict.checks, *verdict.fit.checks])
    assert not re.search("slope of x|sd of the noise|intercept", told)
    assert re.search(r"worst is (a|mu_b|sigma_b|eps|b − mu_b of point \d+);", told)
    assert verdict.status == fit.check().status


def test_the_origin_speaks_its_own_names(exact):
    renamed = origin_questions.as_origin(exact)
    for fit, named in ((exact, renamed), (exact.reference, renamed.reference)):
        draws = fit.dataset
        assert set(named.dataset) == {"a", "mu_b", "sigma_b", "eps", "b"}
        np.testing.assert_array_equal(named.dataset["eps"], draws["sigma"])
        np.testing.assert_array_equal(named.dataset["b"], draws["x"] + draws["x|i"])
    verdict = exact.check()
    finding = origin_questions.estimates(exact, verdict)
    assert list(finding.table.index) == ["a", "mu_b", "sigma_b", "eps"]
    assert verdict.sentence in finding.sentence


def test_the_headline_answers(exact):
    truth = {"mu_b": 2.0, "eps": 0.0}
    text = origin_questions.headline(exact, exact, truth, exact)
    summary = exact.summary()
    mean = rounded(summary.at["x", "mean"], summary.at["x", "sd"])
    assert f"mu_b is {mean} (90 % interval" in text
    median = rounded(summary.at["sigma", "q50"], summary.at["sigma", "sd"])
    assert "Starting from the maximum hurt because there is none" in text
    assert f"{origin_questions._zero(exact)}, and what cannot be negative has" in text
    assert f"a positive median, {median} here" in text
    assert (
        "(true value 0). The usual case, radon in the houses of many counties: each unit of x"
        in text
    )
    usual = origin_questions.usual(exact)
    told = text.removesuffix(".").rpartition("many counties: ")[2]
    assert told.lower() in usual.sentence.lower()
    assert ".." not in usual.sentence
