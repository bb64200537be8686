"""Effects of several factors that a fit left out, drawn when they are asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import partialpool as pp
from partialpool.design.priors import Prior
from partialpool.fit import exact_fit, fitting, importance, mixed_equations, reduction
from partialpool.posterior import checks
from partialpool.posterior.fitted import Fitted

PRIORS = {"coefficients": "Normal(0, 10)", "sd": "HalfNormal(1)", "sigma": "HalfNormal(1)"}


@pytest.fixture(scope="module")
def model():
    """Two large factors, crossed, one with a slope; and a small one."""
    rng = np.random.default_rng(5)
    n, sizes = 900, {"a": 60, "b": 50, "c": 5}
    table = pd.DataFrame({name: rng.integers(size, size=n) for name, size in sizes.items()})
    table["x"] = rng.normal(size=n)
    y = 1 + 0.5 * table["x"] + rng.normal(0, 0.4, 60)[table["a"]] * (1 + table["x"])
    y += rng.normal(0, 0.7, 50)[table["b"]] + rng.normal(0, 0.5, 5)[table["c"]]
    table["y"] = y + rng.normal(0, 0.6, n)
    return pp.Model("y ~ x + (x | a) + (1 | b) + (1 | c)", table, PRIORS)


@pytest.fixture(scope="module")
def bare(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "MAX_EFFECTS", 1)
        return model.fit(draws=500, seed=1)


def test_a_fit_says_which_effects_it_left_out(bare, model):
    assert bare.attrs["group_effects"] == "draws of a, b left out"
    assert {"1|a", "x|a", "1|b", "1|c"} & set(bare.dataset) == {"1|c"}
    moments = bare.posterior["group_effects"].to_dataset()
    assert set(moments) == {*model.design.effects}
    whole = model.fit(draws=500, seed=1)
    assert whole.attrs["group_effects"] == "draws"
    for name in model.design.effects:
        np.testing.assert_allclose(moments[name], whole.posterior["group_effects"][name])


def test_effects_are_drawn_about_their_means(bare, model):
    """Which are known without Monte Carlo error; 170 effects, some of them correlated."""
    z, ratios = [], []
    for name in ("1|a", "x|a", "1|b"):
        mean, sd = bare.posterior["group_effects"][name].to_numpy()
        drawn = bare.values[name]
        z += [*((drawn.mean(0) - mean) / sd * np.sqrt(len(drawn)))]
        ratios += [*(drawn.std(0) / sd)]
    assert np.abs(z).max() < 4.5
    assert np.sqrt(np.mean(np.square(z))) < 1.3
    np.testing.assert_allclose(ratios, 1, atol=4.5 / np.sqrt(2 * 2000))
    assert bare.values["1|c"].shape == (2000, 5)


def test_factors_of_too_many_effects_have_a_way_out(bare, model, monkeypatch):
    """They are not fitted exactly, and nutpie needs no exact fit to choose its form."""
    monkeypatch.setattr(reduction, "MAX_DENSE", 49)
    fresh = model.with_design(model.design)
    with pytest.raises(reduction.TooDear, match=r"these have 50; choose method nutpie\.$"):
        fitting.fit(fresh, "exact")
    assert fitting._forms(fresh) == (["noncentered"] * 4, "noncentered")
    assert Fitted(fresh, bare.posterior).reference is None


def test_some_groups_have_the_draws_of_all(bare):
    some = [np.array([0, 41]), np.array([3]), np.array([1, 2])]
    shown = bare.with_effects_of(some)["posterior"].to_dataset()
    for name, levels in (("x|a", some[0]), ("1|b", some[1]), ("1|c", some[2])):
        drawn = shown[name].to_numpy().reshape(2000, -1)
        np.testing.assert_allclose(drawn, bare.values[name][:, levels], rtol=1e-9)


def test_theta_is_found_again_from_its_parameters(model):
    explored = exact_fit.explore(model, 100, np.random.default_rng(1))
    at = importance.resample(explored.sample, np.random.default_rng(2))[:100]
    theta, _ = explored.posterior.theta(explored.sample.u[at])
    values, _ = exact_fit.drawn(model.design, explored, at)
    for expected, found in zip(theta, exact_fit._theta(model.design, values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_no_pooling_of_a_dense_factor_is_that_of_a_fixed_width(model):
    """Through a surrogate instead of one dense system for every point; 50 means agree."""
    # without c, whose few levels make all means of b uncertain together
    model = pp.Model("y ~ x + (x | a) + (1 | b)", model.table, PRIORS)
    grouping = model.design.groupings[1]
    tight = model.unpooled(grouping)
    (name,) = grouping.sd_names
    assert tight.priors[name].family == "Gamma"
    fixed = model.unpooled(grouping)
    fixed.priors = fixed.priors | {
        name: Prior("Fixed", (float(tight.priors[name].sample(np.random.default_rng(1))),))
    }
    ours, theirs = (
        fitting.fit(m, draws=125, seed=1)["group_effects"]["1|b"].to_numpy() for m in (tight, fixed)
    )
    # only theta's Monte Carlo error is left, which is a small part of that of independent draws
    assert np.abs(ours[0] - theirs[0]).max() < 4 * theirs[1].max() * np.sqrt(2 / 500)
    # most of their spread is that of the intercept's draws: four errors of two sds of 500 draws
    np.testing.assert_allclose(ours[1], theirs[1], rtol=4 / np.sqrt(500))


def test_effects_at_rows_are_those_of_the_mixed_equations(bare, model):
    """Henderson's equations, solved for each draw, integrate the small factor out too: with it."""
    values = bare.thinned(8).held
    rows = np.array([0, 17, 410, 899])
    effects = exact_fit.given_draws(model, values)
    Z, codes = zip(*((g.Z[rows], g.codes[rows]) for g in model.design.groupings), strict=True)
    mean, variance = effects.at_rows(Z, codes)
    # given the small factor's effects the others are those of the rows less them
    small = values["1|c"][:, model.design.groupings[2].codes]
    large = replace(model.design, groupings=model.design.groupings[:2])
    roots = [exact_fit.covariance_root(g, values) for g in large.groupings]
    beta = exact_fit.coefficients(model.design, values)
    for s in range(8):
        shifted = replace(large, y=model.design.y - small[s])
        one = slice(s, s + 1)
        expected = mixed_equations.group_part(
            shifted, values["sigma"][one], [root[one] for root in roots], beta[one], rows
        )
        np.testing.assert_allclose(mean[s], expected[0][0] + small[s, rows], atol=2e-3)
        np.testing.assert_allclose(variance[s], expected[1][0], rtol=2e-3)


