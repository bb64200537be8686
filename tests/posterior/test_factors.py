"""What draws of a model with several grouping factors say, against dense normals and quadrature."""

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.legendre import leggauss
from scipy import stats

import partialpool as pp
from partialpool.fit import fitting
from partialpool.fit.exact_fit import with_effects
from partialpool.posterior import (
    checks,
    comparison,
    data_fit,
    draws,
    effects,
    leave_group_out,
    leave_one_out,
    overview,
    predictions,
    sensitivity,
)
from partialpool.posterior.fitted import Fitted
from partialpool.posterior.varying import estimable

#: Points of the quadrature for each scale, and draws.
POINTS, S = 14, 2000
PRIORS = {"Intercept": "Normal(0, 2)", "x": "Normal(0, 1)", "sd": "HalfNormal(1)"}


def covariances(design, theta):
    """Of the rows at theta (T, 3), sigma and two standard deviations: (T, N, N)."""
    same = [g.codes[:, None] == g.codes for g in design.groupings]
    noise = theta[:, 0, None, None] ** 2 * np.eye(len(design.y))
    return noise + sum(theta[:, 1 + f, None, None] ** 2 * one for f, one in enumerate(same))


def quadrature(model, keep):
    """Log of prior times likelihood times weight (T,) on a grid of theta, of some rows."""
    design = model.design
    nodes, weights = leggauss(POINTS)
    grid = np.stack(np.meshgrid(*[nodes] * 3, indexing="ij"), -1).reshape(-1, 3)
    theta = np.exp(-2.2 + 1.9 * (1 + grid))  # from 0.11 to 5
    log_w = np.log(np.prod(np.meshgrid(*[weights] * 3, indexing="ij"), 0)).reshape(-1)
    log_w = log_w + np.log(theta).sum(1)
    for name, values in zip(["sigma", *design.sd_names], theta.T, strict=True):
        log_w += model.priors[name].logpdf(values)
    mean, sd = np.array([model.priors[name].arguments for name in design.x_names]).T
    X, y = design.X[keep], design.y[keep]
    V = covariances(design, theta)[:, keep][:, :, keep] + (X * sd**2) @ X.T
    r = y - X @ mean
    square = (r * np.linalg.solve(V, np.broadcast_to(r[:, None], (*V.shape[:2], 1)))[..., 0]).sum(1)
    log_w += -0.5 * (square + np.linalg.slogdet(V)[1] + len(y) * np.log(2 * np.pi))
    return theta, log_w


