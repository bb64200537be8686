"""The files that a run leaves for manuscripts, from a kernel to its page."""

import json

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat import v4

from partialpool.batch import execute, staleness, study_file

SHOW = """
import pandas as pd
import partialpool as pp

table = pd.DataFrame({"mean": [-1.25]}, index=["<b>a</b>"])
pp.Finding("../<i>far</i>", "It is far.", table=table)
"""
RECORD = """
figures = {"a": {"mean": 2.5, "sd": 0.1, "q05": 2.0, "q95": 3.0}}
pp.record(None, {"status": "passed", "checks": []}, output, parameters=figures)
"""


@pytest.fixture
def run(project):
    cell = v4.new_code_cell("seed = 0\noutput = None", metadata={"tags": ["parameters"]})
    cells = [cell, *map(v4.new_code_cell, (SHOW, RECORD))]
    nbformat.write(v4.new_notebook(cells=cells), project.root / "notebooks" / "n.ipynb")
    (run,) = study_file.plan(project.root, [project.study("far-1", "notebook: n")])
    return run


def test_what_a_run_shows_lies_beside_its_page_and_is_linked(run):
    summary = execute.execute(run)
    assert summary["status"] == "passed"
    (kept,) = summary["findings"]
    assert kept["name"] == "i-far-i"
    assert kept["files"] == ["i-far-i.csv", "i-far-i.tex", "i-far-i.docx"]
    table = pd.read_csv(run.folder / "findings" / "i-far-i.csv", index_col=0)
    assert table.loc["<b>a</b>", "mean"] == -1.25
    found = json.loads((run.folder / "values.json").read_text())
    assert found["a.mean"] == {"value": 2.5, "shown": "2.50"}
    commands = (run.folder / "values.tex").read_text()
    assert r"\newcommand{\farOneAMean}{2.50}" in commands
    assert found["i-far-i.<b>a</b>.mean"]["value"] == -1.25
    page = BeautifulSoup((run.folder / "report.html").read_text(), "html.parser")
    links = [a["href"] for a in page.find_all("a") if "://" not in a["href"]]
    files = {link for link in links if not link.startswith(("#", "../"))}
    assert {"values.json", "values.tex", "findings/i-far-i.docx"} <= files
    assert all((run.folder / file).is_file() for file in files)
    kept = json.loads((run.folder / staleness.RECORD).read_text())
    assert {"values.tex", "findings/i-far-i.csv"} <= kept.keys()
    assert not staleness.why_redo(run)
    (run.folder / "values.tex").write_text("")
    assert staleness.why_redo(run) == "values.tex damaged"


def test_a_run_that_breaks_after_its_results_leaves_none_of_them(run):
    notebook = nbformat.read(run.notebook, 4)
    notebook.cells.append(v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, run.notebook)
    summary = execute.execute(run)
    assert summary["status"] == "error"
    assert summary["findings"] == summary["to_quote"] == []
    left = {path.name for path in run.folder.iterdir()}
    assert not left & {"findings", "values.json", "values.tex", "methods.md"}
