"""A small project through the whole pipeline: how runs end, what is kept, what runs again."""

import json
import re

import nbformat
import pytest
from bs4 import BeautifulSoup

from conftest import Project, leftovers, marks
from partialpool.batch import summary_file
from partialpool.batch.runs import read_summary

#: Beside a run's results: what it said, and the digests of its files.
KEPT = {"run.log", "digests.json"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project after its first report, with every way for a run to end."""
    project = Project(tmp_path_factory.mktemp("pipeline") / "project")
    project.study("fine", "notebook: quick\ngrid: {level: [1, 2]}\nseeds: [5]")
    project.study("rich", "notebook: posterior")
    project.study("breaks", 'notebook: raising\nsettings: {message: "<script>alert(1)</script>"}')
    project.study("dies", "notebook: dying")
    project.study("shows", "notebook: failing\nexpect: failed")
    # A kernel of the same name that somebody else registered must not be used.
    foreign = project.root / "foreign" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "no", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    project.status, project.output = project.call(
        "report", env={"JUPYTER_PATH": str(project.root / "foreign")}
    )
    return project


def test_broken_runs_leave_the_others_finished(finished):
    assert finished.status == 1
    states = {
        label: read_summary(finished.root / "reports" / label)["status"]
        for label in marks(finished)
    }
    assert states == {
        "fine/level-1_seed-5": "passed",
        "fine/level-2_seed-5": "passed",
        "rich/seed-0": "warned",
        "breaks/seed-0": "error",
        "dies/seed-0": "error",
        "shows/seed-0": "failed",
    }
    assert leftovers(finished) == []


def test_the_closing_table_says_which_and_why(finished):
    table = finished.output[finished.output.index("2 of 6 runs did not end well:") :]
    assert re.search(r"error +breaks/seed-0 +cell 4: KeyError: '<script>", table)
    assert re.search(r"error +dies/seed-0 +cell 3: KernelDied: the kernel was killed", table)
    assert "shows" not in table
    assert "shows/seed-0" in finished.output


def test_files_of_a_finished_run(finished):
    folder = finished.root / "reports" / "rich" / "seed-0"
    names = {"report.html", "notebook.ipynb", "posterior.nc", "summary.json", *KEPT}
    names |= {"values.json", "values.tex"}
    assert {path.name for path in folder.iterdir()} == names
    summary = read_summary(folder)
    assert (summary["study"], summary["run"], summary["seed"]) == ("rich", "seed-0", 0)
    assert summary["error"] is None
    assert summary["log_evidence"] == -895.17
    assert summary["seconds"]["fit"] == 0.05
    assert summary["seconds"]["total"] > 0
    assert summary["provenance"]["data_sha256"] == "abc"
    assert {"python", "platform", "packages", "git_commit", "dirty", "started"} <= set(
        summary["provenance"]
    )
    assert set(summary["parameters"]) == {"Intercept", "1|Subject[308]", "1|Subject[309]"}
    assert set(summary["parameters"]["Intercept"]) == set(summary_file.FIGURES)
    assert summary["estimates"] == ["Intercept"]


def test_settings_and_seed_reach_the_notebook(finished):
    for level in (1, 2):
        folder = finished.root / "reports" / "fine" / f"level-{level}_seed-5"
        assert read_summary(folder)["parameters"]["level"]["mean"] == level + 5
        source = (folder / "notebook.ipynb").read_text()
        assert f"../reports/fine/level-{level}_seed-5" in source
        assert ".tmp-" not in source


def test_a_broken_run_keeps_notebook_log_and_page(finished):
    folder = finished.root / "reports" / "breaks" / "seed-0"
    assert {p.name for p in folder.iterdir()} == {
        *("report.html", "notebook.ipynb", "summary.json"),
        *KEPT,
    }
    summary = read_summary(folder)
    message = repr("<script>alert(1)</script>")
    assert summary["error"] == {"type": "KeyError", "message": message, "cell": 4}
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert [o.text for c in notebook.cells for o in c.get("outputs", ()) if "text" in o] == [
        "before\n"
    ]
    assert "papermill" not in str(notebook.metadata)
    page = (folder / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "KeyError" in (folder / "run.log").read_text()


def test_index_shows_broken_first_with_message(finished):
    text = (finished.root / "reports" / "index.html").read_text()
    assert "<script>alert" not in text
    assert text.index("&lt;script&gt;alert(1)") < text.index("level-1_seed-5")
    assert text.index("breaks/seed-0/report.html") < text.index("fine/level-2_seed-5/report.html")
    assert "6 runs in 5 studies" in text


def test_no_change_does_nothing_and_says_so(finished):
    before = marks(finished)
    log = finished.root / ".cache" / "partialpool" / "snakemake.log"
    log.unlink(missing_ok=True)
    status, output = finished.call("report", "fine", "rich", "shows")
    assert (status, "4 runs up to date, nothing to do." in output) == (0, True)
    assert marks(finished) == before
    assert not log.exists()


def test_reruns(finished):
    """A changed setting reruns only its runs; what broke is tried again; pages follow."""
    before = marks(finished)
    finished.study("fine", "notebook: quick\ngrid: {level: [1, 3]}\nseeds: [5]")
    finished.study("breaks", "notebook: quick")
    status, output = finished.call("report", "fine", "breaks", "shows")
    assert status == 0
    after = marks(finished)
    changed = {label for label in after if after[label] != before.get(label)}
    assert changed == {"fine/level-3_seed-5", "breaks/seed-0"}
    assert "2 runs to do" in output
    index_text = (finished.root / "reports" / "index.html").read_text()
    assert "level-3_seed-5" in index_text
    assert 'href="fine/level-2_seed-5' not in index_text  # no study defines it any more
    changed = BeautifulSoup(index_text, "html.parser").select_one(".changed").get_text(" ")
    words = " ".join(changed.split())
    assert "removed fine/level-2_seed-5" in words
    assert "new fine/level-3_seed-5" in words
    assert "repeated breaks/seed-0 it broke last time; settings changed: message;" in words
    assert "verdict error → passed" in words


def test_a_page_made_by_another_version_is_made_again(finished):
    folder = finished.root / "reports" / "rich" / "seed-0"
    page, before = folder / "report.html", marks(finished)
    page.write_text('<meta name="generator" content="partialpool 0000">')
    assert finished.call("report", "rich")[0] == 0
    assert "<h1>With a posterior</h1>" in page.read_text()
    assert marks(finished) == before