def test_effects_are_asked_for_by_factor_and_level(bare, model):
    found = bare.effects("a", [41, 0])
    assert found["x|a"].dims == ("chain", "draw", "a")
    np.testing.assert_array_equal(found["a"], [41, 0])
    both = found["x|a"].to_numpy().reshape(2000, 2)
    np.testing.assert_allclose(both, bare.values["x|a"][:, [41, 0]], rtol=1e-9)
    assert bare.effects("c").sizes["c"] == 5
    with pytest.raises(ValueError, match="The level 60 of a was not in the data"):
        bare.effects("a", [60])
    with pytest.raises(ValueError, match="choose from a, b, c, not None"):
        bare.effects()


def test_effects_at_rows_of_nested_factors():
    """Classes in schools, with nothing dense, against Henderson's equations."""
    rng = np.random.default_rng(6)
    table = pd.DataFrame({"school": np.repeat(np.arange(45), 12), "class": np.arange(540) // 3})
    school, pupil_class = rng.normal(0, 0.6, 45), rng.normal(0, 0.5, 180)
    table["y"] = school[table["school"]] + pupil_class[table["class"]] + rng.normal(0, 0.7, 540)
    fitted = pp.Model("y ~ 1 + (1 | school) + (1 | class)", table, PRIORS).fit(draws=100, seed=1)
    design, rows = fitted.model.design, np.array([0, 100, 539])
    assert fitted.model.eliminated.chain is not None
    assert exact_fit.interpolated(fitted.model)
    values = fitted.thinned(8).held
    effects = exact_fit.given_draws(fitted.model, values)
    Z, codes = zip(*((g.Z[rows], g.codes[rows]) for g in design.groupings), strict=True)
    roots = [exact_fit.covariance_root(g, values) for g in design.groupings]
    beta = exact_fit.coefficients(design, values)
    expected = mixed_equations.group_part(design, values["sigma"], roots, beta, rows)
    mean, variance = effects.at_rows(Z, codes)
    np.testing.assert_allclose(mean, expected[0], atol=2e-3)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-2)


def test_the_certificate_of_a_surrogate_is_part_of_the_verdict(bare):
    found = {check["name"]: check for check in checks.verdict(bare.posterior).checks}
    for name, attr in (
        ("Surrogate", "surrogate_error"),
        ("Surrogate's edge", "surrogate_edge_share"),
    ):
        assert found[name]["value"] == bare.attrs[attr]
        assert found[name]["passed"]
    assert "fresh draws" in checks.how_fitted(bare)
    bad = bare.posterior.copy()
    bad.attrs = bare.attrs | {"surrogate_error": 0.1}
    assert checks.verdict(bad).status == "failed"


def test_a_summary_of_groups_has_those_that_were_left_out(bare):
    table = bare.summary(groups=True)
    assert len(table) == len(bare.model.parameters) + 60 * 2 + 50 + 5
    mean, sd = bare.posterior["group_effects"]["1|b"].to_numpy()
    rows = table.filter(like="1|b[", axis=0)
    assert np.abs((rows["mean"] - mean) / sd).max() < 4.5 / np.sqrt(2000)
