"""What the index says of the time since the last report."""

import json

import pytest
from bs4 import BeautifulSoup

from conftest import summary
from partialpool.batch import differences, listing, study_file, summary_file


class Reports:
    """A project whose runs are only summaries, put there by hand."""

    def __init__(self, project):
        self.project, self.root = project, project.root
        self.define([1, 2, 3])

    def define(self, seeds):
        path = self.project.study("s", f"notebook: quick\nseeds: {seeds}")
        self.runs = study_file.plan(self.root, [path])

    def put(self, seed, mean=1.0, mcse=0.1, *, minute=0, **different):
        run = next(run for run in self.runs if run.seed == seed)
        run.folder.mkdir(parents=True, exist_ok=True)
        state = summary(status="passed", run=run.name, settings=run.settings, checks=[])
        state |= {"estimates": ["a"], "parameters": {"a": {"mean": mean, "sd": 1.0}}}
        state["parameters"]["a"]["mcse_mean"] = mcse
        provenance = state["provenance"] | {"started": f"2026-01-01T00:{minute:02}:00+00:00"}
        provenance |= different.pop("provenance", {})
        state |= {"provenance": provenance, **different}
        (run.folder / "summary.json").write_text(summary_file.dumps(state))

    def section(self):
        soup = BeautifulSoup(listing.write_index(self.root).read_text(), "html.parser")
        found = soup.find("section", class_="changed")
        return " ".join(found.get_text(" ").split()) if found else ""


@pytest.fixture
def reports(project):
    return Reports(project)


def test_the_first_index_has_nothing_to_compare_with(reports):
    reports.put(1)
    assert reports.section() == ""
    assert "This is the first index here" in listing.write_index(reports.root).read_text()


def test_new_repeated_and_removed_runs_with_verdicts_and_estimates(reports):
    for seed in (1, 2):
        reports.put(seed)
    listing.write_index(reports.root)
    reports.put(1, mean=2.0, minute=5, status="warned", settings={"n": 7})
    reports.put(3, minute=9)
    reports.define([1, 3])
    text = reports.section()
    assert "2026-01-01, 00:09 UTC. 0 other runs are as before." in text
    assert "repeated s/seed-1 settings changed: n verdict passed → warned" in text
    assert "a 1.0 → 2.0 (7.07 Monte Carlo errors)" in text
    assert "new s/seed-3 was not there before" in text
    assert "removed s/seed-2 no study asks for it any more" in text


def test_a_report_with_nothing_to_do_keeps_what_the_one_before_changed(reports):
    reports.put(1)
    listing.write_index(reports.root)
    reports.put(2, minute=3)
    text = reports.section()
    assert "new s/seed-2" in text
    files = [reports.root / "reports" / name for name in ("index.html", "index.json")]
    before = [path.stat().st_mtime_ns for path in files]
    assert reports.section() == text
    assert [path.stat().st_mtime_ns for path in files] == before
    reports.put(3, minute=4)
    assert "new s/seed-2" not in reports.section()


@pytest.mark.parametrize(
    ("mean", "mcse", "says"),
    [
        (1.3, 0.1, "estimates as before, within Monte Carlo error"),
        (1.6, 0.1, "1.0 → 1.6 (4.24 Monte Carlo errors)"),
        (1.6, None, "1.0 → 1.6 (Monte Carlo error not known)"),
        (1.0, None, "estimates as before"),
    ],
)
def test_only_what_monte_carlo_error_does_not_explain_is_a_change(reports, mean, mcse, says):
    reports.put(1, mcse=mcse)
    listing.write_index(reports.root)
    reports.put(1, mean=mean, mcse=mcse, minute=1, provenance={"inputs": {"partialpool/x.py": "1"}})
    text = reports.section()
    assert "code changed: x.py" in text
    assert says in text


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        ({"status": "error"}, {}, "it broke last time"),
        ({}, {"inputs": {"notebooks/n.ipynb": "b"}}, "notebook changed: n.ipynb"),
        ({}, {"inputs": {"data/a.csv": "b"}, "data": "2"}, "data changed: a.csv"),
        ({"data": "1"}, {"data": "2"}, "data changed"),
        ({}, {"inputs": {"requirements.lock": "b", "python": "3.13"}}, "packages changed"),
        ({}, {"expect": "failed"}, "settings changed: expect"),
        ({}, {}, "asked for once more"),
        ({}, {"inputs": {f"p/{c}.py": c for c in "abcde"}}, "a.py, b.py, c.py and 2 more"),
    ],
)
def test_why_a_run_was_repeated(then, now, says):
    state = {"status": "passed", "settings": {}, "expect": None, "data": None, "inputs": {}}
    assert says in differences.why(state | then, state | now)


def test_a_file_that_is_no_record_is_replaced(reports):
    reports.put(1)
    path = reports.root / "reports" / "index.json"
    for text in ("{", "[]", '{"version": 0}'):
        path.write_text(text)
        assert reports.section() == ""
        assert json.loads(path.read_text())["version"] == listing.VERSION


def test_what_happened_to_runs_of_several_studies_is_said_once():
    alike = {"kind": "new", "why": "", "verdict": None, "estimates": [], "status": "passed"}
    told = alike | {"study": "a", "run": "3", "estimates": ["moved"], "kind": "repeated"}
    changes = [alike | {"study": study, "run": run} for study in "ab" for run in "12"] + [told]
    changes.append(alike | {"study": "a", "run": "4", "status": "error"})
    first, second, third = differences.groups(changes)
    assert first["runs"] == ["a/3"]
    assert second["runs"] == ["a/1", "a/2", "b/1", "b/2"]
    assert second["studies"] == 2
    assert third["runs"] == ["a/4"]
