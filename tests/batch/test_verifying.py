"""`make verify`: identical, within Monte Carlo error, or different; and the exit status."""

import json

import nbformat
import numpy as np
import pytest
import xarray as xr

from partialpool.batch import differences, execute, study_file, summary_file, verification


def figures(**means):
    return {
        "status": "passed",
        "parameters": {k: {"mean": v, "mcse_mean": 0.1} for k, v in means.items()},
    }


@pytest.mark.parametrize(
    ("means", "same", "worst", "name"),
    [
        ({"a": 1.0, "b": 2.0}, True, 0, "status"),
        ({"a": 1.0, "b": 2.3}, False, 0.3 / np.hypot(0.1, 0.1), "b"),
        ({"a": 1.0}, False, np.inf, "names of parameters"),
    ],
)
def test_distances_are_in_units_of_monte_carlo_error(tmp_path, means, same, worst, name):
    found = differences.compare(figures(a=1.0, b=2.0), figures(**means), tmp_path, tmp_path)
    assert (found.same, found.name) == (same, name)
    assert found.worst == pytest.approx(worst)


def test_one_draw_that_differs_is_seen(tmp_path):
    for place, value in (("one", 0.0), ("other", 1e-15)):
        draws = xr.Dataset({"a": (("chain", "draw"), np.full((2, 3), value))})
        (tmp_path / place).mkdir()
        xr.DataTree.from_dict({"posterior": draws}).to_netcdf(tmp_path / place / "posterior.nc")
    summary = figures(a=0.0)
    one, other = tmp_path / "one", tmp_path / "other"
    assert differences.compare(summary, summary, one, one).same
    assert not differences.compare(summary, summary, one, other).same
    assert not differences.compare(summary, summary, one, tmp_path).same


def test_a_run_of_many_fits_is_compared_but_for_its_times(tmp_path):
    for place, mean, seconds in (("one", 0.0, 1.0), ("slower", 0.0, 2.0), ("other", 1e-15, 1.0)):
        table = xr.Dataset({"mean": ("data_set", [mean]), "seconds": ("data_set", [seconds])})
        (tmp_path / place).mkdir()
        xr.DataTree.from_dict({"calibration": table}).to_netcdf(tmp_path / place / "posterior.nc")
    summary = figures(a=0.0)
    one, slower, other = (tmp_path / name for name in ("one", "slower", "other"))
    assert differences.compare(summary, summary, one, slower).same
    assert not differences.compare(summary, summary, one, other).same


def test_chance_explains_more_when_more_is_compared():
    few, many = (differences.Comparison(False, 0, "", n).limit for n in (1, 1000))
    assert 3.2 < few < 3.4 < many < 5.1


def test_verify_says_which_and_why(project, monkeypatch, capsys):
    def papermill(run, target, place, *_):
        nbformat.write(nbformat.read(run.notebook, as_version=4), target)
        found = {"Intercept": {"mean": float(run.seed), "mcse_mean": 0.1}}
        summary_file.record(None, {"status": "passed", "checks": []}, place, parameters=found)

    monkeypatch.setattr(execute, "_papermill", papermill)
    project.study("s", "notebook: quick\nseeds: [0, 1, 2, 3]")
    runs = study_file.plan(project.root, study_file.find(project.root))
    for run in runs[:3]:
        execute.execute(run)
    for run in runs[1:3]:
        path = run.folder / "summary.json"
        summary = json.loads(path.read_text())
        summary["parameters"]["Intercept"]["mean"] += 0.01
        if run is runs[1]:
            summary["provenance"]["packages"]["numpy"] = "0.1"
        path.write_text(json.dumps(summary))
    assert verification.verify(project.root) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["identical", "s/seed-0"],
        ["agrees", "s/seed-1"],
        ["different", "s/seed-2"],
        ["missing", "s/seed-3"],
    ]
    assert "changed since: numpy" in lines[1]
    assert "0.071 Monte Carlo errors (Intercept), though" in lines[2]
    assert "has no finished result; make report STUDY=s makes one" in lines[3]
    assert lines[4] == "2 of 4 runs reproduced."
    project.study("s", "notebook: quick\nseeds: [0]")
    assert verification.verify(project.root, ["s"]) == 0
