"""Leaving out rows and groups of families with a link, against quadrature and fits without them."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logsumexp

import partialpool as pp
from partialpool.fit import left_out_rows
from partialpool.fit.exact_fit import integrated_values
from partialpool.posterior import alternatives, leave_group_out, leave_one_out
from partialpool.posterior.fitted import Fitted

#: Standard normal effects, and the logarithms of their shares.
Z = np.linspace(-8, 8, 161)
SHARES = stats.norm.logpdf(Z) + np.log(Z[1] - Z[0])
FORMULAS = {
    "binomial": "hits | trials(size) ~ x + (1 | g)",
    "poisson": "count ~ x + (1 | g) + offset(log(exposure))",
    "negbinomial": "count ~ x + (1 | g)",
    "cumulative": "answer ~ x + (1 | g)",
}
PRIORS = {"coefficients": "Normal(0, 2)", "sd": "HalfNormal(1)"}
FAMILIES = pytest.mark.parametrize("family", FORMULAS)


def made():
    """Twenty-four rows, some of them alike, in groups of one to five."""
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(8), [1, 2, 2, 3, 3, 4, 4, 5])
    N, x = len(codes), np.round(rng.normal(size=len(codes)))
    table = pd.DataFrame({"x": x, "g": [*map("abcdefgh".__getitem__, codes)]})
    eta = 0.3 + 0.6 * x + rng.normal(size=8)[codes]
    table["size"], table["exposure"] = rng.integers(1, 5, N), rng.uniform(1, 3, N)
    table["hits"] = rng.binomial(table["size"], expit(eta))
    table["count"] = rng.poisson(np.exp(eta))
    table["answer"] = 1 + np.digitize(eta + rng.logistic(size=N), [-0.5, 1.0])
    return table


TABLE = made()


@cache
def fit_of(family):
    return pp.Model(FORMULAS[family], TABLE, PRIORS, family=family).fit(seed=1)


def log_density(family, row, values, eta):
    """Log density of a row at linear predictors (S, B)."""
    if family == "binomial":
        return stats.binom(row["size"], expit(eta)).logpmf(row["hits"])
    if family == "poisson":
        return stats.poisson(row["exposure"] * np.exp(eta)).logpmf(row["count"])
    if family == "negbinomial":
        shape = values["shape"][:, None]
        return stats.nbinom(shape, shape / (shape + np.exp(eta))).logpmf(row["count"])
    cuts = [-np.inf, *(values[f"threshold[{k}]"][:, None] for k in (1, 2)), np.inf]
    with np.errstate(divide="ignore"):
        return np.log(expit(cuts[row["answer"]] - eta) - expit(cuts[row["answer"] - 1] - eta))


def of_rows(family, rows, values):
    """Log density (S,) of rows of one group by quadrature over its effect."""
    effects = values["1|g_sigma"][:, None] * Z
    total = np.broadcast_to(SHARES, effects.shape)
    for _, row in rows.iterrows():
        eta = effects + (values["x"] * row["x"] + values.get("Intercept", 0))[:, None]
        total = total + log_density(family, row, values, eta)
    return logsumexp(total, axis=1)


def of_row(family, at, values):
    """Log density (S,) of a row given the others of its group."""
    mates = TABLE[TABLE["g"] == TABLE.at[at, "g"]]
    return of_rows(family, mates, values) - of_rows(family, mates.drop(at), values)


def expectation(log):
    """Log of the mean of densities, and its Monte Carlo error."""
    w = np.exp(log - log.max())
    return np.log(w.mean()) + log.max(), w.std() / w.mean() / np.sqrt(len(w))


def without(family, gone, seed):
    """Draws of a fit that has never seen some rows, with factors of its own."""
    kept = TABLE[~gone].reset_index(drop=True)
    return pp.Model(FORMULAS[family], kept, PRIORS, family=family).fit(seed=seed, draws=250)


@FAMILIES
def test_rows_given_their_groups_others_are_those_of_quadrature(family):
    """Densities at five draws; effects by their standardized mean over 2,000 draws."""
    model = fit_of(family).model
    values = fit_of(family).thinned(2000).population
    rows = np.arange(len(TABLE))
    at, log, effects = left_out_rows.given_others(
        model, integrated_values(model, values), rows, seed=3
    )
    np.testing.assert_array_equal(at, rows)
    few = {name: value[:5] for name, value in values.items()}
    for row in rows:
        np.testing.assert_allclose(log[:5, row], of_row(family, row, few), atol=1e-5)
    for row in (0, 23):
        mates = TABLE[TABLE["g"] == TABLE.at[row, "g"]].drop(row)
        b = values["1|g_sigma"][:, None] * Z
        height = np.broadcast_to(SHARES, b.shape)
        for _, other in mates.iterrows():
            eta = b + (values["x"] * other["x"] + values.get("Intercept", 0))[:, None]
            height = height + log_density(family, other, values, eta)
        share = np.exp(height - logsumexp(height, axis=1, keepdims=True))
        mean = (share * b).sum(1)
        sd = np.sqrt((share * (b - mean[:, None]) ** 2).sum(1))
        z = (effects[:, row] - mean) / sd
        assert abs(z.mean()) * np.sqrt(len(z)) < 4
        assert abs((z**2).mean() - 1) < 4 * np.std(z**2) / np.sqrt(len(z))


def test_two_effects_of_a_group_are_integrated_given_its_other_rows():
    """Against sums over a grid of both effects."""
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"g": np.repeat(np.arange(6), 4), "x": rng.normal(size=24)})
    table["y"] = rng.integers(0, 2, 24)
    model = pp.Model("y ~ 1 + (x | g)", table, PRIORS, family="binomial")
    values = model.fit(seed=1, draws=5).population
    rows = np.array([1, 9, 23])
    _, log, _ = left_out_rows.given_others(model, integrated_values(model, values), rows, 0)
    z = np.linspace(-7, 7, 81)
    one, two = np.meshgrid(z, z)
    for s in range(0, 20, 5):
        cor = values["cor(1,x|g)"][s]
        a = values["1|g_sigma"][s] * one
        b = values["x|g_sigma"][s] * (cor * one + np.sqrt(1 - cor**2) * two)
        for i, row in enumerate(rows):
            weight, own = np.exp(-0.5 * (one**2 + two**2)), 0.0
            for k in np.flatnonzero(table["g"] == table.at[row, "g"]):
                eta = values["Intercept"][s] + a + b * table.at[k, "x"]
                p = expit(eta if table.at[k, "y"] else -eta)
                if k == row:
                    own = p
                else:
                    weight = weight * p
            assert log[s, i] == pytest.approx(np.log((weight * own).sum() / weight.sum()), abs=1e-5)


@FAMILIES
def test_a_row_left_out_by_weights_is_one_left_out_for_real(family):
    """By fits without it from other seeds, to four Monte Carlo errors; no Pareto k is high."""
    found = leave_one_out.leave_out(fit_of(family))
    assert float(found.elpd.pareto_k.max()) < found.elpd.good_k
    assert found.refitted == 0
    values = fit_of(family).thinned(1000).population
    row = dict(zip(FORMULAS, (0, 4, 17, 23), strict=True))[family]
    others = without(family, np.arange(len(TABLE)) == row, 50 + row).population
    expected, error = expectation(of_row(family, row, others))
    _, other = expectation(-of_row(family, row, values))
    assert np.hypot(error, other) < 0.1
    assert abs(found.elpd.elpd_i[row] - expected) < 4 * np.hypot(error, other)


def test_binary_rows_are_predicted_with_the_probability_of_their_density():
    """Mean, spread and probability below of 0/1 rows follow from the density."""
    table = TABLE.assign(hit=(TABLE["hits"] > 0).astype(int))
    fit = pp.Model("hit ~ x + (1 | g)", table, PRIORS, family="binomial").fit(seed=2)
    found, y = leave_one_out.leave_out(fit), table["hit"].to_numpy()
    density = np.exp(np.asarray(found.elpd.elpd_i))
    p = np.where(y == 1, density, 1 - density)
    # one draw of the effect a draw of the rest: its sd is below 0.3 of a probability
    np.testing.assert_allclose(found.mean, p, atol=4 * 0.3 / np.sqrt(1000))
    np.testing.assert_allclose(found.sd**2, found.mean * (1 - found.mean), atol=1e-12)
    low = np.where(y == 1, 1 - found.mean, 0.0)
    assert (found.pit >= low - 1e-9).all()
    assert (found.pit <= low + np.where(y == 1, found.mean, 1 - found.mean) + 1e-9).all()


@pytest.fixture(scope="module")
def pairs():
    """Groups of one to three answers that differ much, as in Guatemala's families."""
    rng = np.random.default_rng(9)
    codes = np.repeat(np.arange(120), rng.integers(1, 4, 120))
    table = pd.DataFrame({"g": codes, "x": rng.normal(size=len(codes))})
    p = expit(table["x"] + 2.5 * rng.normal(size=120)[codes])
    table["y"] = rng.binomial(1, p)
    return pp.Model("y ~ x + (1 | g)", table, family="binomial").fit(seed=1)


