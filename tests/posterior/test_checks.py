"""The verdict, its figures, and the distance from the exact posterior."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import partialpool as pp
from partialpool.posterior import checks


def tree(variables, attrs=None, stats_variables=None):
    """A posterior of independent draws (4 chains, 1,000 draws) by name."""
    coords = {"chain": range(4), "draw": range(1000)}
    groups = {
        "posterior": xr.Dataset(
            {n: (("chain", "draw"), v) for n, v in variables.items()}, coords=coords
        )
    }
    if stats_variables:
        groups["sample_stats"] = xr.Dataset(
            {n: (("chain", "draw"), v) for n, v in stats_variables.items()}, coords=coords
        )
    result = xr.DataTree.from_dict(groups)
    result.attrs = attrs or {"method": "nuts"}
    return result


def normal(rng, mean=0.0, sd=1.0):
    return mean + sd * rng.standard_normal((4, 1000))


def names(verdict):
    return {check["name"] for check in verdict.checks if not check["passed"]}


def test_good_draws_pass():
    rng = np.random.default_rng(0)
    verdict = checks.verdict(tree({"a": normal(rng), "b": normal(rng)}))
    assert verdict.status == "passed"
    assert {c["name"] for c in verdict.checks} == {"R-hat", "Bulk ESS", "Tail ESS"}
    assert "All 3 checks passed" in verdict.sentence


def test_one_chain_elsewhere_fails():
    rng = np.random.default_rng(1)
    values = normal(rng)
    values[0] += 1
    verdict = checks.verdict(tree({"a": normal(rng), "b": values}))
    assert verdict.status == "failed"
    assert "R-hat" in names(verdict)
    assert "worst is b" in verdict.sentence


def test_a_single_divergence_fails_and_tree_depth_only_warns():
    rng = np.random.default_rng(2)
    flags = np.zeros((4, 1000), dtype=bool)
    flags[2, 7] = True
    calm = np.zeros_like(flags)
    diverging = checks.verdict(tree({"a": normal(rng)}, stats_variables={"diverging": flags}))
    assert diverging.status == "failed"
    deep = {"diverging": calm, "reached_max_treedepth": flags}
    assert checks.verdict(tree({"a": normal(rng)}, stats_variables=deep)).status == "warned"


def test_an_untrusted_exact_fit_fails():
    rng = np.random.default_rng(3)
    good = {"method": "exact", "pareto_khat": 0.1, "effective_draws": 4000.0, "evidence_gap": 0.5}
    assert checks.verdict(tree({"a": normal(rng)}, good)).status == "passed"
    for key, value in {"pareto_khat": 0.9, "effective_draws": 50.0, "evidence_gap": -9.0}.items():
        assert checks.verdict(tree({"a": normal(rng)}, good | {key: value})).status == "failed"


def test_summary_is_that_of_the_draws():
    rng = np.random.default_rng(4)
    values = normal(rng, 3, 2)
    row = checks.summarize(tree({"a": values})["posterior"].to_dataset()).loc["a"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["q05"] == pytest.approx(np.quantile(values, 0.05))
    assert row["mcse_mean"] == pytest.approx(2 / np.sqrt(row["ess_bulk"]), rel=0.1)


def test_a_fixed_parameter_is_no_failure():
    rng = np.random.default_rng(5)
    verdict = checks.verdict(tree({"a": normal(rng), "fixed": np.full((4, 1000), 3.0)}))
    assert verdict.status == "passed"


@pytest.mark.parametrize(("mean", "sd"), [(0.3, 1.0), (0.0, 1.25), (0.0, 0.8)])
def test_distance_sees_shifts_and_widths(mean, sd):
    """A shift of 0.3 sd, and widths a quarter off either way: all beyond the threshold."""
    rng = np.random.default_rng(6)
    exact = tree({"a": normal(rng)}, {"method": "exact"})
    verdict = checks.verdict(tree({"a": normal(rng, mean, sd)}), exact)
    assert verdict.status == "failed"
    expected = np.hypot(mean, 0) if mean else np.sqrt(2 / np.pi) * abs(sd - 1)
    assert verdict.comparison.loc["a", "wasserstein"] == pytest.approx(expected, abs=0.08)


def test_false_alarms_are_as_rare_as_stated():
    """The means check over right fits of 20 parameters each, at a rate of 1e-3."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(20):
        ours = {f"p{k}": normal(rng) for k in range(20)}
        exact = {f"p{k}": normal(rng) for k in range(20)}
        alarms += "Exact: means" in names(
            checks.verdict(tree(ours), tree(exact, {"method": "exact"}))
        )
    assert alarms <= stats.binom.ppf(0.999, 20, checks.FALSE_ALARM)


def test_verdict_shows_itself_escaped():
    rng = np.random.default_rng(8)
    page = checks.verdict(tree({"<b>a": normal(rng)})).finding().to_html()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_the_exact_fit_is_held_against_another_stream():
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    fit = model.fit(seed=1)
    assert not fit.reference.dataset.equals(fit.dataset)
    verdict = fit.check()
    assert "Exact: means" in {check["name"] for check in verdict.checks}
    assert verdict.status == "passed"


def test_of_very_many_groups_some_are_checked():
    rng = np.random.default_rng(9)
    effects = xr.Dataset({"1|g": (("chain", "draw", "g"), rng.standard_normal((4, 100, 3000)))})
    shown = checks.checked(effects)
    assert shown.sizes["g"] == checks.CHECKED_GROUPS
