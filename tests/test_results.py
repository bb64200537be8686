"""What is stored of a posterior."""

import json

import numpy as np
import xarray as xr

import partialpool as pp
from partialpool.batch import summary_file


def test_a_large_posterior_is_thinned_and_says_so(tmp_path, monkeypatch):
    model = pp.Model("Yield ~ 1 + (1 | Batch)", pp.load("Dyestuff"))
    posterior = model.fit(seed=1)
    size = sum(group.to_dataset().nbytes for group in posterior.children.values())
    monkeypatch.setattr(summary_file, "MAX_BYTES", size / 3)
    pp.record(posterior, model.check(posterior), tmp_path)
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as stored:
        assert stored.attrs["thinned"] == 3
        assert stored["posterior"].sizes["draw"] == 334
        assert stored["observed_data"].sizes["row"] == 30
        np.testing.assert_array_equal(
            stored["posterior"]["sigma"], posterior["posterior"]["sigma"][:, ::3]
        )
    summary = json.loads((tmp_path / "result.json").read_text())
    whole = float(posterior["posterior"]["sigma"].mean())
    assert summary["parameters"]["sigma"]["mean"] == whole