@pytest.fixture(scope="module")
def grid():
    """Rows of two crossed factors, and draws from the posterior on the grid, effects left out."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"a": np.repeat(list("abcdef"), 5), "b": np.tile(list("pqrst"), 6)})
    table["x"] = rng.normal(size=30)
    line = 1 + 0.5 * table["x"] + rng.normal(0, 1.5, 6)[table["a"].factorize()[0]]
    line += rng.normal(0, 0.6, 5)[table["b"].factorize()[0]]
    table["y"] = line + 0.7 * rng.normal(size=30)
    model = pp.Model("y ~ x + (1 | a) + (1 | b)", table, PRIORS | {"sigma": "HalfNormal(1)"})
    theta, log_w = quadrature(model, np.arange(30))
    weights = np.exp(log_w - np.logaddexp.reduce(log_w))
    theta, design = theta[rng.choice(len(theta), S, p=weights)], model.design
    mean, sd = np.array([model.priors[name].arguments for name in design.x_names]).T
    inverse = np.linalg.inv(covariances(design, theta))
    precision = design.X.T @ inverse @ design.X + np.diag(sd**-2)
    right = design.X.T @ inverse @ design.y + mean / sd**2
    centre = np.linalg.solve(precision, right[..., None])
    root = np.linalg.cholesky(np.linalg.inv(precision))
    beta = (centre + root @ rng.standard_normal((S, 2, 1)))[..., 0]
    values = dict(zip(["sigma", *design.sd_names], theta.T, strict=True))
    values |= dict(zip(design.x_names, beta.T, strict=True))
    values = {name: value.reshape(4, -1) for name, value in values.items()}
    attrs = {"seed": 1, "method": "nutpie", "route": "quadrature", "fit_seconds": 0.0}
    tree = fitting._tree(model, values, {}, attrs)
    return Fitted(model, tree)


def test_effects_that_a_fit_left_out_are_drawn_when_asked_for(grid):
    assert grid.attrs["group_effects"] == "draws of a, b left out"
    assert not {"1|a", "1|b"} & set(grid.dataset)
    values = grid.values
    assert values["1|a"].shape == (S, 6)
    assert values["1|b"].shape == (S, 5)
    some = grid.with_effects_of([np.array([1, 4]), np.array([0])])
    shown = some["posterior"].to_dataset()
    assert list(shown["a"].to_numpy()) == ["b", "e"]
    drawn = shown["1|a"].to_numpy().reshape(S, 2)
    np.testing.assert_array_equal(drawn, values["1|a"][:, [1, 4]])
    # given theta and beta the rows' mean residual is the noise's: none, within Monte Carlo error
    left = grid.model.design.y - draws.line(grid.model.design, values, np.arange(30))
    assert abs(left.mean()) < 0.02


def test_every_group_that_is_checked_has_a_row(grid):
    """All eleven effects beside five parameters."""
    verdict = checks.check(grid)
    assert set(verdict.summary.index) == {
        *grid.model.parameters,
        *(f"1|a[{level}]" for level in "abcdef"),
        *(f"1|b[{level}]" for level in "pqrst"),
    }


def test_rows_left_out_are_predicted_as_a_fit_without_them_predicts(grid, monkeypatch):
    """Against the ratio of evidences with and without a row, by quadrature on the same grid.

    Over 1,000 draws the density of a row varies by less than its mean, so that the log of its
    average has an error of 1/√1000 at most, and is within twice that; within four in the row that
    is predicted worst, where it varies most. Then exact fits, with and without the row.
    """
    monkeypatch.setattr(leave_one_out, "MAX_REFITS", -1)
    model, error = grid.model, 2 / np.sqrt(1000)
    found = leave_one_out.leave_out(grid)
    assert found.refitted == 0
    whole = np.logaddexp.reduce(quadrature(model, np.arange(30))[1])
    worst = int(np.argmin(found.elpd.elpd_i.to_numpy()))
    for row in {0, 7, 19, worst}:
        without = quadrature(model, np.delete(np.arange(30), row))[1]
        expected = whole - np.logaddexp.reduce(without)
        limit = (2 if row == worst else 1) * error
        assert float(found.elpd.elpd_i[row]) == pytest.approx(expected, abs=limit)
    found = leave_one_out.leave_out(Fitted.of(model, seed=1))
    for row in (0, 7, 19):
        log_density, pit, mean, variance = leave_one_out._refit(model, row, 1)
        assert float(found.elpd.elpd_i[row]) == pytest.approx(log_density, abs=error)
        assert found.pit[row] == pytest.approx(pit, abs=error)
        assert found.mean[row] == pytest.approx(mean, abs=error * np.sqrt(variance))
        assert found.sd[row] == pytest.approx(np.sqrt(variance), rel=error)


def test_levels_left_out_with_all_their_rows(grid):
    """Of either factor, against dense conditional normals, then evidences by quadrature.

    What PSIS says has the error of a mean of 1 / w over 1,000 draws, as for one factor.
    """
    model, design = grid.model, grid.model.design
    thin = grid.thinned(leave_one_out.DRAWS)
    whole = np.logaddexp.reduce(quadrature(model, np.arange(30))[1])
    for grouping in design.groupings:
        codes, groups = grouping.codes, np.arange(grouping.n_levels)
        log = leave_group_out.log_likelihood(model, thin.population, codes, groups)
        values = {name: value[::250] for name, value in thin.population.items()}
        theta = np.stack([values[name] for name in ("sigma", *design.sd_names)], 1)
        for s, V in enumerate(covariances(design, theta)):
            r = design.y - design.X @ [values[name][s] for name in design.x_names]
            for j in groups:
                out, rest = codes == j, codes != j
                gain = np.linalg.solve(V[np.ix_(rest, rest)], V[np.ix_(rest, out)]).T
                given = V[np.ix_(out, out)] - gain @ V[np.ix_(rest, out)]
                expected = stats.multivariate_normal(gain @ r[rest], given).logpdf(r[out])
                assert log[250 * s, j] == pytest.approx(expected, rel=1e-9)
        found = leave_group_out.leave_groups_out(grid, codes)
        assert found.of == grouping.n_levels
        for j in groups:
            expected = whole - np.logaddexp.reduce(quadrature(model, codes != j)[1])
            w = np.exp(log[:, j].min() - log[:, j])
            error = 4 * w.std() / w.mean() / np.sqrt(len(w))
            assert float(found.elpd.elpd_i[j]) == pytest.approx(expected, abs=max(error, 0.1))


def test_likelihood_that_is_scaled_is_that_of_the_dense_normal(grid):
    log = sensitivity._log_likelihood(grid.thinned(20))
    design, values = grid.model.design, grid.thinned(20).population
    theta = np.stack([values[name] for name in ("sigma", *design.sd_names)], 1)
    for s, V in enumerate(covariances(design, theta)):
        mean = design.X @ [values[name][s] for name in design.x_names]
        expected = stats.multivariate_normal(mean, V).logpdf(design.y)
        assert log[s] == pytest.approx(expected, rel=1e-9)
    table = sensitivity.power_scaling(grid)
    assert list(table.index) == grid.model.parameters


def test_known_and_new_levels_are_said_factor_by_factor(grid):
    rows = pd.DataFrame({"x": 0.5, "a": ["a", "a", "new", "new"], "b": ["p", "new", "p", "other"]})
    values, sd = grid.values, {n: grid.population[f"1|{n}_sigma"] for n in "ab"}
    lines = predictions.line(grid, rows, unseen="population", seed=1)
    expected = values["Intercept"] + 0.5 * values["x"] + values["1|a"][:, 0] + values["1|b"][:, 0]
    np.testing.assert_allclose(lines[:, 0], expected)
    same_b = {"b": "population"}
    np.testing.assert_allclose(predictions.line(grid, rows[:2], unseen=same_b)[:, 0], expected)
    # a new level adds the variance of its factor
    for column, base, name in ((1, values["1|a"][:, 0], "b"), (2, values["1|b"][:, 0], "a")):
        new = lines[:, column] - values["Intercept"] - 0.5 * values["x"] - base
        z = new / sd[name]
        assert stats.kstest(z, "norm").pvalue > 1e-3
    with pytest.raises(ValueError, match="The level 'new' of a was not in the data"):
        predictions.line(grid, rows, unseen={"b": "population"})
    with pytest.raises(ValueError, match="The level 'new' of b was not in the data"):
        predictions.line(grid, rows, unseen={"a": "population"})
    with pytest.raises(ValueError, match="there is no factor 'c'; choose from a, b"):
        predictions.line(grid, rows, unseen={"c": "population"})
    with pytest.raises(ValueError, match="choose from refuse, population, not 'never'"):
        predictions.line(grid, rows, unseen={"a": "never"})


def test_rows_to_predict_are_new_in_each_factor_alone_and_in_all(grid):
    rows = predictions.chosen_rows(grid.model)
    assert list(rows.columns) == ["a", "b", "x"]
    kinds = {(a == "new", b == "new") for a, b in zip(rows["a"], rows["b"], strict=True)}
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}
    found = predictions.predict(grid, rows, unseen="population")
    assert found["sd"].iloc[-1] > found["sd"].iloc[0]


def test_figures_of_replications_are_those_of_each_factor(grid):
    design, rows = grid.model.design, np.arange(30)
    found = predictions.statistics(grid.model, rows)
    assert [n for n in found if "group" in n] == [
        "sd of group means of a",
        "largest sd within a group of a",
        "sd of group means of b",
        "largest sd within a group of b",
    ]
    y = pd.Series(design.y).groupby(grid.model.table["b"])
    value = found["sd of group means of b"](design.y[None])[0]
    assert value == pytest.approx(y.mean().std(ddof=0))
    assert found["largest sd within a group of b"](design.y[None])[0] == pytest.approx(
        y.std().max()
    )
    replicated = predictions.replicate(grid, rows, np.random.default_rng(1))
    shares = data_fit.figures(replicated, grid.model, rows)["above"]
    assert set(shares.index) == set(found)
    assert shares.between(0.001, 0.999).all()
    prior = predictions.replicate_prior(grid.model, rows, np.random.default_rng(1))
    # Var(y) = 4 + x² + 1 + 1 + 1 under standard priors; 200 data sets of 30 rows that share much
    assert prior.var() == pytest.approx(7 + np.mean(design.X[:, 1] ** 2), rel=0.25)


def test_variance_is_shared_among_the_factors(grid):
    found = effects.variance_explained(grid, np.arange(30))
    values = grid.thinned(1000).values
    left = ((grid.model.design.y - draws.line(grid.model.design, values, np.arange(30))) ** 2).mean(
        1
    )
    parts = {n: values[f"1|{n}_sigma"] ** 2 for n in "ab"}
    for name, part in parts.items():
        share = part / (sum(parts.values()) + left)
        row = found.table.loc[f"share of the remaining variance by {name}"]
        assert row["mean"] == pytest.approx(share.mean())
    sure = (parts["a"] >= parts["b"]).mean()
    assert f"**a** has the largest part with probability {100 * sure:.0f} %" in found.sentence


def test_groups_of_each_factor_are_looked_at(grid):
    left_out = leave_one_out.leave_out(grid)
    found = {check["name"]: check for check in data_fit.residual_checks(grid.model, left_out)}
    assert {"Noise by a", "Noise by b"} <= found.keys()
    row = int(np.abs(left_out.residuals(grid.model.design.y)).argmax())
    a, b = grid.model.table[["a", "b"]].iloc[row]
    assert f"row {row + 1} (a {a}, b {b})" in found["Farthest row"]["help"]


def test_a_model_of_several_factors_is_described_factor_by_factor(grid):
    equations = overview.equations(grid.model).sentence
    assert r"\mathbf{b}_{2,j} &\sim \text{Normal}(\mathbf{0}, \Sigma_2)" in equations
    assert "every `a` deviates from it in intercept" in equations
    assert "30 rows in 6 groups of a and 5 groups of b" in overview.priors(grid.model).sentence
    roles = overview.columns(grid.model).table["role"]
    assert roles["a"] == roles["b"] == "group"


def test_no_pooling_is_of_one_factor_and_leaves_the_others_pooled(grid):
    """With b's sd next to zero, the groups of a on their own have the means of their rows."""
    model = pp.Model("y ~ 1 + (1 | a) + (1 | b)", grid.model.table)
    fitted = drawn_alone(model, 1e-6)["none:a"]
    assert fitted.model.design.x_names == ()
    assert fitted.model.parameters == ["1|a_sigma", "1|b_sigma", "sigma"]
    a = fitted.model.design.groupings[0]
    assert estimable(fitted, a, 0).all()
    own = fitted.values["1|a"]
    error = 0.7 / np.sqrt(5)
    means = model.table.groupby("a")["y"].mean()
    np.testing.assert_allclose(own.mean(0), means, atol=4 * error / np.sqrt(S))
    np.testing.assert_allclose(own.std(0), error, rtol=4 / np.sqrt(2 * S))


