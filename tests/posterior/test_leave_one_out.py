"""Leave-one-out prediction against its closed form, and the rule that reads the differences."""

import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import partialpool as pp
from partialpool.posterior import leave_one_out


@pytest.fixture(scope="module")
def closed():
    """A mean under a wide prior, noise of known standard errors and of sigma 3 beside them."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"error": rng.uniform(1, 6, 40)})
    noise = np.hypot(table["error"], 3)
    table["y"] = 50 + noise * rng.standard_normal(40)
    priors = {"Intercept": "Normal(0, 1e4)", "sigma": "Fixed(3)"}
    fit = pp.Model("y ~ 1", table, priors, se="error").fit(draws=10_000, seed=1)
    # normal theory: a row is N(weighted mean of the others, its noise² + 1 / their precisions)
    w = 1 / noise.to_numpy() ** 2
    y = table["y"].to_numpy()
    mean = ((w * y).sum() - w * y) / (w.sum() - w)
    return fit, stats.norm(mean, np.sqrt(1 / w + 1 / (w.sum() - w)))


def test_rows_are_predicted_as_normal_theory_says(closed):
    """Within the error of 1,000 draws: 1/√1000 posterior standard deviations of the mean."""
    fit, row = closed
    found = leave_one_out.leave_out(fit)
    y, error = fit.model.design.y, 4 / np.sqrt(1000)
    about = 1 / np.sqrt((1 / np.hypot(fit.model.table["error"], 3) ** 2).sum())
    np.testing.assert_allclose(found.mean, row.mean(), atol=2 * error * about)
    np.testing.assert_allclose(found.sd, row.std(), rtol=error / 4)
    np.testing.assert_allclose(found.pit, row.cdf(y), atol=error * 0.4 * about / row.std().min())
    np.testing.assert_allclose(found.residuals(y), (y - row.mean()) / row.std(), atol=error / 2)
    assert (found.of, found.lost, found.refitted) == (40, 0, 0)


def test_the_standard_error_of_the_sum_grows_with_the_root_of_the_rows(closed):
    """Vehtari, Gelman & Gabry (2017), eq. (23): √n times the standard deviation of the terms."""
    fit, row = closed
    elpd, terms = leave_one_out.leave_out(fit).elpd, row.logpdf(fit.model.design.y)
    assert elpd.elpd == pytest.approx(terms.sum(), rel=0.005)
    assert elpd.se == pytest.approx(np.sqrt(40 * np.mean((terms - terms.mean()) ** 2)), rel=0.05)


def test_the_estimate_is_that_of_arviz(closed):
    """`arviz_stats.loo` of the same densities, row by row; its standard error divides by n - 1."""
    tree = (
        closed[0]
        .thinned(1000)
        .with_densities(
            log_likelihood=stats.norm(50, 5).logpdf(
                closed[0].model.design.y + np.random.default_rng(2).standard_normal((1000, 40))
            )
        )
    )
    ours, theirs = leave_one_out.psis(tree), arviz_stats.loo(tree, pointwise=True)
    for name in ("elpd_i", "pareto_k", "log_weights"):
        xr.testing.assert_allclose(ours[name], theirs[name].transpose(*ours[name].dims))
    assert ours.se == pytest.approx(theirs.se * np.sqrt(39 / 40))
    for name in ("elpd", "p", "n_samples", "n_data_points", "scale", "warning", "good_k"):
        assert ours[name] == pytest.approx(theirs[name]), name


def test_a_difference_below_four_says_nothing_and_above_it_takes_two_errors():
    """The rule of Sivula et al. (2025) and the 95 % of a normal difference."""
    assert leave_one_out.worse(3.9, 0.1).startswith("too close to tell")
    assert leave_one_out.worse(4.1, 2.0).startswith("clearly worse")
    assert leave_one_out.worse(9.9, 5.0).startswith("not clearly worse")
    assert leave_one_out.worse(10.1, 5.0).startswith("clearly worse")


def test_what_no_pooling_cannot_predict_is_no_part_of_the_ranking():
    """Eight schools, one row each: without its row a school knows nothing of its own effect."""
    schools = pp.load("eight_schools")
    fit = pp.Model("est ~ 1 + (1 | school)", schools, se="se").fit(seed=1)
    found = leave_one_out.pooling(fit.ways)
    assert {name: one.lost for name, one in found.items()} == {
        "complete pooling": 0,
        "no pooling": 8,
        "partial pooling": 0,
    }
    shown = leave_one_out.comparison(found)
    assert set(shown.table.index) == {"complete pooling", "partial pooling"}
    assert "group does not tell the group's coefficients (so for 8 of 8 rows)" in (shown.sentence)


def test_differences_and_their_errors_are_those_of_paired_rows(closed):
    """Against the same model with noise twice as wide: differences of the closed forms, by row."""
    fit, row = closed
    wide = {"Intercept": "Normal(0, 1e4)", "sigma": "Fixed(12)"}
    other = pp.Model("y ~ 1", fit.model.table, wide, se="error").fit(draws=10_000, seed=2)
    table = leave_one_out.comparison(
        {"narrow": leave_one_out.leave_out(fit), "wide": leave_one_out.leave_out(other)}
    ).table
    noise = np.hypot(fit.model.table["error"].to_numpy(), 12)
    w, y = 1 / noise**2, fit.model.design.y
    mean = ((w * y).sum() - w * y) / (w.sum() - w)
    theirs = stats.norm(mean, np.sqrt(1 / w + 1 / (w.sum() - w))).logpdf(y)
    gaps = row.logpdf(y) - theirs
    assert list(table.index) == ["narrow", "wide"]
    assert table.at["wide", "elpd_diff"] == pytest.approx(gaps.sum(), rel=0.05)
    assert table.at["wide", "dse"] == pytest.approx(np.sqrt(40 * gaps.var()), rel=0.05)


def test_a_row_left_out_for_real_is_predicted_as_normal_theory_says(closed):
    """Its variance has that of the mean in it, a fortieth here; density to 1/√4000 of its sd."""
    fit, row = closed
    log_density, pit, mean, variance = leave_one_out._refit(fit.model, 5, 1)
    y = fit.model.design.y
    assert variance == pytest.approx(row.var()[5], rel=0.003)
    assert mean == pytest.approx(row.mean()[5], abs=0.08)
    assert log_density == pytest.approx(row.logpdf(y)[5], abs=0.03)
    assert pit == pytest.approx(row.cdf(y)[5], abs=0.01)


def test_a_row_whose_largest_weights_are_alike_is_not_to_be_trusted():
    """As with a chain that is stuck far out: there is no tail, and no end in an error either."""
    rng = np.random.default_rng(1)
    log = -np.abs(rng.normal(size=(3, 4, 250)))
    log[1, 0] = -1e10
    log[2] = -2.0
    density = xr.DataArray(log, dims=("row", "chain", "draw"))
    chains = xr.Dataset({"a": (("chain", "draw"), rng.normal(size=(4, 250)))})
    groups = {"posterior": chains, "log_likelihood": xr.Dataset({"density": density})}
    found = leave_one_out.psis(xr.DataTree.from_dict(groups))
    alone = {**groups, "log_likelihood": xr.Dataset({"density": density[:1]})}
    one = leave_one_out.psis(xr.DataTree.from_dict(alone))
    k = np.asarray(found.pareto_k)
    assert k[0] == pytest.approx(float(one.pareto_k[0]))
    assert (k[1], k[2]) == (np.inf, 0)
    # the harmonic mean of a density that is hardly there in a quarter of the draws
    np.testing.assert_allclose(found.elpd_i, [float(one.elpd_i[0]), np.log(4) - 1e10, -2])
    assert found.warning


def test_what_leaving_out_gives_is_shown_in_a_few_lines(closed):
    """Its arrays were printed, a number for each row."""
    shown = str(leave_one_out.leave_out(closed[0]))
    assert "elpd_loo" in shown
    assert shown.endswith("40 of 40 rows left out in turn, 0 of them by a fit without them.")
