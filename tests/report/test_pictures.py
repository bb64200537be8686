"""What `make pictures` takes is there to be taken, and README shows what it made."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from partialpool.batch import study_file
from partialpool.simulation import figures

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "workflow" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs():
    return {run.label: run for run in study_file.plan(ROOT, study_file.find(ROOT))}


def test_pages_are_those_of_studies(pictures, runs):
    for place, *_ in pictures.PICTURES.values():
        folder, _, name = place.rpartition("/")
        if name == "report.html":
            assert folder in runs
        else:
            assert name == "index.html"
            assert sum(run.study == folder for run in runs.values()) > 1


def test_headings_are_those_of_the_pages(pictures, runs):
    for place, *ends in pictures.PICTURES.values():
        folder, _, name = place.rpartition("/")
        if name == "report.html":
            cells = json.loads(runs[folder].notebook.read_text(encoding="utf-8"))["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
            headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        else:  # a study's page has a heading for each metric, which its notebook records
            headings = [name.capitalize() for name in (figures.ERROR, figures.BIAS, figures.WIDTH)]
        assert {end for end in ends if end} <= set(headings)


def test_readme_shows_what_is_there(pictures):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(docs/([^)]+)\)", text))
    assert linked == {p.name for p in (ROOT / "docs").iterdir()}
    assert linked == {
        *(f"{name}.png" for name in pictures.PICTURES),
        "explorer.png",
        "what_if.png",
        "method.md",
        "studies.md",
    }