def drawn_alone(model, sd):
    """No pooling of each factor, by the key of `Fitted.ways`; the other's sd is given."""
    ways = {}
    for grouping in model.design.groupings:
        alone = model.unpooled(grouping)
        values = {"sigma": np.full((4, S // 4), 0.7)}
        for name in model.design.sd_names:
            prior = alone.priors[name]
            values[name] = np.full((4, S // 4), prior.arguments[0] if prior.fixed else sd)
        tree = fitting._tree(alone, with_effects(alone, values, 1), {}, {"seed": 1})
        ways[f"none:{grouping.name}"] = Fitted(alone, tree)
    return ways


def test_ways_to_pool_name_the_factor(grid, monkeypatch):
    model = pp.Model("y ~ 1 + (1 | a) + (1 | b)", grid.model.table)
    with monkeypatch.context() as patch:
        patch.setattr(Fitted, "of", classmethod(lambda cls, model, **options: model))
        ways = Fitted(model, grid.posterior).ways
    assert list(ways) == ["complete", "none:a", "none:b", "partial"]
    for name, other in (("a", "b"), ("b", "a")):
        priors = ways[f"none:{name}"].priors
        assert priors[f"1|{name}_sigma"].fixed
        assert priors[f"1|{other}_sigma"] == model.priors[f"1|{other}_sigma"]
    pooled = Fitted(model.pooled(), grid.posterior)
    given = {"complete": pooled} | drawn_alone(model, 1e-3)
    table = comparison.coefficients(given | {"partial": Fitted(model, grid.posterior)}).table
    names = ["complete pooling", "no pooling of a", "no pooling of b", "partial pooling"]
    assert [name for name, _ in table.columns][::2] == names
    for name in "ab":
        means = model.table.groupby(name)["y"].mean()
        shown = table.loc["Intercept", f"no pooling of {name}"]
        np.testing.assert_allclose(shown, [means.mean(), means.std(ddof=0)], atol=0.03)


def test_a_fit_predicts_new_groups_of_the_factor_that_is_named():
    table = pp.load("Penicillin")
    fit = pp.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", table).fit(draws=100, seed=1)
    rows = table.iloc[[0]].assign(plate="new")
    found = fit.predict(rows, unseen={"plate": "population"})
    assert found["sd"].iloc[0] > fit.predict(table.iloc[[0]])["sd"].iloc[0]
    with pytest.raises(ValueError, match="The level 'new' of plate was not in the data"):
        fit.predict(rows, unseen={"sample": "population"})
