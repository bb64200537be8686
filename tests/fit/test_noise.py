"""Known standard errors, Student's t, and the centring chosen from the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_exact import points

import partialpool as pp
from conftest import op_by_op
from partialpool.fit import centring, fitting
from partialpool.posterior import checks
from partialpool.posterior.fitted import Fitted

SLEEP = pp.load("sleepstudy")
SCHOOLS = pp.load("eight_schools").rename(columns={"school": "schools", "est": "y"})
#: Gelman et al. (2013), section 5.5, with the half-Cauchy of Gelman (2006).
SCHOOL_PRIORS = {"Intercept": "Normal(0, 5)", "sd": "HalfCauchy(5)"}


def z(posterior, name, expected):
    """Distance of a posterior mean from its expected value, in Monte Carlo errors."""
    row = checks.summarize(posterior.dataset).loc[name]
    return (row["mean"] - expected) / row["mcse_mean"]


@pytest.fixture(scope="module")
def schools():
    return pp.Model("y ~ 1 + (1 | schools)", SCHOOLS, SCHOOL_PRIORS, se="se")


def quadrature():
    """Posterior means of mu and tau, and the log evidence, of the eight schools, on a fine grid.

    The grid ends at 2,000, beyond which the half-Cauchy leaves less than 1e-10 after the data.
    """
    y, variance = SCHOOLS["y"].to_numpy(), SCHOOLS["se"].to_numpy() ** 2
    log_tau = np.linspace(np.log(1e-5), np.log(2000), 200_001)
    tau = np.exp(log_tau)
    W = 1 / (tau[:, None] ** 2 + variance)
    P, r = W.sum(1) + 1 / 25, (W * y).sum(1)
    log_density = (
        0.5 * np.log(W).sum(1)
        - 0.5 * np.log(25 * P)
        - 0.5 * ((W * y**2).sum(1) - r**2 / P)
        - len(y) / 2 * np.log(2 * np.pi)
        + stats.halfcauchy(scale=5).logpdf(tau)
        + log_tau
    )
    weight = np.exp(log_density - log_density.max())
    evidence = np.log(weight.sum() * (log_tau[1] - log_tau[0])) + log_density.max()
    return np.average(r / P, weights=weight), np.average(tau, weights=weight), evidence


def test_eight_schools_against_quadrature(schools):
    mu, tau, evidence = quadrature()
    posterior = schools.fit(seed=1)
    assert abs(z(posterior, "Intercept", mu)) < 4
    assert abs(z(posterior, "1|schools_sigma", tau)) < 4
    gap = posterior.attrs["log_evidence"] - evidence
    assert abs(gap) < 4 * posterior.attrs["log_evidence_se"]
    assert schools.parameters == ["Intercept", "1|schools_sigma"]
    assert checks.check(posterior).status == "passed"


def test_sigma_added_to_the_standard_errors_is_the_same_model_without_groups(schools):
    """A sigma beside the standard errors is what the group effects of single rows are."""
    mu, tau, evidence = quadrature()
    priors = {"Intercept": "Normal(0, 5)", "sigma": "HalfCauchy(5)"}
    model = pp.Model("y ~ 1", SCHOOLS, priors, se="se")
    posterior = model.fit(seed=2)
    assert abs(z(posterior, "Intercept", mu)) < 4
    assert abs(z(posterior, "sigma", tau)) < 4
    gap = posterior.attrs["log_evidence"] - evidence
    assert abs(gap) < 4 * posterior.attrs["log_evidence_se"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["(1 | g)", "(x | g)"]))
def test_density_is_that_of_the_dense_normal(seed, added, term):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(14, 2)), columns=["y", "x"]).assign(
        g=rng.integers(0, 4, 14), error=rng.uniform(0.1, 3, 14)
    )
    table.loc[:3, "g"] = range(4)
    priors = {"sigma": "HalfNormal(1)"} if added else {}
    model = pp.Model(f"y ~ x + {term}", table, priors, se="error")
    target, design = model.theta_posterior, model.design
    u = points(target, rng)
    scales, correlation = target.parameters(u)
    _, log_prior = target.theta(u)
    arguments = np.array([model.priors[name].arguments for name in design.x_names])
    S = np.diag(arguments[:, 1] ** 2)
    same = design.only.codes[:, None] == design.only.codes
    for s in range(3):
        D = np.diag(scales[s, 1:])
        V = (
            same * (design.only.Z @ D @ correlation[s] @ D @ design.only.Z.T)
            + design.X @ S @ design.X.T
        )
        V += np.diag(table["error"] ** 2 + scales[s, 0] ** 2)
        expected = stats.multivariate_normal(design.X @ arguments[:, 0], V).logpdf(design.y)
        assert target(u)[s] - log_prior[s] == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_group_effects_have_their_conditional_moments_whether_sigma_is_added_or_not():
    """With sigma fixed at 5 inside the errors, or near it by a narrow prior, draws agree."""
    errors = {"se": np.hypot(SCHOOLS["se"], 5.0)}
    fixed = pp.Model("y ~ 1 + (1 | schools)", SCHOOLS.assign(**errors), SCHOOL_PRIORS, se="se")
    narrow = SCHOOL_PRIORS | {"sigma": "Uniform(4.999, 5.001)"}
    added = pp.Model("y ~ 1 + (1 | schools)", SCHOOLS, narrow, se="se")
    comparison = checks.compare(added.fit(seed=1).posterior, fixed.fit(seed=2).posterior)
    assert "1|schools[A]" in comparison.index
    assert comparison["z"].abs().max() < 4
    assert comparison["wasserstein"].max() < 0.1
    same = SCHOOL_PRIORS | {"sigma": "Fixed(5)"}
    both = pp.Model("y ~ 1 + (1 | schools)", SCHOOLS, same, se="se")
    comparison = checks.compare(both.fit(seed=3).posterior, fixed.fit(seed=2).posterior)
    assert comparison["z"].abs().max() < 4


def test_standard_errors_in_pymc(schools):
    """The marginal model agrees with the exact fit; the row model adds the variances."""
    assert checks.check(schools.fit("nutpie", seed=1)).status == "passed"
    added = pp.Model("y ~ 1", SCHOOLS, {"sigma": "HalfCauchy(5)"}, se="se")
    compiled = added.pymc("noncentered")
    point = {"Intercept": np.array(3.0), "sigma_log__": np.array(1.0)}
    logp = compiled.compile_logp(sum=False, mode=op_by_op())(point)[-1]
    scale = np.hypot(np.exp(1.0), SCHOOLS["se"])
    np.testing.assert_allclose(logp, stats.norm(3.0, scale).logpdf(SCHOOLS["y"]), rtol=1e-10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"se": [0.0] + [1.0] * 7}, "^se: the standard errors in 'se' must be positive"),
        ({"se": [-1.0] + [1.0] * 7}, "must be positive"),
        ({"se": list("abcdefgh")}, "must be positive numbers"),
        ({"se": [np.nan] + [1.0] * 7}, "missing or infinite values: 1 in 'se'"),
    ],
)
def test_standard_errors_that_are_none(change, words):
    with pytest.raises(ValueError, match=words):
        pp.Model("y ~ 1 + (1 | schools)", SCHOOLS.assign(**change), se="se")


def test_no_noise_at_all_is_refused():
    with pytest.raises(ValueError, match="'sigma' leaves the data without noise"):
        pp.Model("y ~ 1", SCHOOLS, {"sigma": "Fixed(0)"})
    with pytest.raises(ValueError, match="no column 'stder'"):
        pp.Model("y ~ 1", SCHOOLS, se="stder")
    with pytest.raises(ValueError, match="group effects do not integrate out"):
        pp.Model("y ~ 1", SCHOOLS, {"sigma": "HalfNormal(1)"}, se="se").pymc("marginal")


def test_student_density_is_scipys():
    model = pp.Model("Reaction ~ Days + (1 | Subject)", SLEEP, family="student")
    compiled = model.pymc("noncentered")
    values = {"Intercept": 250.0, "Days": 9.0, "sigma": 20.0, "nu": 3.0, "1|Subject_sigma": 30.0}
    offset = np.linspace(-1, 1, 18)
    point = {
        "Intercept": values["Intercept"],
        "Days": values["Days"],
        "sigma_log__": np.log(values["sigma"]),
        "nu_log__": np.log(values["nu"]),
        "1|Subject_sigma_log__": np.log(values["1|Subject_sigma"]),
        "1|Subject_offset": offset,
    }
    density = compiled.compile_logp(sum=False, mode=op_by_op())
    logp = density({k: np.asarray(v) for k, v in point.items()})[-1]
    line = 250 + 9 * SLEEP["Days"] + 30 * offset[model.design.only.codes]
    np.testing.assert_allclose(logp, stats.t(3, line, 20).logpdf(SLEEP["Reaction"]), rtol=1e-9)


def test_student_with_many_degrees_of_freedom_is_gaussian():
    """At nu = 1e6 the posterior is the exact Gaussian one within Monte Carlo error."""
    formula = "Reaction ~ Days + (Days | Subject)"
    model = pp.Model(formula, SLEEP, {"nu": "Fixed(1e6)"}, family="student")
    posterior = model.fit(seed=3)
    assert posterior.attrs["method"] == "nutpie"
    assert "1|Subject is centred" in posterior.attrs["route"]
    assert "nu" not in model.parameters
    verdict = checks.verdict(posterior.posterior, posterior.gaussian.posterior)
    assert verdict.status == "passed", verdict.sentence


def test_student_has_no_exact_fit():
    model = pp.Model("Reaction ~ Days + (1 | Subject)", SLEEP, family="student")
    assert Fitted(model, Fitted.of(model.gaussian()).posterior).reference is None
    with pytest.raises(ValueError, match="the exact fit needs Gaussian noise"):
        model.fit("exact")
    with pytest.raises(ValueError, match="family: choose from gaussian, student"):
        pp.Model("Reaction ~ Days", SLEEP, family="cauchy")


def test_centring_follows_how_much_a_group_knows():
    rng = np.random.default_rng(1)

    def forms(rows, noise):
        g = np.repeat(np.arange(30), rows)
        x = rng.uniform(-1, 1, len(g))
        y = rng.normal(size=30)[g] + 0.1 * rng.normal(size=30)[g] * x
        table = pd.DataFrame({"y": y + noise * rng.normal(size=len(g)), "x": x, "g": g})
        model = pp.Model("y ~ x + (x || g)", table, family="student")
        return centring.choose(model, Fitted(model, None).gaussian.posterior)

    clear, vague = forms(20, 0.5), forms(3, 3.0)
    assert clear.loc["1|g", "form"] == "centered"
    assert clear.loc["x|g", "form"] == "noncentered"
    assert list(vague["form"]) == ["noncentered"] * 2
    assert clear.loc["1|g", "informed"] > 0.9 > vague.loc["1|g", "informed"]
    assert "1|g is centred, for its groups' rows explain 9" in centring.sentence(clear)


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | g)", "y ~ 1 + (1 | g) + (1 | h)"])
def test_centring_of_effects_that_are_too_many_to_be_drawn(formula, monkeypatch):
    """Their posterior standard deviations are known without draws; two factors, and one."""
    rng = np.random.default_rng(2)
    g, h = rng.integers(60, size=300), rng.integers(50, size=300)
    y = rng.normal(size=60)[g] + 0.2 * rng.normal(size=50)[h] + rng.normal(size=300)
    model = pp.Model(formula, pd.DataFrame({"y": y, "g": g, "h": h}))
    drawn = centring.choose(model, fitting.fit(model, seed=1))
    monkeypatch.setattr(fitting, "MAX_EFFECTS", 0)
    fit = fitting.fit(model, seed=1)
    assert "1|g" not in fit["posterior"]
    chosen = centring.choose(model, fit)
    assert list(chosen["form"]) == list(drawn["form"])
    np.testing.assert_allclose(chosen["informed"], drawn["informed"], atol=0.02)


@pytest.mark.parametrize(
    ("formula", "told_apart"),
    [
        ("y ~ x + (0 + x | i)", True),
        ("y ~ b + (0 + b | i)", True),
        ("y ~ x + (1 | i)", False),
        ("y ~ x + (x | i)", False),
        ("y ~ b + (0 + C(b) | i)", False),
        ("y ~ x + (1 | b)", True),
    ],
)
def test_every_row_a_group_of_its_own(formula, told_apart):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=30), "x": rng.uniform(size=30)})
    table = table.assign(b=np.arange(30) % 2, i=np.arange(30), error=1.0)
    model = pp.Model(formula, table)
    assert bool(model.unidentified) != told_apart
    assert not pp.Model(formula, table, se="error").unidentified
    if formula == "y ~ x + (1 | i)":
        assert "Every row is a group of its own" in model.unidentified
        verdict = checks.check(model.fit(seed=1))
        assert verdict.status == "warned"
        assert "known standard errors" in verdict.sentence
