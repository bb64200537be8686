"""What is stored of a posterior."""

import json

import numpy as np
import pytest
import xarray as xr

import partialpool as pp
from partialpool.batch import summary_file


def test_a_large_posterior_is_thinned_and_says_so(tmp_path, monkeypatch):
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    fit = model.fit(seed=1)
    posterior = fit.posterior
    size = sum(group.to_dataset().nbytes for group in posterior.children.values())
    monkeypatch.setattr(summary_file, "MAX_BYTES", size / 3)
    pp.record(fit, fit.check(), tmp_path)
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as stored:
        assert stored.attrs["thinned"] == 3
        assert stored["posterior"].sizes["draw"] == 334
        assert stored["observed_data"].sizes["row"] == 30
        np.testing.assert_array_equal(
            stored["posterior"]["sigma"], posterior["posterior"]["sigma"][:, ::3]
        )
    summary = json.loads((tmp_path / "result.json").read_text())
    whole = float(posterior["posterior"]["sigma"].mean())
    assert summary["parameters"]["sigma"]["mean"] == pytest.approx(whole, rel=1e-12)


def test_a_fit_and_its_posterior_leave_the_same(tmp_path):
    fit = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff")).fit(seed=1, draws=50)
    verdict = fit.check()
    pp.record(fit, verdict, tmp_path / "fit", headline="So it is.")
    pp.record(fit.posterior, verdict, tmp_path / "posterior", headline="So it is.")
    pp.record(fit, {"status": verdict.status, "checks": verdict.checks}, tmp_path / "plain")
    left, right, plain = (
        json.loads((tmp_path / name / "result.json").read_text())
        for name in ("fit", "posterior", "plain")
    )
    assert left == right | {"names": left["names"]}
    assert right["names"] == {}
    assert left["names"]["1|Batch_sigma"] == "sd of the intercept between batches"
    assert left["fit"]["status"] == "good"
    # the figures of the verdict are the posterior's, up to the order in which they were summed
    figures = [result.pop("parameters") for result in (plain, left)]
    assert plain == left | {"headline": None, "fit": None}
    assert figures[0].keys() == figures[1].keys()
    for name, row in figures[0].items():
        assert row == pytest.approx(figures[1][name], rel=1e-9)
    assert left["log_evidence"] == fit.attrs["log_evidence"]
    with xr.open_datatree(tmp_path / "fit" / "posterior.nc", engine="h5netcdf") as stored:
        assert stored["posterior"].sizes["draw"] == 50