def test_small_groups_of_answers_can_be_weighed(pairs, monkeypatch):
    found = leave_one_out.leave_out(pairs)
    assert float(found.elpd.pareto_k.max()) < found.elpd.good_k
    monkeypatch.setattr(leave_one_out, "_certified", lambda _: False)
    conditional = leave_one_out.leave_out(pairs)
    assert (conditional.elpd.pareto_k > conditional.elpd.good_k).sum() > 10
    assert conditional.elpd.elpd > found.elpd.elpd + 5  # what it tells is too good


def test_rows_of_the_largest_groups_are_weighed_given_effects_where_products_are_many(monkeypatch):
    fit, every = fit_of("negbinomial"), np.arange(len(TABLE))
    thin = fit.thinned(leave_one_out.DRAWS)
    _, free = leave_one_out._told(thin, every, 0)
    nodes = fit.model.integrated.posterior.integral.nodes
    sizes = np.array([1, 2, 2, 3, 3, 4, 4, 5])
    each = (nodes * sizes)[fit.model.design.only.codes]
    monkeypatch.setattr(left_out_rows, "MOST_PRODUCTS", 1000 * each.sum() // 2)
    taken = left_out_rows.affordable(fit.model, every, 1000)
    assert 0 < taken.sum() < len(TABLE)
    assert each[taken].max() <= each[~taken].min()
    told, log = leave_one_out._told(thin, every, 0)
    np.testing.assert_allclose(log[:, taken], free[:, taken], atol=1e-5)
    np.testing.assert_array_equal(log[:, ~taken], told.log_density()[:, ~taken])


def test_rows_of_high_pareto_k_are_left_out_for_real(monkeypatch):
    """A limit that nothing meets but for two rows: their figures are those of fits without them."""
    fit, psis = fit_of("cumulative"), leave_one_out.psis
    before = leave_one_out.leave_out(fit)
    k = np.asarray(before.elpd.pareto_k)

    def strict(tree):
        elpd = psis(tree)
        elpd.good_k = np.sort(k)[-3:-1].mean()
        return elpd

    monkeypatch.setattr(leave_one_out, "psis", strict)
    found = leave_one_out.leave_out(fit)
    assert found.refitted == 2
    for row in np.argsort(k)[-2:]:
        others = without("cumulative", np.arange(len(TABLE)) == row, 90).population
        expected, error = expectation(of_row("cumulative", row, others))
        # the refit weighs densities at effects, which spread more than their integrals
        assert abs(found.elpd.elpd_i[row] - expected) < 4 * error + 0.05
        assert abs(found.mean[row] - before.mean[row]) < 0.1


@FAMILIES
def test_a_group_left_out_by_weights_is_one_left_out_for_real(family):
    found = leave_group_out.leave_groups_out(fit_of(family))
    assert (np.asarray(found.elpd.pareto_k) <= found.elpd.good_k).all()
    values = fit_of(family).thinned(1000).population
    code = dict(zip(FORMULAS, (0, 3, 5, 7), strict=True))[family]
    mine = TABLE["g"] == "abcdefgh"[code]
    others = without(family, mine, 30 + code).population
    expected, error = expectation(of_rows(family, TABLE[mine], others))
    _, other = expectation(-of_rows(family, TABLE[mine], values))
    assert np.hypot(error, other) < 0.2
    assert abs(found.elpd.elpd_i[code] - expected) < 4 * np.hypot(error, other)
    codes = fit_of(family).model.design.only.codes
    real = leave_group_out.log_density_without(fit_of(family), codes, code, seed=8)
    assert abs(real - expected) < 5 * error


def test_draws_of_nuts_leave_groups_out_as_well():
    """Draws that a sampler might have made, here those of the certified fit."""
    fit = fit_of("binomial")
    tree = fit.posterior.copy()
    tree.attrs = fit.posterior.attrs | {"method": "nutpie", "route": "PyMC, noncentered"}
    found = leave_group_out.leave_groups_out(Fitted(fit.model, tree))
    same = leave_group_out.leave_groups_out(fit)
    np.testing.assert_allclose(found.elpd.elpd_i, same.elpd.elpd_i)


def test_models_with_and_without_groups_are_held_against_the_same_groups():
    fit = fit_of("poisson")
    others = {"no groups": "count ~ x + offset(log(exposure))"}
    fits = alternatives.fit_all(fit, alternatives.regressions(fit.model, others, PRIORS))
    compared = alternatives.Compared.of(fits)
    values = fits["no groups"].thinned(4000).population
    for code, level in enumerate("abcdefgh"):
        mine = TABLE[TABLE["g"] == level]
        rate = np.exp(
            values["Intercept"][:, None]
            + values["x"][:, None] * mine["x"].to_numpy()
            + np.log(mine["exposure"].to_numpy())
        )
        log = stats.poisson(rate).logpmf(mine["count"].to_numpy()).sum(1)
        weighed, error = expectation(-log)
        assert abs(compared.groups["no groups"].elpd.elpd_i[code] + weighed) < 4 * error + 1e-3
    said = compared.predictive().sentence
    assert "Leaving out all rows of each g (8 groups) in turn" in said
    assert "cannot be left out" not in said


def test_what_does_not_integrate_out_is_said():
    model = pp.Model("count ~ x + (x + I(x**2) | g)", TABLE, family="poisson")
    fit = Fitted(model, fit_of("poisson").posterior)
    with pytest.raises(ValueError, match="one grouping factor with 2 varying coefficients at most"):
        leave_group_out.leave_groups_out(fit)


def test_a_row_that_is_a_group_is_left_out_as_either():
    """Nothing is left of its group; 1,000 and 4,000 of the same draws, to four errors."""
    table = TABLE[:12].assign(row=np.arange(12))
    fit = pp.Model("count ~ x + (1 | row)", table, PRIORS, family="poisson").fit(seed=1)
    rows, groups = leave_one_out.leave_out(fit), leave_group_out.leave_groups_out(fit)
    values = fit.thinned(leave_one_out.DRAWS).population
    log = leave_group_out.log_likelihood(fit.model, values, *[table["row"].to_numpy()] * 2)
    for row in range(len(table)):
        _, error = expectation(-log[:, row])
        assert abs(rows.elpd.elpd_i[row] - groups.elpd.elpd_i[row]) < 4 * error


def test_the_only_row_of_an_answer_can_be_left_out_for_real():
    """The threshold below the answer is then told by its prior and its order alone."""
    table = TABLE.assign(answer=np.minimum(TABLE["answer"], 2))
    table.loc[10, "answer"] = 3
    fit = pp.Model("answer ~ x + (1 | g)", table, PRIORS, family="cumulative").fit(seed=1)
    weighed = leave_one_out.leave_out(fit)
    density, below, mean, variance = leave_one_out._refit(fit.model, 10, seed=2)
    assert abs(float(weighed.elpd.elpd_i[10]) - density) < 0.4
    assert below > 0.9
    assert 1 < mean < 2.5
    assert 0 < variance < 1
