"""ArviZ's functions work on what a run stores."""

import warnings

import arviz as az
import matplotlib
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import partialpool as pp
from partialpool.posterior import arviz_groups

matplotlib.use("agg")


@pytest.fixture(scope="module")
def fit():
    return pp.Model("Reaction ~ Days + (Days | Subject)", pp.load("sleepstudy")).fit(seed=1)


@pytest.fixture(scope="module")
def stored(fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pp.record(fit, fit.check(), folder)
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        yield tree.load()


def test_leave_one_out_and_predictive_plots(stored, fit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Pareto k
        found = az.loo(stored)
    assert found.n_data_points == 180
    # ours leaves the same out with group effects integrated, which has fewer large Pareto k
    assert found.elpd == pytest.approx(fit.loo().elpd.elpd, abs=3)
    az.plot_ppc_dist(stored, backend="matplotlib")
    az.plot_ppc_dist(stored, group="prior_predictive", backend="matplotlib")
    assert stored.attrs["seed"] == 1
    np.testing.assert_array_equal(stored["posterior"]["Days"], fit.posterior["posterior"]["Days"])


def test_each_number_is_what_its_name_says(stored, fit):
    draws = fit.posterior["posterior"].isel(chain=2, draw=7)
    table = fit.model.table
    subject = dict(Subject=table["Subject"].astype(str).to_numpy())
    a, b = (draws[name].assign_coords(Subject=draws.Subject.astype(str)).sel(subject).to_numpy()
            for name in ("1|Subject", "Days|Subject"))  # fmt: skip
    mean = float(draws["Intercept"]) + a + (float(draws["Days"]) + b) * table["Days"].to_numpy()
    log = stats.norm(mean, float(draws["sigma"])).logpdf(table["Reaction"])
    kept = stored["log_likelihood"]["Reaction"]
    assert kept.sizes == {"chain": 4, "draw": 1000, "row": 180}
    np.testing.assert_allclose(kept[2, 7], log, rtol=1e-5)
    new = stored["posterior_predictive"]["Reaction"]
    assert new.sizes == {"chain": 4, "draw": 125, "row": 180}
    assert list(new["draw"][:3]) == [0, 8, 16]
    assert stored["posterior_predictive"].attrs == {"rows": "180 of 180", "thinned": 8}
    # 500 draws: the mean of all new rows has the mean of the data within its error
    error = float(new.mean("row").std() / np.sqrt(500))
    assert abs(float(new.mean()) - table["Reaction"].mean()) < 4 * error
    prior = stored["prior"].to_dataset()
    assert prior["1|Subject"].sizes == {"chain": 1, "draw": 200, "Subject": 18}
    sd = fit.model.priors["sigma"]
    assert stats.kstest(prior["sigma"].to_numpy()[0], lambda x: _cdf(sd, x)).pvalue > 1e-3


def _cdf(prior, x):
    sample = np.sort(prior.sample(np.random.default_rng(0), 100_000))
    return np.searchsorted(sample, x) / len(sample)


def test_sizes_are_bounded_and_said(fit, monkeypatch):
    monkeypatch.setattr(arviz_groups, "ROWS", 50)
    monkeypatch.setattr(arviz_groups, "NUMBERS", 50_000)
    found = arviz_groups.groups(fit)
    assert found["log_likelihood"]["Reaction"].sizes == {"chain": 4, "draw": 250, "row": 50}
    monkeypatch.setattr(arviz_groups, "NUMBERS", 3000)
    few = arviz_groups.groups(fit)["prior"]
    assert "Days" in few
    assert "1|Subject" in found["prior"]
    assert "1|Subject" not in few  # 200 draws of 18 groups
    assert found["log_likelihood"].attrs == {"rows": "50 of 180", "thinned": 4}
    assert len(set(found["log_likelihood"]["row"].to_numpy())) == 50
    assert {group["Reaction"].dtype for name, group in found.items() if name != "prior"} == {
        np.dtype("float32")
    }


def test_a_flat_prior_has_no_draws(fit):
    flat = pp.Model(fit.model.formula, fit.model.table, {"Intercept": "Flat()"}).fit(draws=50)
    assert arviz_groups.groups(flat).keys() == {"log_likelihood", "posterior_predictive"}
