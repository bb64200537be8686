"""Theta of several factors through a surrogate: against the density, and when it must fail."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from test_elimination import insteval

import partialpool as pp
from partialpool.design.priors import parse
from partialpool.fit import exact, exploration, importance, quadrature, surrogate
from partialpool.fit.coordinates import Theta
from partialpool.fit.interpolation import Interpolant, leja, lower_set
from partialpool.fit.ratios import Profile, Ratios
from partialpool.fit.reduction import Factor, eliminate
from partialpool.posterior import checks
from partialpool.simulation import simulate


def test_polynomials_are_interpolated_exactly():
    rng = np.random.default_rng(0)
    degrees = np.array([3, 2, 4])
    powers = np.array(lower_set(degrees))
    weights = rng.normal(size=len(powers))

    def value(x):
        return np.stack([np.prod(x[:, None] ** powers, axis=2) @ weights, x.sum(1)], 1)

    low, high = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 3.0, 2.5])
    found = Interpolant(value, low, high, np.array([True, False, True]), degrees)
    assert len(found.nodes) == len(powers)
    x = low + (high - low) * rng.uniform(size=(20, 3))
    np.testing.assert_allclose(found(x), value(x), rtol=1e-9)
    np.testing.assert_allclose(
        found.cardinals(x) @ np.array([found.known[k] for k in found.nodes]), found(x), rtol=1e-9
    )


def test_degrees_lie_below_a_plane():
    assert lower_set(np.array([2, 1])) == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert len(lower_set(np.full(15, 3))) == math.comb(18, 3)  # in no time, of 4^15


def test_growing_keeps_nodes_and_converges():
    calls = []

    def value(x):
        calls.extend(x)
        return np.exp(x[:, [0]]) / (2 + x[:, [1]])

    box = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    found = Interpolant(value, *box, np.array([False, False]), np.array([2, 2]))
    assert len(calls) == 6
    found.grow(np.array([10, 14]))
    assert len(calls) == len(lower_set(np.array([10, 14])))
    x = np.random.default_rng(0).uniform(-1, 1, size=(50, 2))
    expected = np.exp(x[:, 0]) / (2 + x[:, 1])
    assert np.abs(found(x)[:, 0] - expected).max() < 1e-4
    assert np.abs(leja(20, weighted=True)).max() == 1


def crossed(sds=(0.5, 0.0), slope=0.0, n=900, seed=0, levels=50, centre=0.0):
    """Rows of 60 by 50 levels; with a slope that varies by the second factor, correlated."""
    rng = np.random.default_rng(seed)
    a, b, x = (
        rng.integers(60, size=n),
        rng.integers(levels, size=n),
        rng.normal(centre, 1 + centre, size=n),
    )
    root = np.linalg.cholesky([[1, 0.5], [0.5, 1]]) * [[sds[1]], [slope]]
    effects = rng.normal(size=(levels, 2)) @ root.T
    y = 1 + x + sds[0] * rng.normal(size=60)[a] + rng.normal(size=n)
    y += effects[b, 0] + x * effects[b, 1]
    Z = np.column_stack([np.ones(n), x])
    own = Z if slope else Z[:, :1]
    return y, Z, [Factor(a, Z[:, :1], 60), Factor(b, own, levels)]


def posterior(problem, scale="HalfNormal(1)", correlated=False):
    y, X, factors = problem
    Q = sum(f.q for f in factors)
    scales = [parse("HalfNormal(1)"), *[parse(scale)] * Q]
    coefficients = [parse("Normal(0, 10)")] * X.shape[1]
    blocks = [(0,), (1, 2)] if correlated else [(k,) for k in range(Q)]
    rows = eliminate(y, X, factors)
    return exact.of_factors(rows, coefficients, scales, blocks, [1.0, 2.0, 1.0][: len(blocks)])


def starts(target):
    return exact.starting_places(target, target.likelihood.rows.rms)


def explore(target, seed):
    return exploration.explore(target, starts(target), np.random.default_rng(seed))


@functools.cache
def two(case):
    """A posterior, its exploration through a surrogate, and by its own density."""
    problem, scale, correlated = CASES[case]
    target = posterior(crossed(**problem), scale, correlated)
    rng = np.random.default_rng(1)
    direct = exploration._directly(target, starts(target), rng, 4000, "")
    return target, explore(target, seed=2), direct


#: Columns of the middle factor that are not orthogonal, and a variance near zero.
NEAR_ZERO = {"sds": (0.6, 0.5), "slope": 0.01, "n": 1200, "levels": 25, "centre": 2.0}
CASES = {
    "one zero variance": ({}, "HalfNormal(1)", False),
    "both zero": ({"sds": (0.0, 0.0)}, "HalfNormal(1)", False),
    "correlated": ({"sds": (0.6, 0.5), "slope": 0.3, "n": 3000}, "HalfNormal(1)", True),
    "bounded": ({"sds": (0.5, 0.3)}, "Uniform(0.1, 0.55)", False),
    "heavy": ({"sds": (0.5, 0.1)}, "HalfCauchy(0.2)", False),
    "pole": ({"sds": (0.5, 0.1)}, "Gamma(0.5, 1)", False),
}


def moments(explored):
    """Means of sds and coefficients, and their Monte Carlo errors."""
    at = importance.resample(explored.sample, np.random.default_rng(3))
    scales, correlations = explored.posterior.parameters(explored.sample.u[at])
    draws = np.hstack([scales, correlations[:, -1, :-1], explored.sample.rest[at]])
    return draws.mean(0), draws.std(0) * np.sqrt(explored.sample.inflation / len(draws))


def test_an_integral_by_quadrature_is_that_of_the_normal():
    """One coordinate cut at zero, where half of it is left, and two that depend on each other."""
    root = np.array([[0.3, 0, 0], [0, 0.05, 0], [0, 0.02, 1.1]])
    centre = np.array([0.0, 4.0, -2.0])

    def log_density(u):
        return -0.5 * (np.linalg.solve(root, (u - centre).T) ** 2).sum(0)

    z = np.random.default_rng(0).standard_t(4, size=(4000, 3))
    u = centre + z @ root.T
    u[:, 0] = np.abs(u[:, 0])
    value, error = quadrature.log_integral(log_density, u, log_density(u))
    expected = 1.5 * np.log(2 * np.pi) + np.log(0.3 * 0.05 * 1.1) - np.log(2)
    assert value == pytest.approx(expected, abs=1e-5)
    assert error < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_surrogate_has_the_evidence_and_moments_of_the_density(case):
    """Also with zero variances, where a box that is cut too tight loses mass without a word."""
    _, through, direct = two(case)
    assert through.sample.trusted
    assert through.attributes["surrogate_error"] < surrogate.MAX_ERROR
    assert through.attributes["surrogate_edge_share"] < surrogate.MAX_EDGE
    assert "surrogate" in through.route
    samples = through.sample, direct.sample
    gap = samples[0].log_evidence - samples[1].log_evidence
    assert abs(gap) < 4 * np.hypot(*(s.log_evidence_se for s in samples))
    (one, error), (other, by) = moments(through), moments(direct)
    assert (np.abs(one - other) <= 4.5 * np.hypot(error, by) + 1e-12).all()


def test_a_surrogate_of_too_low_degree_is_not_certified():
    target, through, _ = two("one zero variance")
    low = surrogate.build(target, starts(target)[0], degree=1)
    sample = through.sample
    u = sample.u[importance.resample(sample, np.random.default_rng(0))]
    certificate = low.certify(u[:8], low.edges(u))
    assert certificate.rms > surrogate.MAX_ERROR
    error = target(u[:8]) - low.posterior(u[:8])
    assert certificate.rms == pytest.approx(np.sqrt(np.mean(error**2)))
    assert certificate.rms > 1.05 * abs(error.mean())
    assert not certificate.passed
    low.grow(u[:200])
    assert low.certify(u[8:16], low.edges(u)).rms < surrogate.MAX_ERROR


def test_a_box_cut_too_tight_shows_at_its_edges():
    """Its error at draws is small, for these lie inside; its evidence is wrong."""
    target, through, direct = two("one zero variance")
    tight = surrogate.build(target, starts(target)[0])
    wide = tight.interpolant
    # the factor without variance, cut where a Laplace approximation might
    high = np.array([wide.high[0], wide.low[1] + 0.15 * (wide.high[1] - wide.low[1])])
    tight.interpolant = surrogate._interpolant(
        tight.profile, wide.low, high, tight.limits, wide.degrees
    )
    cut = tight.posterior
    sample = importance.sample(
        cut, tight.starts(), np.random.default_rng(0), mirrors=target.mirrors
    )
    u = sample.u[importance.resample(sample, np.random.default_rng(1))]
    certificate = tight.certify(u[:8], tight.edges(u))
    assert certificate.rms < surrogate.MAX_ERROR
    assert certificate.edges[1, 1] > surrogate.MAX_EDGE
    assert not certificate.passed
    error = np.hypot(sample.log_evidence_se, direct.sample.log_evidence_se)
    assert direct.sample.log_evidence - sample.log_evidence > 10 * error
    for _ in range(10):
        edges = tight.edges(u)
        if (edges <= surrogate.MAX_EDGE).all():
            break
        tight.extend(edges > surrogate.MAX_EDGE)
        u = through.sample.u[importance.resample(through.sample, np.random.default_rng(1))]
    for at in range(8, 33, 8):  # the box is wider now, and takes a higher degree
        if tight.certify(u[at : at + 8], tight.edges(u)).passed:
            break
        tight.grow(u[:200])
    assert tight.certify(u[40:48], tight.edges(u)).passed


def test_what_cannot_be_certified_is_sampled_from_the_density_or_refused(monkeypatch):
    target, _, direct = two("one zero variance")
    monkeypatch.setattr(surrogate, "MAX_ERROR", 0.0)
    monkeypatch.setattr(surrogate, "MAX_NODES", 30)
    explored = explore(target, seed=0)
    assert explored.certificate is None
    assert "no surrogate of its density was certified" in explored.route
    gap = explored.sample.log_evidence - direct.sample.log_evidence
    assert abs(gap) < 4 * np.hypot(explored.sample.log_evidence_se, direct.sample.log_evidence_se)
    monkeypatch.setattr(exploration, "MOST_PRODUCTS", target.likelihood.rows.products - 1)
    with pytest.raises(ValueError, match="choose method nutpie"):
        explore(target, seed=0)


def test_the_share_near_a_side_is_of_the_outer_twentieth(monkeypatch):
    """Of draws evenly spread over the box; none where the coordinate itself ends."""
    target = posterior(crossed())
    built = surrogate.build(target, starts(target)[0])
    low, high = built.interpolant.low, built.interpolant.high
    evenly = low + (high - low) * np.linspace(0, 1, 2001)[:, None]
    monkeypatch.setattr(built, "_variables", lambda u: evenly)
    expected = np.where(np.stack([low, high], 1) == built.limits, 0, 0.05)
    assert (expected == 0).sum() == 1  # the ratio of the factor without variance ends at zero
    np.testing.assert_allclose(built.edges(evenly), expected, atol=1e-3)


def test_a_sample_that_is_not_trusted_is_of_no_use_through_a_surrogate(monkeypatch):
    target, _, _ = two("one zero variance")
    sample = importance.sample

    def untrusted(posterior, *args, **options):
        found = sample(posterior, *args, **options)
        through = isinstance(posterior.likelihood, surrogate.Interpolated)
        return replace(found, khat=9.0) if through else found

    monkeypatch.setattr(importance, "sample", untrusted)
    explored = explore(target, seed=0)
    assert explored.certificate is None
    assert explored.sample.trusted


def test_a_second_fit_begins_elsewhere(monkeypatch):
    """So that it sees a mode that the first one may have missed."""
    target, places, build = posterior(crossed()), [], surrogate.build

    def noted(target, start, place=None, degree=None):
        places.append(place)
        return build(target, start, place, degree)

    monkeypatch.setattr(surrogate, "build", noted)
    for scattered in (False, True, True):
        rng = np.random.default_rng(len(places))
        explored = exploration.explore(target, starts(target), rng, scattered=scattered)
        assert explored.certificate.passed
    assert places[0] is None
    assert not np.allclose(places[1], places[2])


def test_an_interpolated_matrix_that_is_not_definite_has_no_density():
    target, _, _ = two("one zero variance")
    likelihood = target.likelihood
    theta, _ = target.theta(np.zeros((1, target.dimension)) + 0.5)
    m = likelihood.n_drawn + 1
    C = np.diag([*np.ones(m - 1), -1.0])
    packed = np.ascontiguousarray(C[np.tril_indices(m)])[None]
    value = likelihood.given(theta, np.zeros(1), packed, np.empty((0, m - 1)))
    assert np.isnan(value[0])


def test_ratios_at_which_rounding_is_all_there_is_have_no_density():
    """A stray proposal had these; the system of the middle factors was not definite."""
    target = posterior(crossed(**NEAR_ZERO), correlated=True)
    L = np.zeros((2, 3, 3))
    L[0, 0, 0] = 2.8589930616109736
    L[0, 1:, 1:] = [[8.054402007371156, 0.0], [-2357037597.8797913, 32222834.906445514]]
    L[1] = np.eye(3)
    theta = Theta(np.ones(2), np.diagonal(L, axis1=1, axis2=2), np.zeros((2, 1)), L)
    with pytest.raises(np.linalg.LinAlgError):
        target.likelihood.solve(theta, 0)
    value = target.likelihood(theta, np.empty((0, target.likelihood.n_drawn)))
    assert value[0] == -np.inf
    assert np.isfinite(value[1])


@pytest.mark.parametrize("case", ["one zero variance", "correlated"])
def test_slopes_along_places_are_those_of_differences(case):
    target, _, _ = two(case)
    ratios = Ratios(target, target.likelihood)
    rng = np.random.default_rng(0)
    n = len(ratios.sizes)
    place = np.concatenate([rng.uniform(0.5, 2, n), rng.uniform(-1, 1, ratios.dimension - n)])
    by_det, by_C = ratios.slopes(place, ratios.solve(place))
    rows = target.likelihood.rows.n_rows
    for i in range(ratios.dimension):
        step = 1e-5 * np.eye(ratios.dimension)[i]
        up, down = ratios.solve(place + step), ratios.solve(place - step)
        assert by_det[i] == pytest.approx((up.log_det - down.log_det) / 2e-5, rel=1e-7, abs=1e-6)
        change = (up.C - down.C)[np.tril_indices(len(up.C))] / 2e-5
        np.testing.assert_allclose(by_C[i], change, atol=1e-7 * rows)
    # and a place is that of the theta that it stands for
    profile = Profile(ratios)
    u = profile.points(np.full((1, len(profile.others)), 0.7), place[None])
    np.testing.assert_allclose(ratios.places(target.theta(u)[0])[0], place, rtol=1e-9)
    np.testing.assert_allclose(ratios.rough(ratios.smooth(place)), place, rtol=1e-7)


@pytest.mark.parametrize("case", ["one zero variance", "correlated", "heavy"])
def test_gradient_of_the_profile_is_that_of_differences(case):
    """By the envelope theorem; at a given sigma the same sum is exact."""
    target, _, _ = two(case)
    ratios = Ratios(target, target.likelihood)
    profile = Profile(ratios)
    n = len(ratios.sizes)
    place = np.concatenate([np.full(n, 1.2), np.full(ratios.dimension - n, 0.3)])
    w = np.array([1.5])
    gradient, _ = profile.gradient(place, w, ratios.solve(place))
    for i in range(ratios.dimension):
        step = 1e-4 * np.eye(ratios.dimension)[i]
        ends = [
            profile.density(p, ratios.solve(p))(w[None])[0] for p in (place + step, place - step)
        ]
        assert gradient[i] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-4)


def test_insteval_has_its_known_posterior():
    """Evidence and moments by quadrature of the density on 24 x 24 x 24 points."""
    target = posterior(insteval("s", "d"))
    explored = explore(target, seed=0)
    assert explored.certificate.rms < 1e-4
    assert explored.certificate.evaluations < 40
    sample = explored.sample
    assert abs(sample.log_evidence + 118892.185333) < 3e-5
    assert sample.log_evidence_se < 1e-4
    mean, error = moments(explored)
    assert (np.abs(mean[:3] - [1.17756, 0.325195, 0.521584]) < 4 * error[:3]).all()
    np.testing.assert_allclose(error[1:3] * np.sqrt(4000), [0.0068785, 0.0128761], rtol=0.06)


def test_one_factor_of_many_groups_takes_a_surrogate():
    """With the posterior that the density itself has; and there is none where it is cheap."""
    rng = np.random.default_rng(0)
    table = simulate.grouped(rng, groups=1200, per_group=10, cor=0.3)
    model = pp.Model("y ~ x + (x | group)", table)
    fit = model.fit(seed=1)
    assert "surrogate" in fit.attrs["route"]
    assert fit.attrs["surrogate_error"] < surrogate.MAX_ERROR
    target = model.theta_posterior
    places = exact.starts(model.design, target)
    direct = exploration._directly(target, places, np.random.default_rng(2), 4000, "")
    gap = fit.attrs["log_evidence"] - direct.sample.log_evidence
    assert abs(gap) < 4 * np.hypot(fit.attrs["log_evidence_se"], direct.sample.log_evidence_se)
    verdict = checks.check(fit)
    assert verdict.status == "passed"
    few = pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(seed=1)
    assert "surrogate_error" not in few.attrs


@pytest.mark.parametrize(
    ("priors", "se", "cheap"),
    [
        ({}, None, False),
        ({"sigma": "Fixed(0.5)"}, None, True),
        ({"sigma": "HalfNormal(1)"}, "s", True),
        ({"1|group_sigma": "Fixed(1)"}, None, True),
    ],
)
def test_a_ratio_needs_noise_that_is_free_and_alike(priors, se, cheap):
    """Of 1,200 groups too: else the density itself is sampled."""
    table = simulate.grouped(np.random.default_rng(0), groups=1200, per_group=10)
    model = pp.Model("y ~ x + (x || group)", table.assign(s=1 + table["x"]), priors, se=se)
    assert exploration._cheap(model.theta_posterior) is cheap


def test_a_factor_fixed_at_zero_is_one_that_is_not_there():
    """And one fixed elsewhere has no ratio of its own: the density itself is sampled."""
    y, X, factors = crossed()
    coefficients, one = [parse("Normal(0, 10)")] * 2, parse("HalfNormal(1)")
    rows, found = eliminate(y, X, factors), []
    for value in ("Fixed(0)", "Fixed(0.1)"):
        scales = [one, one, parse(value)]
        target = exact.of_factors(rows, coefficients, scales, [(0,), (1,)], [1.0, 1.0])
        found.append(explore(target, seed=0))
    assert found[0].certificate.passed
    assert found[1].certificate is None
    alone = exact.of_factors(eliminate(y, X, factors[:1]), coefficients, [one, one], [(0,)], [1.0])
    without = explore(alone, seed=1).sample
    error = np.hypot(found[0].sample.log_evidence_se, without.log_evidence_se)
    assert abs(found[0].sample.log_evidence - without.log_evidence) < 4 * error
