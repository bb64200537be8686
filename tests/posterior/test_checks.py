"""The verdict, its figures, and the distance from the exact posterior."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import partialpool as pp
from partialpool.fit import fitting
from partialpool.posterior import agreement, checks, draws


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
    told = checks.verdict(tree({"a": normal(rng), "b": values}), names={"b": "slope of b"})
    assert "worst is slope of b;" in told.sentence


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
    assert alarms <= stats.binom.ppf(0.999, 20, agreement.FALSE_ALARM)


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


def test_marginals_of_levels_and_thresholds_count_and_those_of_groups_do_not():
    """A coefficient may end in a bracket as a group's effect does."""
    rng = np.random.default_rng(12)
    close = {"a": normal(rng), "sex[F]": normal(rng), "threshold[1]": normal(rng)}
    far = tree(close | {"sex[F]": normal(rng, mean=0.5)})
    verdict = checks.verdict(far, tree(close))
    marginals = next(c for c in verdict.checks if c["name"] == "Reference: marginals")
    assert marginals["value"] == pytest.approx(0.5, abs=0.1)
    assert not marginals["passed"]
    shown = checks.of_population(independent(rng), pd.Index(["a", "1|g[0]", "1|g[29]"]))
    assert shown.tolist() == [True, False, False]


def independent(rng, groups=30, inflation=1.0):
    """A dataset as an exact fit's: one parameter and effects of groups."""
    return xr.Dataset(
        {
            "a": (("chain", "draw"), normal(rng)),
            "1|g": (("chain", "draw", "g"), rng.standard_normal((4, 1000, groups))),
        },
        attrs={"inflation": inflation},
    )


def test_effects_of_independent_draws_are_summarized_without_arviz(monkeypatch):
    """Figures near ArviZ's, which is asked about the population only, however many groups."""
    dataset = independent(np.random.default_rng(10))
    by_arviz = checks.summarize(dataset.drop_attrs())
    asked = []
    each = draws._each
    monkeypatch.setattr(draws, "_each", lambda by, one: asked.extend(one) or each(by, one))
    ours = checks.summarize(dataset)
    assert set(asked) == {"a"}
    for name in ("mean", "sd", "q05", "q50", "q95"):
        np.testing.assert_allclose(ours[name], by_arviz[name])
    np.testing.assert_allclose(ours.loc["a"], by_arviz.loc["a"])
    # ArviZ's effective number of 4,000 independent draws is off by a few per cent
    assert np.abs(by_arviz["ess_bulk"] / ours["ess_bulk"] - 1).max() < 0.15
    np.testing.assert_allclose(ours["mcse_mean"], by_arviz["mcse_mean"], rtol=0.08)
    # rank-normalized or not, R-hat of 8 x 500 normal draws differs in the third digit
    np.testing.assert_allclose(ours["rhat"], by_arviz["rhat"], atol=2e-3)
    apart = dataset.copy(deep=True)
    apart["1|g"][0] += 1
    assert checks.summarize(apart)["rhat"].loc["1|g[0]"] > 1.05


def test_monte_carlo_errors_include_what_importance_sampling_takes_away():
    plain, inflated = (
        checks.summarize(independent(np.random.default_rng(11), inflation=i)) for i in (1.0, 1.44)
    )
    np.testing.assert_allclose(inflated["mcse_mean"], 1.2 * plain["mcse_mean"])
    np.testing.assert_allclose(inflated["ess_bulk"], plain["ess_bulk"] / 1.44)
    np.testing.assert_allclose(inflated["ess_tail"], plain["ess_tail"] / 1.44)


@pytest.mark.parametrize("count", [300, 200])
def test_wasserstein_is_scipys(count):
    rng = np.random.default_rng(12)
    ours, others = rng.standard_normal((3, 1, 300)), 1 + 2 * rng.standard_normal((3, 1, count))
    expected = [stats.wasserstein_distance(a[0], b[0]) for a, b in zip(ours, others, strict=True)]
    np.testing.assert_allclose(draws.wasserstein(ours, others), expected)


def test_effects_that_a_fit_left_out_are_compared(monkeypatch):
    """Of some groups, drawn for the purpose, as if the fit had them."""
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    whole = model.fit(seed=1)
    monkeypatch.setattr(fitting, "MAX_EFFECTS", 10)
    monkeypatch.setattr(checks, "MAX_ELEMENTS", 5)
    monkeypatch.setattr(checks, "CHECKED_GROUPS", 3)
    bare = model.fit(seed=1)
    assert "1|Batch" not in bare.dataset
    verdict = checks.check(bare)
    assert verdict.status == "passed"
    found = verdict.comparison.filter(like="1|Batch[", axis=0)
    assert list(found.index) == ["1|Batch[A]", "1|Batch[C]", "1|Batch[F]"]
    expected = whole.dataset["1|Batch"].sel(Batch=["A", "C", "F"])
    gap = (found["mean"] - expected.mean(("chain", "draw"))) / expected.std(("chain", "draw"))
    assert np.abs(gap).max() < 4 * np.sqrt(2 / 4000)


def test_a_summary_shows_all_its_columns_and_the_digits_that_say_something():
    """Pandas would leave out the quantiles in a terminal, and show six digits of all."""
    figures = {key: [0.123456, 1234.56] for key in checks.HEADINGS}
    plain = pd.DataFrame(figures | {"sd": [0.0123, 12.3]}, index=["slope", "intercept"])
    shown = str(checks.Summary(plain)).splitlines()
    assert shown[0].split()[:5] == ["mean", "sd", "q05", "q50", "q95"]
    assert shown[1].split()[:3] == ["slope", "0.123", "0.012"]
    assert shown[2].split()[:3] == ["intercept", "1,235", "12"]
    assert type(checks.Summary(plain).head(1)) is pd.DataFrame
    many = checks.Summary(pd.concat([plain] * 50))
    assert len(str(many).splitlines()) == 12
    assert "<td>0.123</td>" in many._repr_html_()
